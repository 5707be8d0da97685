# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check the requirements for the control node before a run begins."""

from __future__ import annotations

import importlib
import tempfile
from pathlib import Path
from typing import Any

from ansible import constants as C
from ansible.module_utils.common.yaml import yaml_load
from ansible.utils.version import LooseVersion

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import collection_root


def problems(report_path: Path) -> list[str]:
    """Return a sentence for each requirement that the control node does not meet."""
    found = []
    strategy = str(C.config.get_config_value("DEFAULT_STRATEGY"))
    if not strategy.endswith(("linear", "debug")):
        found.append(f"The strategy of Ansible is {strategy} (ANSIBLE_STRATEGY or ansible.cfg). Nodes wait for each "
                     "other in these playbooks, and the report is written after all nodes, so set it to linear.")
    for name, wanted in metadata(collection_root()).get("dependencies", {}).items():
        minimum, version = wanted.lstrip(">="), installed(name)
        if version is None or LooseVersion(version) < LooseVersion(minimum):
            found.append(f"The control node needs the collection {name} {minimum} or newer, but has "
                         f"{version or 'none'}; install it with ansible-galaxy collection install {name} --upgrade.")
    try:
        report_path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=report_path):
            pass
    except OSError as error:
        found.append(f"report_path is {report_path}, where the control node cannot write ({error.strerror}); set it to "
                     "a folder in which this user can create files.")
    return found


def installed(name: str) -> str | None:
    """Return the version of a collection that Ansible finds, or None."""
    try:
        folders = importlib.import_module(f"ansible_collections.{name}").__path__
    except ImportError:
        return None
    versions = [metadata(Path(folder)).get("version") for folder in folders]
    return next((str(version) for version in versions if version), None)


def metadata(folder: Path) -> dict[str, Any]:
    """Return the metadata of a collection that was installed, or of its sources."""
    for path in (folder / "MANIFEST.json", folder / "galaxy.yml"):
        if path.is_file():
            found: dict[str, Any] = yaml_load(path.read_text("utf-8"))  # JSON is YAML
            return dict(found.get("collection_info", found))
    return {}
