# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of hosts determine the parts of the folder, and the inputs with which a closed site uses them."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._offline import Host, Needs, Site
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT, valid

INPUTS = {name: value for role in ("plan", "image", "weights", "accuracy", "benchmark", "hccl")
          for name, value in yaml.safe_load((ROOT / f"roles/{role}/defaults/main.yml").read_text("utf-8")).items()}
DIGEST = "sha256:" + 64 * "a"
COMMANDS = {"image": [["pull", "{platform}", "{source}"], ["save", "{folder}/image.tar", "{reference}"]],
            "python": [["{python}", "--requirement={collection}/lock"], ["cp", "{work}"]],
            "wheels": [["pip", "{version}-{architecture}"]], "dataset": [["cp", "{path}", "{folder}"]],
            "ais_bench": [["{accuracy_python}", "--requirement={packages}"]]}


def needs(ids=None, **hosts):
    """Return the needs of hosts, whose inputs are those of a host that gets its model from ModelScope."""
    found = {}
    for name, changes in hosts.items():
        inputs = {"plan_architecture": "aarch64", "weights_source": "modelscope", "weights_repository": "o/n",
                  **changes}
        plan = valid(**{key: value for key, value in inputs.items() if key.startswith(("plan", "image", "weights"))})
        found[name] = Host(plan, {**INPUTS, **inputs})
    return Needs(found, COMMANDS, Path("/c"), Site("/site", "http://s:8000", ids or {}))


def test_default_host_needs_an_image_and_a_model():
    found = needs({"images/vllm-ascend-v0.11.0rc1-aarch64": "sha256:1"}, a={"weights_hub_token": "t0k3n"}, b={})
    image, model = "images/vllm-ascend-v0.11.0rc1-aarch64", "weights/Qwen2.5-VL-32B-Instruct-w8a8"
    assert list(found.parts) == ["python", image, model]
    name = "quay.io/ascend/vllm-ascend:v0.11.0rc1"
    assert found.parts[image]["commands"] == [["pull", "arm64", name], ["save", "{folder}/image.tar", name]]
    assert found.parts[image]["pinned"] is False
    assert found.parts["python"]["commands"] == [[sys.executable, "--requirement=/c/lock"], ["cp", "{work}"]]
    assert (found.parts["python"]["requirements"], found.parts["python"]["pinned"]) == (["/c/lock"], True)
    wanted = {"source": "modelscope", "repository": "o/n", "revision": "", "endpoint": "", "workers": 8,
              "fetch": "/c/roles/weights/files/fetch.py"}
    assert wanted.items() <= found.parts[model].items()
    assert found.inventory["a"] == {
        "image_archive_remote_src": False, "image_digest": "sha256:1", "image_archive": f"/site/{image}/image.tar",
        "weights_source": "http", "weights_hub_endpoint": f"http://s:8000/{model}", "weights_hub_token": ""}
    assert found.inventory["a"] == found.inventory["b"]
    assert (found.notes, found.refusals) == ({"a": [], "b": []}, {"a": [], "b": []})


def test_pinned_image_is_pulled_from_the_mirror_by_its_digest():
    found = needs(a={"image_digest": DIGEST, "image_registry_mirror": "m:5000", "plan_architecture": "x86_64"})
    part = found.parts["images/vllm-ascend-v0.11.0rc1-x86_64"]
    assert part["commands"][0] == ["pull", "amd64", f"m:5000/ascend/vllm-ascend@{DIGEST}"]
    assert part["pinned"] is True


def test_fan_out_needs_wheels_and_accuracy_needs_datasets_and_packages(tmp_path):
    (tmp_path / "own.jsonl").touch()
    datasets = [{"name": "my data", "path": str(tmp_path / "own.jsonl"), "minimum": 5}]
    found = needs(a={"weights_distribution": "fanout", "accuracy_enabled": True, "accuracy_datasets": datasets})
    assert found.parts["wheels/3.11-aarch64"]["commands"] == [["pip", "3.11-aarch64"]]
    assert found.parts["datasets/my-data"]["commands"] == [["cp", str(tmp_path / "own.jsonl"), "{folder}"]]
    lists = ["/c/roles/accuracy/files/requirements-ais-bench.txt"]
    assert (found.parts["ais_bench"]["requirements"], found.parts["ais_bench"]["pinned"]) == (lists, True)
    wanted = {"weights_swarm_wheels": "/site/wheels/3.11-aarch64", "accuracy_run_on": "localhost",
              "accuracy_wheels_path": "/site/ais_bench", "accuracy_requirements": "/site/ais_bench/requirements.txt",
              "accuracy_environment_path": "/site/ais_bench_environment",
              "accuracy_datasets": [{"name": "my data", "path": "/site/datasets/my-data/own.jsonl", "minimum": 5}]}
    assert wanted.items() <= found.inventory["a"].items()


def test_benchmark_with_ais_bench_needs_no_dataset():
    found = needs(a={"benchmark_tools": ["ais_bench"], "accuracy_requirements": "/own.txt",
                     "accuracy_datasets": [{"name": "x", "path": "/nowhere"}]})
    assert found.parts["ais_bench"]["requirements"] == ["/own.txt"]
    assert "accuracy_datasets" not in found.inventory["a"]
    assert found.refusals["a"] == []


@pytest.mark.parametrize(("changes", "note"), [
    ({"weights_source": "local", "weights_repository": ""},
     "weights_source is local, so /data/Qwen2.5-VL-32B-Instruct-w8a8 is not collected; copy it to the nodes of the "
     "site."),
    ({"hccl_collective_image": "i:1"},
     "hccl_collective_image is i:1, which is not collected; copy it to the nodes of the site.")])
def test_note_names_what_is_not_collected(changes, note):
    found = needs(a=changes)
    assert found.notes["a"] == [note]
    assert ("weights_source" in found.inventory["a"]) == ("weights_source" not in changes)


@pytest.mark.parametrize(("hosts", "refusal"), [
    ({"a": {"plan_architecture": ""}},
     "plan_architecture is '', but the image depends on it; set it to aarch64 or x86_64."),
    ({"a": {"accuracy_enabled": True, "accuracy_datasets": [{"name": "x", "path": "/nowhere"}]}},
     "accuracy_datasets has the path /nowhere, which this machine does not have; copy the dataset to this path."),
    ({"b": {}, "a": {"weights_revision": "v2"}},
     "weights/Qwen2.5-VL-32B-Instruct-w8a8 would have different content for other hosts; give them the same source, or "
     "collect it for some of the hosts in another folder (--limit).")])
def test_mistake_is_refused(hosts, refusal):
    assert needs(**hosts).refusals == {**{name: [] for name in hosts}, "a": [refusal]}


def test_names_cannot_lead_out_of_the_folder(tmp_path):
    datasets = [{"name": "../../x/.y", "path": str(tmp_path)}]
    found = needs(a={"accuracy_enabled": True, "accuracy_datasets": datasets})
    (part,) = [name for name in found.parts if name.startswith("datasets")]
    assert ".." not in part.split("/")
    assert part.count("/") == 1
