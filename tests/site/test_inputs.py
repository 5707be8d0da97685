# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Playbooks refuse wrong inventories and inputs in one sentence, and show the plan of a correct inventory."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
OTHERS = ("nodes.yml", "compare.yml", "init.yml")  # the playbook that refuses, and playbooks that need no nodes
PLAYBOOKS = sorted(path.name for path in (ROOT / "playbooks").glob("*.yml") if path.name not in OTHERS)


def playbook_run(arguments, environment):
    return subprocess.run([Path(sys.executable).with_name("ansible-playbook"), *map(str, arguments)], cwd=ROOT,
                          env={**os.environ, **environment}, capture_output=True, text=True, check=False)


def refusal(*arguments, **environment):
    """Run a playbook that must fail, and return its output on one line, because older ansible-core versions wrap it."""
    done = playbook_run(arguments, environment)
    assert done.returncode == 2, done.stdout
    return " ".join((done.stdout + done.stderr).split())


def output_of(*arguments, **environment):
    """Return the standard output of a playbook that must succeed."""
    done = playbook_run(arguments, environment)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.mark.parametrize("playbook", PLAYBOOKS)
def test_inventory_without_nodes_is_refused(playbook, tmp_path):
    inventory = tmp_path / "hosts.yml"
    inventory.write_text("all: {hosts: {atlas-01: {ansible_host: 192.0.2.11}}}\n", "utf-8")
    output = refusal("-i", inventory, f"playbooks/{playbook}")
    assert f"The inventory ({inventory}) has no host in the group npu_nodes" in output


@pytest.mark.parametrize("arguments", [(), ("-e", "compare_before=before.json")])
def test_comparison_without_two_measurements_is_refused(arguments):
    output = refusal("playbooks/compare.yml", *arguments)
    assert "Set compare_before and compare_after to the files of two measurements" in output
    assert "undefined" not in output


def test_mistyped_stage_is_refused():
    output = refusal("-i", "inventories/sample", "playbooks/site.yml", "--tags", "benchmrk", "--limit", "atlas-01")
    assert "did you mean benchmark?" in output


WRONG = ("-e", "weights_distribution=foo", "-e", "hccl_ping_timeout_s=-1", "-e", "serving_prot=1")


@pytest.mark.parametrize("playbook", ["plan.yml", "site.yml"])
def test_wrong_inputs_of_all_stages_are_refused_together_before_a_node_is_contacted(playbook, tmp_path):
    # The addresses of the sample inventory are reserved for documentation (RFC 5737), so no host responds.
    output = refusal("-i", "inventories/sample", f"playbooks/{playbook}", "-e", f"report_path={tmp_path}", *WRONG)
    assert "The run is refused because of the inventory, and nothing was changed." in output
    assert "weights_distribution must be one of each, shared, fanout, but is 'foo'." in output.replace("''", "'")
    assert output.count("weights_distribution") == 1, "a mistake is printed once"
    assert "hccl_ping_timeout_s must be above 0, but is -1.0." in output
    assert "The variable serving_prot is not an input of this collection" in output
    assert "nearest input is serving_port" in output
    assert output.count("FAILED!") == 1
    assert "unreachable=1" not in output
    assert {path.name for path in tmp_path.glob("*/*.json")} == {"plan.json"}, "no stage has a result"


def test_playbook_of_a_stage_checks_only_its_inputs(tmp_path):
    output = refusal("-i", "inventories/sample", "playbooks/hccl.yml", "-e", f"report_path={tmp_path}",
                     "-e", "hccl_ping_timeout_s=-1", "-e", "benchmark_repeats=many", "--limit", "atlas-01")
    assert "hccl_ping_timeout_s must be above 0" in output
    assert "benchmark_repeats" not in output


def test_python_that_is_too_old_is_named_before_a_module_is_sent(tmp_path):
    """node1 has a shell script as Python, which would cause a MODULE FAILURE."""
    python = tmp_path / "python3.6"
    python.write_text("#!/bin/sh\necho \"<ascend-vllm-python $0 3.6.8>\"\n", "utf-8")
    python.chmod(0o755)
    inventory = tmp_path / "hosts.yml"
    hosts = {"node1": {"ansible_python_interpreter": str(python)},
             "node2": {"ansible_python_interpreter": sys.executable}}
    inventory.write_text(json.dumps({"npu_nodes": {"hosts": hosts, "vars": {"ansible_connection": "local"}}}), "utf-8")
    output = refusal("-i", inventory, "playbooks/site.yml", "--tags", "npu_driver",
                     "-e", f"report_path={tmp_path}/results")
    assert f"node1 has Python 3.6.8 ({python}), but this collection and ansible-core" in output
    assert "MODULE FAILURE" not in output
    report = json.loads((tmp_path / "results" / "report.json").read_text("utf-8"))
    (finding,) = [each for each in report["findings"] if each["host"] == "node1" and each["status"] == "failed"]
    assert finding["id"] == "npu_driver.observation"
    assert "3.6.8" in finding["message"]
    assert "3.6.8" not in json.dumps([each for each in report["findings"] if each["host"] == "node2"])


