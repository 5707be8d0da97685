# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Collective runs: what a run printed, who took part, and who is to blame."""
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
GOOD = "[W923] some noise\n" + START + line(type="row", **ROW) + line(type="row", **LARGE) + line(type="end")


def test_bus_bandwidth():
    assert collective.bus_bandwidth(10.0, 2) == 10.0
    assert collective.bus_bandwidth(10.0, 16) == pytest.approx(18.75)
    assert collective.bus_bandwidth(10.0, 1) == 0


def test_parse():
    result = collective.parse(GOOD)
    assert result == {"rows": [ROW, LARGE], "failed": False, "reason": None, "backend": "hccl", "ranks": 16,
                      "tool": "probe", "choice": None}
    assert collective.bandwidth(result) == 37.5


@pytest.mark.parametrize(("text", "status", "reason"), [
    (GOOD, 124, "not finished in time"),
    (START + line(type="error", rank=3, host="n2", message="RuntimeError: x"), 1, "rank 3 on n2: RuntimeError: x"),
    (START + line(type="row", **{**ROW, "check": "failed"}) + line(type="end"), 0, "a wrong sum for 1048576 bytes"),
    (GOOD.replace(line(type="end"), ""), 0, "it ended with status 0 and without a result"),
    (GOOD, 137, "it ended with status 137 and without a result"),
    ("Traceback\ntorch.distributed.DistNetworkError: no route\n", 1, "torch.distributed.DistNetworkError: no route"),
    ("EI0006: link timeout\nsomething else\n", 1, "EI0006: link timeout"),
    (START + collective.MARK + "{broken\n" + line(type="end"), 0, "an unreadable line of the probe"),
    ("", 0, "it ended with status 0 and without a result"),
])
def test_parse_failure(text, status, reason):
    result = collective.parse(text, status)
    assert result["failed"]
    assert result["reason"].startswith(reason)


def test_a_missing_row_is_a_failure():
    sizes = [1048576, 268435456]
    text = line(type="start", backend="hccl", ranks=16, sizes=sizes) + line(type="row", **ROW) + line(type="end")
    assert collective.parse(text)["reason"] == "1 of 2 rows are missing"
    assert collective.parse(line(type="start", backend="hccl", ranks=2) + line(type="end"))["failed"]


# --- hccl_test

LEADS = line(type="start", tool="hccl_test", backend="hccl_test", node=0, ranks=16, sizes=[1048576, 2097152])
FOLLOWS = line(type="start", tool="hccl_test", backend="hccl_test", node=1, ranks=16, sizes=[1048576, 2097152])
TABLE = ("the minbytes is 1048576, maxbytes is 2097152, iters is 20, warmup_iters is 5\n"
         "data_size(Bytes): | aveg_time(us): | alg_bandwidth(GB/s): | check_result: \n"
         "1048576           | 100.00         | 10.48576             | success\n"
         "2097152           | 100.00         | 20.97152             | success\n")
ENDS = line(type="end", status=0)


def test_hccl_test_of_the_first_node():
    result = collective.parse(LEADS + TABLE + ENDS)
    assert not result["failed"]
    assert [row["size_bytes"] for row in result["rows"]] == [1048576, 2097152]
    assert collective.bandwidth(result) == pytest.approx(20.97152 * 2 * 15 / 16)
    assert (result["tool"], result["backend"], result["ranks"]) == ("hccl_test", "hccl_test", 16)
    assert collective.baseline_key(result, 2) == "2 nodes, 16 ranks, hccl_test, 2097152 bytes"


def test_hccl_test_of_another_node():
    result = collective.parse(FOLLOWS + ENDS)
    assert (result["rows"], result["failed"]) == ([], False)
    assert collective.parse(FOLLOWS)["failed"]
    assert collective.parse(FOLLOWS + line(type="end", status=9), 9)["failed"]


def test_what_hccl_test_did_not_verify_is_no_success():
    result = collective.parse(LEADS + TABLE.replace("success", "NULL") + ENDS)
    assert not result["failed"]
    assert {row["check"] for row in result["rows"]} == {"NULL"}
    assert collective.bandwidth(result) is None


ERROR_7 = "hccl interface return errreturn err ./common/src/hccl_test_common.cc:538, retcode: 7 "


@pytest.mark.parametrize(("text", "status", "reason"), [
    (LEADS + TABLE.replace("| success\n2", "| failed\n2") + ENDS, 0, "a wrong sum for 1048576 bytes"),
    (LEADS + "local rank_id 3, check result failed, expect 8\n" + TABLE.replace("success", "failed") + ENDS, 0,
     "local rank_id 3, check result failed"),
    (LEADS + TABLE + line(type="end", status=1), 1, "it ended with status 1"),
    (LEADS + TABLE, 0, "it ended with status 0 and without a result"),
    (LEADS + TABLE + ENDS, 124, "not finished in time"),
    (LEADS + "".join(TABLE.splitlines(True)[:3]) + ENDS, 0, "1 of 2 rows are missing"),
    (LEADS + "".join(TABLE.splitlines(True)[:2]) + ENDS, 0, "2 of 2 rows are missing"),
    (LEADS + ENDS, 0, "2 of 2 rows are missing"),
    (LEADS + TABLE.splitlines(True)[0] + ERROR_7 + "\n" + line(type="end", status=1), 1, ERROR_7.strip()),
    (LEADS + line(type="error", rank=0, host="n1", message="n2 did not join within 60 s"), 3, "rank 0 on n1: n2 did"),
    (line(type="error", rank=1, host="n2", message="the image has no MPI"), 3, "rank 1 on n2: the image has no MPI"),
])
def test_hccl_test_that_failed(text, status, reason):
    result = collective.parse(text, status)
    assert result["failed"]
    assert result["reason"].startswith(reason)


