# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue is loaded with the site's overlays, and a mistake in an overlay is reported."""

from __future__ import annotations

import re
import sys

import pytest
import yaml
from ansible.errors import AnsibleError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE, DEFAULTS, ROOT

OVERLAY = """
releases:
  v0.11.0rc1:
    patches:
      mrotary_embedding: {sha256: "%s"}
"""


@pytest.mark.parametrize("overlays", [(), [], "", [""]])
def test_catalogue_of_the_collection_is_loaded_without_overlays(overlays):
    assert load_catalogue(overlays) == CATALOGUE


@pytest.mark.parametrize("as_folder", [False, True])
def test_overlay_is_merged(tmp_path, as_folder):
    path = tmp_path / "site.yml"
    path.write_text(OVERLAY % (64 * "a"))
    releases = load_catalogue([str(tmp_path if as_folder else path)])["releases"]
    assert releases["v0.11.0rc1"]["patches"]["mrotary_embedding"]["sha256"] == 64 * "a"
    assert releases["v0.11.0rc2"] == CATALOGUE["releases"]["v0.11.0rc2"]
    assert load_catalogue() == CATALOGUE


@pytest.mark.parametrize(("content", "parts"), [
    ("releases: [", ["site.yml is not valid YAML"]),
    ("- a", ["site.yml must be a mapping", "is a list"]),
    (OVERLAY % "abc", ["site.yml", "mrotary_embedding", "does not match the schema"]),
    ("models: {mine: {name: Mine}}", ["site.yml", "models.mine", "required"]),
    ("modles: {}", ["site.yml", "the top level", "modles"]),
    ("models: {mine: {name: Mine, npus: 0}}\nhardware: {mine: {npus: 2}}",
     ["models.mine: 'weights_bytes' is a required", "models.mine: 'context_length'", "models.mine.npus: 0",
      "hardware.mine: 'chip_names' is a required", "hardware.mine: 'hbm_mb' is a required"]),
    ("models: [mine]", ["models: ['mine'] is not of type 'object'"]),
    ("models: {mine: 7}", ["models.mine: 7 is not of type 'object'"]),
    ("models: {mine: {like: qwen2_5_vl_32b_instrukt}}", [
        "models.mine is like qwen2_5_vl_32b_instrukt", "the nearest is qwen2_5_vl_32b_instruct."]),
    ("hardware: {one: {like: two}, two: {like: one}}", ["hardware.two is like one", "is not another entry"]),
])
def test_mistake_in_an_overlay_is_named(tmp_path, content, parts):
    (tmp_path / "site.yml").write_text(content)
    with pytest.raises(AnsibleError) as failure:
        load_catalogue([str(tmp_path / "site.yml")])
    assert [part for part in parts if part not in str(failure.value)] == []


def test_lists_of_an_overlay_extend_those_of_the_collection(tmp_path):
    (tmp_path / "site.yml").write_text(
        "vllm_versions: [0.23.1]\nhardware: {atlas_800_a2: {chip_names: [910B9, 910B1]}}")
    found = load_catalogue([str(tmp_path)])
    assert found["vllm_versions"] == [*CATALOGUE["vllm_versions"], "0.23.1"]
    assert found["hardware"]["atlas_800_a2"]["chip_names"] == ["910B1", "910B2", "910B2C", "910B3", "910B9"]


def test_entry_that_is_like_another_replaces_its_lists_and_merges_its_mappings(tmp_path):
    (tmp_path / "site.yml").write_text("""
hardware:
  big: {like: small, hbm_mb: 131072}
  small: {like: atlas_800_a3, chip_names: [Ascend920], npus: 2}
models:
  mine: {like: qwen2_5_vl_32b_instruct, name: Mine, arguments: {max-num-seqs: 5}}
""")
    found = load_catalogue([str(tmp_path)])
    small = {**CATALOGUE["hardware"]["atlas_800_a3"], "chip_names": ["Ascend920"], "npus": 2}
    assert found["hardware"]["small"] == small
    assert found["hardware"]["big"] == {**small, "hbm_mb": 131072}
    model = CATALOGUE["models"]["qwen2_5_vl_32b_instruct"]
    assert found["models"]["mine"] == {
        **model, "name": "Mine", "arguments": {**model["arguments"], "max-num-seqs": 5}}


# The YAML examples of the README: an inventory, and catalogue files.
INVENTORY, *EXAMPLES = [yaml.safe_load(text) for text in re.findall(
    r"```yaml\n(.*?)```", (ROOT / "roles/plan/README.md").read_text("utf-8"), re.DOTALL)]


def test_examples_of_the_readme_can_be_deployed(tmp_path):
    for number, content in enumerate(EXAMPLES):
        (tmp_path / f"{number}.yml").write_text(yaml.safe_dump(content))
    catalogue, base = load_catalogue([str(tmp_path)]), {**DEFAULTS, **INVENTORY}
    cases = [{"plan_model": "my_qwen3_14b"}, {"plan_model": "my_qwen3_32b"}, {"plan_release": "v0.23.1"},
             {"plan_hardware": "my_box16", "serving_replicas": "auto"}]
    named = {value for case in cases for value in case.values()} - {"auto"}
    assert named == {name for content in EXAMPLES for section in content.values() for name in section}
    plans = [resolve(catalogue, {**base, **case}) for case in cases]
    assert [plan["refusals"] for plan in plans] == [[]] * 4
    assert plans[0]["model"]["modality"] == "text"
    assert plans[0]["memory"]["bytes_per_token"] == 2 * 8 * 128 * 2 * 40
    assert plans[1]["model"]["path"] == "/data/my-Qwen3-32B"
    assert plans[2]["image"]["tag"] == "v0.23.1"
    assert len(plans[3]["instances"]) == 16


@pytest.mark.parametrize("example", EXAMPLES, ids="-".join)
def test_examples_of_the_readme_have_at_most_ten_lines_per_entry(example):
    for section in example.values():
        for name, entry in section.items():
            assert len(yaml.safe_dump({name: entry}, default_flow_style=False).splitlines()) <= 10


@pytest.mark.parametrize(("path", "part"), [("site.yml", "absolute"), ("/nowhere/site.yml", "does not exist")])
def test_missing_overlay_is_named(path, part):
    with pytest.raises(AnsibleError, match=part):
        load_catalogue([path])


def test_missing_package_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "jsonschema", None)
    (tmp_path / "site.yml").write_text(OVERLAY % (64 * "a"))
    with pytest.raises(AnsibleError, match="plan_catalogue needs the Python package jsonschema on the controller"):
        load_catalogue([str(tmp_path / "site.yml")])
    assert load_catalogue() == CATALOGUE  # the catalogue of the collection needs no validation
