# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Load the catalogue on the controller: the files of the collection, with the files of the site merged over them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import lru_cache
from pathlib import Path
from typing import Any, cast

from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from yaml import YAMLError

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import merge, nearest
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root

# The catalogue is in a role, because an installed collection always includes the files of its roles.
CATALOGUE = collection_root() / "roles" / "plan" / "files" / "catalogue"
# The sections whose entries can be ``like`` another entry, and the types of the entries in schema.json.
SECTIONS = {"hardware": "hardware", "releases": "release", "models": "model"}


def load_catalogue(overlays: str | Sequence[str] = ()) -> Catalogue:
    """Return the catalogue with the overlay files (or folders of ``*.yml``) merged over it in order.

    :raises AnsibleError: if a file is missing or invalid, or the result does not match ``schema.json``. The message
        names the file.
    """
    overlays = [overlays] if isinstance(overlays, str) else overlays
    files = [path for overlay in overlays if overlay for path in _overlay_files(overlay)]
    return cast(Catalogue, _merged(*((path, path.stat().st_mtime_ns) for path in files)))


@lru_cache(maxsize=None)
def _merged(*overlays: tuple[Path, int]) -> dict[str, Any]:
    """Return the catalogue with overlay files merged over it.

    :param overlays: the path of each file and the time of its last modification, so that a changed file is read again.
    """
    catalogue: dict[str, Any] = {}
    files = [path for path, _modified in overlays]
    for path in sorted(CATALOGUE.glob("*.yml")) + files:
        catalogue = merge(catalogue, _read(path), extend=True)
    schema = json.loads((CATALOGUE / "schema.json").read_text("utf-8"))
    for section, kind in SECTIONS.items():
        entries = catalogue.get(section)
        if isinstance(entries, dict):
            rules = schema["$defs"][kind]["properties"]
            catalogue[section] = {name: _complete(section, name, entries, rules) for name in entries}
    if files:  # The tests validate the files of the collection.
        _validate(catalogue, schema, files)
    return catalogue


def _complete(section: str, name: str, entries: dict[str, Any], rules: dict[str, Any]) -> Any:
    """Return an entry with the keys of the entry that it is ``like``, and with the defaults of the schema."""
    entry = _inherited(section, name, entries, ())
    if not isinstance(entry, dict):
        return entry
    defaults = {key: rule["default"] for key, rule in rules.items() if "default" in rule}
    names = {"name": name} if section != "releases" else {}
    if section == "models":
        names.update(directory=entry.get("name", name), served_name=name)
    return {**defaults, **names, **entry}


def _inherited(section: str, name: str, entries: dict[str, Any], heirs: tuple[str, ...]) -> Any:
    """Return an entry merged over the entry that it is ``like``.

    :param heirs: the entries that are like this one, directly or through other entries.
    """
    entry = entries[name]
    if not isinstance(entry, dict):
        return entry
    own = {key: value for key, value in entry.items() if key != "like"}
    like = entry.get("like")
    if like is None:
        return merge({}, own)
    if like not in entries or like in (*heirs, name):
        close = nearest(str(like), set(entries) - {*heirs, name})
        raise AnsibleError(f"plan_catalogue: {section}.{name} is like {like}, which is not another entry of {section}"
                           + (f"; the nearest is {close}." if close else "; correct the name."))
    return merge(_inherited(section, like, entries, (*heirs, name)), own)


def _overlay_files(overlay: str) -> list[Path]:
    path = Path(overlay)
    if not path.is_absolute():
        raise AnsibleError(f"plan_catalogue must be absolute paths on the controller, but contains {overlay}; "
                           "start it with inventory_dir or playbook_dir.")
    if path.is_dir():
        return sorted(path.glob("*.yml"))
    if not path.is_file():
        raise AnsibleError(f"plan_catalogue contains {overlay}, which does not exist on the controller; correct the "
                           "path.")
    return [path]


def _read(path: Path) -> dict[str, Any]:
    try:
        content = yaml_load(path.read_text("utf-8"))
    except YAMLError as error:
        raise AnsibleError(f"The catalogue file {path} is not valid YAML: {' '.join(str(error).split())}") from error
    if not isinstance(content, dict):
        raise AnsibleError(f"The catalogue file {path} must be a mapping with keys such as hardware, releases and "
                           f"models, but is a {type(content).__name__}.")
    return content


def _validate(catalogue: dict[str, Any], schema: dict[str, Any], files: list[Path]) -> None:
    try:
        import jsonschema
    except ImportError as error:
        raise AnsibleError("plan_catalogue needs the Python package jsonschema on the controller; install it.") \
            from error
    errors = sorted(jsonschema.Draft202012Validator(schema).iter_errors(catalogue), key=lambda error: error.json_path)
    if errors:
        names = ", ".join(map(str, files))
        found = [f"{each.json_path[2:] or 'the top level'}: {_text.one_line(each.message)}" for each in errors]
        raise AnsibleError(f"plan_catalogue ({names}) does not match the schema of the catalogue: {'; '.join(found)}.")


_merged()  # Read once here, because Ansible forks the worker processes of all hosts from this process.
