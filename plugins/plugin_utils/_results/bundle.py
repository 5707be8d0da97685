# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The archive with the diagnostics of a run, and its index, which is the file to read first."""

from __future__ import annotations

import re
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, first_fault

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import StageResult
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.first_fault import NodeCauses

# The return values of ``ascend.vllm.diagnostics_bundle`` for a node, except the archive, and the key ``failure``
# with the reason why nothing was returned, or None.
NodeNote = dict[str, Any]

# The names of the note and the archive of a node in the results folder.
NOTE, ARCHIVE = "diagnostics", "diagnostics.tar.gz"
ROOT = "diagnostics"
INDEX = ROOT + "/index.md"
# The maximum number of causes per node in the index.
MAX_CAUSES = 10
_NAME = re.compile(r"[^/\0]+(?:/[^/\0]+)*\Z")


def causes(note: NodeNote) -> list[dict[str, Any]]:
    """Return the causes of a node, the most likely first. A cause that appears in several logs is returned once."""
    found: dict[str, dict[str, Any]] = {}
    for cause in note["diagnosis"]:
        found.setdefault(cause["cause"], cause)
    return sorted(found.values(), key=lambda each: first_fault.level(cast("Diagnosis", each)))


def first_fault_of(notes: Mapping[str, NodeNote]) -> str:
    """Return sentences about the first fault on any node, or a sentence that there is none."""
    nodes = []
    for host, note in notes.items():
        for source in dict.fromkeys(cause["source"] for cause in note["diagnosis"]):
            nodes.append({"host": host, "clock_offset_s": note["clock_offset_s"],
                          "causes": [cause for cause in note["diagnosis"] if cause["source"] == source]})
    return first_fault.describe(first_fault.faults_in_order(cast("list[NodeCauses]", nodes))) or (
        "The logs do not show a fault.")


def index(title: str, notes: Mapping[str, NodeNote], results: Mapping[str, Mapping[str, StageResult]]) -> list[str]:
    """Return the lines of the index in Markdown: failed checks, causes, missing files with reasons, and files.

    :param notes: ``{host: note}``.
    :param results: ``{host: {stage: result}}``, the last results of all hosts.
    """
    shown = _text.markdown
    lines = [f"# {shown(title)}", "", "## Failed checks", ""]
    failed = [f"- {shown(host)}: {shown(sentence)}" for host, stages in results.items()
              for stage in contract.STAGES if stage in stages for sentence in contract.failures(stages[stage])]
    lines += failed or ["No check failed in the last results."]
    lines += ["", "## Causes in the logs", "", shown(first_fault_of(notes)), ""]
    for host, note in notes.items():
        for number, cause in enumerate(causes(note)[:MAX_CAUSES], 1):
            place = f"{host}/{cause['source']}, line {cause['line']}" + (f", {cause['time']}" if cause["time"] else "")
            lines += [f"{number}. **{shown(host)}: {shown(cause['cause'])}** ({shown(place)})",
                      f"   {shown(cause['evidence'])}", f"   {shown(cause['remedy'])}"]
    lines += ["", "## Missing files", ""] if lines[-1] else ["## Missing files", ""]
    absent = [f"- {shown(host)}: everything except the results, because nothing was collected there"
              for host in results if host not in notes]
    for host, note in notes.items():
        if note["failure"]:
            absent.append(f"- {shown(host)}: everything: {shown(note['failure'])}")
        absent += [f"- {shown(host)}/{shown(names)}: {shown(problem)}" for problem, names in _by_problem(note)]
    lines += absent or ["Nothing."]
    lines += ["", "## Files", "", "Secrets are masked; check the files before you share them.", ""]
    for host, note in notes.items():
        lines += [f"- {shown(host)}/{shown(name)} ({file['size']} bytes)"
                  for name, file in note["files"].items() if file["size"]]
    return lines


def _by_problem(note: NodeNote) -> Iterator[tuple[str, str]]:
    """Yield (problem, names of the files) of a node. If a tool hangs, dozens of files have the same problem."""
    found: dict[str, list[str]] = {}
    for name, file in note["files"].items():
        if file["problem"]:
            found.setdefault(file["problem"], []).append(name)
    for problem, names in found.items():
        yield problem, names[0] if len(names) == 1 else "%s and %d more, up to %s" % (
            names[0], len(names) - 1, names[-1])


def members(path: Path, max_bytes: int) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of the files in the archive of a node. The archive is not trusted.

    The iteration stops early if the archive is damaged or its files have more than ``max_bytes`` bytes.
    """
    remaining_bytes = max_bytes
    try:
        with tarfile.open(path, "r:gz") as archive:
            for member in archive:
                stream = archive.extractfile(member) if member.isfile() else None
                remaining_bytes -= member.size
                if remaining_bytes < 0:
                    return
                if stream and _NAME.match(member.name) and not {".", ".."} & set(member.name.split("/")):
                    yield member.name, stream.read().decode("utf-8", "replace")
    except (OSError, EOFError, zlib.error, tarfile.TarError):
        return
