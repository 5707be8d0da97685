# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of all-reduces is parsed, and suspects are determined if a run fails or is slow."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective


def line(**record):
    return collective.MARK + json.dumps(record) + "\n"


START = line(type="start", backend="hccl", ranks=16, rank=0, host="n1")
ROW = {"size_bytes": 1048576, "time_us": 100.0, "alg_bandwidth_gbs": 10.48, "bus_bandwidth_gbs": 19.65,
       "check": "success"}
LARGE = {**ROW, "size_bytes": 268435456, "alg_bandwidth_gbs": 20.0, "bus_bandwidth_gbs": 37.5}
SUCCESSFUL = "[W923] some noise\n" + START + line(type="row", **ROW) + line(type="row", **LARGE) + line(type="end")


def test_output_of_a_successful_run_is_parsed():
    result = collective.parse(SUCCESSFUL)
    assert result == {"rows": [ROW, LARGE], "failed": False, "reason": None, "backend": "hccl", "ranks": 16,
                      "tool": "probe", "choice": None}
    assert collective.bandwidth(result) == 37.5


@pytest.mark.parametrize(("text", "status", "reason"), [
    (SUCCESSFUL, 124, "timed out"),
    (START + line(type="error", rank=3, host="n2", message="RuntimeError: x"), 1, "rank 3 on n2: RuntimeError: x"),
    (START + line(type="row", **{**ROW, "check": "failed"}) + line(type="end"), 0, "wrong sum for 1048576 bytes"),
    (SUCCESSFUL.replace(line(type="end"), ""), 0, "exit status 0 without a result"),
    (SUCCESSFUL, 137, "exit status 137 without a result"),
    ("Traceback\ntorch.distributed.DistNetworkError: no route\n", 1, "torch.distributed.DistNetworkError: no route"),
    ("EI0006: link timeout\nsomething else\n", 1, "EI0006: link timeout"),
    (START + collective.MARK + "{broken\n" + line(type="end"), 0, "unreadable line from the probe"),
    (SUCCESSFUL.replace('"check"', '"chekc"'), 0, "unreadable line from the probe"),
    ("", 0, "exit status 0 without a result"),
])
def test_failure_is_recognized_in_the_output(text, status, reason):
    result = collective.parse(text, status)
    assert result["failed"]
    assert result["reason"].startswith(reason)


def test_missing_row_is_a_failure():
    sizes = [1048576, 268435456]
    text = line(type="start", backend="hccl", ranks=16, sizes=sizes) + line(type="row", **ROW) + line(type="end")
    assert collective.parse(text)["reason"] == "1 of 2 rows missing"
    assert collective.parse(line(type="start", backend="hccl", ranks=2) + line(type="end"))["failed"]


# --- hccl_test

FIRST_NODE = line(type="start", tool="hccl_test", backend="hccl_test", node=0, ranks=16, sizes=[1048576, 2097152])
OTHER_NODE = line(type="start", tool="hccl_test", backend="hccl_test", node=1, ranks=16, sizes=[1048576, 2097152])
TABLE = ("the minbytes is 1048576, maxbytes is 2097152, iters is 20, warmup_iters is 5\n"
         "data_size(Bytes): | aveg_time(us): | alg_bandwidth(GB/s): | check_result: \n"
         "1048576           | 100.00         | 10.48576             | success\n"
         "2097152           | 100.00         | 20.97152             | success\n")
END = line(type="end", status=0)


def test_results_of_hccl_test_are_in_the_output_of_the_first_node():
    result = collective.parse(FIRST_NODE + TABLE + END)
    assert not result["failed"]
    assert [row["size_bytes"] for row in result["rows"]] == [1048576, 2097152]
    assert collective.bandwidth(result) == pytest.approx(20.97152 * 2 * 15 / 16)
    assert (result["tool"], result["backend"], result["ranks"]) == ("hccl_test", "hccl_test", 16)
    assert collective.baseline_key(result, 2) == "2 nodes, 16 ranks, hccl_test, 2097152 bytes"


def test_other_nodes_report_only_the_success_of_hccl_test():
    result = collective.parse(OTHER_NODE + END)
    assert (result["rows"], result["failed"]) == ([], False)
    assert collective.parse(OTHER_NODE)["failed"]
    assert collective.parse(OTHER_NODE + line(type="end", status=9), 9)["failed"]


def test_bandwidth_with_an_unverified_sum_of_hccl_test_does_not_count():
    result = collective.parse(FIRST_NODE + TABLE.replace("success", "NULL") + END)
    assert not result["failed"]
    assert {row["check"] for row in result["rows"]} == {"NULL"}
    assert collective.bandwidth(result) is None


ERROR_7 = "hccl interface return errreturn err ./common/src/hccl_test_common.cc:538, retcode: 7 "


@pytest.mark.parametrize(("text", "status", "reason"), [
    (FIRST_NODE + TABLE.replace("| success\n2", "| failed\n2") + END, 0, "wrong sum for 1048576 bytes"),
    (FIRST_NODE + "local rank_id 3, check result failed, expect 8\n" + TABLE.replace("success", "failed") + END, 0,
     "local rank_id 3, check result failed"),
    (FIRST_NODE + TABLE + line(type="end", status=1), 1, "exit status 1 without a result"),
    (FIRST_NODE + TABLE, 0, "exit status 0 without a result"),
    (FIRST_NODE + TABLE + END, 124, "timed out"),
    (FIRST_NODE + "".join(TABLE.splitlines(True)[:3]) + END, 0, "1 of 2 rows missing"),
    (FIRST_NODE + "".join(TABLE.splitlines(True)[:2]) + END, 0, "2 of 2 rows missing"),
    (FIRST_NODE + END, 0, "2 of 2 rows missing"),
    (FIRST_NODE + TABLE.splitlines(True)[0] + ERROR_7 + "\n" + line(type="end", status=1), 1, ERROR_7.strip()),
    (FIRST_NODE + line(type="error", rank=0, host="n1", message="n2 did not join within 60 s"), 3,
     "rank 0 on n1: n2 did not join within 60 s"),
    (line(type="error", rank=1, host="n2", message="the image has no MPI"), 3, "rank 1 on n2: the image has no MPI"),
])
def test_failure_of_hccl_test_is_recognized(text, status, reason):
    result = collective.parse(text, status)
    assert result["failed"]
    assert result["reason"].startswith(reason)


