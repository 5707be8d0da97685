# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils.checks.image import CHECKS, arguments, judge

UNKNOWN = dict.fromkeys(("vllm_ascend_version", "vllm_version", "torch_npu_version", "cann_version"), "not_run")
PIN = "sha256:" + "2" * 64
CONTEXT = {
    "host": "node1",
    "plan": {
        "image": {"reference": "quay.io/ascend/vllm-ascend:v0.11.0rc1", "digest": PIN},
        "release": {"id": "v0.11.0rc1", "vllm": "0.11.0", "cann": "8.3.RC1", "torch_npu": "2.7.1",
                    "architectures": ["aarch64", "x86_64"]},
    },
    "observed": {
        "image": {"id": "sha256:1", "digests": ["quay.io/ascend/vllm-ascend@" + PIN], "architecture": "aarch64"},
        "engine": {"architecture": "aarch64", "data_root": "/var/lib/docker", "free_bytes": 50 * 2**30},
        "probe": {"architecture": "aarch64", "python": "3.11.13", "cann": "8.3.RC1", "packages": {
            "vllm": "0.11.0+empty", "vllm-ascend": "0.11.0rc1", "torch-npu": "2.7.1"}},
    },
    "settings": {"free_space_gib": 40, "pull": "missing", "registry_mirror": ""},
}


def context(**changes):
    """CONTEXT with values set by their dotted path, dots written as two underscores."""
    changed = copy.deepcopy(CONTEXT)
    for path, value in changes.items():
        *folders, name = path.split("__")
        place = changed
        for folder in folders:
            place = place[folder]
        place[name] = value
    # The probe prints its findings; what is no dict here stands for other output.
    if isinstance(changed["observed"]["probe"], dict):
        changed["observed"]["probe"] = json.dumps(changed["observed"]["probe"])
    return changed


def outcome(**changes):
    return {check["id"]: check["status"] for check in judge(context(**changes)) if check["status"] != "passed"}


def test_the_planned_image_passes():
    assert outcome() == {}
    assert {check["id"] for check in judge(context())} == {check.id for check in CHECKS} - {"free_space", "obtained"}


@pytest.mark.parametrize(("changes", "expected"), [
    ({"observed__image": None}, {"present": "failed"}),
    ({"observed__image": None, "observed__error": "no route to host"}, {"obtained": "failed", "present": "failed"}),
    ({"observed__engine__architecture": "x86_64"}, {"architecture": "failed"}),
    ({"observed__engine__architecture": "riscv64"}, {"architecture": "failed", "release_architecture": "failed"}),
    ({"plan__image__digest": "sha256:" + "3" * 64}, {"digest": "failed"}),
    ({"plan__image__digest": "sha256:1"}, {}),
    ({"plan__image__digest": None}, {}),
    ({"observed__probe__packages__vllm": "0.11.1"}, {"vllm_version": "failed"}),
    ({"observed__probe__packages__vllm": None}, {"vllm_version": "not_run"}),
    ({"observed__probe__packages__vllm-ascend": "0.11.0rc2"}, {"vllm_ascend_version": "failed"}),
    ({"observed__probe__cann": "8.3.rc1"}, {}),
    ({"observed__probe__cann": "8.2.RC1"}, {"cann_version": "warned"}),
    ({"observed__probe__packages__torch-npu": "2.7.1.post1"}, {"torch_npu_version": "warned"}),
    ({"observed__probe": None}, UNKNOWN),
    ({"observed__probe": "exec format error"}, UNKNOWN),
])
def test_one_thing_is_not_as_planned(changes, expected):
    assert outcome(**changes) == expected


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, {"present": "not_run"}),
    ({"observed__engine__free_bytes": 39 * 2**30}, {"present": "not_run", "free_space": "failed"}),
    ({"observed__engine__architecture": "riscv64"}, {"present": "not_run", "release_architecture": "failed"}),
    ({"settings__pull": "never"}, {"present": "failed"}),
])
def test_before_a_pull(changes, expected):
    assert outcome(observed__before=True, observed__image=None, **changes) == expected


def test_an_image_of_another_architecture_is_not_asked_for_its_versions():
    found = outcome(observed__before=True, observed__probe=None, observed__engine__architecture="x86_64")
    assert found["architecture"] == "failed"


def test_the_pin_is_proven_after_the_registry_was_asked_again():
    changes = {"observed__before": True, "plan__image__digest": "sha256:" + "3" * 64}
    assert "digest" in outcome(**changes)
    assert "digest" not in outcome(settings__pull="always", **changes)


def test_the_error_is_told_by_its_last_line():
    check = judge(context(observed__error="Error response:\nno route to host\n"))[1]
    assert (check["id"], check["message"]) == ("obtained", "no route to host")


def test_the_arguments_of_the_module():
    assert arguments(CONTEXT) == {"reference": "quay.io/ascend/vllm-ascend:v0.11.0rc1", "digest": PIN, "mirror": ""}
