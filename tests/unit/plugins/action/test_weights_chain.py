# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action answers for its node, from what every node of the play has of the model."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.weights_chain import ActionModule

NOTHING = {"holds": False, "files": 0, "manifest": None}
PART = {"holds": False, "files": 3, "manifest": None}
WHOLE = {"holds": True, "files": 14, "manifest": {"digest": "d"}}
HOSTVARS = {"a": {"ansible_host": "10.0.0.1"}, "b": {"ansible_host": "10.0.0.2"},
            "c": {"ansible_host": "10.0.0.3", "weights_swarm_address": "10.1.0.3"}, "d": {}}


def act(host, held, **args):
    loader = DataLoader()
    task = Mock(args={"held": held, **args}, async_val=0, check_mode=False)
    action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
    return action.run(task_vars={"inventory_hostname": host, "hostvars": HOSTVARS,
                                 "ansible_play_hosts": list(HOSTVARS)})


def test_node_with_files_of_the_model_becomes_the_stager():
    # c has not answered
    found = act("a", {"a": NOTHING, "b": PART, "d": NOTHING})
    assert (found["stager"], found["manifest"], found["upstream"]) == ("b", None, [])


def test_another_node_takes_the_place_of_a_stager_that_failed():
    assert act("a", {"a": NOTHING, "b": PART, "d": NOTHING}, failed=["b"])["stager"] == "a"


@pytest.mark.parametrize(("host", "address", "upstream"), [
    ("a", "10.0.0.1", []),
    ("b", "10.0.0.2", ["10.0.0.1"]),
    ("c", "10.1.0.3", ["10.0.0.2", "10.0.0.1"]),
    ("d", "d", ["10.1.0.3", "10.0.0.2", "10.0.0.1"]),
])
def test_each_node_gets_the_model_from_the_one_before_it(host, address, upstream):
    found = act(host, {"a": WHOLE, "b": PART, "c": NOTHING, "d": NOTHING}, failed=["a"], staged=True)
    assert (found["stager"], found["receivers"], found["manifest"]) == ("a", ["b", "c", "d"], WHOLE["manifest"])
    assert (found["address"], found["upstream"]) == (address, upstream)
    assert found["allies"] == ["10.0.0.1", "10.0.0.2", "10.1.0.3", "d"]


def test_failed_stager_without_the_model_is_left_out():
    found = act("b", {"a": PART, "b": WHOLE, "c": NOTHING, "d": NOTHING}, failed=["a"], staged=True)
    assert (found["stager"], found["receivers"]) == ("b", ["c", "d"])


def test_no_node_with_the_model_after_staging_fails():
    with pytest.raises(AnsibleActionFail, match="No node of this run has the whole model"):
        act("a", {"a": PART, "b": NOTHING}, failed=["a", "b"], staged=True)
