# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the server: JSON objects with the fields of Faults, in the variable VLLM_LIGHT_FAULTS and in files.

The first file can be written on the node before the container starts, because every plan mounts this driver folder. The
second file can be written in a running container. Both are read again for each request, so faults can be injected and
removed.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from pathlib import Path

VARIABLE = "VLLM_LIGHT_FAULTS"
FILES = (Path("/usr/local/Ascend/driver/lib64/vllm-light.json"), Path("/run/vllm-light.json"))
# For tests that run the server outside an image.
FILES_VARIABLE = "VLLM_LIGHT_FAULT_FILES"


@dataclasses.dataclass(frozen=True)
class Faults:
    """The faults of a server; by default it is healthy."""

    # At start
    load_seconds: float = 0.2  # time to load the weights
    start_error: str = ""  # "out_of_memory", or a line to print as the cause before exiting
    exit_code: int | None = None  # exit immediately with this code and without output
    served_name: str = ""  # served instead of the requested name
    # While serving
    crash_after_s: float | None = None  # time from ready to the crash
    crash_exit_code: int = 1
    hang: bool = False  # /health returns 200, completions are not answered
    engine_dead: bool = False  # /health returns 503, completions return 500
    fail_ratio: float = 0.0  # share of completions that return 500, evenly spread
    first_token_seconds: float = 0.0
    token_seconds: float = 0.0
    answer: str = ""  # returned for every question


def current() -> Faults:
    """Return the current faults.

    Raises:
        SystemExit: the variable or a file is not a JSON object of known fields.
    """
    values: dict = {}
    sources = [(VARIABLE, os.environ.get(VARIABLE, ""))]
    files = os.environ.get(FILES_VARIABLE)
    for path in map(Path, files.split(":")) if files else FILES:
        sources.append((str(path), path.read_text() if path.exists() else ""))
    for source, text in sources:
        if text.strip():
            values.update(_fields(source, text))
    return Faults(**values)


def _fields(source: str, text: str) -> dict:
    known = {field.name for field in dataclasses.fields(Faults)}
    try:
        values = json.loads(text)
    except ValueError as error:
        sys.exit("vllm_light: %s is not JSON: %s" % (source, error))
    if not isinstance(values, dict) or not set(values) <= known:
        sys.exit("vllm_light: %s must be a JSON object with some of %s, found %s" % (source, sorted(known), text))
    return values
