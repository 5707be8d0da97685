# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""On every node, every round has the outcome that faults.yml describes, in the results and on the disk."""

from __future__ import annotations

import hashlib
import json
import os
import re
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
RESULTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "rounds"
ROUNDS = yaml.safe_load((PROJECT / "molecule/weights/faults.yml").read_text("utf-8"))["rounds"]
NODES = ("node1", "node2", "node3")
CASES = [(each["name"], node, each.get("nodes", {}).get(node, {})) for each in ROUNDS for node in NODES]
MODEL = "/data/Qwen2.5-VL-32B-Instruct-w8a8"
STATE_FOLDER = "/var/lib/ascend-vllm/weights/" + hashlib.sha256(MODEL.encode()).hexdigest()[:16]


def result(name, node):
    return json.loads((RESULTS / name / node / "weights.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "node", "expected"), CASES, ids=[f"{name}-{node}" for name, node, _expected in CASES])
def test_round_has_the_expected_outcome(name, node, expected):
    found = result(name, node)
    jsonschema.validate(found, json.loads((PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8")))
    failed = {check["id"]: f"{check['message']} {check['actual']}" for check in found["checks"]
              if check["status"] in ("failed", "warned")}
    if "check" in expected:
        assert set(failed) == {f"weights.{check}" for check in (expected["check"], *expected.get("also", ()))}
        assert expected["message"].replace("{{ model }}", MODEL) in failed[f"weights.{expected['check']}"]
    else:
        assert failed == {}
        assert found["observed"]["fetched"] == expected.get("fetched", [])
        assert found["observed"]["faults"] == []
        assert {file["path"] for file in found["observed"]["files"]} >= set(expected.get("kept", ()))


def test_all_sources_provide_the_same_model():
    found = [result("first_staging", node) for node in NODES]
    assert len({each["observed"]["digest"] for each in found}) == 1
    assert {check["status"] for each in found for check in each["checks"]} == {"passed"}


@pytest.mark.parametrize("name", ["draft", "draft_from_node_to_node"])
def test_all_sources_provide_the_same_draft_model(name):
    found = [result(name, node) for node in NODES]
    assert [each["status"] for round in found for each in round["checks"] if each["id"] == "weights.draft"] == [
        "passed"] * len(NODES)
    assert {each["observed"]["draft"]["path"] for each in found} == {"/data/Qwen2.5-VL-32B-Instruct"}
    assert len({each["observed"]["draft"]["digest"] for each in found}) == 1


@pytest.mark.parametrize(("name", "node"), [("resumed", "node3"), ("shared", "node1")])
def test_unchanged_model_is_not_hashed_again(name, node):
    observed = result(name, node)["observed"]
    assert observed["hashed_bytes"] == observed["staging_hashed_bytes"] == 0


@pytest.mark.parametrize("node", NODES)
def test_full_verification_hashes_all_files(node):
    observed = result("damage_is_repaired", node)["observed"]
    assert observed["staging_hashed_bytes"] > 5_000_000


def test_run_in_a_terminal_shows_its_progress():
    output = (RESULTS.parent / "killed.log").read_text("utf-8")
    assert re.search(r"node1: \d\.\d of 7\.\d MB, \d\.\d MB/s, \d min \d+ s left", output)


def test_token_and_environment_of_the_download_are_not_visible(host):
    if host.backend.get_hostname() == "node3":
        assert host.file("/run/spied").content_string == ""
    assert "s3cret-token" not in host.check_output("cat /proc/[0-9]*/cmdline | tr '\\0' ' '; docker ps -a --no-trunc")
    assert not any(b"s3cret-token" in path.read_bytes() for path in RESULTS.rglob("*.json"))


def test_torrent_client_listens_only_in_the_cluster_network(host):
    if host.backend.get_hostname() == "node3":
        listened = host.file("/run/listened").content_string.splitlines()
        # An address can be followed by %interface.
        assert {line.split()[4].rpartition(":")[0].partition("%")[0] for line in listened} == {"10.77.0.13"}


def test_no_containers_or_temporary_files_are_left(host):
    assert host.check_output("docker ps --all --quiet") == ""
    work_folder = host.file("/data/.ascend-vllm/Qwen2.5-VL-32B-Instruct-w8a8")
    assert set(work_folder.listdir()) <= {"staging", "lock"}
    state_folder = host.file(STATE_FOLDER)
    assert set(state_folder.listdir()) <= {"manifest.json", "lock", "wanted.json", "transfer"}
    assert host.socket("tcp://6881").is_listening is False


def test_quantized_model_is_published(host):
    published = host.file("/srv/models/Qwen2.5-VL-32B-Instruct-w8a8/quant_model_description.json").exists
    assert published == (host.backend.get_hostname() != "node2")


def test_only_root_can_access_the_state_files(host):
    found = host.check_output(f"find {STATE_FOLDER} /var/lib/ascend-vllm/digests ! -user root -o -perm /077")
    assert found == ""


def test_host_file_that_another_user_linked_is_unchanged(host):
    canary = host.file("/etc/other-user-canary")
    assert (canary.content_string, canary.mode, canary.user) == ("of the host\n", 0o600, "root")