def test_the_probe_in_the_place_of_hccl_test_tells_why():
    result = collective.parse(line(type="choice", tool="probe", reason="the image has no MPI") + GOOD)
    assert (result["tool"], result["choice"], result["failed"]) == ("probe", "the image has no MPI", False)


def test_images_that_differ_are_named():
    both = ["n1", "n2"]
    peers = {host: {"collective": {"runs": [{"round": "all", "hosts": both, "result": collective.parse(text, 3)}]}}
             for host, text in (("n1", LEADS), ("n2", GOOD))}
    run, = collective.runs_of(peers)
    assert run["reason"] == "the images of the nodes differ: hccl_test can be run on n1 only"


@settings(max_examples=200)
@given(st.data())
def test_mutated_output_is_never_a_success_with_other_numbers(data):
    at = data.draw(st.integers(0, len(GOOD) - 1))
    text = GOOD[:at] + data.draw(st.sampled_from(["", "}", "\n", "x"])) + GOOD[at + 1:]
    result = collective.parse(text)
    for row in result["rows"]:
        assert all(str(value) in text for value in row.values() if isinstance(value, str))
    json.dumps(result)


# --- Rounds

def test_groups():
    hosts = ["n3", "n1", "n2", "n4"]
    assert collective.group(hosts, "n3", collective.ALL) == {"hosts": ["n1", "n2", "n3", "n4"], "rank": 2}
    assert collective.group(hosts, "n3", collective.ALONE) == {"hosts": ["n3"], "rank": 0}
    assert collective.diagnosis_rounds(4, 3) == ["alone", "pair 0", "pair 1", "pair 2"]
    assert collective.diagnosis_rounds(2, 3) == ["alone"]
    for round_name in collective.diagnosis_rounds(4, 3)[1:]:
        for host in hosts:
            group = collective.group(hosts, host, round_name)
            other = next(name for name in group["hosts"] if name != host)
            assert collective.group(hosts, other, round_name)["hosts"] == group["hosts"]
    assert sum(not collective.group(["a", "b", "c"], host, "pair 0")["hosts"] for host in "abc") == 1


# --- Blame

def run(round_name, hosts, bandwidth=10.0, reason=None):
    return {"round": round_name, "hosts": list(hosts), "failed": reason is not None, "reason": reason,
            "bandwidth": None if reason else bandwidth}


def pairs(speed):
    """Three rounds of the four nodes a, b, c, d; ``speed(pair)`` is a bandwidth or a reason."""
    found = []
    for number, met in enumerate((("ab", "cd"), ("ac", "bd"), ("ad", "bc"))):
        for pair in met:
            value = speed(pair)
            found.append(run(f"pair {number}", pair, *((10.0, value) if isinstance(value, str) else (value,))))
    return found


ALONE = [run("alone", host) for host in "abcd"]


@pytest.mark.parametrize(("runs", "blamed"), [
    # the node that is broken by itself
    ([run("all", "ab", reason="x"), run("alone", "a"), run("alone", "b", reason="out of memory")], [["b"]]),
    # slow in every pair, while the others are fast with each other
    ([run("all", "abcd", 1.0), *ALONE, *pairs(lambda pair: 1.0 if "c" in pair else 10.0)], [["c"]]),
    ([run("all", "abcd", reason="x"), *ALONE, *pairs(lambda pair: "no route" if "a" in pair else 10.0)], [["a"]]),
    # one bad way between two
    ([run("all", "abcd", 1.0), *ALONE, *pairs(lambda pair: 1.0 if pair == "bd" else 10.0)], [["b", "d"]]),
    # two nodes that are well alone: what lies between them
    ([run("all", "ab", 0.01), run("alone", "a"), run("alone", "b")], [["a", "b"]]),
    # nobody stands out
    ([run("all", "abcd", 1.0), *ALONE, *pairs(lambda pair: 5.0)], []),
])
def test_suspects(runs, blamed):
    assert [one["hosts"] for one in collective.suspects(runs)] == blamed


def test_runs_of_takes_what_every_member_saw():
    good = collective.parse(GOOD)
    bad = collective.parse("", 1)
    peers = {"n1": {"collective": {"runs": [{"round": "all", "hosts": ["n1", "n2"], "result": good}]}},
             "n2": {"collective": {"runs": [{"round": "all", "hosts": ["n1", "n2"], "result": bad},
                                            {"round": "pair 0", "hosts": [], "result": None}]}}, "n3": {}}
    runs = collective.runs_of(peers)
    assert [(one["round"], one["failed"], one["bandwidth"]) for one in runs] == [("all", True, 37.5)]
    assert collective.overall(peers)[0] == good
    assert collective.overall({"n3": {}}) == (None, None)


def test_threshold():
    result = collective.parse(GOOD)
    key = collective.baseline_key(result, 2)
    assert key == "2 nodes, 16 ranks, hccl, 268435456 bytes"
    assert collective.threshold(result, 2, "30", {key: 40.0}, 0.9)[0] == 30
    assert collective.threshold(result, 2, "", {key: 40.0}, 0.9)[0] == pytest.approx(36)
    assert collective.threshold(result, 3, "", {key: 40.0}, 0.9) == (None, None)
    assert collective.threshold(result, 2, None, None, 0.9) == (None, None)
