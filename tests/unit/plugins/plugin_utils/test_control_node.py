# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A control node without the required collection, or without write access to report_path, is described."""

from __future__ import annotations

import json

import pytest

pytest.importorskip("ansible_collections.community.docker", reason="ansible-test installs no community.docker")

from ansible_collections.ascend.vllm.plugins.plugin_utils import _control_node


def test_this_control_node_is_sufficient(tmp_path):
    assert _control_node.problems(tmp_path / "new" / "folder") == []
    assert list(tmp_path.glob("new/folder/*")) == []
    assert _control_node.metadata(_control_node.collection_root())["dependencies"] == {"community.docker": ">=3.10.0"}


@pytest.mark.parametrize(("version", "found"), [("3.9.9", "3.9.9"), (None, "none"), ("3.10.0", ""), ("4.0.0", "")])
def test_old_or_missing_collection_is_named(tmp_path, monkeypatch, version, found):
    monkeypatch.setattr(_control_node, "installed", lambda name: version)
    sentences = _control_node.problems(tmp_path)
    assert sentences == ([
        f"The control node needs the collection community.docker 3.10.0 or newer, but has {found}; install it with "
        "ansible-galaxy collection install community.docker --upgrade."] if found else [])


def test_version_of_an_installed_collection_is_read(tmp_path):
    assert _control_node.installed("community.docker") is not None
    assert _control_node.installed("no.such") is None
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"collection_info": {"version": "1.2.3"}}))
    assert _control_node.metadata(tmp_path)["version"] == "1.2.3"
    assert _control_node.metadata(tmp_path / "none") == {}


def test_folder_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    (sentence,) = _control_node.problems(tmp_path / "file" / "results")
    assert "where the control node cannot write (Not a directory)" in sentence
