# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils import image

INSPECTION = {"Id": "sha256:1", "RepoDigests": ["quay.io/ascend/vllm-ascend@sha256:2"], "RepoTags": None,
              "Architecture": "arm64", "Size": 10, "Created": "2025-11-10T00:00:00Z"}


def test_an_image():
    assert image.describe_image(json.dumps([INSPECTION])) == {
        "id": "sha256:1", "digests": ["quay.io/ascend/vllm-ascend@sha256:2"], "tags": [], "architecture": "aarch64",
        "size_bytes": 10, "created": "2025-11-10T00:00:00Z"}


def test_an_engine():
    info = {"ServerVersion": "20.10.24", "Architecture": "x86_64", "DockerRootDir": "/var/lib/docker"}
    assert image.describe_engine(json.dumps(info)) == {
        "version": "20.10.24", "architecture": "x86_64", "data_root": "/var/lib/docker"}


@pytest.mark.parametrize(("read", "text", "reason"), [
    (image.describe_image, "[]", "unknown form"),
    (image.describe_image, "[{}]", "unknown form"),
    (image.describe_image, "Error", "unknown form"),
    (image.describe_engine, "{}", "unknown form"),
    (image.describe_engine, '{"ServerErrors": ["Cannot connect to it"]}', "does not answer: Cannot connect"),
    (image.describe_probe, "exec format error", "printed no versions, but: exec format error"),
    (image.describe_probe, '{"python": "3.11"}', "printed no versions"),
])
def test_another_answer_is_an_error(read, text, reason):
    with pytest.raises(image.ImageError, match=reason):
        read(text)


def test_the_probe_may_be_preceded_by_other_output():
    versions = {"architecture": "aarch64", "python": "3.11.13", "cann": "8.3.RC1", "packages": {"vllm": "0.11.0+empty"}}
    assert image.describe_probe("WARNING: x\n" + json.dumps(versions) + "\n") == versions
    assert image.describe_probe("") is None


@pytest.mark.parametrize(("reference", "digest", "mirror", "name"), [
    ("quay.io/ascend/vllm-ascend:v1", "", "", "quay.io/ascend/vllm-ascend:v1"),
    ("quay.io/ascend/vllm-ascend:v1", "sha256:a", "", "quay.io/ascend/vllm-ascend@sha256:a"),
    ("quay.io/ascend/vllm-ascend:v1", "", "quay.mirror.example/", "quay.mirror.example/ascend/vllm-ascend:v1"),
    ("quay.io/ascend/vllm-ascend:v1", "sha256:a", "10.0.0.1:5000/q", "10.0.0.1:5000/q/ascend/vllm-ascend@sha256:a"),
    ("ascend/vllm-ascend:v1", "", "10.0.0.1:5000", "10.0.0.1:5000/ascend/vllm-ascend:v1"),
    ("10.0.0.9:5000/vllm-ascend:v1", "", "10.0.0.1:5000", "10.0.0.1:5000/vllm-ascend:v1"),
])
def test_the_name_to_pull_by(reference, digest, mirror, name):
    assert image.pull_name(reference, digest, mirror) == name