def test_plan_of_many_nodes_is_one_block_with_a_short_head(tmp_path):
    inventory = tmp_path / "hosts.yml"
    hosts = {f"atlas-{number:02}": {"ansible_host": f"192.0.2.{number}"} for number in range(1, 17)}
    inventory.write_text(json.dumps({"npu_nodes": {"hosts": hosts}}), "utf-8")
    output = output_of("-i", inventory, "playbooks/plan.yml", "-e", f"report_path={tmp_path}/results")
    head, _separator, plan = output.partition("Plan of 16 nodes\n")[2].partition(f"{', '.join(hosts)}:\n")
    assert len(head.splitlines()) <= 24
    assert "  image        quay.io/ascend/vllm-ascend:v0.11.0rc1\n" in head
    assert "about 20 min" in head
    assert plan.count("vllm serve") == 1


def test_sample_inventory_of_several_models_has_a_plan_for_each_model(tmp_path):
    output = output_of("-i", "inventories/deployments", "playbooks/plan.yml", "-e", f"report_path={tmp_path}")
    assert "w8a8 as qwen25_vl, 2 instances per node with 2 NPUs (on atlas-01, atlas-02)" in output
    assert "Qwen3-8B as qwen3-8b, 1 instance per node with 1 NPUs (on atlas-02-text)" in output
    assert "  NPUs         4\n" in output, "the first free NPU of the node"
    refused = refusal("-i", "inventories/deployments", "playbooks/plan.yml", "-e", f"report_path={tmp_path}",
                      "-e", "serving_port=8888")
    assert "change serving_port of atlas-02, or serving_port of atlas-02-text" in " ".join(refused.split())


@pytest.mark.parametrize("callback", ["ansible.posix.json", "ansible.posix.jsonl"])
def test_output_of_a_json_callback_can_be_parsed(callback, tmp_path):
    output = output_of("-i", "inventories/sample", "playbooks/plan.yml", "-e", f"report_path={tmp_path}",
                       "--limit", "atlas-01", ANSIBLE_STDOUT_CALLBACK=callback)
    texts = [output] if callback.endswith("json") else output.splitlines()
    assert "Plan of 1 node\\n  URL" in json.dumps([json.loads(text) for text in texts])


def test_free_strategy_is_refused(tmp_path):
    output = refusal("-i", "inventories/sample", "playbooks/plan.yml", "-e", f"report_path={tmp_path}",
                     ANSIBLE_STRATEGY="free")
    assert "The strategy of Ansible is free (ANSIBLE_STRATEGY or ansible.cfg)." in output
    assert output.count("FAILED!") == 1


def test_every_model_is_planned_on_the_sample_inventory(tmp_path):
    """Each model has a separate node, or as many as it needs, and otherwise the inputs of the sample inventory."""
    catalogue = yaml.safe_load((ROOT / "roles/plan/files/catalogue/models.yml").read_text("utf-8"))["models"]

    def key(entry, name, default=None):
        return entry[name] if name in entry else key(catalogue[entry["like"]], name, default) if "like" in entry \
            else default

    shutil.copytree(ROOT / "inventories/sample", tmp_path / "sample")
    hosts = {}
    for name, entry in catalogue.items():
        members = [f"{name.replace('_', '-')}-{number}" for number in range(key(entry, "minimum_nodes", 1))]
        for member in members:
            hosts[member] = {
                "ansible_host": f"192.0.2.{len(hosts) + 1}", "plan_model": name,
                "plan_release": key(entry, "releases")["documented"]["since"],
                "plan_hardware": f"atlas_800_{key(entry, 'series', ['A2'])[0].lower()}",
                **({"serving_topology": "data_parallel", "serving_hosts": members} if len(members) > 1 else {})}
    (tmp_path / "sample/hosts.yml").write_text(yaml.safe_dump({"npu_nodes": {"hosts": hosts}}), "utf-8")
    results = tmp_path / "results"
    output_of("-i", tmp_path / "sample", "playbooks/plan.yml", "-e", f"report_path={results}")
    assert len(hosts) > len(catalogue) > 30
    assert {path.parent.name: json.loads(path.read_text("utf-8"))["plan"]["model"]["id"]
            for path in results.glob("*/plan.json")} == {host: inputs["plan_model"] for host, inputs in hosts.items()}
