# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Inputs that are used only in tasks and templates reach the intended module, command or file."""

from __future__ import annotations

import pytest
from ansible import template

from ansible_collections.ascend.vllm.tests.unit.roles.role_case import rendered

DOCKER = "community.docker.docker_container"
STAGING = ("main", "Stage the model on the node", "module_defaults", "ascend.vllm.weights_staging")
PROGRESS = ("main", "Stage the model on the node", "module_defaults", "ascend.vllm.weights_progress")
PIP = ("install", "install | Install the packages", "ansible.builtin.pip")
MEASURE = ("main", "Measure the accuracy, judge the scores and record the result", "delegate_to")
PULL = ("pull", "pull | Pull the image")
LOAD = ("load", "load | Load the image")
QUANTIZE = ("quantize", "quantize | Start msModelSlim", DOCKER)
SWARM = ("swarm", "swarm | Start the torrent client", DOCKER, "command")
STOP = ("stop", "stop | Stop the containers of the service", DOCKER, "stop_timeout")
RECIPE = "example/multimodal_vlm/Qwen2.5-VL"
# Eight times image_timeout_s. Before ansible-core 2.19, the result of a calculation is a string.
TASK_TIMEOUT_S = 480 if hasattr(template, "trust_as_template") else "480"
# Variables that earlier tasks register.
FACTS = {
    "__serving_starts_again": True,
    "item": "requirements-build.txt", "__image_before": {"observed": {"source": "vllm-ascend:1"}},
    "__weights_staging": {"environment": {}, "folder": "/data/.work", "state": "/state", "identity": "i",
                          "download": [], "bytes": 1},
    "__weights_held": {"state": "/state", "folder": "/data/.work", "identity": "i", "architecture": "aarch64"},
    "__weights_chain": {"stager": "node1", "address": "192.0.2.11", "peers": [], "upstream": []},
    "__balancer_plan": {"servers": [{"name": "node1:8888", "address": "192.0.2.11", "port": 8888,
                                     "served_name": "q", "tls": False}], "control_paths": ["/pause"]}}


@pytest.mark.parametrize(("role", "where", "inputs", "expected"), [
    ("accuracy", ("install", "install | Install AISBench in its own virtual environment", "when"),
     {"accuracy_install": "false"}, False),
    ("accuracy", ("install", "install | Install AISBench in its own virtual environment", "delegate_to"),
     {"accuracy_run_on": "localhost"}, "localhost"),
    ("accuracy", MEASURE, {"accuracy_run_on": "localhost"}, "localhost"),
    ("accuracy", (*PIP, "virtualenv_command"), {"accuracy_python": "python3.12"}, "python3.12 -m venv"),
    ("accuracy", (*PIP, "virtualenv"), {"accuracy_environment_path": "/opt/ais"}, "/opt/ais"),
    ("accuracy", (*PIP, "chdir"), {"accuracy_environment_path": "/opt/ais"}, "/opt/ais"),
    ("accuracy", (*PIP, "extra_args"), {"accuracy_wheels_path": "/srv/the wheels"},
     "--require-hashes --force-reinstall --no-build-isolation --no-index --find-links '/srv/the wheels'"),
    ("accuracy", ("install", "install | Copy the lists of packages with their SHA-256", "loop"),
     {"accuracy_requirements": "/srv/packages.txt"}, ["requirements-build.txt", "/srv/packages.txt"]),
    ("balancer", ("setup", "setup | Create the configuration folder", "ansible.builtin.file", "path"),
     {"balancer_path": "/etc/other"}, "/etc/other"),
    ("balancer", ("setup", "setup | Write the configuration of HAProxy", "ansible.builtin.template", "validate"),
     {"balancer_path": "/etc/other"}, "/usr/sbin/haproxy -c -q -f /etc/other/key.cfg -f %s"),
    ("balancer", ("watch", "watch | Write the servers to watch, with the API key", "ansible.builtin.template", "dest"),
     {"balancer_path": "/etc/other"}, "/etc/other/watch.json"),
    ("diagnostics", ("main", "Collect diagnostics", "ascend.vllm.diagnostics_bundle", "log_lines"),
     {"diagnostics_log_lines": 7}, 7),
    ("diagnostics", ("main", "Collect diagnostics", "ascend.vllm.diagnostics_bundle", "timeout_s"),
     {"diagnostics_timeout_s": 3}, 3),
    ("diagnostics", ("main", "Write the archive of the run and show the causes", "ascend.vllm.report", "path"),
     {"diagnostics_path": "/srv/bundles"}, "/srv/bundles"),
    ("image", (*PULL, "community.docker.docker_image_pull", "timeout"), {"image_timeout_s": 60}, 60),
    ("image", (*PULL, "timeout"), {"image_timeout_s": "60"}, TASK_TIMEOUT_S),
    ("image", (*LOAD, "community.docker.docker_image_load", "timeout"), {"image_timeout_s": 60}, 60),
    ("image", (*LOAD, "timeout"), {"image_timeout_s": "60"}, TASK_TIMEOUT_S),
    ("image", (*LOAD, "community.docker.docker_image_load", "path"),
     {"image_archive": "/here/vllm.tar", "image_archive_path": "/srv"}, "/srv/archive-r1/vllm.tar"),
    ("image", ("load", "load | Copy the archive to the node", "vars", "ansible_remote_tmp"),
     {"image_archive_path": "/srv"}, "/srv/archive-r1/.ansible"),
    ("serving", ("stop", "stop | Drain the node in the balancer", "vars", "balancer_keep_serving"),
     {"serving_allow_outage": "yes"}, False),
    ("serving", ("stop", "stop | Wait until the NPUs of the containers are free", "ascend.vllm.serving_wait",
                 "timeout_s"), {"serving_npu_free_timeout_s": 9}, 9),
    ("serving", ("containers", "containers | Start the planned instances", DOCKER, "stop_timeout"),
     {"serving_stop_timeout_s": 9}, 9),
    ("weights", (*STAGING, "source"), {"weights_source": "http"}, "http"),
    ("weights", (*STAGING, "repository"), {"weights_repository": "a/b"}, "a/b"),
    ("weights", (*STAGING, "revision"), {"weights_revision": "v2"}, "v2"),
    ("weights", (*STAGING, "endpoint"), {"weights_hub_endpoint": "http://hub"}, "http://hub"),
    ("weights", (*STAGING, "token"), {"weights_hub_token": "t"}, "t"),
    ("weights", (*STAGING, "environment"), {"weights_environment": {"HTTPS_PROXY": "http://p"}},
     '{"HTTPS_PROXY": "http://p"}'),
    ("weights", (*STAGING, "workers"), {"weights_workers": 3}, 3),
    ("weights", (*STAGING, "free_space_gib"), {"weights_free_space_gib": 3}, 3),
    ("weights", (*STAGING, "lock_wait_s"), {"weights_lock_wait_s": 3}, 3),
    ("weights", (*STAGING, "verify"), {"weights_verify": "full"}, "full"),
    ("weights", (*PROGRESS, "interval_s"), {"weights_progress_s": 3}, 3),
    ("weights", (*PROGRESS, "timeout_s"), {"weights_timeout_s": 3}, 3),
    ("weights", ("torrent", "torrent | Hash the pieces of the model", "timeout"), {"weights_timeout_s": 3}, 3),
    ("weights", ("main", "Get the model by the chosen distribution", "ansible.builtin.include_tasks"),
     {"weights_distribution": "fanout"}, "fanout.yml"),
    ("weights", (*QUANTIZE, "image"), {"weights_quantize_image": "msmodelslim:1"}, "msmodelslim:1"),
    ("weights", (*QUANTIZE, "working_dir"), {"weights_quantize_tool": "/srv/slim"}, f"/srv/slim/{RECIPE}"),
    ("weights", ("wheel", "wheel | Download the wheel to the controller", "ansible.builtin.command", "creates"),
     {"weights_swarm_wheels": "/srv/wheels"}, "/srv/wheels/libtorrent-*-cp311-*aarch64.whl"),
])
def test_input_determines_a_value_in_the_task(role, where, inputs, expected):
    assert rendered(role, where, inputs, FACTS) == expected
    assert rendered(role, where, {}, FACTS) != expected, "the default has the same effect"


