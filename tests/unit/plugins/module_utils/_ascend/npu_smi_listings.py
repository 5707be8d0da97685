# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read everything that ``npu-smi info`` prints except its table, to compare it with labeled samples and the simulator.

The collection itself reads three known types with ``npu_smi.parse_blocks``; samples also contain the outputs of ``-m``
and ``-l``, the topology, and outputs whose type must be determined.
"""

from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import npu_smi
from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError

TYPES = tuple((kind, re.compile(pattern)) for kind, pattern in (
    ("list", r"(?:Total|Card) Count\Z"),
    ("health", r"Health(?: Status)?\Z"),
    ("ecc", r".* Bit (?:Error|Aggregate|(?:Next-)?Isolated) "),
    ("board", r"(?:Software Version|PCB ID|Chip Version)\Z"),
    ("common", r"Aicore (?:Freq|curFreq|Count)"),
    ("usages", r".*Usage Rate"),
    ("other", r".*Clock Speed"),  # -t memory also prints the temperature of the HBM
    ("temp", r".*Temperature ?\(C\)"),
    ("power", r".*Power.*\(W\)"),
))


def parse_listing(text: str) -> dict:
    """Read the output of ``npu-smi info -l``, ``-m`` or ``-t <type>``.

    Returns ``{"type": str, "blocks": [{printed key: printed value}]}`` with the type ``mapping``, ``list``, ``board``,
    ``health``, ``ecc``, ``usages``, ``common``, ``power``, ``temp``, ``topo`` or ``other``. The type ``list`` also
    has ``header``. For an error message from the tool, ``error`` is added, as in `npu_smi.parse_info`.

    Raises `ParseError` for empty text and for a table row that does not fit its header.
    """
    lines = npu_smi._lines(text)
    for find, kind, read in ((_mapping_header, "mapping", _mapping_rows), (_topo_header, "topo", _topo_rows)):
        start = next((index for index, line in enumerate(lines) if find(line)), None)
        if start is not None:
            return {"type": kind, "blocks": read(lines[start], lines[start + 1:])}
    blocks = npu_smi.parse_blocks(text)
    error = None if blocks else npu_smi._tool_error([line for line in lines if line])
    if error is not None:
        return {"type": "other", "blocks": [], "error": error}
    kind = _type_of(blocks)
    if kind == "list":
        header = [block for block in blocks if "NPU ID" not in block]
        return {"type": kind, "header": header[0] if header else {},
                "blocks": [block for block in blocks if "NPU ID" in block]}
    return {"type": kind, "blocks": blocks}


def parse_mapping(text: str) -> dict:
    """Read the table of ``npu-smi info -m``: ``{"type": "mapping", "blocks": [{printed header: printed cell}]}``.

    Raises `ParseError` if the text contains no such table, or if a row does not fit the header.
    """
    parsed = parse_listing(text)
    if parsed["type"] != "mapping":
        raise ParseError("npu-smi info -m printed no table", next(line for line in npu_smi._lines(text) if line))
    return parsed


def _type_of(blocks: list[dict]) -> str:
    keys = [key for block in blocks for key in block]
    return next((kind for kind, pattern in TYPES if any(pattern.match(key) for key in keys)), "other")


def _mapping_header(line: str) -> bool:
    names = re.split(r"\s{2,}", line)
    return len(names) > 2 and names[0] == "NPU ID" and "Chip Name" in names


def _mapping_rows(header: str, lines: list[str]) -> list[dict]:
    columns = re.split(r"\s{2,}", header)
    rows = []
    printed = [line for line in lines if re.match(r"[0-9]+\s", line)]
    for line in printed:
        cells = re.split(r"\s{2,}", line)
        if len(cells) == len(columns):
            rows.append(dict(zip(columns, cells)))
        elif line is not printed[-1] or len(cells) > len(columns):
            raise ParseError("a row of npu-smi info -m does not fit its header", line)
    return rows


def _topo_header(line: str) -> bool:
    return re.match(r"NPU[0-9]+\s+(?:NPU[0-9]+\b|CPU Affinity)", line) is not None


def _topo_rows(header: str, lines: list[str]) -> list[dict]:
    columns = re.split(r"\s{2,}", header)
    rows = []
    for line in lines:
        cells = line.split()
        if not cells or cells[0] not in columns:
            continue
        # The affinity is the last column and can be blank.
        if len(cells) - 1 not in (len(columns), len(columns) - 1):
            raise ParseError("a row of npu-smi info -t topo does not fit its header", line)
        rows.append(dict(zip(["", *columns], cells)))
    return rows
