# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The clients of a benchmark: containers that are started, watched and removed, and what they leave.

PRIVATE to the collection.
"""

from __future__ import annotations

import re
import time

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import result_files, vllm_bench

WATCH_S = 10
_PROGRESS = re.compile(r"(\d+)/(\d+) \[")


class ClientsMixin:
    """For a `StageAction`."""

    def _clients(self, clients, timeout_s):
        """Client containers from their start to their removal, and what each left.

        :param clients: ``[(instance, name of the result, container's arguments, what is known of the run)]``.
        """
        clock, found = time.monotonic(), []
        try:
            for _instance, _name, client, _run in clients:
                self._container(**client)
            for instance, name, client, run in clients:
                found.append(dict(run, **self._given(instance, name, client, timeout_s, clock)))
        finally:
            for _instance, _name, client, _run in clients:
                self._container(name=client["name"], state="absent", force_kill=True)
        return found

    def _given(self, instance, name, client, timeout_s, clock):
        """What one client gave when it ended or its time was up."""
        seen = self._watch(instance, client["name"], timeout_s, clock, name)
        ended = seen["client"] or {}
        given = {"seconds": round(time.monotonic() - clock, 1), "services": {instance["name"]: seen["service"]},
                 "exit_code": ended.get("exit_code"), "ended_at": ended.get("ended_at"),
                 "timed_out": bool(ended.get("running")), "log": ended.get("log", [])[-20:], "kind": None,
                 "metrics": {}, "file": None}
        if seen["result"] is not None:
            parsed = result_files.parse(seen["result"])
            path = self.records.write(self._file(name), seen["result"])
            given.update(kind=parsed["kind"], metrics=parsed.get("metrics", {}), file=self._shown(path))
        return given

    def _watch(self, instance, client, timeout_s, clock, name):
        """Follow the client until it ends or its time is up, and say how far it is."""
        until, said = clock + timeout_s, None
        while True:
            left = until - time.monotonic()
            seen = self._ask_node(instance, client=client, result=vllm_bench.RESULT, wait_s=max(0, min(WATCH_S, left)))
            if not (seen["client"] or {}).get("running") or left <= 0:
                return seen
            progress = _PROGRESS.findall("\n".join(seen["client"]["log"]))
            if progress and progress[-1] != said:
                said = progress[-1]
                self.say(f"{name}: {said[0]} of {said[1]} requests")

    def _ask_node(self, instance, **more):
        """Ask the node for the service and, where named, the client."""
        return self.call("ascend.vllm.benchmark_info", service=instance["name"],
                         driver_version_file=self.context.plan["hardware"]["driver_version_file"],
                         model_path=self.context.plan["model"]["path"],
                         docker_socket=self.context.plan["docker_socket"], **more)

    def _file(self, name, ending="json"):
        return self.records.root / self.host / "benchmark" / f"{name}.{ending}"

    def _shown(self, path):
        return str(path.relative_to(self.records.root))

    def _container(self, **arguments):
        return self.call("community.docker.docker_container",
                         docker_host="unix://" + self.context.plan["docker_socket"], **arguments)
