# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Each node computes the same distribution of the model, and its own position in the chain of nodes."""

from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.weights_chain import ActionModule

NOTHING = {"holds": False, "files": 0, "manifest": None}
PART = {"holds": False, "files": 3, "manifest": None}
WHOLE = {"holds": True, "files": 14, "manifest": {"files": 14}}
HOSTS = ("node1", "node2", "node3")


@pytest.fixture
def act():
    """Return a function (host, {host: its part of the model}, variables, **args) -> the return value of the action."""
    def run(host, held, variables=None, play_hosts=HOSTS, **args):
        hostvars = {name: {"ansible_host": f"10.0.0.{name[-1]}", **(variables or {}).get(name, {})}
                    for name in (*HOSTS, "node9")}
        loader = DataLoader()
        task = Mock(args={"held": held, **args}, async_val=0, check_mode=False)
        action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        action._execute_module = Mock(side_effect=AssertionError("no module may run"))
        returned = action.run(task_vars={"hostvars": hostvars, "inventory_hostname": host,
                                         "ansible_play_hosts": list(play_hosts)})
        assert returned.pop("changed") is False
        return returned
    return run


@pytest.mark.parametrize(("held", "args", "stager", "receivers", "manifest"), [
    ({"node1": NOTHING, "node2": PART, "node3": NOTHING}, {}, "node2", list(HOSTS), None),
    ({"node1": NOTHING, "node2": PART, "node3": NOTHING}, {"failed": ["node2"]}, "node1", ["node1", "node3"], None),
    ({"node1": NOTHING, "node2": WHOLE, "node3": PART}, {"staged": True}, "node2", ["node1", "node3"], {"files": 14}),
    # node2 failed at first, but has the model now.
    ({"node1": NOTHING, "node2": WHOLE, "node3": PART}, {"failed": ["node2"]}, "node2", ["node1", "node3"],
     {"files": 14}),
    # Hosts outside the play are ignored.
    ({"node1": NOTHING, "node9": WHOLE}, {}, "node1", list(HOSTS), None),
    (dict.fromkeys(HOSTS, WHOLE), {"staged": True}, "node1", [], {"files": 14}),
    ({}, {}, None, list(HOSTS), None),
])
def test_all_nodes_make_the_same_decision(act, held, args, stager, receivers, manifest):
    for host in HOSTS:
        found = act(host, held, **args)
        assert (found["stager"], found["receivers"], found["manifest"]) == (stager, receivers, manifest)


def test_nodes_with_another_model_are_not_part_of_the_chain(act):
    found = act("node3", {"node1": WHOLE, "node2": WHOLE, "node3": PART}, hosts=["node2", "node3"])
    assert (found["stager"], found["receivers"], found["upstream"]) == ("node2", ["node3"], ["10.0.0.2"])
    assert found["peers"] == ["10.0.0.2", "10.0.0.3"]
    with pytest.raises(AnsibleActionFail, match="No node of this run has the whole model"):
        act("node3", {"node1": WHOLE, "node3": PART}, hosts=["node2", "node3"], staged=True)


@pytest.mark.parametrize(("host", "upstream"), [
    ("node1", ["10.0.0.2"]),
    ("node2", []),
    ("node3", ["10.0.0.1", "10.0.0.2"]),
])
def test_node_downloads_from_all_nodes_before_it_in_the_chain(act, host, upstream):
    found = act(host, {"node1": PART, "node2": WHOLE, "node3": NOTHING})
    assert found["upstream"] == upstream
    assert found["address"] == f"10.0.0.{host[-1]}"
    assert found["peers"] == ["10.0.0.1", "10.0.0.2", "10.0.0.3"]


def test_node_that_failed_is_not_part_of_the_chain(act):
    held = {"node1": PART, "node2": WHOLE, "node3": NOTHING}
    assert act("node3", held, failed=["node1"])["upstream"] == ["10.0.0.2"]


@pytest.mark.parametrize(("variables", "address"), [
    ({"weights_swarm_address": "192.168.1.1"}, "192.168.1.1"),
    ({}, "10.0.0.1"),
    ({"ansible_host": None}, "node1"),
])
def test_swarm_address_defaults_to_the_address_or_name_of_the_node(act, variables, address):
    assert act("node1", {}, variables={"node1": variables})["address"] == address
    assert act("node2", {}, variables={"node1": variables})["peers"][0] == address


def test_every_node_fails_when_no_node_has_the_model(act):
    for host in HOSTS:
        with pytest.raises(AnsibleActionFail, match="No node of this run has the whole model"):
            act(host, {"node1": NOTHING, "node2": PART}, staged=True, failed=["node1"])
