# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""This run of Ansible: its id, user, controller and process.

Ansible forks a worker process per task and host from the process that has loaded the action plugins and this module.
Therefore all tasks of a run of ``ansible-playbook`` have the same id, and no other run has it.
"""

from __future__ import annotations

import os
import socket
import time
import uuid
from contextlib import suppress
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._host.lease import Run

RUN_ID: str = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}"


# A process can check another by its PID only within the same boot and PID namespace, which only Linux identifies.
_PID_SCOPE = [socket.gethostname(), read_text("/proc/sys/kernel/random/boot_id").strip()]
with suppress(OSError):
    _PID_SCOPE.append(os.readlink("/proc/self/ns/pid"))
RUN: Run = {
    "run": RUN_ID, "user": os.environ.get("USER") or f"user id {os.getuid()}", "controller": socket.gethostname(),
    "processes": " ".join(_PID_SCOPE), "pid": os.getpid(), "pid_started": lease.started(os.getpid()),
    "since": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}


def has_ended(other: Run) -> bool:
    """Return whether the process of a run has ended; False if it is of another host, boot or PID namespace."""
    if other["processes"] != RUN["processes"]:
        return False
    try:
        os.kill(other["pid"], 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        pass
    return lease.started(other["pid"]) != other["pid_started"]
