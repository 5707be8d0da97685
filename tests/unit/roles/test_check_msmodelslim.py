# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""An image that cannot run the recipe of msModelSlim is refused with one sentence."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

CODE = (ROOT / "roles/weights/files/check_msmodelslim.py").read_text("utf-8")


def check(tool, *folders, version="4.49.0", packages=("msmodelslim", "qwen_vl_utils", "accelerate")):
    for name in packages:
        (tool / f"{name}.py").touch()
    if version:
        info = tool / f"transformers-{version}.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: transformers\nVersion: {version}\n")
    # As the role runs it: the code is an argument. -S hides the packages of this machine.
    done = subprocess.run([sys.executable, "-S", "-c", CODE, "4.49.0", str(tool), *map(str, folders)], check=False,
                          capture_output=True, text=True)
    return done.returncode, done.stderr.strip()


def test_suitable_image_is_accepted(tmp_path):
    assert check(tmp_path, ROOT / "roles") == (0, "")


@pytest.mark.parametrize(("image", "sentence"), [
    ({"packages": ["msmodelslim"]}, "The image has no qwen_vl_utils, accelerate, which the recipe of msModelSlim"),
    ({"version": "4.57.1"}, "The image has transformers 4.57.1, but the recipe needs 4.49.0; set"),
    ({"version": None}, "The image has transformers (none), but the recipe needs 4.49.0; set"),
])
def test_unsuitable_image_is_refused_with_one_sentence(tmp_path, image, sentence):
    code, text = check(tmp_path, **image)
    assert code == 1
    assert text.startswith(sentence)
    assert text.endswith("msmodelslim.Dockerfile.")


@pytest.mark.parametrize("mode", [0o775, 0o757])
def test_folder_that_others_can_write_to_is_refused(tmp_path, mode):
    folder = tmp_path / "images"
    folder.mkdir()
    folder.chmod(mode)
    code, text = check(tmp_path, folder)
    assert (code, text) == (1, f"msModelSlim refuses {folder}, because its group or others can write to it; run chmod "
                               "go-w on it.")
