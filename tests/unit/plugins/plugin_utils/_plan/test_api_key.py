# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API keys are in an environment file. Settings that open a server or expose a secret are reported."""

from __future__ import annotations

import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    group_plans,
    refusal,
    valid,
)

KEYS = ["a%20$HOME\"b'c\\d", "second key", "`id`"]


@pytest.mark.parametrize("before", ["", "/opt/cann:/opt/tools"])
def test_launcher_exports_the_keys_and_extends_the_pythonpath_of_the_image(tmp_path, before):
    (tmp_path / "secrets.env").write_text(api_key.environment_file(KEYS))
    command = ["/bin/bash", "-c", api_key.LAUNCHER[2], str(tmp_path / "secrets.env"), "env", "-0"]
    environment = {"PATH": "/usr/bin:/bin", **({"PYTHONPATH": before} if before else {})}
    printed = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
    found = dict(entry.split("=", 1) for entry in printed.split("\0") if entry)
    assert [found[name] for name in ("VLLM_API_KEY", "ASCEND_VLLM_API_KEY_2", "ASCEND_VLLM_API_KEY_3")] == KEYS
    assert found["PYTHONPATH"] == "/run/ascend-vllm/python" + (":" + before if before else "")


def test_file_with_one_key_has_the_format_of_earlier_versions():
    assert api_key.environment_file(["sesame"]) == "VLLM_API_KEY=sesame\n"


@pytest.mark.parametrize(("inputs", "part"), [
    ({"serving_api_key": "set", "serving_env": {"VLLM_SERVER_DEV_MODE": "1"}}, "VLLM_SERVER_DEV_MODE"),
    ({"serving_env": {"VLLM_SERVER_DEV_MODE": 1}}, "VLLM_SERVER_DEV_MODE"),
    ({"serving_api_key": "set", "serving_bind": "127.0.0.1", "serving_env": {"VLLM_SERVER_DEV_MODE": "yes"}},
     "VLLM_SERVER_DEV_MODE"),
    ({"serving_api_key": "set", "plan_release": "v0.30.0", "serving_args": {"grpc": True}}, "sets grpc, but"),
])
def test_settings_that_bypass_the_key_are_refused(inputs, part):
    assert part in refusal(**inputs)


@pytest.mark.parametrize("inputs", [
    {"serving_env": {"VLLM_SERVER_DEV_MODE": "0"}, "serving_api_key": "set"},
    {"serving_env": {"VLLM_SERVER_DEV_MODE": "1"}, "serving_bind": "127.0.0.1"},
    {"serving_args": {"grpc": True}, "plan_release": "v0.30.0"},
])
def test_same_settings_are_accepted_if_they_do_not_bypass_a_key(inputs):
    assert valid(**inputs)


def warnings(resolved):
    return {warning["id"] for warning in resolved["warnings"]} & {
        "serving_api_key", "serving_api_key.plaintext", "weights_hub_token.plaintext"}


@pytest.mark.parametrize(("inputs", "expected"), [
    ({}, {"serving_api_key"}),
    ({"serving_bind": "127.0.0.1"}, set()),
    ({"serving_bind": "::1"}, set()),
    ({"serving_api_key": "set"}, {"serving_api_key.plaintext"}),
    ({"serving_api_key": "set", "serving_bind": "127.0.0.2"}, set()),
    ({"serving_api_key": "set", "serving_bind": "192.0.2.11"}, {"serving_api_key.plaintext"}),
    ({"serving_bind": "127.0.0.1", "weights_hub_token": "set"}, set()),
    ({"serving_bind": "127.0.0.1", "weights_hub_token": "set", "weights_hub_endpoint": "https://hub.example"}, set()),
    ({"serving_bind": "127.0.0.1", "weights_hub_token": "set", "weights_hub_endpoint": "http://localhost:80"}, set()),
    ({"serving_bind": "127.0.0.1", "weights_hub_token": "set", "weights_hub_endpoint": "http://[::1]:80"}, set()),
    ({"serving_bind": "127.0.0.1", "weights_hub_token": "set", "weights_hub_endpoint": "http://hub.example"},
     {"weights_hub_token.plaintext"}),
    ({"serving_bind": "127.0.0.1", "weights_hub_endpoint": "http://hub.example"}, set()),
])
def test_open_servers_and_unencrypted_secrets_cause_warnings(inputs, expected):
    assert warnings(valid(weights_source="huggingface", **inputs)) == expected


@pytest.mark.parametrize("inputs", [{"weights_source": "local"}, {"weights_hub_endpoint": "http://[::1"}])
def test_token_that_is_not_sent_causes_no_warning(inputs):
    token = {"weights_source": "http", "weights_hub_token": "set", "weights_hub_endpoint": "http://hub.example"}
    assert warnings(valid(serving_bind="127.0.0.1", **{**token, **inputs})) == set()


def test_only_the_head_of_a_group_has_an_api():
    plans = group_plans("data_parallel", serving_api_key="set")
    assert {host: warnings(plan) for host, plan in plans.items()} == {
        "node1": {"serving_api_key.plaintext"}, "node2": set()}
    commands = {host: plan["instances"][0]["command"] for host, plan in plans.items()}
    assert {host: "--middleware" in command for host, command in commands.items()} == {"node1": True, "node2": False}
