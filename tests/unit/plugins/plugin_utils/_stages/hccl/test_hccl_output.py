# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The output of hccl_test is parsed. The samples in this file were not recorded; they are written in its format."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import hccl_output

START = "the minbytes is 8192, maxbytes is 16384, iters is 20, warmup_iters is 5\n"
HEADER = "data_size(Bytes): | aveg_time(us): | alg_bandwidth(GB/s): | check_result: \n"
ROW = "8192              | 801.25         | 0.01022              | success\n"
SUCCESSFUL = START + HEADER + ROW + "16384             |  820.00  |  0.01998  | success\n"
ROWS = [{"size_bytes": 8192, "time_us": 801.25, "alg_bandwidth_gbs": 0.01022, "check": "success"},
        {"size_bytes": 16384, "time_us": 820.0, "alg_bandwidth_gbs": 0.01998, "check": "success"}]


def test_successful_run_is_parsed():
    assert hccl_output.parse(SUCCESSFUL) == (ROWS, None)
    assert hccl_output.parse(SUCCESSFUL.replace("aveg_time", "avg_time")) == (ROWS, None)


@pytest.mark.parametrize("decorate", [
    lambda text: text.replace("\n", "\r\n"), lambda text: text.replace("\n", "\n\n"), lambda text: "\ufeff" + text,
    lambda text: "".join(f"\x1b[32m{line}\x1b[0m\n" for line in text.splitlines()),
    lambda text: "[W] noise of a library\n" + text + "Bye\n", lambda text: text.replace("|", " | "),
])
def test_decoration_is_ignored(decorate):
    assert hccl_output.parse(decorate(SUCCESSFUL)) == (ROWS, None)


@pytest.mark.parametrize("row", [
    ROW[:30], ROW.replace("success", ""), ROW.replace("success", "succ"), ROW.replace("0.01022", "inf"),
    ROW.replace("0.01022", "nan"), ROW.replace("801.25", "-801.25"), ROW.replace("8192", ""),
])
def test_incomplete_rows_are_ignored(row):
    assert hccl_output.parse(START + HEADER + row) == ([], None)


def test_rank_prefixes_from_mpirun_are_removed():
    tagged = "".join(f"[1,0]<stdout>:{line}\n" for line in SUCCESSFUL.splitlines())
    assert hccl_output.parse(tagged) == (ROWS, None)


def test_unverified_sum_is_not_a_failure():
    rows, reason = hccl_output.parse(START + HEADER + ROW.replace("success", "NULL")
                                     + "Warning: The calculation result overflows, No verification is performed.\n")
    assert [row["check"] for row in rows] == ["NULL"]
    assert reason is None


def test_wrong_sum_is_a_failure():
    rows, reason = hccl_output.parse(START + HEADER + "local rank_id 3, check result failed, expect 8, got 7\n"
                                     + ROW.replace("success", "failed"))
    assert rows[0]["check"] == "failed"
    assert reason.startswith("local rank_id 3, check result failed")


@pytest.mark.parametrize(("text", "reason"), [
    (START + "hccl interface return err ./common/hccl.cc:10, retcode: 7 \nThis is an error in init_hcclComm.\n",
     "hccl interface return err ./common/hccl.cc:10, retcode: 7"),
    ("bash: orted: command not found\nA daemon (pid 1) died unexpectedly with status 127\n",
     "bash: orted: command not found"),
    ("Fatal error in MPI_Init: Other MPI error\nMPID_nem(1)..: gethostbyname failed, node-9 (errno 2)\n",
     "MPID_nem(1)..: gethostbyname failed, node-9 (errno 2)"),
    ("Fatal error in MPI_Init: Other MPI error\n", "Fatal error in MPI_Init: Other MPI error"),
    (START + HEADER + "Error: The number of device is 0.Check whether the package is correct.\n",
     "Error: The number of device is 0.Check whether the package is correct."),
    ("ssh: connect to host 192.0.2.5 port 22: No route to host\n",
     "ssh: connect to host 192.0.2.5 port 22: No route to host"),
    ("mpirun: \u672a\u627e\u5230\u547d\u4ee4\n", "mpirun: \u672a\u627e\u5230\u547d\u4ee4"),
    ("=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES\n=   EXIT CODE: 9\n",
     "=   BAD TERMINATION OF ONE OF YOUR APPLICATION PROCESSES"),
    (START + HEADER, None),
])
def test_reason_for_a_failure_is_found(text, reason):
    assert hccl_output.parse(text) == ([], reason)


def test_rows_before_a_failure_are_kept():
    line = "hccl interface return err x.cc:1, retcode: 9"
    assert hccl_output.parse(SUCCESSFUL + line + "\n") == (ROWS, line)


@settings(max_examples=300)
@given(st.data())
def test_mutated_text_never_crashes_the_parser_or_yields_new_values(data):
    text = SUCCESSFUL
    for _step in range(data.draw(st.integers(0, 6))):
        at = data.draw(st.integers(0, len(text)))
        text = text[:at] + data.draw(st.sampled_from(["", "\n", "|", "9", "nan", "\u0663", "e5"])) + text[at + 1:]
    rows, _reason = hccl_output.parse(text)
    for row in rows:
        assert str(row["size_bytes"]) in text
        assert row["check"] in text


def test_outputs_in_the_corpus_are_parsed_as_expected(corpus):
    samples = sorted((corpus / "hccl_test").glob("*.txt"))
    assert samples
    for sample in samples:
        expected = json.loads(sample.with_suffix(".expected.json").read_text("utf-8"))
        assert hccl_output.parse(sample.read_text("utf-8")) == (expected["rows"], expected["reason"]), sample.name
