# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values are converted and their ranges are checked; every default is valid."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils import _input_types
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import options, role_defaults, roles, typed

NUMBERS = [name for role in roles() for name, option in options(role).items()
           if {option["type"], option.get("elements")} & {"int", "float"}]

# All other numeric inputs must be above 0. Before you add an input, decide what its value 0 means: no limit, disabled,
# as strict as possible, or nothing, so that it must be refused.
MAY_BE_ZERO = {
    "accuracy_maximum_drop", "accuracy_maximum_tokens", "accuracy_num_prompts", "balancer_wait_s",
    "balancer_watch_interval_s",
    "benchmark_max_concurrency", "benchmark_max_cv_percent", "benchmark_offline_warmup_iterations",
    "benchmark_percentiles", "benchmark_quiet_wait_s", "benchmark_seed", "benchmark_warmup_prompts",
    "diagnostics_size_limit_mb",
    "hccl_collective_pair_rounds", "hccl_collective_processes_per_node", "hccl_collective_warmup",
    "hccl_link_flap_limit", "image_free_space_gib", "npu_driver_clock_skew_s", "npu_driver_idle_aicore_percent",
    "npu_driver_idle_hbm_mb", "npu_driver_image_space_gib", "npu_driver_isolated_pages_limit",
    "npu_driver_isolated_pages_warning", "npu_driver_kernel_log_minutes", "npu_driver_shm_minimum_gib",
    "npu_driver_temperature_limit_c", "npu_driver_temperature_warning_c", "npu_driver_tool_slow_s", "report_max_age_h",
    "serving_drain_timeout_s", "serving_health_interval_s", "serving_idle_hbm_mb", "serving_npu_free_timeout_s",
    "serving_plog_max_mb", "serving_stop_timeout_s", "weights_free_space_gib", "weights_lock_wait_s",
    "weights_progress_s",
}


def problem(name, number):
    """Return the sentence about an input that is set to a number, or to a list of this number."""
    role = next(role for role in roles() if name in options(role))
    return typed(role, {name: [number] if options(role)[name]["type"] == "list" else str(number)})[1].get(name)


@pytest.mark.parametrize("role", roles())
def test_defaults_are_valid(role):
    assert {name: sentence for name, sentence in typed(role, role_defaults(role))[1].items()
            if "{{" not in str(role_defaults(role)[name])} == {}


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_may_be_negative(name):
    assert (problem(name, -1) is None) == (name in _input_types.AT_LEAST)


def test_zero_is_accepted_by_exactly_these_inputs():
    assert {name for name in NUMBERS if problem(name, 0) is None} == MAY_BE_ZERO


@pytest.mark.parametrize("ending", [*_input_types.ABOVE_ZERO, *_input_types.MAY_BE_ZERO, *_input_types.AT_MOST])
def test_every_ending_in_a_rule_matches_an_input(ending):
    assert [name for name in NUMBERS if name.endswith(ending)]


@pytest.mark.parametrize(("option", "value", "converted"), [
    ({"type": "int"}, "3", 3), ({"type": "bool"}, "yes", True), ({"type": "list", "elements": "int"}, "1,2", [1, 2]),
    ({"type": "list"}, None, []), ({"type": "dict"}, None, {}), ({"type": "str"}, None, ""), ({"type": "str"}, 5, "5"),
    ({"type": "path"}, "~/x", "~/x"), ({"type": "raw"}, [1], [1]), ({"type": "raw"}, None, None)])
def test_values_are_converted(option, value, converted):
    assert _input_types.converted("x", option, value) == (converted, None)


def test_secret_is_not_in_the_sentence():
    assert _input_types.converted("x", {"type": "str"}, ["sesame"], True) == (["sesame"], "x must be a string.")
