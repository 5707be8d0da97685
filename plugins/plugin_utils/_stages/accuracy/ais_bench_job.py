# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start AISBench on a node, wait for its results, and remove its files."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import job as ais_bench
    from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.tables import Row

# The maximum number of seconds that one module call waits for the end of a run.
WATCH_S = 20


class _JobStart(TypedDict):
    #: The reason why there are no results, or None if there are results.
    problem: str | None
    #: ``{name of the dataset: digest of its files}``.
    data: dict[str, str]


class JobOutcome(_JobStart, total=False):
    """The result of a run. If there is a problem, the optional keys are missing."""

    exit_code: int | None
    #: The rows of the summary.
    rows: list[Row]
    #: The number of requests by task.
    answers: dict[str, ais_bench.RequestCount]
    #: The outcomes of the questions by task.
    outcomes: dict[str, str]
    performance: ais_bench.Performance
    log: list[str]


def run_job(call: Callable[..., dict[str, Any]], say: Callable[[str], None], arguments: Mapping[str, Any],
            timeout_s: float, timeout_input: str) -> JobOutcome:
    """Run AISBench, print its progress, and return its results.

    :param call: a function that calls a module, ``call(name, **arguments)``.
    :param arguments: the arguments of ``ascend.vllm.ais_bench`` with ``state=started``.
    :param timeout_input: the name of the input that sets ``timeout_s``.
    """
    started = call("ascend.vllm.ais_bench", state="started", **arguments)
    found: JobOutcome = {"problem": started["problem"], "data": started["data"]}
    if not started["job"]:
        return found
    end = time.monotonic() + timeout_s
    printed: dict[str, ais_bench.TaskProgress] = {}
    try:
        while True:
            remaining_s = end - time.monotonic()
            job = call("ascend.vllm.ais_bench", state="watched", job=started["job"], api_key=arguments["api_key"],
                       wait_s=max(0, min(WATCH_S, remaining_s)))
            if not job["running"]:
                found["exit_code"], found["rows"], found["answers"] = job["exit_code"], job["rows"], job["answers"]
                found["performance"], found["log"], found["outcomes"] = job["performance"], job["log"], job["outcomes"]
                return found
            if remaining_s <= 0:
                return {**found, "problem": f"AISBench took longer than {timeout_input} ({timeout_s} s)"}
            if job["progress"] and job["progress"] != printed:
                printed = job["progress"]
                for task, note in sorted(printed.items()):
                    say(f"{task}: {note['status']}, {note['finish_count']} of {note['total_count']}")
    finally:
        call("ascend.vllm.ais_bench", state="absent", job=started["job"])
