# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The action reads role defaults, variables and overlay files, and returns no secrets."""

from __future__ import annotations

import json
import tempfile
from unittest.mock import Mock

import pytest
from ansible import template
from ansible.errors import AnsibleActionFail
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.action.plan import ActionModule
from ansible_collections.ascend.vllm.plugins.plugin_utils import _control_node
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records
from ansible_collections.ascend.vllm.tests.unit.plugins.action.action_case import HostVars
from ansible_collections.ascend.vllm.tests.unit.plugins.action.wrong_inventories import NAMES, OTHERS, REFUSED

OVERLAY = """
releases:
  v0.11.0rc1:
    patches:
      mrotary_embedding: {sha256: "%s"}
"""


@pytest.fixture
def act(tmp_path):
    """Return a function (**variables) -> the return value of the action on node1."""
    def run(args=None, **variables):
        task = Mock(args=args or {}, async_val=0, check_mode=False)
        task.action = "ascend.vllm.plan"
        loader = DataLoader()
        action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
        return action.run(task_vars={"inventory_hostname": "node1", "ansible_host": "192.0.2.11",
                                     "report_path": tempfile.mkdtemp(dir=tmp_path), **variables})
    return run


def test_role_defaults_result_in_a_plan(act):
    result = act()
    assert result["changed"] is False
    assert result["plan"]["instances"][0]["url"] == "http://192.0.2.11:8888"


def test_host_variables_change_the_plan(act):
    assert act(serving_port=9000)["plan"]["instances"][0]["url"] == "http://192.0.2.11:9000"


def test_plan_contains_no_secrets(act):
    result = act(serving_api_key="sesame-1", weights_hub_token="sesame-2")
    assert result["plan"]["instances"][0]["secrets_path"]
    assert "sesame" not in json.dumps(result)


def test_plan_contains_no_secret_of_the_wrong_type(act):
    assert "sesame" not in json.dumps(act(serving_api_key=["sesame"]))


@pytest.mark.parametrize("secret", [
    {"serving_api_key": "sesame\n"}, {"serving_api_key": ["old", "sesame\n"]}, {"functional_api_key": "sesame\n"},
    {"benchmark_api_key": "sesame\x01"}, {"accuracy_api_key": " sesame"}, {"weights_hub_token": "sesame\n"}])
def test_secret_that_cannot_be_sent_is_refused_together_with_all_other_mistakes(act, secret):
    with pytest.raises(AnsibleActionFail) as failure:
        act(serving_port=0, **secret)
    assert [refusal["id"] for refusal in failure.value.result["refusals"]] == ["serving_port", *secret]
    assert "sesame" not in str(failure.value) + json.dumps(failure.value.result)


def test_secrets_do_not_change_the_hash(act):
    assert act(serving_api_key="sesame-1")["plan"] == act(serving_api_key="sesame-2")["plan"]


def test_refused_plan_fails_with_all_refusals(act):
    with pytest.raises(AnsibleActionFail) as failure:
        act(serving_port=0, serving_args={"max-num-seq": 1}, serving_api_key="sesame")
    message = str(failure.value)
    assert message.startswith("node1 cannot be deployed like this, and nothing was changed.")
    assert "serving_port must be" in message
    assert "nearest is max-num-seqs" in message
    assert "sesame" not in message + json.dumps(failure.value.result)
    assert [refusal["id"] for refusal in failure.value.result["refusals"]] == ["serving_args.unknown", "serving_port"]


def trusted(text):
    """Return the text as a template that ansible-core >= 2.19 renders."""
    return getattr(template, "trust_as_template", str)(text)


def group_vars(of_play=None, **node2):
    """Return the variables of node1, which forms a group with node2.

    :param of_play: variables of the play, which both hosts have.
    :param node2: variables that only node2 has.
    """
    shared = {"serving_topology": "data_parallel", "groups": {"npu_nodes": ["node1", "node2"]}}
    hosts = {"node1": {"inventory_hostname": "node1", "ansible_host": "192.0.2.11", **shared},
             "node2": {"inventory_hostname": "node2", "ansible_host": "192.0.2.12", **shared, **node2}}
    return {**shared, **(of_play or {}), "hostvars": HostVars(hosts)}


