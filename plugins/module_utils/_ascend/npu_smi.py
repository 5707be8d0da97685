# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse what ``npu-smi`` prints: ``info``, ``info -m``, ``info -l`` and ``info -t <type>``.

The layout of a table is read from its header cells, never from the tool's version or the table's width: what stands
under which header, how many chips an NPU has and whether there is HBM differ by product and release. A value that
is not printed is ``None`` or its key is absent; text that does not fit raises `ParseError`, nothing is guessed.
"""

from __future__ import annotations

import re
from collections import namedtuple


class ParseError(ValueError):
    """The text is not what the tool prints. ``line`` is the offending line (str, empty if there is none)."""

    def __init__(self, message, line=""):
        super().__init__("%s: %r" % (message, line) if line else message)
        self.line = line


def parse_info(text):
    """Read the output of ``npu-smi info``; of several outputs in one text, the first.

    Returns ``{"tool_version": str|None, "driver_version": str|None, "complete": bool, "chips": [...],
    "processes": [...]}``. A chip is ``{"npu": int, "chip": int|None, "phy_id": int|None, "name", "health",
    "bus_id": str|None, "power_w": float|None, "temperature_c", "hugepages_used", "hugepages_total",
    "aicore_percent", "memory_used_mb", "memory_total_mb", "hbm_used_mb", "hbm_total_mb": int|None}``, a process
    ``{"npu": int, "chip": int|None, "pid": int, "name": str, "memory_mb": int|None, "pid_in_container": int|None}``.
    ``complete`` is false where the device table is cut or elided. Where the tool printed an error instead of a
    table: ``{"error": {"message": str, "code": int|None}}``.

    Raises `ParseError` for a line that no known layout explains and for text without table and error.
    """
    lines = [line for line in _lines(text) if line]
    if not any(line.startswith(("|", "+")) for line in lines):
        error = _tool_error(lines)
        if error is None:
            raise ParseError("npu-smi info printed no table and no known error", lines[0] if lines else "")
        return {"error": error}
    return _InfoReader(lines).read()


def parse_blocks(text):
    """Read the output of ``npu-smi info -l``, ``-m`` or ``-t <type>``.

    Returns ``{"type": str, "blocks": [{printed key: printed value}]}`` with the type ``mapping``, ``list``,
    ``board``, ``health``, ``ecc``, ``usages``, ``common``, ``power``, ``temp``, ``topo`` or ``other``; one block per
    NPU or chip as printed, the MCU of an NPU as a block of its own that follows it. ``list`` also has ``header``,
    an answer that is an error ``error`` as in `parse_info`.

    Raises `ParseError` for empty text and for a table row that does not fit its header.
    """
    lines = _lines(text)
    if not any(lines):
        raise ParseError("npu-smi printed nothing")
    for find, kind, read in ((_mapping_header, "mapping", _mapping_rows), (_topo_header, "topo", _topo_rows)):
        start = next((index for index, line in enumerate(lines) if find(line)), None)
        if start is not None:
            return {"type": kind, "blocks": read(lines[start], lines[start + 1:])}
    blocks = _key_value_blocks(lines)
    error = None if blocks else _tool_error([line for line in lines if line])
    if error is not None:
        return {"type": "other", "blocks": [], "error": error}
    kind = _block_type(blocks)
    if kind == "list":
        header = [block for block in blocks if "NPU ID" not in block]
        return {"type": kind, "header": header[0] if header else {},
                "blocks": [block for block in blocks if "NPU ID" in block]}
    return {"type": kind, "blocks": blocks}


def parse_mapping(text):
    """Read the table of ``npu-smi info -m``.

    Returns ``{"type": "mapping", "blocks": [{printed header: printed cell}]}``, one block per row.
    Raises `ParseError` if the text holds no such table or a row does not fit the header.
    """
    parsed = parse_blocks(text)
    if parsed["type"] != "mapping":
        raise ParseError("npu-smi info -m printed no table", next(line for line in _lines(text) if line))
    return parsed


# Text -------------------------------------------------------------------------------------------------------------

_CONTROL = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|[\ufeff\u200b\x00]")
_ERROR = re.compile(
    r"\b(?:failed|failure|error|invalid|permission denied|cannot|can't|could not)\b|not support|not found|未找到命令",
    re.IGNORECASE)
_CODE = re.compile(r"\bret(?: is|\s*[=:])\s*(-?[0-9]{1,9})\b")


def _lines(text):
    """Lines of `text` without terminal control codes, tabs as blanks, no blanks at the ends."""
    text = _CONTROL.sub("", text).replace("\xa0", " ").replace("\r\n", "\n").replace("\r", "\n")
    return [line.expandtabs().strip() for line in text.split("\n")]


def _tool_error(lines):
    """The error that `lines` report, or None. The library (dcmi) names the code; lines before it are its echo."""
    errors = [line for line in lines if _ERROR.search(line)]
    if not errors:
        return None
    message = next((line for line in errors if "dcmi" in line), errors[0])
    code = _CODE.search(message)
    return {"message": message, "code": int(code.group(1)) if code else None}


# The tables of npu-smi info ---------------------------------------------------------------------------------------

_NULL = r"--?|NA|x+"  # the vendor's documents mask with x
_KINDS = {
    "id": r"[0-9]{1,9}",
    "int": r"-?[0-9]{1,9}|%s" % _NULL,
    "float": r"[0-9]{1,9}(?:\.[0-9]{1,9})?|%s" % _NULL,
    "pair": r"(?:[0-9]{1,9}|%s)\s*/\s*(?:[0-9]{1,9}|%s)|%s" % (_NULL, _NULL, _NULL),
    "bus": r"[0-9A-Fa-fx]{4,8}:[0-9A-Fa-fx]{2}:[0-9A-Fa-fx]{2}\.[0-9A-Fa-fx]|%s" % _NULL,
    "word": r"[A-Za-z]+(?: [A-Za-z]+)*|%s" % _NULL,
    "text": r"\S+(?: +\S+)*?",
}
# Printed column -> (field, kind); a pair has two fields. What has no field is recognised and left out: `Device` is a
# logical number and not the physical one, `NPU Util(%)` is not the load of the AI cores.
_COLUMNS = {
    "NPU": ("npu", "id"), "NPU ID": ("npu", "id"), "Name": ("name", "text"), "Health": ("health", "word"),
    "Power(W)": ("power_w", "float"), "Temp(C)": ("temperature_c", "int"),
    "Hugepages-Usage(page)": ("hugepages_%s", "pair"),
    "Chip": ("chip", "id"), "Device": (None, "int"), "Phy-ID": ("phy_id", "int"), "Bus-Id": ("bus_id", "bus"),
    "AICore(%)": ("aicore_percent", "int"), "NPU Util(%)": (None, "int"),
    "Memory-Usage(MB)": ("memory_%s_mb", "pair"), "HBM-Usage(MB)": ("hbm_%s_mb", "pair"),
    "Process id": ("pid", "int"), "Process name": ("process", "text"),
    "Process memory(MB)": ("process_memory", "int"), "Process id in container": ("pid_in_container", "int"),
}
_CHIP_FIELDS = (
    "npu", "chip", "phy_id", "name", "health", "power_w", "temperature_c", "hugepages_used", "hugepages_total",
    "bus_id", "aicore_percent", "memory_used_mb", "memory_total_mb", "hbm_used_mb", "hbm_total_mb")
_COLUMN = re.compile("(?:%s)(?=\\s|$)|\\S+(?: \\S+)*" % "|".join(
    re.escape(name) for name in sorted(_COLUMNS, key=len, reverse=True)))
_Column = namedtuple("_Column", "name offset")


def _header(cells, placed=True):
    """Columns of each cell of a header row, with their offset in the cell if that means something."""
    return tuple(
        tuple(_Column(match.group(), match.start() if placed else None) for match in _COLUMN.finditer(cell))
        for cell in cells)


def _cells(line):
    """Cells of a table row, or None if the row is not closed, thus cut."""
    return line[1:-1].split("|") if len(line) > 1 and line.endswith("|") else None


# Row shapes to try where the table's head is missing: 910B, A3 (two chips per NPU), 310 family, 950.
_FIRST_ROWS = tuple(_header(_cells(row), placed=False) for row in (
    "|NPU  Name|Health|Power(W)  Temp(C)  Hugepages-Usage(page)|",
    "|NPU ID|Name|Health|Power(W)  Temp(C)  Hugepages-Usage(page)|",
))
_SECOND_ROWS = tuple(_header(_cells(row), placed=False) for row in (
    "|Chip|Bus-Id|AICore(%)  Memory-Usage(MB)  HBM-Usage(MB)|",
    "|Chip  Phy-ID|Bus-Id|AICore(%)  Memory-Usage(MB)  HBM-Usage(MB)|",
    "|Chip  Device|Bus-Id|AICore(%)  Memory-Usage(MB)|",
    "|||Bus-Id|NPU Util(%)  Memory-Usage(MB)  HBM-Usage(MB)|",
))


def _match(cells, headers):
    """Values by field of a row that has the shape of one of `headers`, else None."""
    for header in headers:
        if len(cells) != len(header):
            continue
        values = {}
        for cell, columns in zip(cells, header):
            texts = _split(cell, columns)
            if texts is None:
                break
            for column, text in zip(columns, texts):
                values.update(_value(column.name, text))
        else:
            return values
    return None


def _split(cell, columns):
    """Texts of the columns of one cell, or None. In order if all are there, else by the place of their headers."""
    kinds = [_COLUMNS.get(column.name, (None, "text"))[1] for column in columns]
    match = re.match(r"\s*%s\s*\Z" % r"\s+".join("(%s)" % _KINDS[kind] for kind in kinds), cell)
    if match:
        return match.groups()
    if not columns or columns[0].offset is None:
        return None
    bounds = [column.offset for column in columns] + [len(cell)]
    texts = []
    for kind, start, end in zip(kinds, bounds, bounds[1:]):
        text = cell[start:end].strip()
        if cell[max(start - 1, 0):start].strip() or not re.match(r"(?:%s)?\Z" % _KINDS[kind], text):
            return None
        if not text and kind == "id":
            return None
        texts.append(text)
    return None if cell[:bounds[0]].strip() else texts


def _value(column, text):
    """``{field: value}`` of one column; a pair gives what is used and the total."""
    field, kind = _COLUMNS.get(column, (None, "text"))
    if field is None:
        return {}
    if kind == "pair":
        used, total = text.split("/") if "/" in text else (text, text)
        return {field % "used": _number(used, int), field % "total": _number(total, int)}
    if kind in ("id", "int"):
        return {field: _number(text, int)}
    if kind == "float":
        return {field: _number(text, float)}
    return {field: None if text in ("", "-", "--", "NA") else text}


def _number(text, convert):
    text = text.strip()
    return None if re.match(r"(?:%s)?\Z" % _NULL, text) else convert(text)


class _InfoReader:
    """Reads the lines of one output of ``npu-smi info``, in order; blank lines are left out by the caller."""

    def __init__(self, lines):
        self.lines = lines
        self.versions = {"tool_version": None, "driver_version": None}
        self.chips, self.processes = [], []
        self.first, self.second = _FIRST_ROWS, _SECOND_ROWS  # unless the table's own header is there
        self.process_header = None
        self.headed = False      # the head of the device table is there
        self.upper = None        # first row of a chip whose second row is awaited
        self.borders = 0         # borders since the last row
        self.closed = False      # the last chip row is followed by a closing border
        self.damaged = False     # something of the device table is missing

    def read(self):
        known = False
        for number, line in enumerate(self.lines):
            edge = number in (0, len(self.lines) - 1)  # where a text may be cut
            if self._starts_again(line):
                break
            if re.match(r"\+[-=+]+\Z", line):
                self._border(line)
            elif re.match(r"\|?[\s.|…]*(?:\.\.\.|…)[\s.|…]*\Z", line):
                self.damaged = self.damaged or self.process_header is None
            elif line.startswith("|"):
                known = self._row(line, edge) or known
            elif "|" in line and self.process_header is None and self.headed and not self.closed and not edge:
                raise ParseError("a row of the device table has lost its left border", line)
        if not known:
            raise ParseError("npu-smi info printed no table", self.lines[0])
        complete = self.headed and self.closed and not self.damaged and self.upper is None
        return dict(self.versions, complete=complete, chips=self.chips, processes=self.processes)

    def _starts_again(self, line):
        """True at the head of a further output pasted behind the first."""
        again = line.startswith("|") and (_is_title(line) or _is_device_header(line))
        return again and bool(self.chips or self.process_header)

    def _border(self, line):
        self._drop_upper()
        closing = line.count("=") > line.count("-")
        if self.process_header is None:
            # A closing border behind another border: the rows between them are gone.
            self.damaged = self.damaged or (closing and self.borders > 0)
            self.closed = self.closed or (closing and bool(self.chips))
        self.borders += 1

    def _drop_upper(self):
        self.damaged = self.damaged or self.upper is not None
        self.upper = None

    def _row(self, line, edge):
        """Take in one row of a table; False if it is cut and tells nothing."""
        cells, borders, self.borders = _cells(line), self.borders, 0
        if cells is None:
            if not edge and not _is_title(line):
                raise ParseError("a row of the npu-smi table is cut", line)
            self.damaged = self.damaged or (self.process_header is None and not self.closed)
            return False
        if _is_title(line):
            self.versions["tool_version"] = _first_group(r"npu-smi\s+(?!Version:)(\S+)", cells[0])
            self.versions["driver_version"] = _first_group(r"Version:\s*(\S+)", cells[0])
        elif _is_device_header(line):
            self.first, self.second, self.headed = (_header(cells),), (), True
        elif "Bus-Id" in line:
            self.second = (_header(cells),)
        elif "Process id" in line:
            self._drop_upper()
            self.process_header = _header(cells)
        elif self.process_header is not None:
            return self._process_row(cells, line, edge)
        else:
            self.damaged = self.damaged or borders > 1
            return len(cells) > 1 and self._device_row(cells, line, edge)
        return True

    def _device_row(self, cells, line, edge):
        lower = _match(cells, self.second)
        if lower is not None:
            if self.upper is None:
                self.damaged = True
            else:
                self._add_chip(dict(self.upper, **lower), line)
                self.upper = None
            return True
        self._drop_upper()
        self.upper = _match(cells, self.first)
        if self.upper is None and not edge:
            raise ParseError("a row of the device table does not fit its header", line)
        self.damaged = self.damaged or self.upper is None
        return self.upper is not None

    def _add_chip(self, values, line):
        _require(values, ("npu", "health"), line)
        chip = {field: values.get(field) for field in _CHIP_FIELDS}
        if any((chip["npu"], chip["chip"]) == (other["npu"], other["chip"]) for other in self.chips):
            raise ParseError("NPU %s chip %s is listed twice" % (chip["npu"], chip["chip"]), line)
        self.chips.append(chip)
        self.closed = False

    def _process_row(self, cells, line, edge):
        if len(cells) == 1 and cells[0].strip().startswith("No running process"):
            return True
        values = _match(cells, (self.process_header,))
        if values is not None:
            _require(values, ("npu", "pid"), line)
            self.processes.append({
                "npu": values["npu"], "chip": values.get("chip"), "pid": values["pid"],
                "name": values.get("process") or "", "memory_mb": values.get("process_memory"),
                "pid_in_container": values.get("pid_in_container")})
        elif not edge:
            raise ParseError("a row of the process table does not fit its header", line)
        return values is not None


def _require(values, fields, line):
    """A header that has lost a column that every layout has is no header that we know."""
    for field in fields:
        if field not in values:
            raise ParseError("the npu-smi table has no column for %s" % field, line)


def _is_title(line):
    return re.match(r"\|\s*npu-smi\b", line) is not None


def _is_device_header(line):
    return re.match(r"\|\s*NPU\b.*\bName\b.*\bHealth\b", line) is not None


def _first_group(pattern, text):
    match = re.search(pattern, text)
    return match.group(1) if match else None


# Key-value answers ------------------------------------------------------------------------------------------------

_KEY_VALUE = re.compile(r"(?P<key>.*?)(?:(?<=\s)|^):(?:\s+(?P<value>.*))?\Z")
_FRAME = frozenset(("NPU ID", "Chip Count", "Chip ID"))
_TYPES = tuple((kind, re.compile(pattern)) for kind, pattern in (
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


def _key_value_blocks(lines):
    """Blocks of ``key : value`` lines. NPU ID, Chip Count and Chip ID frame the chip that they belong to."""
    blocks, block, key, gap = [], {}, None, False
    for line in lines:
        match = _KEY_VALUE.match(line)
        if match is None:
            gap = gap or not line
            continue
        name, value = match.group("key").strip(), (match.group("value") or "").strip()
        if not name:
            if key is not None and value:
                block[key] = "%s\n%s" % (block[key], value) if block[key] else value
            continue
        whole = gap and "Chip ID" in block and not _FRAME.issuperset(block)
        if block and (name in block or name == "NPU ID" or whole):
            blocks.append(block)
            block = {}
        block[name], key, gap = value, name, False
    return [*blocks, block] if block else blocks


def _block_type(blocks):
    keys = [key for block in blocks for key in block]
    return next((kind for kind, pattern in _TYPES if any(pattern.match(key) for key in keys)), "other")


# Tables of blank-separated columns ----------------------------------------------------------------------------------


def _mapping_header(line):
    names = re.split(r"\s{2,}", line)
    return len(names) > 2 and names[0] == "NPU ID" and "Chip Name" in names


def _mapping_rows(header, lines):
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


def _topo_header(line):
    return re.match(r"NPU[0-9]+\s+(?:NPU[0-9]+\b|CPU Affinity)", line) is not None


def _topo_rows(header, lines):
    columns = re.split(r"\s{2,}", header)
    rows = []
    for line in lines:
        cells = line.split()
        if not cells or cells[0] not in columns:
            continue
        # The affinity is the last column and may be blank.
        if len(cells) - 1 not in (len(columns), len(columns) - 1):
            raise ParseError("a row of npu-smi info -t topo does not fit its header", line)
        rows.append(dict(zip(["", *columns], cells)))
    return rows
