# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The real vLLM fails in six ways in the planned containers. The report and the diagnostics name each cause."""

from __future__ import annotations

import json
import re
import stat
import tarfile

import pytest
from bed_case import MODEL, ROOT, SERVICE, Bed, execute

pytestmark = [pytest.mark.bed, pytest.mark.long]

bed = Bed("causes")
NODES = ("node1", "node2", "node3")
SHARD = f"{MODEL}/quant_model_weight_w8a8-00002-of-00004.safetensors"
KEY = "sesame-4711-open"
# Kills the engine as the kernel does when memory runs out.
KILL_ENGINE = ("setsid --fork sh -c 'for _ in $(seq 6000); do pkill -KILL -f [V]LLM::EngineCor && exit; sleep 0.05; "
               "done' >/dev/null 2>&1 </dev/null")

# Rounds: {node: (cause, command that injects the fault, inputs)}.
ROUNDS = [
    {"node1": ("arguments_invalid", f"sed -i 's/max_position_embeddings\": .*/max_position_embeddings\": 4096,/' "
               f"{MODEL}/config.json", {}),
     "node2": ("weights_damaged", f"truncate --size 2000000 {SHARD}", {}),
     "node3": ("quantization_description_mismatch", f"sed -i '/layers.1.self_attn/d' "
               f"{MODEL}/quant_model_description.json", {})},
    {"node1": ("model_unsupported", f"sed -i 's/Qwen2_5_VLForConditionalGeneration/NoSuchModel/' {MODEL}/config.json",
               {}),
     "node2": ("shm_too_small", "true", {"serving_shm_size": "64k"}),
     "node3": ("engine_dead", KILL_ENGINE, {})},
]
CASES = [(number, node, fault[0]) for number, faults in enumerate(ROUNDS) for node, fault in faults.items()]


def site(folder, tags, options):
    """Run site.yml on three nodes.

    :param options: ``{node: inputs}``.
    """
    inventory = folder / "nodes.json"
    inventory.parent.mkdir(exist_ok=True)
    hosts = {node: {"ansible_host": f"10.77.0.1{node[-1]}", **options.get(node, {})} for node in NODES}
    inventory.write_text(json.dumps({"npu_nodes": {"hosts": hosts, "vars": {
        "report_path": str(folder / "results"), "serving_api_key": KEY,
        "serving_restart_policy": "no", "serving_allow_outage": True,
        "serving_ready_interval_s": 1, "serving_ready_timeout_s": 600}}}))
    return execute(bed.playbook("site", "-i", inventory, "--tags", tags), MOLECULE_PROJECT_DIRECTORY=str(ROOT))


@pytest.fixture(scope="module")
def rounds(tmp_path_factory):
    """[(process of site.yml, results folder)], one for each round."""
    folder = tmp_path_factory.mktemp("rounds")
    bed("up", "--nodes", "3", "--image", "full", "--hub")
    try:
        prepared = site(folder / "prepared", "image,weights", {})
        assert prepared.returncode == 0, prepared.stdout
        for node in NODES:
            bed("exec", node, "cp", "--archive", MODEL, "/data/kept")
        found = []
        for number, faults in enumerate(ROUNDS):
            for node, (_cause, command, _options) in faults.items():
                bed("exec", node, "sh", "-c", command)
            done = site(folder / str(number), "serving", {node: fault[2] for node, fault in faults.items()})
            found.append((done, folder / str(number) / "results"))
            for node in NODES:
                bed("exec", node, "sh", "-c", f"rm -r {MODEL} && cp --archive /data/kept {MODEL}")
        yield found
    finally:
        bed("down")


def bundle(rounds, number):
    """Return (path, {file: text}) of the only archive that a round has written."""
    (path,) = rounds[number][1].glob("diagnostics-*.tar.gz")
    with tarfile.open(path) as archive:
        return path, {member.name.removeprefix("diagnostics/"): archive.extractfile(member).read().decode("utf-8")
                      for member in archive}


@pytest.mark.parametrize(("number", "node", "cause"), CASES, ids=[cause for _number, _node, cause in CASES])
def test_report_and_bundle_name_the_cause(rounds, number, node, cause):
    done, results = rounds[number]
    assert done.returncode == 2, done.stdout
    report = json.loads((results / "report.json").read_text("utf-8"))
    found = [finding for finding in report["findings"] if finding["host"] == node and finding["status"] == "failed"]
    assert [finding["id"] for finding in found] == ["serving.running"], found
    assert f"cause {cause}" in json.dumps(found)
    _path, texts = bundle(rounds, number)
    first = re.search(rf"^1\. \*\*{node}: (.*)\*\* \((.*), line (\d+).*\)\n   (.*)\n   (.+)$", texts["index.md"],
                      re.MULTILINE)
    assert first, texts["index.md"]
    assert first.group(1).replace("\\", "") == cause
    assert first.group(2) == f"{node}/containers/{SERVICE}.log"
    assert len(texts[first.group(2)].splitlines()) >= int(first.group(3))
    assert first.group(0) in done.stdout


@pytest.mark.parametrize("number", range(len(ROUNDS)))
def test_bundle_has_every_source_of_a_container_that_exited_and_no_secret(rounds, number):
    path, texts = bundle(rounds, number)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert next(iter(texts)) == "index.md"
    for node in NODES:
        state = json.loads(texts[f"{node}/containers/{SERVICE}.json"])["State"]
        assert state["Status"] == "exited"
        assert f" container die name={SERVICE}" in texts[f"{node}/docker/events.txt"].replace(" image=", " ", 1) or (
            f"name={SERVICE}" in texts[f"{node}/docker/events.txt"])
        assert json.loads(texts[f"{node}/results/serving.json"])["status"] == "failed"
        assert json.loads(texts[f"{node}/results/plan.json"])["plan"]["hash"]
    assert [name for name, text in texts.items() if KEY in text] == []
