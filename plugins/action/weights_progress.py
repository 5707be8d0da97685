# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Poll a container that brings a model to a node, and show how far it is. See plugins/modules/weights_progress.py."""

from __future__ import annotations

import os
import time

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR

from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import last_line
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import error_line

# Between two polls, a share of the time that has gone by: many transfers are over soon, and long ones need no haste.
LEAST_PAUSE_S, MOST_PAUSE_S, SHARE = 0.3, 10, 0.05
LOST_S = 60
KILLED = 137  # 128 + SIGKILL


class ActionModule(ActionBase):
    """See plugins/modules/weights_progress.py."""

    def run(self, tmp=None, task_vars=None):
        """Return the last poll when the task is done; a failed result when it ended otherwise or takes too long."""
        super().run(tmp, task_vars)
        _result, args = self.validate_argument_spec(argument_spec={
            "container": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "total_bytes": {"type": "int", "default": 0},
            "done": {"type": "str", "default": ""},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
            "interval_s": {"type": "int", "default": 10},
            "timeout_s": {"type": "int", "default": 86400},
        })
        meter = Meter(task_vars["inventory_hostname"], args["total_bytes"], args["interval_s"], self._display.display)
        poll = {name: args[name] for name in ("container", "folder", "done", "docker_socket")}
        started = answered = time.monotonic()
        while True:
            try:
                found = self._execute_module("ascend.vllm.weights_transfer_info", module_args=poll, task_vars=task_vars)
                answered = time.monotonic()
            except AnsibleConnectionFailure as error:
                if time.monotonic() - answered > LOST_S:
                    # Not as unreachable: then the role could not record it.
                    lost = f"{task_vars['inventory_hostname']} has not answered for {LOST_S} s: {error_line(error)}"
                    return {"failed": True, "msg": lost + "; the next run resumes what it has by then"}
                found = {"running": True}
            found["seconds"] = round(time.monotonic() - started, 1)
            if found.get("failed") or found.get("done"):
                return found
            if not found["running"]:
                return self._ended(found, args["container"])
            if found["seconds"] > args["timeout_s"]:
                late = f"{args['container']} did not end within {args['timeout_s']} seconds."
                return dict(found, failed=True, msg=late)
            if "bytes" in found:
                meter.show(found["bytes"])
            time.sleep(min(MOST_PAUSE_S, max(LEAST_PAUSE_S, SHARE * found["seconds"])))

    @staticmethod
    def _ended(found, container):
        if not found["exit_code"]:
            return found
        last = last_line(found["output"]) or "it printed nothing"
        killed = " (killed, as the kernel does for lack of memory)" if found["exit_code"] == KILLED else ""
        return dict(found, failed=True, msg=f"{container} ended with exit code {found['exit_code']}{killed}: {last}")


class Meter:
    """Prints how far a host is: in a terminal, and there at most once in an interval.

    :param total: bytes in the end, 0 where that is not known. :param show: prints one line.
    """

    def __init__(self, host, total, interval_s, display, clock=time.monotonic):
        self._host, self._total, self._interval_s, self._display, self._clock = host, total, interval_s, display, clock
        # A worker has no terminal of its own; whether the run has one, Ansible's colours know. CI systems set CI.
        self._quiet = not interval_s or not ANSIBLE_COLOR or bool(os.environ.get("CI"))
        self._last = None

    def show(self, count):
        """Tell that the host holds ``count`` bytes now."""
        now = self._clock()
        if self._last is None:
            self._last = (now, count)
        elapsed = now - self._last[0]
        if self._quiet or elapsed < self._interval_s:
            return
        rate = (count - self._last[1]) / elapsed
        self._last = (now, count)
        self._display(line(self._host, count, self._total, rate))


def line(host, count, total, rate):
    """One line of progress: bytes as GB or MB, the rate as MB/s, and the time that is left at it."""
    size, unit = (1e9, "GB") if max(count, total) >= 1e9 else (1e6, "MB")
    share = f"{count / size:.1f} of {total / size:.1f}" if total else f"{count / size:.1f}"
    text = f"{host}: {share} {unit}, {rate / 1e6:.{0 if rate >= 1e7 else 1}f} MB/s"
    if not total or rate <= 0 or count >= total:
        return text
    minutes, seconds = divmod(int((total - count) / rate), 60)
    hours, minutes = divmod(minutes, 60)
    return text + (f", {hours} h {minutes} min left" if hours else f", {minutes} min {seconds} s left")
