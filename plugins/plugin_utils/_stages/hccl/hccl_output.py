# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the output of the programs in CANN's ``hccl_test``."""

from __future__ import annotations

import re
from typing import TypedDict

from ansible_collections.ascend.vllm.plugins.module_utils._host import terminal_text

# mpirun can print the rank before each line. Open MPI prints "[1,0]<stdout>:", and MPICH prints "[0] ".
_RANK = re.compile(r"\s*(?:\[[0-9]+,[0-9]+\]<std(?:out|err)>:|\[[0-9]+\] )\s*")
_NUMBER = r"([0-9]+(?:\.[0-9]+)?)"
_ROW = re.compile(r"([0-9]+)\s*\|\s*%s\s*\|\s*%s\s*\|\s*(success|failed|NULL)$" % (_NUMBER, _NUMBER))
# Lines that name a cause, and lines that only report a failure. The Chinese words are shell messages: "command not
# found" and "no such file".
_CAUSES = re.compile(
    r"-?\w*sh: |.*\bretcode: ?-?[0-9]+|acl interface return err|.*check result failed|invalid option"
    r"|.*[Tt]he number of device is 0|.*error while loading shared libraries|.*gethostbyname failed"
    r"|.*(?:command not found|No such file or directory|Permission denied|Connection refused|Connection timed out"
    r"|No route to host|\u672a\u627e\u5230\u547d\u4ee4|\u6ca1\u6709\u90a3\u4e2a\u6587\u4ef6"
    r"|Host key verification failed|Could not resolve hostname|not enough slots)")
_SYMPTOMS = re.compile(
    r"This is an error in|Fatal error in|.*\b(?:died unexpectedly|BAD TERMINATION|aborted|[Ss]egmentation fault"
    r"|core dumped|Killed|ERROR|ORTE_ERROR_LOG|was unable to|failed)\b|total err is [1-9]")


class HcclTestRow(TypedDict):
    """The measurement of one size. ``check`` is ``success``, ``failed``, or ``NULL`` if the sums were not verified."""

    size_bytes: int
    time_us: float
    alg_bandwidth_gbs: float
    check: str


def parse(text: str) -> tuple[list[HcclTestRow], str | None]:
    """Return the rows in the output of one run, and the first line that names, or else reports, a failure, or None."""
    rows: list[HcclTestRow] = []
    others = []
    for printed in terminal_text.plain(text).splitlines():
        line = _RANK.sub("", printed, count=1).strip()
        match = _ROW.match(line)
        if match:
            size, time, bandwidth, check = match.groups()
            rows.append({"size_bytes": int(size), "time_us": float(time), "alg_bandwidth_gbs": float(bandwidth),
                         "check": check})
        else:
            others.append(line)
    return rows, next((line for pattern in (_CAUSES, _SYMPTOMS) for line in others if pattern.match(line)), None)
