# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collective runs: who takes part, what the probe printed, and which node is slow or broken. PRIVATE to the collection.

The probe is ``roles/hccl/files/allreduce_probe.py``. CANN's own program is started by ``hccl_test_launcher.py`` beside
it, and what it prints is read by ``hccl_test``.
"""
from __future__ import annotations

import json
import re

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import hccl_output, ping_mesh

# Probe and launcher put this before each of their lines, among whatever the libraries print.
MARK = "ASCEND-VLLM-PROBE "
ALL, ALONE, PAIR = "all", "alone", "pair"
# A group is slow when it reaches less than this share of the median of its like.
SLOW = 0.7
_ERROR_LINE = re.compile(r"(?:\[\w+\]: ?)?(?:\w+\.)*\w*(?:Error|Exception|Timeout|Failure)\b|.*\bE[IJL][0-9]{4}\b")
_TIMED_OUT = 124
HCCL_TEST, TORCH = "hccl_test", "probe"


def bus_bandwidth(algorithm_bandwidth, ranks):
    """Return the bus bandwidth of an all-reduce, in the unit of the algorithm bandwidth (size / time).

    Each of n ranks sends and receives 2 (n - 1) / n of the data, so this figure does not depend on n and can be held
    against the speed of a link (the convention of nccl-tests).
    """
    return algorithm_bandwidth * 2.0 * (ranks - 1) / ranks


# --- Who takes part --------------------------------------------------------------------------------------------------

def diagnosis_rounds(nodes, pair_rounds):
    """Return the rounds that follow a failed run: each node alone, then disjoint pairs by the tournament."""
    pairs = min(pair_rounds, ping_mesh.tournament_rounds(nodes)) if nodes > 2 else 0
    return [ALONE] + ["%s %d" % (PAIR, number) for number in range(pairs)]


def group(hosts, host, round_name):
    """Return ``{"hosts": [...], "rank": int}`` for one node in a round; no hosts where it sits out. Rank 0 leads."""
    names = sorted(hosts)
    if round_name == ALL:
        members = names
    elif round_name == ALONE:
        members = [host]
    else:
        met = ping_mesh.opponent(names.index(host), int(round_name.split()[1]), len(names))
        members = [] if met is None else sorted([host, names[met]])
    return {"hosts": members, "rank": members.index(host) if members else None}


# --- What was printed ------------------------------------------------------------------------------------------------

def parse(text, exit_status=0):
    """Return ``{"rows", "failed", "reason", "backend", "ranks", "tool", "choice"}`` of one node's output of a run.

    ``rows``: ``[{"size_bytes", "time_us", "alg_bandwidth_gbs", "bus_bandwidth_gbs", "check"}]``, bandwidths in GB/s,
    check ``success``, ``failed`` or ``NULL``. ``tool``: HCCL_TEST or TORCH, ``choice`` why it is not the former, where
    that was to be chosen. Of hccl_test only the first node prints rows. A run without its end is failed, whatever it
    printed before; so is one that lacks a row.
    """
    records, others, broken = [], [], None
    for line in text.splitlines():
        at = line.find(MARK)
        if at < 0:
            others.append(line)
            continue
        try:
            records.append(json.loads(line[at + len(MARK):]))
        except ValueError:
            broken = "an unreadable line of the probe: %s" % line.strip()[:160]
    start = _first(records, "start")
    if start.get("tool") == HCCL_TEST:
        rows, reason = _hccl_test_rows("\n".join(others), start)
    else:
        rows, reason = [record for record in records if record.get("type") == "row"], None
    wrong = next((row for row in rows if row.get("check") == "failed"), None)
    error, end = _first(records, "error"), _first(records, "end")
    if exit_status == _TIMED_OUT:
        reason = "not finished in time" + (" after: %s" % reason if reason else "")
    elif error:
        reason = "rank %s on %s: %s" % (error.get("rank"), error.get("host"), error.get("message"))
    elif wrong:
        reason = reason or "a wrong sum for %s bytes" % wrong.get("size_bytes")
    elif exit_status or not end or end.get("status"):
        reason = reason or broken or _last_error(text) or "it ended with status %s and without a result" % exit_status
    else:
        reason = reason or broken
    expected = start.get("sizes", [None]) if not start.get("node") else []
    if reason is None and len(rows) < len(expected):
        reason = "%d of %d rows are missing" % (len(expected) - len(rows), len(expected))
    keys = ("size_bytes", "time_us", "alg_bandwidth_gbs", "bus_bandwidth_gbs", "check")
    return {"rows": [{key: row.get(key) for key in keys} for row in rows], "failed": reason is not None,
            "reason": reason, "backend": start.get("backend"), "ranks": start.get("ranks"),
            "tool": start.get("tool") or (TORCH if start else None), "choice": _first(records, "choice").get("reason")}


def failure(reason):
    """Return the result of a run that could not even be started on a node."""
    return {"rows": [], "failed": True, "reason": reason, "backend": None, "ranks": None, "tool": None, "choice": None}


def _first(records, kind):
    return next((record for record in records if record.get("type") == kind), {})


def _hccl_test_rows(text, start):
    """Return (rows, reason of a failure or None) of the first node's hccl_test; other nodes print no rows."""
    if not text.strip():
        return [], None
    run = hccl_output.parse(text)
    rows = [dict(row, bus_bandwidth_gbs=bus_bandwidth(row["alg_bandwidth_gbs"], start["ranks"])) for row in run["rows"]
            if row["size_bytes"] in start["sizes"]]
    # Where only a row tells of the failure, the caller has better words for it.
    return rows, None if run["reason"] and " | " in run["reason"] else run["reason"]


