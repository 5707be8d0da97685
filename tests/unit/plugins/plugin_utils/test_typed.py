# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._typed import typed_settings


def test_texts_of_the_command_line_get_their_types():
    found = typed_settings("benchmark", {"repeats": "3", "baseline_save": "false", "slo": '{"p99_ttft_ms": 5}',
                                         "percentiles": "50,99", "request_rate": 1, "sweep_maximum": "2.5"})
    assert {name: found[name] for name in ("repeats", "baseline_save", "slo", "percentiles", "request_rate",
                                           "sweep_maximum")} == {
        "repeats": 3, "baseline_save": False, "slo": {"p99_ttft_ms": 5}, "percentiles": [50.0, 99.0],
        "request_rate": "1", "sweep_maximum": 2.5}


@pytest.mark.parametrize(("name", "value"), [("repeats", "three"), ("sweep", "fast"), ("slo", "fast")])
def test_what_has_no_such_type_is_named(name, value):
    with pytest.raises(AnsibleActionFail, match="benchmark_" + name):
        typed_settings("benchmark", {name: value})
