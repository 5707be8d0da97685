# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query ``hccn_tool`` for many NPUs in parallel, with a time limit for every query."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool, npu_devices, npu_smi
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import first_line

if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Sequence, TypedDict

    class HccnProcess(TypedDict):
        """A process that uses an NPU."""

        npu: int
        pid: int
        name: str

    class HccnObservation(TypedDict):
        """The return values of ``ascend.vllm.hccn_info``. ``npus`` is ``{NPU number: {query: result}}``."""

        npus: dict[str, dict[str, hccn_tool.HccnAnswer]]
        conf: hccn_tool.HccnConf | None
        conf_error: str | None
        host_network: dict[str, Any]
        processes: list[HccnProcess] | None
        image_present: bool | None
        image_error: str | None
        duration_s: float

# The query "status" includes the speed and the duplex mode.
QUERIES = ("link", "net_health", "ip", "gateway", "netdetect", "lldp", "tls", "status", "mtu", "fec", "optical",
           "link_stat")
TOOL = "/usr/local/Ascend/driver/tools/hccn_tool"
_BUSY_WORDS = ("is busy", "Get lock failed", "occupied")
_BUSY_ATTEMPTS = 4
_BUSY_PAUSE_S = 0.3


def run_bounded(argv: list[str], timeout_s: float) -> tuple[int | None, str, str]:
    """Run a command. Return (exit status or None after a timeout, stdout, stderr). Raise OSError if it cannot start."""
    outcome = commands.run(argv, timeout_s)
    if outcome.error and not outcome.timed_out:
        raise OSError(outcome.error)
    return outcome.rc, outcome.stdout, outcome.stderr


def run_query(run: commands.Run, tool: str, npu: int, query: str, timeout_s: float, arguments: Sequence[str] = (),
              sleep: Callable[[float], None] = time.sleep) -> hccn_tool.HccnAnswer:
    """Run a query and parse the output. The query is repeated while the tool is busy, up to `_BUSY_ATTEMPTS` times.

    :returns: the result of ``hccn_tool.parse``, or ``{"error": {"kind", "message", "code"}}``. ``code`` is the exit
        status of the tool, which does not identify the error. ``kind`` is ``timeout``, ``tool`` (the tool reported an
        error), ``empty`` (no output) or ``unreadable`` (output in an unknown format).
    """
    argv = [tool, "-i", str(npu), "-" + query, "-g", *arguments]
    for attempt in range(1, _BUSY_ATTEMPTS + 1):
        code, out, err = run(argv, timeout_s)
        if code is None:
            return _error("timeout", "no answer to -%s within %g s" % (query, timeout_s))
        if attempt == _BUSY_ATTEMPTS or not any(words in out + err for words in _BUSY_WORDS):
            break
        sleep(_BUSY_PAUSE_S * attempt)
    return _interpret(query, code, out, err)


def _interpret(query: str, code: int | None, out: str, err: str) -> hccn_tool.HccnAnswer:
    """Return the result or the error in the output. The tool prints errors to stdout or to stderr."""
    parsed = _parse(query, out)
    # A ping with packet loss has the exit status of a failure, but its summary is the result.
    if parsed is not None and "error" not in parsed and (code == 0 or query == "ping"):
        return parsed
    reported = parsed if parsed is not None and "error" in parsed else _parse(query, err)
    if reported is not None and "error" in reported:
        return _error("tool", reported["error"]["message"], code)
    line = first_line(err + "\n" + out)
    if code != 0:
        return _error("tool", line or "exit status %d without a message" % (code or 0), code)
    return _error("unreadable", line, code) if line else _error("empty", "nothing was printed", code)


def _parse(query: str, text: str) -> hccn_tool.HccnAnswer | None:
    try:
        return hccn_tool.parse(query, text)
    except hccn_tool.ParseError:
        return None


def _error(kind: str, message: str, code: int | None = None) -> hccn_tool.HccnAnswer:
    return {"error": {"kind": kind, "message": message, "code": code}}


def query_npus(run: commands.Run, tool: str, npus: Sequence[int], timeout_s: float
               ) -> dict[str, dict[str, hccn_tool.HccnAnswer]]:
    """Run `QUERIES` for all NPUs. Return ``{NPU number (str): {query: result}}``.

    The NPUs are queried in parallel, with one query per NPU at a time. After a timeout, the remaining queries of that
    NPU are skipped, because each of them would time out.
    """
    def query_npu(npu: int) -> dict[str, hccn_tool.HccnAnswer]:
        results: dict[str, hccn_tool.HccnAnswer] = {}
        hung_query = None
        for query in QUERIES:
            if hung_query:
                results[query] = _error("skipped", "skipped, since -%s timed out" % hung_query)
                continue
            results[query] = run_query(run, tool, npu, query, timeout_s)
            if results[query].get("error", {}).get("kind") == "timeout":
                hung_query = query
        return results

    with ThreadPoolExecutor(max(1, len(npus))) as pool:
        return dict(zip((str(npu) for npu in npus), pool.map(query_npu, npus)))


def unanswered(npus: Sequence[int], reason: str) -> dict[str, dict[str, hccn_tool.HccnAnswer]]:
    """Return the result of `query_npus` for a tool that cannot be run."""
    return {str(npu): {query: _error("tool", reason) for query in QUERIES} for npu in npus}


def device_npus(names: Iterable[str]) -> list[int]:
    """Return the sorted numbers N of the files ``davinciN`` among the names in /dev."""
    numbers = [npu_devices.device_number("/dev/" + name) for name in names]
    return sorted(number for number in numbers if number is not None)


def npu_processes(run: commands.Run, npu_smi_path: str, timeout_s: float) -> list[HccnProcess] | None:
    """Return the processes that use an NPU, or None if npu-smi does not show them."""
    try:
        code, out, _err = run([npu_smi_path, "info"], timeout_s)
        info = npu_smi.parse_info(out) if code == 0 else None
    except (OSError, npu_smi.ParseError):
        return None
    if info is None or info["error"]:
        return None
    return [{"npu": process["npu"], "pid": process["pid"], "name": process["name"]} for process in info["processes"]]
