# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import copy
import json

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.image.judge import CHECKS, judge, request
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import (
    context as stage_context,
)

UNKNOWN = dict.fromkeys(("vllm_ascend_version", "vllm_version", "torch_npu_version", "cann_version"), "not_run")
PIN = "sha256:" + "2" * 64
CONTEXT = {
    "host": "node1",
    "plan": {
        "image": {"reference": "quay.io/ascend/vllm-ascend:v0.11.0rc1", "tag": "v0.11.0rc1", "digest": PIN},
        "release": {"id": "v0.11.0rc1", "vllm": "0.11.0", "cann": "8.3.RC1", "torch_npu": "2.7.1",
                    "architectures": ["aarch64", "x86_64"]},
        "docker_socket": "/var/run/docker.sock",
    },
    "observed": {
        "image": {"id": "sha256:1", "digests": ["quay.io/ascend/vllm-ascend@" + PIN], "architecture": "aarch64"},
        "docker_engine": {"architecture": "aarch64", "image_root": "/var/lib/docker", "free_bytes": 50 * 2**30},
        "probe": {"architecture": "aarch64", "python": "3.11.13", "cann": "8.3.RC1", "packages": {
            "vllm": "0.11.0+empty", "vllm-ascend": "0.11.0rc1", "torch-npu": "2.7.1"}},
    },
    "inputs": {"image_free_space_gib": 40, "image_pull": "missing", "image_registry_mirror": "", "image_archive": "",
               "image_archive_remote_src": False, "image_archive_path": "/var/lib/ascend-vllm"},
}


def context(**changes):
    """Return CONTEXT with changed values. The name of each value is its path, with two underscores between keys."""
    changed = copy.deepcopy(CONTEXT)
    for path, value in changes.items():
        *keys, name = path.split("__")
        target = changed
        for key in keys:
            target = target[key]
        target[name] = value
    # The probe prints JSON; tests pass a dict, or other output as a string.
    if isinstance(changed["observed"]["probe"], dict):
        changed["observed"]["probe"] = json.dumps(changed["observed"]["probe"])
    return stage_context(**changed)


def outcome(**changes):
    return {check["id"]: check["status"] for check in judge(context(**changes)) if check["status"] != "passed"}


def test_planned_image_passes():
    assert outcome() == {}
    before = {"registry_architecture", "archive", "free_space", "obtained"}
    assert {check["id"] for check in judge(context())} == {check.id for check in CHECKS} - before


@pytest.mark.parametrize(("changes", "expected"), [
    ({"observed__image": None}, {"present": "failed"}),
    ({"observed__image": None, "observed__failure": "no route to host"}, {"obtained": "failed", "present": "failed"}),
    ({"observed__docker_engine__architecture": "x86_64"}, {"architecture": "failed"}),
    ({"observed__docker_engine__architecture": "riscv64"},
     {"architecture": "failed", "release_architecture": "failed"}),
    ({"plan__image__digest": "sha256:" + "3" * 64}, {"digest": "failed"}),
    ({"plan__image__digest": "sha256:1"}, {}),
    ({"plan__image__digest": None}, {}),
    ({"observed__probe__packages__vllm": "0.11.1"}, {"vllm_version": "failed"}),
    ({"observed__probe__packages__vllm": None}, {"vllm_version": "not_run"}),
    ({"observed__probe__packages__vllm-ascend": "0.11.0rc2"}, {"vllm_ascend_version": "failed"}),
    ({"plan__image__tag": "v0.11.0rc1.post1-a3"}, {"vllm_ascend_version": "failed"}),
    ({"plan__image__tag": "v0.11.0rc1.post1-a3", "observed__probe__packages__vllm-ascend": "0.11.0rc1.post1"}, {}),
    ({"plan__image__tag": "nightly-releases-v0.11.0rc1", "observed__probe__packages__vllm-ascend": "0.11.1.dev7"}, {}),
    ({"plan__image__tag": "site-7"}, {}),
    ({"plan__release__cann": "8.3.RC1 or 8.5.0"}, {}),
    ({"plan__release__cann": "8.3.RC2 or 8.5.0"}, {"cann_version": "warned"}),
    ({"observed__probe__cann": "8.3.rc1"}, {}),
    ({"observed__probe__cann": "8.2.RC1"}, {"cann_version": "warned"}),
    ({"observed__probe__packages__torch-npu": "2.7.1.post1"}, {"torch_npu_version": "warned"}),
    ({"observed__probe": None}, UNKNOWN),
    ({"observed__probe": "exec format error"}, UNKNOWN),
])
def test_image_that_is_not_as_planned_does_not_pass(changes, expected):
    assert outcome(**changes) == expected


@pytest.mark.parametrize(("changes", "expected"), [
    ({}, {"present": "not_run"}),
    ({"observed__docker_engine__free_bytes": 39 * 2**30}, {"present": "not_run", "free_space": "failed"}),
    ({"observed__docker_engine__architecture": "riscv64"}, {"present": "not_run", "release_architecture": "failed"}),
    ({"inputs__image_pull": "never"}, {"present": "failed"}),
])
def test_space_and_architecture_are_checked_before_a_pull(changes, expected):
    assert outcome(observed__phase="before", observed__needed=True, observed__image=None, **changes) == expected


def registry(*architectures, error=None):
    return {"observed__registry": {"digest": PIN, "architectures": list(architectures), "error": error},
            "observed__source": "quay.io/ascend/vllm-ascend:v0.11.0rc1"}


