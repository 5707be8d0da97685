# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filters of the roles serving and weights."""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

import pytest
import yaml
from ansible.errors import AnsibleFilterError
from ansible.plugins.filter.core import combine
from jinja2 import Environment, StrictUndefined

from ansible_collections.ascend.vllm.plugins.filter import serving
from ansible_collections.ascend.vllm.plugins.filter.serving import FilterModule
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving import containers_case

FILTERS = FilterModule().filters()
PATCH = {"id": "demo", "target": "/f.py", "pattern": "x", "replacement": "y",
         "sha256": hashlib.sha256(b"x").hexdigest(), "patched_sha256": hashlib.sha256(b"y").hexdigest()}
PLAN = {**valid(), "patch": PATCH}
CONTAINERS = containers_case.as_planned(PLAN)
NAMES = [container["name"] for container in CONTAINERS]
#: The variables of the examples.
VARIABLES = {
    "plan": PLAN, "containers": CONTAINERS, "now": CONTAINERS, "before": containers_case.containers("vllm"),
    "names": NAMES, "ours": NAMES, "observed": containers_case.observed(CONTAINERS, addresses=[]),
    "serving_address": "192.0.2.11", "serving_api_key": "a key", "original": "x",
    "ansible_failed_result": {"failed": True, "msg": "no image"},
}


@pytest.mark.parametrize("name", FILTERS)
def test_example_of_a_filter_is_evaluated(name):
    environment = Environment(undefined=StrictUndefined, autoescape=False)
    environment.filters.update({f"ascend.vllm.{each}": function for each, function in FILTERS.items()}, combine=combine)
    example = yaml.safe_load(Path(serving.__file__).with_name(f"{name}.yml").read_text("utf-8"))["EXAMPLES"]
    (task,) = yaml.safe_load(example)
    assert task.pop("name")
    assert next(iter(task)).count(".") == 2  # a module
    (expression,) = re.findall("{{ (.* [|] .*) }}", example)
    assert f" | ascend.vllm.{name}" in expression
    assert isinstance(environment.compile_expression(expression, undefined_to_none=False)(**VARIABLES),
                      bool | dict | list | str)


def test_patch_is_applied_or_refused():
    assert FILTERS["patched"]("x", PATCH) == "y"
    with pytest.raises(AnsibleFilterError, match="The patch demo is not applied"):
        FILTERS["patched"]("z", PATCH)


def test_every_mount_becomes_a_bind_mount():
    (instance,) = valid()["instances"]
    mounts = FILTERS["bind_mounts"](instance["mounts"])
    assert mounts[0] == {"type": "bind", "source": "/usr/local/dcmi", "target": "/usr/local/dcmi", "read_only": True}
    assert len(mounts) == len(instance["mounts"])


@pytest.mark.parametrize(("result", "message"), [
    ({"failed": True, "msg": "no image"}, "no image"),
    ({"failed": True, "msg": "One or more items failed", "results": [
        {"msg": "a: taken"}, {"failed": True, "msg": "b: no image"}, {"unreachable": True, "msg": "c: no route"}]},
     "b: no image c: no route"),
    ({"failed": True}, "no reason was given"),
    ({"msg": "x", "results": [{"failed": True, "msg": "same"}, {"failed": True, "msg": "same"}]}, "same"),
    ({"msg": "Error executing command.", "cmd": "/nowhere/python3 -m venv /opt/a", "rc": 2},
     "/nowhere/python3 -m venv /opt/a: Error executing command."),
    ({"msg": "non-zero return code", "cmd": ["pip", "install"], "stderr": "a\nno space\n"}, "pip install: no space"),
])
def test_failure_message_contains_the_reason(result, message):
    assert FILTERS["failure_message"](result) == message


def test_environment_in_a_group_names_the_interface():
    (instance,) = valid_group("data_parallel")["node2"]["instances"]
    observed = {"addresses": [{"interface": "bond0", "address": "192.0.2.12"}]}
    found = FILTERS["container_environment"](instance, observed)
    assert {name: found.pop(name) for name in ("GLOO_SOCKET_IFNAME", "TP_SOCKET_IFNAME", "HCCL_SOCKET_IFNAME")} == {
        "GLOO_SOCKET_IFNAME": "bond0", "TP_SOCKET_IFNAME": "bond0", "HCCL_SOCKET_IFNAME": "=bond0"}
    assert found == instance["environment"]
    with pytest.raises(AnsibleFilterError, match=r"no interface has 192\.0\.2\.12"):
        FILTERS["container_environment"](instance, {"addresses": []})


def test_environment_of_an_independent_instance_is_that_of_the_plan():
    (instance,) = valid()["instances"]
    assert FILTERS["container_environment"](instance, {"addresses": []}) == instance["environment"]