def test_plan_of_a_group_depends_on_the_variables_of_its_members(act):
    plan = act(**group_vars())["plan"]
    assert [member["address"] for member in plan["group"]["members"]] == ["192.0.2.11", "192.0.2.12"]
    changed = act(**group_vars(serving_npus=[4, 5]))["plan"]
    assert changed["instances"][0]["hash"] != plan["instances"][0]["hash"]
    assert changed["instances"][0]["npus"] == plan["instances"][0]["npus"]


def test_variables_of_the_play_apply_to_all_members(act):
    play = {"serving_args": {"max-num-seqs": trusted("{{ seqs }}")}, "seqs": 7, "serving_topology": "ray"}
    plan = act(**group_vars(play, serving_npus=[4, 5]))["plan"]
    assert plan["group"]["topology"] == "ray"
    with pytest.raises(AnsibleActionFail, match="serving_weight_nz is '' on node1, but '0' on node2"):
        act(**group_vars(play, serving_weight_nz="0"))


def test_inputs_of_a_member_may_refer_to_inputs_with_defaults(act):
    plan = act(**group_vars(serving_group_address=trusted("{{ serving_address }}")))["plan"]
    assert plan["group"]["members"][1]["address"] == "192.0.2.12"


def test_refusal_names_the_member(act):
    with pytest.raises(AnsibleActionFail, match="of node2 must be the IPv4 address"):
        act(**group_vars(ansible_host="node2.example.com"))
    with pytest.raises(AnsibleActionFail, match="names node3, which is not in the inventory"):
        act(**dict(group_vars(), serving_hosts=["node1", "node3"]))


def test_plan_contains_no_secrets_of_members(act):
    assert "sesame" not in json.dumps(act(**group_vars(serving_api_key="sesame")))


@pytest.mark.parametrize("as_folder", [False, True])
def test_catalogue_overlay_is_merged(act, tmp_path, as_folder):
    path = tmp_path / "site.yml"
    path.write_text(OVERLAY % (64 * "a"))
    plan = act(plan_catalogue=[str(tmp_path if as_folder else path)])["plan"]
    assert plan["patch"]["sha256"] == 64 * "a"
    assert plan["patch"]["patched_sha256"].startswith("c0424a22")


@pytest.fixture
def check(tmp_path, monkeypatch):
    """Return a function (variables of each host) -> (warnings, return value) of the phase that checks all hosts."""
    monkeypatch.setattr(_control_node, "problems", lambda root: [])  # ansible-test installs no community.docker

    def run(*hosts, stages=None):
        shown = []

        def phase(**args):
            task = Mock(args=args, async_val=0, check_mode=False)
            task.action = "ascend.vllm.plan"
            loader = DataLoader()
            action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
            action._display = Mock()
            try:
                return action.run(task_vars={"hostvars": known, **known["node1"]})
            finally:
                shown.extend(call.args[0] for call in action._display.warning.call_args_list)
                run.printed = "".join(call.args[0] for call in action._display.display.call_args_list)

        names = [f"node{number + 1}" for number in range(len(hosts))]
        known = HostVars({name: {
            "inventory_hostname": name, "ansible_host": "192.0.2.11", "report_path": str(tmp_path),
            "inventory_dir": str(tmp_path), **own} for name, own in zip(names, hosts, strict=True)})
        result = phase(phase="begin", hosts=names, **({} if stages is None else {"stages": stages}))
        run.show = lambda: phase(phase="show", hosts=names)["msg"]
        return shown, result
    return run


def refusal(check, *hosts, **options):
    with pytest.raises(AnsibleActionFail) as failure:
        check(*hosts, **options)
    assert str(failure.value) == "The run is refused because of the inventory, and nothing was changed."
    return "\n".join(failure.value.result["refusals"])


