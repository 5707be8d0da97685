# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The facts of hosts are compared, and the majority value and the outliers are returned."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver.drift import compare


@pytest.mark.parametrize(("hosts", "expected"), [
    ({}, []),
    ({"a": {"driver": "25.3.rc1"}}, []),
    ({"a": {"driver": "25.3.rc1"}, "b": {"driver": "25.3.rc1"}}, []),
    ({"a": {"driver": "1"}, "b": {"driver": "2"}, "c": {"driver": "1"}},
     [{"fact": "driver", "majority": "1", "outliers": {"b": "2"}}]),
    ({"a": {"driver": "1"}, "b": {"driver": "2"}},
     [{"fact": "driver", "majority": None, "outliers": {"a": "1", "b": "2"}}]),
    ({"n10": {"kernel": "6"}, "n9": {"kernel": "5"}, "n1": {"kernel": "4"}, "n2": {"kernel": "4"}},
     [{"fact": "kernel", "majority": "4", "outliers": {"n9": "5", "n10": "6"}}]),
    ({"a": {"image": "x"}, "b": {}, "c": {"image": "x"}}, []),
    ({"a": {"driver": "1", "kernel": "5"}, "b": {"driver": "1", "kernel": "6"}},
     [{"fact": "kernel", "majority": None, "outliers": {"a": "5", "b": "6"}}]),
    ({"a": {"image": "x", "kernel": "1"}, "b": {"kernel": "1"}, "c": {"image": "y", "kernel": "2"},
      "d": {"image": "y"}},
     [{"fact": "image", "majority": "y", "outliers": {"a": "x"}},
      {"fact": "kernel", "majority": "1", "outliers": {"c": "2"}}]),
])
def test_majority_and_outliers_are_returned(hosts, expected):
    assert compare(hosts) == expected
    assert [list(found["outliers"]) for found in compare(hosts)] == [list(found["outliers"]) for found in expected]