def test_reason_for_using_the_probe_is_kept():
    result = collective.parse(line(type="choice", tool="probe", reason="the image has no MPI") + SUCCESSFUL)
    assert (result["tool"], result["choice"], result["failed"]) == ("probe", "the image has no MPI", False)


def peers(**texts):
    """Return the observations of nodes that took part in one run with these outputs."""
    return {host: {"collective": {"runs": [{
        "round": "all", "hosts": sorted(texts), "result": collective.parse(text)}]}} for host, text in texts.items()}


def test_nodes_with_different_images_are_named():
    (run,) = collective.group_runs(peers(n1=FIRST_NODE, n2=SUCCESSFUL))
    assert run["reason"] == "the images of the nodes differ: only n1 can run hccl_test"


@settings(max_examples=200)
@given(st.data())
def test_mutated_output_never_yields_other_values(data):
    at = data.draw(st.integers(0, len(SUCCESSFUL) - 1))
    text = SUCCESSFUL[:at] + data.draw(st.sampled_from(["", "}", "\n", "x"])) + SUCCESSFUL[at + 1:]
    result = collective.parse(text)
    for row in result["rows"]:
        assert all(str(value) in text for value in row.values() if isinstance(value, str))
    json.dumps(result)


# --- Cause of a failure

def run(round_name, hosts, bandwidth=10.0, reason=None):
    return {"round": round_name, "hosts": list(hosts), "failed": reason is not None, "reason": reason,
            "bandwidth": None if reason else bandwidth}


def pairs(outcome):
    """Return three rounds in which a, b, c and d run in pairs.

    ``outcome(pair)`` is the bandwidth in GB/s, or the reason for the failure.
    """
    found = []
    for number, round_pairs in enumerate((("ab", "cd"), ("ac", "bd"), ("ad", "bc"))):
        for pair in round_pairs:
            value = outcome(pair)
            found.append(run(f"pair {number}", pair, *((10.0, value) if isinstance(value, str) else (value,))))
    return found


ALONE = [run("alone", host) for host in "abcd"]


@pytest.mark.parametrize(("runs", "suspects"), [
    # a node that fails when it runs alone
    ([run("all", "ab", reason="x"), run("alone", "a"), run("alone", "b", reason="out of memory")], [["b"]]),
    # a node that is slow in every pair, while the other nodes are fast with each other
    ([run("all", "abcd", 1.0), *ALONE, *pairs(lambda pair: 1.0 if "c" in pair else 10.0)], [["c"]]),
    ([run("all", "abcd", reason="x"), *ALONE, *pairs(lambda pair: "no route" if "a" in pair else 10.0)], [["a"]]),
    # a slow connection between two nodes
    ([run("all", "abcd", 1.0), *ALONE, *pairs(lambda pair: 1.0 if pair == "bd" else 10.0)], [["b", "d"]]),
    # two nodes that are fast when they run alone
    ([run("all", "ab", 0.01), run("alone", "a"), run("alone", "b")], [["a", "b"]]),
    # no difference between the nodes
    ([run("all", "abcd", 1.0), *ALONE, *pairs(lambda pair: 5.0)], []),
])
def test_runs_determine_the_suspects(runs, suspects):
    assert [suspect["hosts"] for suspect in collective.suspects(runs)] == suspects


def test_group_fails_if_one_of_its_nodes_fails():
    observed = peers(n1=SUCCESSFUL, n2="")
    observed["n2"]["collective"]["runs"].append({"round": "pair 0", "hosts": [], "result": None})
    observed["n3"] = {}
    runs = collective.group_runs(observed)
    assert [(each["round"], each["failed"], each["bandwidth"]) for each in runs] == [("all", True, 37.5)]
    assert collective.overall(observed) == (collective.parse(SUCCESSFUL), runs[0])
    assert collective.overall({"n3": {}}) is None


@pytest.mark.parametrize(("minimum", "nodes", "required"), [
    ("30", 2, (30.0, "hccl_collective_bus_bandwidth_minimum_gbs")),
    ("", 2, (36.0, "0.9 times the 40 GB/s in the baseline")),
    (None, 2, (36.0, "0.9 times the 40 GB/s in the baseline")),
    ("", 3, None),
])
def test_minimum_or_baseline_determines_the_required_bandwidth(minimum, nodes, required):
    result = collective.parse(SUCCESSFUL)
    inputs = {"hccl_collective_bus_bandwidth_minimum_gbs": minimum, "hccl_collective_baseline_tolerance": 0.9}
    baseline = {"2 nodes, 16 ranks, hccl, 268435456 bytes": 40.0}
    assert collective.required_bandwidth(result, nodes, inputs, baseline) == required


def test_no_bandwidth_is_required_without_a_minimum_and_a_baseline():
    inputs = {"hccl_collective_bus_bandwidth_minimum_gbs": "", "hccl_collective_baseline_tolerance": 0.9}
    assert collective.required_bandwidth(collective.parse(SUCCESSFUL), 2, inputs, None) is None
