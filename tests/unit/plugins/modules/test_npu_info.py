# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module npu_info runs on this machine, with a script instead of npu-smi."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.modules import npu_info
from ansible_collections.ascend.vllm.tests.unit.plugins.action.module_case import documented_options

TABLE = Path(__file__).parents[1] / "module_utils" / "_ascend" / "npu_smi" / "910b.txt"
PARAMS = {name: option.get("default") for name, option in npu_info.ARGUMENTS.items()}


@pytest.fixture
def tool(tmp_path):
    path = tmp_path / "npu-smi"
    path.write_text(
        f'#!/bin/sh\n[ "$*" = info ] && exec cat "{TABLE}"\n[ "$3$5" = ecc3 ] && exec sleep 60\necho A : B\n')
    path.chmod(0o755)
    return str(path)


def test_one_call_returns_all_observations(tool, tmp_path):
    (tmp_path / "driver").mkdir()
    (tmp_path / "driver" / "version.info").write_text("Version=25.3.rc1\nascendhal_version=7.35.23\n")
    observed = npu_info.observe(dict(
        PARAMS, timeout_s=8, driver_path=str(tmp_path / "driver"), docker_socket=str(tmp_path / "none.sock"),
        paths=["/dev/null", str(tmp_path / "none")], disk_paths=["/nonexistent/data"]), tool, 1.0)
    assert [chip["device"] for chip in observed["npu_smi"]["chips"]] == [0, 3]
    assert [call["command"].partition(" ")[2] for call in observed["tools"] if call["timed_out"]] == [
        "info -t ecc -i 3"]
    assert observed["files"][str(tmp_path / "driver/version.info")]["fields"]["Version"] == "25.3.rc1"
    assert "error" in observed["files"][str(tmp_path / "firmware/version.info")]
    assert "none.sock does not respond" in observed["docker_engine"]["error"]
    assert [path["type"] for path in observed["paths"]] == ["character device", None]
    assert [disk["existing"] for disk in observed["disks"]] == ["/"]
    assert {holder["pid"] for holder in observed["holders"]} >= {48213, 48377}


def test_documentation_lists_every_returned_key(tool, tmp_path):
    Path(tool).write_text(Path(tool).read_text("utf-8").replace("exec sleep 60", "exit 0"), "utf-8")
    observed = npu_info.observe(dict(PARAMS, docker_socket=str(tmp_path / "none.sock")), tool, 1.0)
    documented = set(yaml.safe_load(npu_info.RETURN))
    assert documented == set(observed)
    options = documented_options(npu_info)
    assert {name: option.get("default") for name, option in options.items()} == PARAMS


def test_missing_npu_smi_is_reported():
    observed = npu_info.observe(PARAMS, None, 1.0)
    assert observed["npu_smi"]["error"]["message"] == "npu-smi was not found"
    assert observed["tools"] == []
