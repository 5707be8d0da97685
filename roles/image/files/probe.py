# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print the versions in an image of vLLM Ascend as JSON. Runs in a container of the image, and imports no packages."""

from __future__ import annotations

import glob
import json
import os
import platform
from importlib import metadata

PACKAGES = ("vllm", "vllm-ascend", "torch", "torch-npu", "transformers", "modelscope", "huggingface-hub")
ASCEND = "/usr/local/Ascend"


def version(package: str) -> str | None:
    """Return the version of an installed package, or None."""
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def cann() -> str | None:
    """Return the version of the CANN toolkit, from its install file or the name of its folder, or None."""
    for root in ("ascend-toolkit/latest", "cann"):
        for path in sorted(glob.glob(os.path.join(ASCEND, root, "*-linux", "ascend_toolkit_install.info"))):
            with open(path, encoding="utf-8") as lines:
                for line in lines:
                    key, _separator, value = line.partition("=")
                    if key.strip() == "version":
                        return value.strip()
        link = os.path.realpath(os.path.join(ASCEND, root))
        if os.path.isdir(link) and os.path.basename(link) not in ("latest", "cann"):
            return os.path.basename(link).rpartition("-")[2]
    return None


print(json.dumps({
    "architecture": platform.machine(),
    "python": platform.python_version(),
    "cann": cann(),
    "packages": {package: version(package) for package in PACKAGES},
}))
