# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every round has the outcome that faults.yml describes, on both nodes."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
RESULTS = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"]) / "rounds"
ROUNDS = yaml.safe_load((PROJECT / "molecule/image/faults.yml").read_text("utf-8"))["rounds"]
CASES = [(each["name"], node, each.get("nodes", {}).get(node, {})) for each in ROUNDS for node in ("node1", "node2")]


def result(name, node):
    return json.loads((RESULTS / name / node / "image.json").read_text("utf-8"))


@pytest.mark.parametrize(("name", "node", "expected"), CASES, ids=[f"{name}-{node}" for name, node, _expected in CASES])
def test_round_has_the_expected_outcome(name, node, expected):
    found = result(name, node)
    jsonschema.validate(found, json.loads((PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8")))
    failed = {check["id"]: f"{check['message']} expected {check['expected']}, found {check['actual']}"
              for check in found["checks"] if check["status"] in ("failed", "warned")}
    assert list(failed) == [f"image.{check}" for check in expected.get("checks", ())]
    if failed:
        assert expected["message"] in next(iter(failed.values()))
    else:
        assert {check["status"] for check in found["checks"]} == {"passed"}


def test_observed_versions_match_the_image():
    versions = {check["id"]: check["actual"] for check in result("present", "node1")["checks"]}
    release = json.loads((PROJECT / "molecule/testbed/engine/image/release.json").read_text("utf-8"))
    assert versions["image.vllm_version"] == release["vllm"]
    assert versions["image.vllm_ascend_version"] == release["vllm_ascend"]
    assert versions["image.torch_npu_version"] == release["torch_npu"]
    assert versions["image.cann_version"] == release["cann"]


def test_pulls_and_archives_result_in_the_same_image():
    rounds = ("present", "pulled_by_digest_from_a_mirror", "pulled_again", "loaded_from_an_archive")
    assert len({result(name, node)["observed"]["image"]["id"] for name in rounds for node in ("node1", "node2")}) == 1


def test_no_containers_or_archives_are_left(host):
    assert host.check_output("docker ps --all --quiet") == ""
    archives = "-path '/var/lib/ascend-vllm/*' '(' -name '*.tar' -o -name .ansible ')'"
    assert host.check_output("find /var/lib -maxdepth 2 " + archives) == ""


def test_archive_that_the_role_did_not_create_is_not_removed(host):
    assert host.file("/root/vllm-ascend.tar").exists == (host.backend.get_hostname() == "node1")
