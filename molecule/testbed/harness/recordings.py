# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recordings of nodes in an archive of the collection's diagnostics."""

from __future__ import annotations

import json
import tarfile
from pathlib import Path

from .machine import BedError

NAME = "recording.json"
MAX_BYTES = 64 << 20
KEYS = {"commands": list, "files": dict, "devices": list, "kernel": str, "architecture": str}


def read(path: Path) -> dict[str, dict]:
    """Return ``{host: recording}`` of an archive, or ``{name of the file: recording}`` of a single recording.

    :raises BedError: if there is no recording, or if one of them is damaged. Nothing is unpacked.
    """
    try:
        if tarfile.is_tarfile(path):
            with tarfile.open(path) as archive:
                texts = {Path(member.name).parent.name: archive.extractfile(member).read(MAX_BYTES)
                         for member in archive if member.isfile() and Path(member.name).name == NAME}
        else:
            texts = {path.stem: path.read_bytes()}
    except (OSError, EOFError, tarfile.TarError) as error:
        raise BedError(f"{path} cannot be read: {error}") from error
    if not texts:
        raise BedError(f"{path} has no {NAME}; record with `ansible-playbook … diagnostics.yml "
                       "-e diagnostics_record=true`")
    return {host: check(text, f"{path}: {host}") for host, text in texts.items()}


def check(text: bytes, source: str) -> dict:
    """Return the recording in a JSON text. Raise BedError if it does not have the expected format."""
    try:
        found = json.loads(text)
        valid = all(isinstance(found[key], kind) for key, kind in KEYS.items()) and all(
            isinstance(device, int) and 0 <= device < 64 for device in found["devices"]) and all(
            isinstance(each["stdout"] + each["stderr"] + "".join(each["argv"]), str) and each["argv"]
            and isinstance(each["rc"], int | None) for each in found["commands"]) and all(
            isinstance(each, str) for each in found["files"].values())
    except (ValueError, LookupError, TypeError):
        valid = False
    if not valid:
        raise BedError(f"{source} is not a recording of the collection's diagnostics")
    return found
