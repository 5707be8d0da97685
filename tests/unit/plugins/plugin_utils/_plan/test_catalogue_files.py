# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue is loaded with the site's overlays, and a mistake in an overlay is reported."""

from __future__ import annotations

import sys

import pytest
from ansible.errors import AnsibleError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE

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
])
def test_mistake_in_an_overlay_is_named(tmp_path, content, parts):
    (tmp_path / "site.yml").write_text(content)
    with pytest.raises(AnsibleError) as failure:
        load_catalogue([str(tmp_path / "site.yml")])
    assert [part for part in parts if part not in str(failure.value)] == []


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
