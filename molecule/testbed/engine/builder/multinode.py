# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What nodes that serve together need beside the full image, to unpack there: Ray, and a plugin of vLLM.

Only the scenario topology has such nodes, so the image is without.
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

REQUIREMENTS = ENGINE / "together/requirements.txt"
PLUGIN = ENGINE / "together/together_standin.py"
ENTRY_POINT = "[vllm.general_plugins]\ntogether_standin = together_standin:register\n"
COMMAND = images.SCRIPT.format(module="ray.scripts.scripts", function="main")
# Of no use without a browser or a JVM; a third of the size.
LEFT_OUT = ("ray/jars/", "ray/dashboard/client/", "ray/rllib/")


def archive() -> Path:
    """A tar: `lib`, a folder for PYTHONPATH, and `bin/ray`."""
    return cache.build("together", ".tar", [REQUIREMENTS, PLUGIN, Path(__file__)], _make)


def _make(path: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        pip = [python(), "-m", "pip", "--quiet", "--disable-pip-version-check", "--no-input", "install"]
        argv = ["nice", *pip, "--no-compile", "--no-deps", "--target", scratch, "--requirement", str(REQUIREMENTS)]
        done = subprocess.run(argv, stdout=sys.stderr, check=False)
        if done.returncode:
            raise SystemExit(f"engine: pip ended with exit code {done.returncode}")
        with Layer(path) as layer:
            for file in sorted(Path(scratch).rglob("*")):
                name = str(file.relative_to(scratch))
                if file.is_file() and not name.startswith(LEFT_OUT) and "__pycache__" not in file.parts:
                    mode = 0o755 if file.stat().st_mode & 0o100 else 0o644
                    layer.add(f"lib/{name}", file.read_bytes(), mode)
            layer.add("lib/together_standin.py", PLUGIN.read_bytes())
            record = "lib/together_standin-1.dist-info"
            layer.add(f"{record}/METADATA", "Metadata-Version: 2.1\nName: together-standin\nVersion: 1\n")
            layer.add(f"{record}/entry_points.txt", ENTRY_POINT)
            layer.add("bin/ray", COMMAND, 0o755)