@pytest.mark.parametrize(("where", "inputs", "option", "expected"), [
    ((*QUANTIZE, "command"), {"weights_quantize_shard_gb": 2}, "--part_file_size=2", None),
    ((*QUANTIZE, "command"), {"weights_quantize_from": "/srv/bf16"}, "--model_path", "/srv/bf16"),
    ((*QUANTIZE, "command"), {"weights_quantize_calibration": "/srv/images"}, "--calib_images", "/srv/images"),
    (SWARM, {"weights_swarm_port": 6999}, "--port", "6999"),
    (SWARM, {"weights_swarm_patience_s": 7}, "--patience", "7"),
    (("wheel", "wheel | Download the wheel to the controller", "ansible.builtin.command", "argv"),
     {"weights_swarm_wheels": "/srv/wheels"}, "--dest=/srv/wheels", None),
])
def test_input_is_passed_as_an_option_of_the_command(where, inputs, option, expected):
    plan = {"__weights_original": "/data/bf16", **FACTS}
    if "weights_quantize_from" in inputs:
        plan["__weights_original"] = inputs["weights_quantize_from"]
    words = rendered("weights", where, inputs, {"ansible_playbook_python": "python3", **plan})
    assert option in words
    assert expected is None or words[words.index(option) + 1] == expected
    default = rendered("weights", where, {}, {"ansible_playbook_python": "python3", **FACTS})
    assert option not in default or default[default.index(option) + 1] != expected


@pytest.mark.parametrize(("template", "inputs", "lines"), [
    ("balancer.cfg.j2", {"balancer_bind": "192.0.2.9", "balancer_port": 8081}, ["bind 192.0.2.9:8081"]),
    ("balancer.cfg.j2", {"balancer_max_connections": 16}, ["maxconn 16"]),
    ("balancer.cfg.j2", {"balancer_timeout_s": 60},
     ["timeout client 60s", "timeout server 60s", "timeout tunnel 60s"]),
    ("balancer.cfg.j2", {"balancer_watch_port": 8078},
     ["default-server agent-check agent-inter 2s agent-addr 127.0.0.1 agent-port 8078"]),
    ("balancer.service.j2", {"balancer_max_connections": 16}, ["LimitNOFILE=1088"]),
    ("balancer.service.j2", {"balancer_path": "/etc/other"},
     ["ExecStartPre=/usr/sbin/haproxy -c -q -f /etc/other/key.cfg -f /etc/other/balancer.cfg"]),
    ("watch.json.j2", {"balancer_watch_retries": 5}, ['"retries": 5,']),
    ("watch.json.j2", {"balancer_watch_interval_s": 2}, ['"interval_s": 2.0,']),
    ("watch.json.j2", {"serving_api_key": "sesame"}, ['"api_key": "sesame",']),
])
def test_input_is_written_to_the_balancer_file(template, inputs, lines):
    assert set(lines) <= {line.strip() for line in rendered("balancer", template, inputs, FACTS).splitlines()}
    assert not set(lines) & {line.strip() for line in rendered("balancer", template, {}, FACTS).splitlines()}
