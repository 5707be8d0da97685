# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Rows, numbers with units, and scores are read from AISBench's result files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import tables

ACCURACY = """\
dataset,version,metric,mode,model-a,model-b
own_set,1a2b3c,accuracy,gen,81.25,0.50 (4/8)
gone,-,-,-,-,-
"""


def test_performance_tables_are_read_from_json_and_csv():
    assert tables.performance('{"Total Requests": {"total": 6}, "Benchmark Duration": {"total": "1.5 ms"}}') == [
        {"Common Metric": "Total Requests", "Stage": "total", "Value": "6"},
        {"Common Metric": "Benchmark Duration", "Stage": "total", "Value": "1.5 ms"}]
    assert tables.performance("Performance Parameters,Stage,Average,N\nE2EL,total,41.3 ms,6\n") == [
        {"Performance Parameters": "E2EL", "Stage": "total", "Average": "41.3 ms", "N": "6"}]


def test_only_complete_rows_of_a_truncated_table_are_read():
    head = "Performance Parameters,Stage,Average\n"
    assert tables.performance("noise\n" + head + "TTFT,total,8.5 ms\nTPOT,tot") == [
        {"Performance Parameters": "TTFT", "Stage": "total", "Average": "8.5 ms"}]
    assert tables.performance('{"Total Requests": {"total": ') == []


def test_only_a_table_with_all_columns_is_an_accuracy_summary():
    assert tables.accuracy("dataset,version,metric,mode,model-a\nown_set,1a2b3c,accuracy,gen,81.25\n") == [
        {"dataset": "own_set", "version": "1a2b3c", "metric": "accuracy", "mode": "gen", "model-a": "81.25"}]
    assert tables.accuracy("dataset,version\nown_set,1a2b3c\n") == []


def test_scores_of_a_dead_server_are_none_and_never_zero():
    rows = tables.accuracy(ACCURACY)
    assert [(score["dataset"], score["model"], score["score"]) for score in tables.scores(rows)] == [
        ("own_set", "model-a", 81.25), ("own_set", "model-b", 0.5),
        ("gone", "model-a", None), ("gone", "model-b", None)]


@pytest.mark.parametrize(("cell", "value", "unit"), [
    ("12300.2 ms", 12300.2, "ms"), ("2048.2945  ms", 2048.2945, "ms"), ("6", 6.0, None),
    ("-1.5e3 token/s", -1500.0, "token/s")])
def test_numbers_are_read_with_their_units(cell, value, unit):
    assert tables.number(cell) == (value, unit)


@pytest.mark.parametrize("cell", ["-", "", "nan", "1.2.3", "12 ms later", "N/A"])
def test_cell_without_a_number_is_an_error(cell):
    with pytest.raises(ValueError, match="is not a number"):
        tables.number(cell)


FRAGMENTS = ("{", "}", '"', "[" * 5000, "Performance Parameters,Stage,N", "dataset,version,metric,mode,m", "a,b,c,d,e",
             '{"Total Requests": 1}', '"open,quote')


@given(st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("\n".join))
def test_any_text_is_read_without_an_error(text):
    for row in tables.performance(text) + tables.accuracy(text):
        assert all(isinstance(cell, str) for cell in row.values())


def test_recorded_ais_bench_files_are_read(corpus):
    texts = {path.name: path.read_text("utf-8") for path in (corpus / "recorded").glob("aisbench_*/*")}
    assert len(tables.performance(texts["synthetic.json"])) > 5
    assert len(tables.performance(texts["synthetic.csv"])) > 5
    assert tables.scores(tables.accuracy(texts["summary_20261123_091522.csv"]))[0]["score"] is not None
    assert tables.scores(tables.accuracy(texts["summary_dead_server.csv"]))[0]["score"] is None
