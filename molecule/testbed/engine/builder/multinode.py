# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Build an archive to unpack on nodes that serve one model together: Ray and a vLLM plugin.

The full image does not contain them, because only the topology scenario has such nodes.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from . import cache, images
from .archive import Layer
from .cache import ENGINE
from .environment import python

REQUIREMENTS = ENGINE / "multinode/requirements.txt"
PLUGIN = ENGINE / "multinode/multinode_standin.py"
CANN = ENGINE / "multinode/acl.py"
ENTRY_POINT = "[vllm.general_plugins]\nmultinode_standin = multinode_standin:register\n"
COMMAND = images.SCRIPT.format(module="ray.scripts.scripts", function="main")
# Only used with a browser or a JVM; a third of the total size.
UNNEEDED = ("ray/jars/", "ray/dashboard/client/", "ray/rllib/")


def archive() -> Path:
    """Return a tar with `lib`, a folder to add to PYTHONPATH, and `bin/ray`."""
    return cache.build("multinode", ".tar", [REQUIREMENTS, PLUGIN, CANN, Path(__file__)], _make)


def _make(path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pip = [python(), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
        argv = ["nice", *pip, "--no-compile", "--no-deps", "--target", scratch, "--requirement", str(REQUIREMENTS)]
        done = subprocess.run(argv, stdout=sys.stderr, check=False)
        if done.returncode:
            raise SystemExit(f"engine: pip failed with exit code {done.returncode}")
        with Layer(path) as layer:
            for file in sorted(Path(scratch).rglob("*")):
                name = str(file.relative_to(scratch))
                if file.is_file() and not name.startswith(UNNEEDED) and "__pycache__" not in file.parts:
                    mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
                    layer.add(f"lib/{name}", file.read_bytes(), mode)
            for module in (PLUGIN, CANN):
                layer.add(f"lib/{module.name}", module.read_bytes())
            dist_info = "lib/multinode_standin-1.dist-info"
            layer.add(f"{dist_info}/METADATA", "Metadata-Version: 2.1\nName: multinode-standin\nVersion: 1\n")
            layer.add(f"{dist_info}/entry_points.txt", ENTRY_POINT)
            layer.add("bin/ray", COMMAND, 0o755)