@pytest.mark.parametrize(("variables", "sentence"), REFUSED)
def test_wrong_inventory_is_refused(check, variables, sentence):
    message = refusal(check, variables)
    assert sentence in message
    assert "secret" not in message
    assert "pa55" not in message


def test_correct_inventory_is_not_refused(check):
    shown, result = check({}, {"accuracy_enabled": "true", "accuracy_datasets": [{"name": "gsm8k", "path": "/d"}]})
    assert result == {"changed": False}
    assert not [text for text in shown if "not an input" in text]


def test_all_mistakes_of_all_hosts_are_reported_together(check):
    message = refusal(check, {"weights_distribution": "foo", "hccl_ping_timeout_s": -1},
                      {"weights_distribution": "foo", "serving_port": "x"})
    assert message.count("weights_distribution") == 1
    assert "but is 'foo'." in message, "a sentence about all hosts does not name them"
    assert "but is -1.0 (on node1)." in message
    assert "serving_port must be an integer from 1 to 65535, but is 'x' (on node2)." in message
    assert message.count("serving_port") == 1


def test_host_with_a_mistake_does_not_hide_those_of_later_hosts(check):
    message = refusal(check, {}, {"report_query": trusted("{{ missing }}")}, {"serving_port": "x"})
    assert "report_query" in message
    assert "but is 'x' (on node3)." in message


def test_secret_of_another_host_is_not_in_a_message(check):
    other = {"serving_api_key": "sesame", "weights_distribution": "sesame"}
    assert "sesame" not in refusal(check, {"serving_api_key": "other"}, other)


def test_only_the_inputs_of_the_stages_that_run_are_checked(check):
    assert check({"benchmark_repeats": 0}, stages=["hccl"])[1] == {"changed": False}
    assert "accuracy_timeout_s" in refusal(check, {"accuracy_timeout_s": 0}, stages=["accuracy"])
    check({"accuracy_timeout_s": 0, "ansible_run_tags": ["hccl"], "ansible_skip_tags": []})


@pytest.mark.parametrize("name", NAMES)
def test_name_that_is_not_an_input_causes_a_warning(check, name):
    (text,) = [text for text in check({name: "secret"})[0] if "not an input" in text]
    assert f"The variable {name} is not an input of this collection" in text
    assert f"the nearest input is {NAMES[name]}." in text
    assert "secret" not in text
    assert not [text for text in check({name: 1, "plan_allowed_names": [name]})[0] if "not an input" in text]


def test_other_names_cause_no_warning(check):
    assert not [text for text in check(dict.fromkeys(OTHERS, "x"))[0] if "not an input" in text]


def test_control_node_is_checked(act, tmp_path, monkeypatch):
    pytest.importorskip("ansible_collections.community.docker", reason="ansible-test installs no community.docker")
    (tmp_path / "file").write_text("")
    task = Mock(args={"phase": "begin", "hosts": []}, async_val=0, check_mode=False)
    loader = DataLoader()
    action = ActionModule(task, Mock(), Mock(), loader, Templar(loader=loader, variables={}), Mock())
    assert action.run(task_vars={"inventory_hostname": "n", "report_path": str(tmp_path)}) == {"changed": False}
    with pytest.raises(AnsibleActionFail, match=r"Nothing was run\. report_path is .*/file/results, where the control"):
        action.run(task_vars={"inventory_hostname": "n", "report_path": str(tmp_path / "file" / "results")})


def test_plans_of_all_nodes_are_shown_once(check):
    check({}, {}, {})
    head = check.show()
    assert head.startswith("Plan of 3 nodes\n  URL          http://192.0.2.11:8888\n")
    assert check.printed.startswith(head + "\nnode1, node2, node3:\n")
    assert check.printed.count("vllm serve") == 1


def test_balancer_is_in_the_head_of_the_plan(check):
    check({"balancer_enabled": True, "groups": {"npu_nodes": ["node1"]}})
    assert "  balancer     http://192.0.2.11:8080\n" in check.show()


OFFLINE = {"phase": "offline", "hosts": ["node1"], "commands": {"image": [["pull", "{source}"]]},
           "site": {"path": "/site", "url": "http://s", "ids": {}}}


