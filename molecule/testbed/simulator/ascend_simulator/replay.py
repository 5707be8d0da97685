# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""npu-smi and hccn_tool that replay a recorded node: they print what the real tools printed, with the same exit code.

A recording is `recording.json` of the collection's diagnostics. Its keys are `commands` (list of `argv`, `rc`, which is
null for a command that hung, `stdout` and `stderr`), `files` (text by path), `devices` (N of /dev/davinciN), `kernel`
and `architecture`.
"""
from __future__ import annotations

import json
import os
import sys

from . import vendor_files
from .tool import Failure, fail, finish

PATH = "etc/ascend-simulator/recording.json"
# Files that are replayed. Others are ignored, because a recording is not trusted.
FILES = (vendor_files.DRIVER_VERSION, vendor_files.FIRMWARE_VERSION, vendor_files.HCCN_CONF,
         vendor_files.INSTALL_INFO, "etc/os-release")
NOT_RECORDED = 70  # EX_SOFTWARE


def main(argv: list[str], root: str = "/") -> int:
    """Print the recorded output of one command line; return its exit code."""
    with open(os.path.join(root, PATH), encoding="utf-8") as file:
        commands = json.load(file)["commands"]
    wanted = [os.path.basename(argv[0]), *argv[1:]]
    for command in commands:
        if command["argv"] == wanted:
            code = finish(Failure(command["rc"], command["stdout"], command["stderr"]))
            sys.stderr.flush()
            if code is None:
                fail("hang", {})
            return code if code >= 0 else 128 - code  # as in a shell if a signal killed the tool
    sys.stderr.write(f"{wanted[0]}: this output is not in the recording: {' '.join(wanted)}\n")
    return NOT_RECORDED


def install(root: str, package: str, recording: dict) -> None:
    """Replace the simulated tools and files below `root` by recorded ones; remove those that the recording lacks."""
    vendor_files.write_file(root, PATH, json.dumps(recording), 0o644)
    present = {command["argv"][0] for command in recording["commands"]}
    for path in (vendor_files.NPU_SMI, vendor_files.HCCN_TOOL):
        if os.path.basename(path) in present:
            vendor_files.write_program(root, package, path, "replay")
        else:
            os.remove(os.path.join(root, path))
    texts = {path.rpartition("Ascend/")[2]: text for path, text in recording["files"].items()}
    for path in FILES:
        text = texts.get(path.rpartition("Ascend/")[2]) or texts.get(f"/{path}")
        if text is not None:
            vendor_files.write_file(root, path, text, 0o640 if path == vendor_files.HCCN_CONF else 0o644)
        elif path != "etc/os-release":
            os.remove(os.path.join(root, path))
