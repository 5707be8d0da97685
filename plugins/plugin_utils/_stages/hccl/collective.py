# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the output of all-reduce programs, find the nodes that cause a failure, and determine the required bandwidth.

The programs are ``roles/hccl/files/allreduce_probe.py`` and CANN's all_reduce_test, which
``roles/hccl/files/hccl_test_launcher.py`` starts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import hccl_output

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import Peers, Result, Row

# The probe and the launcher print this prefix before each record; other lines come from libraries and mpiexec.
MARK = "ASCEND-VLLM-PROBE "
# Names of rounds. The rounds with pairs of nodes are named ``pair N``.
ALL, ALONE, PAIR = "all", "alone", "pair"
# Values of the key ``tool``.
HCCL_TEST, PROBE = "hccl_test", "probe"
# The keys of a row.
_ROW = ("size_bytes", "time_us", "alg_bandwidth_gbs", "bus_bandwidth_gbs", "check")
# A group is slow if its bandwidth is below this fraction of the median of the other groups.
SLOW = 0.7
_ERROR_LINE = re.compile(r"(?:\[\w+\]: ?)?(?:\w+\.)*\w*(?:Error|Exception|Timeout|Failure)\b|.*\bE[IJL][0-9]{4}\b")
# The exit status of timeout(1) if the command timed out.
_TIMED_OUT = 124


class GroupRun(TypedDict):
    """A run of a group of nodes in a round, combined from the results of these nodes."""

    round: str
    hosts: list[str]
    failed: bool
    reason: str | None
    #: Bus bandwidth at the largest verified size in GB/s.
    bandwidth: float | None


class SuspectNodes(TypedDict):
    """One node, or two nodes with their connection, that probably made a run fail or slowed it down."""

    hosts: list[str]
    reason: str


# --- Output ----------------------------------------------------------------------------------------------------------

def parse(text: str, exit_status: int = 0) -> Result:
    """Parse the output of a container. A run has failed if its end record or the row of a size is missing."""
    records: dict[str, dict[str, Any]] = {}
    rows: list[Row] = []
    others, broken, reason = [], None, None
    for line in text.splitlines():
        at = line.find(MARK)
        if at < 0:
            others.append(line)
            continue
        try:
            record = json.loads(line[at + len(MARK):])
            if record["type"] == "row":
                rows.append(cast("Row", {key: record[key] for key in _ROW}))
            else:
                records.setdefault(record["type"], record)
        except (ValueError, LookupError, TypeError):
            broken = "unreadable line from the probe: %s" % line.strip()[:160]
    start, error, end, choice = (records.get(kind, {}) for kind in ("start", "error", "end", "choice"))
    if start.get("tool") == HCCL_TEST:  # Only the first node prints rows.
        printed, reason = hccl_output.parse("\n".join(others))
        # Each of n ranks sends and receives 2 (n - 1) / n of the data. The bus bandwidth takes this into account, so
        # it does not depend on n and can be compared with the speed of a link (as in nccl-tests).
        rows = [{**row, "bus_bandwidth_gbs": row["alg_bandwidth_gbs"] * 2 * (start["ranks"] - 1) / start["ranks"]}
                for row in printed if row["size_bytes"] in start["sizes"]]
    wrong = next((row for row in rows if row["check"] == "failed"), None)
    if exit_status == _TIMED_OUT:
        reason = "timed out" + (" after: %s" % reason if reason else "")
    elif error:
        reason = "rank %s on %s: %s" % (error.get("rank"), error.get("host"), error.get("message"))
    elif wrong:
        reason = reason or "wrong sum for %s bytes" % wrong["size_bytes"]
    elif exit_status or not end or end.get("status"):
        reason = reason or broken or _last_error(text) or "exit status %s without a result" % exit_status
    else:
        reason = reason or broken
    expected = start.get("sizes", [None]) if not start.get("node") else []
    if reason is None and len(rows) < len(expected):
        reason = "%d of %d rows missing" % (len(expected) - len(rows), len(expected))
    return {"rows": rows, "failed": reason is not None, "reason": reason, "backend": start.get("backend"),
            "ranks": start.get("ranks"), "tool": start.get("tool") or (PROBE if start else None),
            "choice": choice.get("reason")}


def failure(reason: str) -> Result:
    """Return the result of a node whose container could not be started."""
    return {"rows": [], "failed": True, "reason": reason, "backend": None, "ranks": None, "tool": None, "choice": None}


def _last_error(text: str) -> str | None:
    return next((line.strip()[:300] for line in reversed(text.splitlines()) if _ERROR_LINE.match(line.strip())), None)


def bandwidth(result: Result) -> float | None:
    """Return the bus bandwidth in GB/s at the largest verified size; None if no size was verified."""
    found = [(row["size_bytes"], row["bus_bandwidth_gbs"]) for row in result["rows"]
             if row["check"] == "success" and row["bus_bandwidth_gbs"] is not None]
    return max(found)[1] if found else None


# --- Cause of a failure ----------------------------------------------------------------------------------------------

