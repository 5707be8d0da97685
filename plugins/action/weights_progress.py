# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Wait for a container that stages a model on a node, and show its progress."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from ansible.errors import AnsibleConnectionFailure
from ansible.plugins.action import ActionBase
from ansible.utils.color import ANSIBLE_COLOR

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import last_line
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_secrets
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.stage_action import Hung, deadline, pass_lease
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import error_line, one_line, say

# The pause between polls is a fraction of the elapsed time, so that the end of a short transfer is noticed at once, and
# a long transfer is polled rarely.
MINIMUM_PAUSE_S, MAXIMUM_PAUSE_S, PAUSE_SHARE = 0.3, 10, 0.05
# The task fails if the node has not responded for this number of seconds.
LOST_S = 60
# The timeout of a poll, in seconds. A poll reads the sizes of all files in the model folder.
POLL_LIMIT_S = 900
KILLED = 137  # 128 + SIGKILL


class ActionModule(ActionBase):
    def run(self, tmp: Any = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Return the result of the last poll; fail if the container failed or did not finish in time."""
        super().run(tmp, task_vars)
        task_vars = task_vars or {}
        _result, args = self.validate_argument_spec(argument_spec={
            "container": {"type": "str", "required": True},
            "folder": {"type": "path", "required": True},
            "total_bytes": {"type": "int", "default": 0},
            "done": {"type": "str", "default": ""},
            "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
            "interval_s": {"type": "int", "default": 10},
            "timeout_s": {"type": "int", "default": 86400},
        })
        host = task_vars["inventory_hostname"]
        meter = Meter(host, args["total_bytes"], args["interval_s"], lambda text: say(self._display, text))
        poll = {name: args[name] for name in ("container", "folder", "done", "docker_socket")}
        pass_lease(self._task, host, args["docker_socket"])
        started = last_response = time.monotonic()
        while True:
            try:
                with deadline(POLL_LIMIT_S):
                    found: dict[str, Any] = self._execute_module(
                        "ascend.vllm.weights_transfer_info", module_args=poll, task_vars=task_vars)
                last_response = time.monotonic()
            except Hung:
                return {"failed": True, "msg": f"{host} did not return the state of {args['container']} within "
                        f"{POLL_LIMIT_S} s; a process or a file system of the node hangs"}
            except AnsibleConnectionFailure as error:
                if time.monotonic() - last_response > LOST_S:
                    # The task fails instead of being unreachable, so that the role can record the failure.
                    return {"failed": True, "msg": f"{host} has not responded for {LOST_S} s: {error_line(error)}; "
                            "the next run resumes the transfer"}
                found = {"running": True}
            found["seconds"] = round(time.monotonic() - started, 1)
            if found.get("failed") or found.get("done"):
                return found
            if not found["running"]:
                return self._finished(found, args["container"], known_secrets(self._templar, task_vars))
            if found["seconds"] > args["timeout_s"]:
                late = f"{args['container']} did not finish within {args['timeout_s']} seconds."
                return dict(found, failed=True, msg=late)
            if "bytes" in found:
                meter.show(found["bytes"])
            time.sleep(min(MAXIMUM_PAUSE_S, max(MINIMUM_PAUSE_S, PAUSE_SHARE * found["seconds"])))

    @staticmethod
    def _finished(found: dict[str, Any], container: str, secrets: list[str]) -> dict[str, Any]:
        found = dict(found, output=mask_known(found.get("output", ""), secrets))
        if not found["exit_code"]:
            return found
        last = one_line(last_line(found["output"]) or "it printed nothing")
        killed = " (killed, for example because memory ran out)" if found["exit_code"] == KILLED else ""
        return dict(found, failed=True, msg=f"{container} exited with code {found['exit_code']}{killed}: {last}")


class Meter:
    """Prints the progress of a transfer, at most one line per interval, and only in a terminal.

    :param total: the size of the model in bytes; 0 if it is unknown. :param interval_s: 0 disables the output.
    """

    def __init__(self, host: str, total: int, interval_s: float, display: Callable[[str], None],
                 clock: Callable[[], float] = time.monotonic) -> None:
        self._host, self._total, self._interval_s, self._display, self._clock = host, total, interval_s, display, clock
        # A worker process cannot check for a terminal, but Ansible enables colors only in one. CI systems set CI.
        self._quiet = not interval_s or not ANSIBLE_COLOR or bool(os.environ.get("CI"))
        self._last: tuple[float, int] | None = None

    def show(self, count: int) -> None:
        """Print a line if it is due; ``count`` is the current size on the host in bytes."""
        now = self._clock()
        if self._last is None:
            self._last = (now, count)
        elapsed = now - self._last[0]
        if self._quiet or elapsed < self._interval_s:
            return
        rate = (count - self._last[1]) / elapsed
        self._last = (now, count)
        self._display(line(self._host, count, self._total, rate))


def line(host: str, count: int, total: int, rate: float) -> str:
    """Return a line about the bytes on a host, their total (0 if unknown), and the rate in bytes per second."""
    size, unit = (1e9, "GB") if max(count, total) >= 1e9 else (1e6, "MB")
    share = f"{count / size:.1f} of {total / size:.1f}" if total else f"{count / size:.1f}"
    text = f"{host}: {share} {unit}, {rate / 1e6:.{0 if rate >= 1e7 else 1}f} MB/s"
    if not total or rate <= 0 or count >= total:
        return text
    minutes, seconds = divmod(int((total - count) / rate), 60)
    hours, minutes = divmod(minutes, 60)
    return text + (f", {hours} h {minutes} min left" if hours else f", {minutes} min {seconds} s left")