def test_needs_of_a_closed_site_are_those_of_the_plan_and_the_inputs(act):
    found = act(OFFLINE, plan_architecture="aarch64", benchmark_tools=["ais_bench"], playbook_dir="/p")
    assert [part["name"] for part in found["parts"]] == ["images/vllm-ascend-v0.11.0rc1-aarch64", "ais_bench"]
    assert found["parts"][0]["commands"] == [["pull", "quay.io/ascend/vllm-ascend:v0.11.0rc1"]]
    assert found["inventory"]["node1"]["image_archive"].startswith("/site/images/")


def test_needs_without_an_architecture_are_refused(act):
    with pytest.raises(AnsibleActionFail, match=r"^Nothing was collected\. plan_architecture is '', but the image"):
        act(OFFLINE, playbook_dir="/p")


def node_vars(tmp_path, play_hosts=None, **text):
    """Return the variables of a play with two deployments on node1: the host node1, and the host text with inputs."""
    known = HostVars({"node1": {"ansible_host": "192.0.2.11"}, "text": {
        "ansible_host": "192.0.2.11", "plan_node": "node1", "plan_model": "qwen3_8b", "serving_port": 9000,
        "serving_hccl_port_base": 61000, **text}, "node2": {}})
    for name, variables in known.items():
        variables["inventory_hostname"] = name
    return {"hostvars": known, "groups": {"npu_nodes": list(known)}, "report_path": str(tmp_path),
            "ansible_play_hosts": play_hosts or list(known)}


def test_deployments_of_a_node_share_it(act, tmp_path):
    variables = node_vars(tmp_path)
    # Ansible adds the defaults of the roles to the variables of each task.
    defaults = {"plan_node": "", "serving_port": 8888, "serving_hccl_port_base": ""}
    one, two = act(**variables, **defaults), act(**{**defaults, **variables, **variables["hostvars"]["text"]})
    assert [found["plan"]["instances"][0]["npus"] for found in (one, two)] == [[0, 1], [2]]
    assert [found["plan"]["node"] for found in (one, two)] == ["node1", "node1"]
    assert one["plan"]["neighbors"] == {"text": "vllm-ascend-qwen3-8b-text"}
    assert two["plan"]["instances"][0]["name"] == "vllm-ascend-qwen3-8b-text"
    assert [found["plan"]["state_path"] for found in (one, two)] == [
        "/var/lib/ascend-vllm", "/var/lib/ascend-vllm-text"]
    assert two["observers"] == {"npu_driver": "node1", "hccl": "node1", "image": "node1", "weights": "text"}


def test_node_is_observed_by_another_deployment_if_the_first_is_not_in_the_play_or_has_failed(act, tmp_path):
    own = node_vars(tmp_path, ["text", "node2"])
    own.update(own["hostvars"]["text"])
    assert act(**own)["observers"]["hccl"] == "text"
    records = Records(tmp_path)
    lost = contract.no_result("npu_driver", "node1", "the node is lost")
    records.write_result({**lost, "status": contract.FAILED, "run_id": records.run_id})
    own["ansible_play_hosts"] = ["node1", "text", "node2"]
    assert act(**own)["observers"] == {"npu_driver": "node1", "hccl": "text", "image": "text", "weights": "text"}


def test_deployments_that_overlap_are_refused(act, tmp_path):
    with pytest.raises(AnsibleActionFail, match=r"node1 and text are on the same node .* both use port 8888"):
        act(**node_vars(tmp_path, serving_port=8888))


def test_npus_that_do_not_suffice_for_all_deployments_are_refused(act, tmp_path):
    with pytest.raises(AnsibleActionFail, match=r"node1, text on the node node1 .* need 10 NPUs, but 8 are free"):
        act(**node_vars(tmp_path, serving_replicas=8))
    assert act(**node_vars(tmp_path / "other", serving_npus=[0, 5]))["plan"]["instances"][0]["npus"] == [1, 2]