def group_runs(peers: Peers) -> list[GroupRun]:
    """Return the runs of all groups, sorted by round and hosts."""
    groups: dict[tuple[str, tuple[str, ...]], GroupRun] = {}
    tools: dict[tuple[str, tuple[str, ...]], dict[str, str | None]] = {}
    for host, observed in sorted(peers.items()):
        for run in observed.get("collective", {}).get("runs", []):
            result = run["result"]
            if result is None:
                continue
            key = (run["round"], tuple(run["hosts"]))
            found = groups.setdefault(key, {
                "round": run["round"], "hosts": run["hosts"], "failed": False, "reason": None, "bandwidth": None})
            tools.setdefault(key, {})[host] = result["tool"]
            found["failed"] = found["failed"] or result["failed"]
            found["reason"] = found["reason"] or result["reason"]
            found["bandwidth"] = found["bandwidth"] if bandwidth(result) is None else bandwidth(result)
    for key, used in tools.items():
        if {HCCL_TEST, PROBE} <= set(used.values()):
            groups[key]["failed"] = True
            groups[key]["reason"] = "the images of the nodes differ: only %s can run hccl_test" % (
                ", ".join(host for host, tool in used.items() if tool == HCCL_TEST))
    return [groups[key] for key in sorted(groups)]


def overall(peers: Peers) -> tuple[Result, GroupRun] | None:
    """Return ``(result of the first node, run of the group)`` for the round with all nodes, or None without a run."""
    for _host, observed in sorted(peers.items()):
        for run in observed.get("collective", {}).get("runs", []):
            if run["round"] == ALL and run["result"]:
                return run["result"], next(found for found in group_runs(peers) if found["round"] == ALL)
    return None


def suspects(runs: Sequence[GroupRun]) -> list[SuspectNodes]:
    """Return the nodes that failed or were slow on their own, in each of their pairs, or only as a pair."""
    found: list[SuspectNodes] = [
        {"hosts": run["hosts"], "reason": "on its own: " + _reason(run)}
        for run in _bad([run for run in runs if run["round"] == ALONE])]
    blamed = {suspect["hosts"][0] for suspect in found}
    pairs = [run for run in runs if run["round"].startswith(PAIR) and not blamed & set(run["hosts"])]
    bad = _bad(pairs)
    runs_of = {host: [run for run in pairs if host in run["hosts"]] for run in pairs for host in run["hosts"]}
    for host in sorted(runs_of):
        if len(runs_of[host]) > 1 and all(run in bad for run in runs_of[host]):
            found.append({"hosts": [host], "reason": "with each of %d other nodes: %s" % (
                len(runs_of[host]), _reason(runs_of[host][0]))})
            blamed.add(host)
    found += [{"hosts": run["hosts"], "reason": _reason(run)} for run in bad if not blamed & set(run["hosts"])]
    nodes = next((run["hosts"] for run in runs if run["round"] == ALL), [])
    if not found and len(nodes) == 2:
        found.append({"hosts": nodes, "reason": "only together, so the cause is the connection between them"})
    return found


def _bad(runs: Sequence[GroupRun]) -> list[GroupRun]:
    """Return the runs that failed, or that were slow compared with the others (of two: less than half as fast)."""
    speeds = sorted(run["bandwidth"] for run in runs if run["bandwidth"] is not None)
    if not speeds:
        return [run for run in runs if run["failed"]]
    usual, fraction = (speeds[-1], 0.5) if len(speeds) < 3 else (speeds[len(speeds) // 2], SLOW)
    return [run for run in runs
            if run["failed"] or (run["bandwidth"] is not None and run["bandwidth"] < fraction * usual)]


def _reason(run: GroupRun) -> str:
    return str(run["reason"]) if run["failed"] else "%.3g GB/s, far below the others" % (run["bandwidth"] or 0)


# --- Required bandwidth ----------------------------------------------------------------------------------------------

def baseline_key(result: Result, nodes: int) -> str:
    """Return the key of a bandwidth in the baseline. Runs with the same key can be compared."""
    largest = max([row["size_bytes"] for row in result["rows"]] or [0])
    return "%d nodes, %s ranks, %s, %d bytes" % (nodes, result["ranks"], result["backend"], largest)


def required_bandwidth(result: Result, nodes: int, inputs: Mapping[str, Any], baseline: Mapping[str, float] | None
                       ) -> tuple[float, str] | None:
    """Return the required bus bandwidth in GB/s and its source, or None. A baseline is ``{baseline_key: GB/s}``."""
    minimum = inputs["hccl_collective_bus_bandwidth_minimum_gbs"]
    if minimum not in (None, ""):
        return float(minimum), "hccl_collective_bus_bandwidth_minimum_gbs"
    saved = (baseline or {}).get(baseline_key(result, nodes))
    if saved is not None:
        tolerance = float(inputs["hccl_collective_baseline_tolerance"])
        return saved * tolerance, "%g times the %.3g GB/s in the baseline" % (tolerance, saved)
    return None
