# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs determine the image reference, and unsuitable tags and patches are refused."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    CATALOGUE,
    W8A8,
    merge,
    refusal,
    valid,
)


@pytest.mark.parametrize(("inputs", "reference"), [
    ({}, "quay.io/ascend/vllm-ascend:v0.11.0rc1"),
    ({"image_repository": "registry.example:5000/mirror/vllm-ascend"},
     "registry.example:5000/mirror/vllm-ascend:v0.11.0rc1"),
    ({"image_tag": "0.11.0rc1"}, "quay.io/ascend/vllm-ascend:v0.11.0rc1"),
    ({"image_tag": "site-7"}, "quay.io/ascend/vllm-ascend:site-7"),
    ({"image_tag": "7-site"}, "quay.io/ascend/vllm-ascend:7-site"),
    ({"image_tag": "0.11.0rc1-openeuler"}, "quay.io/ascend/vllm-ascend:v0.11.0rc1-openeuler"),
    ({"image_tag": "v0.11.0rc1-site7", "plan_hardware": "atlas_800_a3"}, "quay.io/ascend/vllm-ascend:v0.11.0rc1-site7"),
])
def test_inputs_determine_the_image_reference(inputs, reference):
    assert valid(**inputs)["image"]["reference"] == reference


@pytest.mark.parametrize(("hardware", "variant", "tag"), [
    ("atlas_800_a2", "", "v0.18.0"),
    ("atlas_800_a2", "openeuler", "v0.18.0-openeuler"),
    ("atlas_800i_a2", "", "v0.18.0"),
    ("atlas_800_a3", "", "v0.18.0-a3"),
    ("atlas_800_a3", "openeuler", "v0.18.0-a3-openeuler"),
])
def test_hardware_and_variant_determine_the_tag(hardware, variant, tag):
    assert valid(plan_release="v0.18.0", plan_hardware=hardware, image_variant=variant)["image"]["tag"] == tag


# (inputs, parts of the message)
REFUSED = [
    ({"serving_patches": ["mrotary_embedding"], "plan_release": "v0.18.0"}, ["must not be applied", "4811"]),
    ({"serving_patches": ["mrotary_embedding"], "plan_release": "v0.11.0rc2", "plan_architecture": "x86_64"},
     ["needs on aarch64 only"]),
    ({"serving_patches": ["x"]}, ["serving_patches names x, which release v0.11.0rc1 does not have"]),
    ({"image_repository": "quay.io/ascend/vllm-ascend:v1"}, ["image_repository", "image_tag"]),
    ({"image_variant": "alpine"}, ["image_variant is alpine", "openeuler"]),
    ({"image_digest": "abc"}, ["image_digest", "abc"]),
    ({"image_tag": "v0.11.0rc1-a3"}, ["an image for the chips a3", "atlas_800_a2", "set image_tag to v0.11.0rc1."]),
    ({"image_tag": "v0.11.0rc1-310p-openeuler"}, ["an image for the chips 310p"]),
    ({"image_tag": "v0.11.0rc1", "plan_hardware": "atlas_800_a3"}, ["an image for the 910B", "suffix -a3"]),
    ({"image_tag": "v0.11.0rc1-openeuler", "plan_hardware": "atlas_800_a3"}, ["an image for the 910B"]),
    ({"image_tag": "0.13.0"}, ["an image of release v0.13.0", "plan_release to v0.13.0, or image_tag to v0.11.0rc1"]),
]


@pytest.mark.parametrize(("inputs", "parts"), REFUSED)
def test_unsuitable_input_is_refused(inputs, parts):
    message = refusal(**inputs)
    assert [part for part in parts if part not in message] == []


def test_hardware_without_an_image_of_the_release_is_refused():
    overlay = {"releases": {"v0.11.0rc1": {"image": {"chips": ["310p"]}}}}
    message = refusal(overlay, plan_hardware="atlas_800_a3")
    assert message.startswith("plan_hardware is atlas_800_a3, but release v0.11.0rc1 has no image for it (tag suffix "
                              "-a3); set plan_release to one of v0.11.0rc2, v0.11.0rc3, v0.11.0, ")
    only = {"models": {"mine": {**CATALOGUE["models"][W8A8], "releases": {"documented": {"until": "v0.11.0rc2"}}}}}
    assert refusal(merge(overlay, only), plan_hardware="atlas_800_a3", plan_model="mine").endswith(
        "has no image for it (tag suffix -a3); correct plan_hardware.")


def test_two_patches_are_refused():
    patches = CATALOGUE["releases"]["v0.11.0rc1"]["patches"]
    overlay = {"releases": {"v0.11.0rc1": {"patches": {"another": patches["mrotary_embedding"]}}}}
    assert refusal(overlay, serving_patches=["mrotary_embedding", "another"]) == (
        "serving_patches names mrotary_embedding, another, but only one patch can be applied; keep one of them.")
