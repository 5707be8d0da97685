# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.weights.fanout import stager, upstreams

NOTHING = {"holds": False, "files": 0}
PART = {"holds": False, "files": 3}
WHOLE = {"holds": True, "files": 14}


@pytest.mark.parametrize(("held", "expected"), [
    ({"a": NOTHING, "b": NOTHING}, "a"),
    ({"a": NOTHING, "b": PART}, "b"),
    ({"a": PART, "b": PART, "c": WHOLE}, "c"),
    ({"a": WHOLE, "b": WHOLE}, "a"),
    ({"b": NOTHING}, "b"),
    ({}, None),
])
def test_stager_is_the_node_with_most_of_the_model(held, expected):
    assert stager(["a", "b", "c"], held) == expected


@pytest.mark.parametrize(("held", "expected"), [
    ({"a": NOTHING, "b": NOTHING}, "b"),
    ({"a": PART, "b": NOTHING, "c": PART}, "c"),
    ({"a": WHOLE, "b": PART}, "a"),
    ({"a": NOTHING}, None),
])
def test_stager_that_failed_is_replaced(held, expected):
    assert stager(["a", "b", "c"], held, failed=["a"]) == expected


@pytest.mark.parametrize(("holders", "expected"), [
    ({"a"}, {"b": ["a"], "c": ["b", "a"], "d": ["c", "b", "a"]}),
    ({"c"}, {"a": ["c"], "b": ["a", "c"], "d": ["b", "a", "c"]}),
    ({"a", "c"}, {"b": ["a", "c"], "d": ["c", "a"]}),
    ({"a", "b", "c", "d"}, {}),
    (set(), {}),
])
def test_receivers_form_a_chain_after_each_holder(holders, expected):
    assert upstreams(["a", "b", "c", "d"], holders) == expected


def test_every_receiver_has_its_own_nearest_upstream():
    hosts = ["n%d" % at for at in range(31)]
    found = upstreams(hosts, {"n0", "n7", "n30"})
    nearest = [chain[0] for chain in found.values()]
    assert len(nearest) == len(set(nearest)) == 28
    assert all(host not in chain for host, chain in found.items())