def _last_error(text):
    lines = [line.strip() for line in text.splitlines() if _ERROR_LINE.match(line.strip())]
    return lines[-1][:300] if lines else None


def bandwidth(result):
    """Return the bus bandwidth in GB/s at the largest verified size, or None."""
    rows = [row for row in result["rows"] if row["check"] == "success" and row["bus_bandwidth_gbs"] is not None]
    return max(rows, key=lambda row: row["size_bytes"])["bus_bandwidth_gbs"] if rows else None


# --- Who is to blame -------------------------------------------------------------------------------------------------

def runs_of(peers):
    """Return ``[{"round", "hosts", "failed", "reason", "bandwidth"}]`` of all groups, from what each member saw."""
    groups, tools = {}, {}
    for host, observed in sorted(peers.items()):
        for run in (observed.get("collective") or {}).get("runs", []):
            if not run["hosts"]:
                continue
            result = run["result"]
            found = groups.setdefault((run["round"], tuple(run["hosts"])), {
                "round": run["round"], "hosts": list(run["hosts"]), "failed": False, "reason": None, "bandwidth": None})
            tools.setdefault((run["round"], tuple(run["hosts"])), {})[host] = result["tool"]
            found["failed"] = found["failed"] or result["failed"]
            found["reason"] = found["reason"] or result["reason"]
            if bandwidth(result) is not None:
                found["bandwidth"] = bandwidth(result)
    for key, taken in tools.items():
        if {HCCL_TEST, TORCH} <= set(taken.values()):
            groups[key].update(failed=True, reason="the images of the nodes differ: hccl_test can be run on %s only" % (
                ", ".join(host for host, tool in taken.items() if tool == HCCL_TEST)))
    return [groups[key] for key in sorted(groups)]


def overall(peers):
    """Return (result, run) of the run over all nodes: what its first member saw, and the group as of `runs_of`."""
    for _host, observed in sorted(peers.items()):
        for run in (observed.get("collective") or {}).get("runs", []):
            if run["round"] == ALL and run["hosts"]:
                return run["result"], next(one for one in runs_of(peers) if one["round"] == ALL)
    return None, None


def suspects(runs):
    """Return ``[{"hosts", "why"}]``: a node that fails alone or in every pair, else two that fail together."""
    found = []
    for run in _bad([run for run in runs if run["round"] == ALONE]):
        found.append({"hosts": run["hosts"], "why": "already alone: " + _why(run)})
    blamed = {one["hosts"][0] for one in found}
    pairs = [run for run in runs if run["round"].startswith(PAIR) and not blamed & set(run["hosts"])]
    bad = _bad(pairs)
    met = {host: [run for run in pairs if host in run["hosts"]] for run in pairs for host in run["hosts"]}
    for host in sorted(met):
        if len(met[host]) > 1 and all(run in bad for run in met[host]):
            found.append({"hosts": [host], "why": "with each of %d others: %s" % (len(met[host]), _why(met[host][0]))})
            blamed.add(host)
    found += [{"hosts": run["hosts"], "why": _why(run)} for run in bad if not blamed & set(run["hosts"])]
    nodes = next((run["hosts"] for run in runs if run["round"] == ALL), [])
    if not found and len(nodes) == 2:
        found.append({"hosts": nodes, "why": "each is well alone, so it is what lies between them"})
    return found


def _bad(runs):
    """Return the runs that failed or are slow beside their like: two cannot outvote each other but by half."""
    speeds = sorted(run["bandwidth"] for run in runs if run["bandwidth"] is not None)
    if not speeds:
        return [run for run in runs if run["failed"]]
    usual, share = (speeds[-1], 0.5) if len(speeds) < 3 else (speeds[len(speeds) // 2], SLOW)
    return [run for run in runs
            if run["failed"] or (run["bandwidth"] is not None and run["bandwidth"] < share * usual)]


def _why(run):
    return run["reason"] if run["failed"] else "%.3g GB/s, far below the others" % run["bandwidth"]


# --- What it is held against -----------------------------------------------------------------------------------------

def baseline_key(result, nodes):
    """Return what a baseline holds for: the same number of nodes and ranks, backend and largest size."""
    largest = max([row["size_bytes"] for row in result["rows"]] or [0])
    return "%d nodes, %s ranks, %s, %d bytes" % (nodes, result["ranks"], result["backend"], largest)


def threshold(result, nodes, minimum, baseline, tolerance):
    """Return (GB/s, where it comes from), (None, None) where nothing is known to hold the result against.

    :param minimum: the site's floor for the bus bandwidth in GB/s, or empty.
    :param baseline: ``{baseline_key: GB/s}`` recorded earlier, or empty.
    :param tolerance: share of the baseline that is still good.
    """
    if minimum not in (None, ""):
        return float(minimum), "hccl_collective_bus_bandwidth_minimum_gbs"
    recorded = (baseline or {}).get(baseline_key(result, nodes))
    if recorded is not None:
        return float(recorded) * float(tolerance), "%g of the recorded %.3g GB/s" % (float(tolerance), recorded)
    return None, None
