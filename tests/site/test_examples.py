# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run the examples of every module on a bed that serves the default model behind a balancer.

Each module has a separate play, whose tasks are its examples. Only what a reader would replace differs: addresses,
the architecture, and the names of a model and of files that the bed does not have.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import yaml
from bed_case import IMAGE, MODEL, NODES, ROOT, SERVICE, Bed, execute

pytestmark = [pytest.mark.bed, pytest.mark.slow, pytest.mark.long]

bed = Bed("examples")
NOT_RUN = {
    "accuracy": "AISBench is not installed on this bed; the benchmark scenario runs the module",
    "ais_bench": "AISBench is not installed on this bed; the benchmark scenario runs the module",
}
MODULES = sorted(path.stem for path in (ROOT / "plugins" / "modules").glob("*.py"))
# These modules are tested last: they stop the service or need a stopped one, and the last one renames its container.
LAST = ("benchmark_pause", "serving_wait", "container_rename")
REPLACED = {"10.0.0.1": "10.77.0.11", "10.0.0.2": "10.77.0.12", "192.0.2.2": "10.78.0.12",
            "aarch64": os.uname().machine}
# The model that the bed has staged from its hub.
STAGED = {"/data/Qwen2.5-VL-32B-Instruct": MODEL, "free_space_gib: 50": "free_space_gib: 1",
          " Qwen/Qwen2.5-VL-32B-Instruct": f" testbed/{Path(MODEL).name}\n    endpoint: http://10.77.0.1:8090"}
# Modules that compare nodes run on both nodes.
BOTH = ("hccl_collective", "hccl_mesh", "report", "serving_group", "weights_chain")
# Inputs without which the examples make no sense.
INPUTS = {"serving_group": {"serving_topology": "data_parallel", "serving_hosts": ["node1", "node2"]}}


def container(name, script="true"):
    return f"docker run --detach --name {name} --entrypoint sh {IMAGE} -c '{script}'"


STAGING = "mkdir -p /data/.ascend-vllm/model/staging; " + container("ascend-vllm-download")
CLIENT = container(f"{SERVICE}-benchmark", "echo {} > /tmp/ascend-vllm-benchmark.json")
# Every playbook ends with this task. Otherwise, the next play could be refused.
RELEASE = {"name": "Release the lease of this run", "ascend.vllm.lease": {"state": "absent"}}
ACCURACY = {"stage": "accuracy", "observed": {"scores": [
    {"dataset": "gsm8k", "metric": "accuracy", "version": "1a", "score": 80.0, "answered": 10, "data": "5ha",
     "outcomes": "1" * 8 + "0" * 2}]}}
#: {module: script that runs on each node before the play of the module}
PREPARED = {
    "hccl_collective": f"docker stop {SERVICE}",
    "benchmark_info": CLIENT, "benchmark_pause": CLIENT, "serving_wait": f"docker stop {SERVICE}",
    "offline": "mkdir -p /data/datasets/gsm8k; echo {} > /data/datasets/gsm8k/test.jsonl",
    "weights_progress": STAGING,
    "weights_transfer_info": f"{STAGING}; touch /data/.ascend-vllm/model/complete; {container('ascend-vllm-swarm')}",
}


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start the bed, deploy, and return the inputs of the plays."""
    folder = tmp_path_factory.mktemp("examples")
    inputs = {"balancer_enabled": True, "balancer_hosts": ["node1", "node2"], "report_path": str(folder / "results")}
    bed("up", "--nodes", "2", "--image", "full", "--hub")
    done = execute(bed.playbook("site", "--tags", "image,weights,serving", **inputs))
    assert done.returncode == 0, done.stdout[-8000:] + done.stderr
    yield inputs
    bed("down")


@pytest.fixture
def files(tmp_path):
    """Create the files on the control node that examples name. Return the folder."""
    for name in ("results", "results-1120", "results-bf16"):
        (tmp_path / name).mkdir()
        shutil.copytree(ROOT / "tests" / "data" / "results", tmp_path / name / "atlas-01")
        (tmp_path / name / "atlas-01" / "accuracy.json").write_text(json.dumps(ACCURACY), "utf-8")
    with tarfile.open(tmp_path / "logs.tar.gz", "w:gz") as archive:
        archive.add(ROOT / "README.md", "logs/README.md")
    return tmp_path


def examples(module, replaced):
    """Return the tasks in the examples of a module."""
    text = (ROOT / "plugins" / "modules" / f"{module}.py").read_text("utf-8")
    (found,) = re.findall(r'^EXAMPLES = r"""\n(.*?)^"""', text, re.MULTILINE | re.DOTALL)
    for old, new in replaced.items():
        found = found.replace(old, new)
    return yaml.safe_load(found)


@pytest.mark.parametrize("module", [
    *sorted(set(MODULES) - set(NOT_RUN) - set(LAST)), *LAST])
def test_examples_run(module, cluster, files):
    replaced = {**REPLACED, **STAGED} if module == "weights_staging" else REPLACED
    if module == "image_archive_info":
        archive = execute([ROOT / "molecule" / "testbed" / "engine" / "build", "light"]).stdout.strip()
        replaced = {**replaced, "/srv/images/vllm-ascend-v0.11.0rc1.tar": archive}
    nodes = NODES if module in BOTH else NODES[:1]
    for node in nodes if module in PREPARED else ():
        bed.shell(node, PREPARED[module])
    play = {"hosts": list(nodes), "gather_facts": False,
            "vars": {"vault_api_key": "", "testbed_name": bed.name, **cluster, **INPUTS.get(module, {})},
            "tasks": [*examples(module, replaced), RELEASE]}
    (files / "play.yml").write_text(json.dumps([play]), "utf-8")
    done = subprocess.run([Path(sys.executable).with_name("ansible-playbook"), "-i", ROOT / "inventories" / "simulated",
                           "-e", f"testbed_name={bed.name}", "play.yml"], cwd=files, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, check=False,
                          env={**os.environ, "ANSIBLE_COLLECTIONS_PATH": str(ROOT / "playbooks" / "collections"),
                               "ANSIBLE_NOCOLOR": "1"})
    for node in nodes if module in PREPARED else ():
        bed.shell(node, "docker rm --force $(docker ps --all --quiet --filter name=-benchmark --filter "
                  f"name=ascend-vllm-download --filter name=ascend-vllm-swarm); docker start {SERVICE}")
    assert done.returncode == 0, done.stdout + done.stderr
    skipped = re.findall(r"skipped=(\d+)", done.stdout)
    # If the all-reduce over all nodes passes, there is no cause to find.
    assert set(skipped) == {"1" if module == "hccl_collective" else "0"}, done.stdout


def test_modules_that_are_not_run_exist():
    assert set(NOT_RUN) - set(MODULES) == set()
