# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Exit with a sentence unless an image can run a recipe of msModelSlim. Runs in the image, without NPUs.

check_msmodelslim.py VERSION_OF_TRANSFORMERS TOOL FOLDER …
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import stat
import sys

IMAGE = "set weights_quantize_image to an image that was built with msmodelslim.Dockerfile"


def problem(wanted, tool, folders):
    """Return a sentence, or None. msModelSlim itself refuses folders that others can write to, even for root."""
    sys.path.append(tool)  # as the recipe does
    missing = [name for name in ("msmodelslim", "qwen_vl_utils", "accelerate") if not importlib.util.find_spec(name)]
    if missing:
        return f"The image has no {', '.join(missing)}, which the recipe of msModelSlim imports; {IMAGE}."
    found = [each.version for each in importlib.metadata.distributions(name="transformers")]
    if found[:1] != [wanted]:
        return f"The image has transformers {found[0] if found else '(none)'}, but the recipe needs {wanted}; {IMAGE}."
    for folder in folders:
        if os.stat(folder).st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            return f"msModelSlim refuses {folder}, because its group or others can write to it; run chmod go-w on it."
    return None


if __name__ == "__main__":
    sys.exit(problem(sys.argv[1], sys.argv[2], sys.argv[3:]))
