# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The module returns whether Docker has the image of the all-reduce test."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.modules.hccn_info import image_present


def test_image_is_present_missing_or_unknown(docker, tmp_path):
    docker.images["vllm:v1"] = {"Id": "sha256:1", "Architecture": "arm64", "Size": 1, "Created": "now"}
    assert image_present(DockerEngine(docker.path), "vllm:v1") == (True, None)
    assert image_present(DockerEngine(docker.path), "other") == (False, None)
    present, error = image_present(DockerEngine(str(tmp_path / "none.sock")), "vllm:v1")
    assert present is None
    assert "none.sock does not respond" in error
