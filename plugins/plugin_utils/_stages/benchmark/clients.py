# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start the containers of benchmark clients, wait for their results, and remove them."""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import result_files, vllm_bench
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.types import ClientRun, Identity

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm import benchmark
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance, Plan

# The maximum number of seconds that one module call waits for a client to exit.
WATCH_S = 10
_PROGRESS = re.compile(r"(\d+)/(\d+) \[")


class Client(NamedTuple):
    """A client to run."""

    #: The instance that the client measures, or whose NPUs and settings it uses.
    instance: Instance
    #: Name of the result file, without extension.
    name: str
    command: list[str]
    #: Arguments of ``community.docker.docker_container``.
    container: dict[str, Any]


class ClientRunner:
    """Runs clients on a node, and writes their results. ``call(name, **arguments)`` calls a module on the node."""

    def __init__(self, call: Callable[..., dict[str, Any]], say: Callable[[str], None], records: Records, host: str,
                 plan: Plan) -> None:
        self._call, self._say, self._records, self._host, self._plan = call, say, records, host, plan

    def run(self, clients: Sequence[Client], timeout_s: float) -> list[tuple[ClientRun, Identity]]:
        """Run clients concurrently. Return each run, and the identity of its service after the run."""
        started, found = time.monotonic(), []
        try:
            for client in clients:
                self._container(**client.container)
            for client in clients:
                found.append(self._result(client, started, timeout_s))
        finally:
            for client in clients:
                self._container(name=client.container["name"], state="absent", force_kill=True)
        return found

    def service(self, instance: Instance) -> benchmark.ServiceContainer | None:
        """Return the container of an instance."""
        return self._observe(instance)["service"]

    def path(self, name: str, extension: str = "json") -> Path:
        """Return the path of a result file of this host."""
        return self._records.folder(self._host) / "benchmark" / f"{name}.{extension}"

    def write(self, path: Path, text: str) -> str:
        """Write a result, and return its path relative to the results folder."""
        return str(self._records.write(path, text).relative_to(self._records.root))

    def _result(self, client: Client, started: float, timeout_s: float) -> tuple[ClientRun, Identity]:
        observed = self._wait(client, started, timeout_s)
        state: Any = observed["client"] or {"exit_code": None, "ended_at": None, "running": False, "log": []}
        run: ClientRun = {"command": client.command, "seconds": round(time.monotonic() - started, 1),
                          "exit_code": state["exit_code"], "ended_at": state["ended_at"],
                          "timed_out": state["running"], "log": state["log"][-20:],
                          "kind": None, "metrics": {}, "file": None}
        if observed["result"] is not None:
            parsed = result_files.parse(observed["result"])
            run["kind"], run["metrics"] = parsed["kind"], parsed["metrics"]
            run["file"] = self.write(self.path(client.name), observed["result"])
        return run, vllm_bench.identity(observed["service"])

    def _wait(self, client: Client, started: float, timeout_s: float) -> benchmark.BenchmarkObservation:
        """Wait until a client has exited or timed out, and print its progress. Return its last observation."""
        printed = None
        while True:
            remaining_s = started + timeout_s - time.monotonic()
            observed = self._observe(client.instance, client=client.container["name"], result=vllm_bench.RESULT,
                                     wait_s=max(0, min(WATCH_S, remaining_s)))
            container = observed["client"]
            if container is None or not container["running"] or remaining_s <= 0:
                return observed
            progress = _PROGRESS.findall("\n".join(container["log"]))
            if progress and progress[-1] != printed:
                printed = progress[-1]
                self._say(f"{client.name}: {printed[0]} of {printed[1]} requests")

    def _observe(self, instance: Instance, **arguments: Any) -> benchmark.BenchmarkObservation:
        return cast("benchmark.BenchmarkObservation", self._call(
            "ascend.vllm.benchmark_info", service=instance["name"],
            driver_version_file=self._plan["hardware"]["driver_version_file"],
            model_path=self._plan["model"]["path"], docker_socket=self._plan["docker_socket"], **arguments))

    def _container(self, **arguments: Any) -> None:
        self._call("community.docker.docker_container", docker_host="unix://" + self._plan["docker_socket"],
                   **arguments)
