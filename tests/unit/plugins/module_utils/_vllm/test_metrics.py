# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The load of a server is computed from its metrics."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import metrics as metrics_module

METRICS = """# TYPE vllm:num_requests_running gauge
vllm:num_requests_running{engine="0",model_name="m"} 3.0
vllm:num_requests_running{engine="1",model_name="m"} 1.0
vllm:num_requests_waiting{engine="0",model_name="m"} 2.0
vllm:num_requests_waiting_by_reason{engine="0",reason="capacity"} 9.0
vllm:request_success_total{engine="0",finished_reason="stop"} 7.0
vllm:request_success_total{engine="0",finished_reason="length"} 2.0
vllm:kv_cache_usage_perc{engine="0"} 0.25
vllm:kv_cache_usage_perc{engine="1"} 5e-01
"""


@pytest.mark.parametrize(("metrics", "expected"), [
    (METRICS, {"running": 4, "waiting": 2, "finished": 9, "kv_cache_usage": 0.5}),
    ("vllm:num_requests_running 0\nvllm:gpu_cache_usage_perc{} 0.1\n",
     {"running": 0, "waiting": 0, "finished": 0, "kv_cache_usage": 0.1}),
    ("vllm:num_requests_running 1.0", {"running": 1, "waiting": 0, "finished": 0, "kv_cache_usage": None}),
    ("python_gc_objects_collected_total 1\n", None),
    ("", None),
])
def test_load_combines_all_engines(metrics, expected):
    assert metrics_module.load(metrics) == expected
