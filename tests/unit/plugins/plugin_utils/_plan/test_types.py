# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan types have the same keys as a plan, and the catalogue types have the same keys as the catalogue schema."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    ROOT,
    plan_with,
    valid,
    valid_group,
)

SCHEMA = json.loads((ROOT / "roles" / "plan" / "files" / "catalogue" / "schema.json").read_text("utf-8"))


def keys(kind):
    return sorted(kind.__annotations__)


def test_plan_types_have_the_keys_of_a_plan():
    plan = valid(serving_replicas=2)
    (instance, second), health = plan["instances"], plan["health_check"]
    found = {types.Plan: plan, types.Hardware: plan["hardware"] | {"device_numbers": []},
             types.Memory: plan["memory"] | {"unsupported": ""},
             types.Image: plan["image"],
             types.Patch: plan["patch"], types.HealthCheck: health, types.Mount: instance["mounts"][0],
             types.DockerHealthCheck: instance["health"], types.HcclPorts: second["hccl_ports"],
             types.Finding: plan["warnings"][0]}
    assert {kind.__name__: sorted(value) for kind, value in found.items()} == {
        kind.__name__: keys(kind) for kind in found}
    assert sorted([*instance, *types.Membership.__annotations__]) == keys(types.Instance)
    for kind, value in ((types.Release, plan["release"]), (types.Model, plan["model"])):
        assert set(value) <= set(kind.__annotations__)
    assert sorted(plan_with(plan_release="v9.9.9")) == keys(types.Plan)


def test_group_types_have_the_keys_of_a_group():
    plan = valid_group("data_parallel")["node1"]
    assert sorted(plan["group"]) == keys(types.Group)
    assert sorted(plan["group"]["members"][0]) == keys(types.Member)
    assert sorted(plan["instances"][0]) == keys(types.Instance)


@pytest.mark.parametrize(("kind", "path"), [
    (types.Catalogue, "properties"),
    (types.HardwareProfile, "$defs/hardware/properties"),
    (types.ReleaseEntry, "$defs/release/properties"),
    (types.ReleaseImage, "$defs/release/properties/image/properties"),
    (types.BadDriver, "$defs/release/properties/driver_known_bad/items/properties"),
    (types.WeightNz, "$defs/release/properties/weight_nz/properties"),
    (types.Conflict, "$defs/release/properties/conflicts/items/properties"),
    (types.KnownBug, "$defs/release/properties/known_bugs/additionalProperties/properties"),
    (types.PatchEntry, "$defs/patch/oneOf/1/properties"),
    (types.ModelEntry, "$defs/model/properties"),
    (types.Sources, "$defs/model/properties/sources/properties"),
    (types.Quantize, "$defs/model/properties/sources/properties/quantize/properties"),
    (types.ModelReleases, "$defs/model/properties/releases/properties"),
    (types.VersionRange, "$defs/releases/properties"),
    (types.Override, "$defs/model/properties/overrides/items/properties"),
    (types.ModelReference, "$defs/model/properties/references/items/properties"),
    (types.Hub, "$defs/hub/properties"),
    (types.Option, "$defs/options/additionalProperties/properties"),
])
def test_catalogue_types_have_the_keys_of_the_schema(kind, path):
    found = SCHEMA
    for part in Path(path).parts:
        found = found[int(part)] if part.isdigit() else found[part]
    reason = ["reason"] if kind is types.PatchEntry else []  # a key of the other alternative in the schema
    assert keys(kind) == sorted([*found, *reason])