def archive(gib=10, same_disk=True, free_gib=50, copied=True, **image):
    found = dict({"id": PIN, "tags": ["quay.io/ascend/vllm-ascend:v0.11.0rc1"], "architecture": "aarch64"}, **image)
    folder = {"path": "/srv", "free_bytes": free_gib * 2**30, "same_disk": same_disk} if copied else None
    return {"observed__archive": {"path": "/a.tar", "size_bytes": gib * 2**30, "images": [found]},
            "observed__folder": folder}


@pytest.mark.parametrize(("changes", "expected"), [
    (registry("aarch64", "x86_64"), {}),
    (registry("x86_64"), {"registry_architecture": "failed"}),
    (registry(), {"registry_architecture": "not_run"}),
    (registry(error="no route to host"), {"registry_architecture": "not_run"}),
    (archive(), {}),
    (archive(tags=["mirror.example/vllm-ascend:v0.11.0rc1"]), {}),
    (archive(tags=[]), {}),
    (archive(tags=["quay.io/ascend/vllm-ascend:v0.11.0rc1", "haproxy:latest"]), {"archive": "failed"}),
    (archive(tags=["mirror.example/vllm-ascend:v0.11.0rc1", "haproxy:latest"]), {"archive": "failed"}),
    (archive(architecture="x86_64"), {"archive": "failed"}),
    (archive(id="sha256:1"), {"archive": "failed"}),
    (archive(gib=11), {"free_space": "failed"}),
    (archive(gib=11, copied=False), {}),
    (archive(gib=11, same_disk=False), {}),
    (archive(gib=11, same_disk=False, free_gib=10), {"free_space": "failed"}),
])
def test_registry_and_archive_are_checked_before_a_pull(changes, expected):
    found = outcome(observed__phase="before", observed__needed=True, observed__image=None, **changes)
    assert found == dict(expected, present="not_run")


@pytest.mark.parametrize(("changes", "done"), [
    ({}, "pull mirror/vllm-ascend:v0.11.0rc1"), (archive(), "load /a.tar")])
def test_check_mode_names_the_image_that_would_be_obtained(changes, done):
    checks = judge(context(observed__phase="before", observed__needed=True, observed__image=None,
                           observed__source="mirror/vllm-ascend:v0.11.0rc1", observed__check_mode=True, **changes))
    (found,) = [check["message"] for check in checks if check["id"] == "present"]
    assert found == f"Without --check, the run would {done}."


@pytest.mark.parametrize("name", ["other:1", "quay.io/ascend/vllm-ascend:v0.11.0rc1"])
def test_archive_of_several_images_is_refused(name):
    images = [{"id": PIN, "tags": [name], "architecture": "aarch64"},
              {"id": "sha256:1", "tags": ["other:2"], "architecture": "aarch64"}]
    changes = archive()
    changes["observed__archive"]["images"] = images
    check = next(check for check in judge(context(
        observed__phase="before", observed__needed=True, observed__image=None, **changes)) if check["id"] == "archive")
    assert check["status"] == "failed"
    assert check["actual"] == "%s %s for aarch64; other:2 sha256:1 for aarch64" % (name, PIN)


def test_existing_image_for_another_architecture_fails():
    found = outcome(observed__phase="before", observed__needed=False, observed__probe=None,
                    observed__docker_engine__architecture="x86_64")
    assert found["architecture"] == "failed"


def test_pinned_digest_is_checked_only_after_the_pull():
    changes = {"plan__image__digest": "sha256:" + "3" * 64}
    assert "digest" in outcome(**changes)
    assert "digest" not in outcome(observed__phase="before", observed__needed=True, **changes)


def test_message_is_the_last_line_of_an_error():
    check = judge(context(observed__failure="Error response:\nno route to host\n"))[1]
    assert (check["id"], check["message"]) == ("obtained", "no route to host")


@pytest.mark.parametrize(("inputs", "expected"), [
    ({}, {"pull": "missing", "folder": None}),
    ({"pull": "always"}, {"pull": "always", "folder": None}),
    ({"archive": "/a.tar"}, {"pull": "never", "folder": "/var/lib/ascend-vllm"}),
    ({"archive": "/a.tar", "archive_remote_src": True}, {"pull": "never", "folder": None}),
])
def test_inputs_determine_the_module_arguments(inputs, expected):
    changes = {"inputs__image_" + name: value for name, value in inputs.items()}
    assert request(context(observed__phase="before", **changes)).arguments == dict(
        {"reference": "quay.io/ascend/vllm-ascend:v0.11.0rc1", "digest": PIN, "mirror": "",
         "docker_socket": "/var/run/docker.sock"}, **expected)


@pytest.mark.parametrize(("changes", "message"), [
    ({}, "/var/lib/docker has 50.0 GiB free, image_free_space_gib requires 40.0"),
    (archive(gib=11), "/var/lib/docker has 50.0 GiB free, image_free_space_gib requires 40.0 and the copy of the "
                      "archive 11.0"),
    (archive(gib=11, same_disk=False, free_gib=10), "has 10.0 GiB free, the copy of the archive requires 11.0"),
])
def test_needed_space_is_explained(changes, message):
    checks = judge(context(observed__phase="before", observed__needed=True, observed__image=None, **changes))
    assert message in " | ".join(check["message"] for check in checks if check["id"] == "free_space")
