# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.action import benchmark_compare
from ansible_collections.ascend.vllm.plugins.module_utils import benchmark_analysis as analysis

RAW = {"num_prompts": 2, "completed": 2, "output_throughput": 50.0, "p99_ttft_ms": 20.0}
FORMS = {
    "raw": RAW,
    "baseline": {"schema": analysis.BASELINE_SCHEMA, "metrics": RAW},
    "stage": {"stage": "benchmark", "observed": {"instances": [{"summary": {
        "output_throughput": {"median": 50.0}, "p99_ttft_ms": {"median": 20.0}}}]}},
}


@pytest.mark.parametrize("form", sorted(FORMS))
def test_every_form_of_a_measurement_is_read(form, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(json.dumps(FORMS[form]))
    found = benchmark_compare._metrics(path)
    assert (found["output_throughput"], found["p99_ttft_ms"]) == (50.0, 20.0)


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"stage": "benchmark", "observed": {}}', '{"stage": "hccl"}'])
def test_what_is_no_measurement_is_named(text, tmp_path):
    path = tmp_path / "x.json"
    path.write_text(text)
    with pytest.raises(AnsibleActionFail, match=str(path)):
        benchmark_compare._metrics(path)


def test_the_table_says_which_way_is_better():
    rows = analysis.compare(RAW, dict(RAW, output_throughput=40.0, p99_ttft_ms=20.0))
    assert [" ".join(line.split()) for line in benchmark_compare._table(rows)] == [
        "figure before after after/before",
        "Output token throughput (tok/s) 50 40 0.800 worse",
        "Time to first token, p99 (ms) 20 20 1.000 same"]
