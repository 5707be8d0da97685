# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the catalogue on the controller: the files of the collection with those of the site merged over them.

PRIVATE to the collection.
"""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from yaml import YAMLError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import merge
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root

# Below a role, which every way of installing a collection brings along.
CATALOGUE = collection_root() / "roles" / "plan" / "files" / "catalogue"


def load_catalogue(overlays=()):
    """Return the catalogue with the overlay files (or folders of ``*.yml``) merged over it, in the order given.

    Raises AnsibleError naming the file when one is missing or broken, or when the whole breaks ``schema.json``.
    """
    catalogue = _own(CATALOGUE)
    overlays = [overlays] if isinstance(overlays, str) else overlays
    files = [path for overlay in overlays if overlay for path in _overlay_files(overlay)]
    for path in files:
        catalogue = merge(catalogue, _read(path))
    if files:  # the collection's own files are checked by its tests
        _validate(catalogue, json.loads((CATALOGUE / "schema.json").read_text("utf-8")), files)
    return catalogue


@lru_cache(maxsize=None)
def _own(folder):
    catalogue = {}
    for path in sorted(folder.glob("*.yml")):
        catalogue = merge(catalogue, _read(path))
    return catalogue


def _overlay_files(overlay):
    path = Path(overlay)
    if not path.is_absolute():
        raise AnsibleError(f"plan_catalogue must hold absolute paths on the controller, but holds {overlay}; "
                           "begin it with inventory_dir or playbook_dir.")
    if path.is_dir():
        return sorted(path.glob("*.yml"))
    if not path.is_file():
        raise AnsibleError(f"plan_catalogue names {overlay}, which is not there on the controller.")
    return [path]


def _read(path):
    try:
        content = yaml_load(path.read_text("utf-8"))
    except YAMLError as error:
        raise AnsibleError(f"The catalogue file {path} is not YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise AnsibleError(f"The catalogue file {path} must hold a mapping with hardware, releases or models.")
    return content


def _validate(catalogue, schema, files):
    try:
        import jsonschema
    except ImportError as error:
        raise AnsibleError("plan_catalogue needs the Python package jsonschema on the controller.") from error
    found = jsonschema.Draft202012Validator(schema).iter_errors(catalogue)
    for error in sorted(found, key=lambda error: error.json_path):
        names, where = ", ".join(map(str, files)), error.json_path[2:] or "the top level"
        raise AnsibleError(f"plan_catalogue ({names}): {where} does not fit the catalogue: {error.message}")


_own(CATALOGUE)  # once for the processes of all hosts, which are forked from this one
