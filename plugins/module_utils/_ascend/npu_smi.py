# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the output of ``npu-smi info`` and ``npu-smi info -t <type>``.

The layout of a table is read from its header cells. It does not depend on the version of the tool or the width of the
table, because the columns, the number of chips per NPU and the presence of HBM differ by product and release. A value
that is not printed is ``None``, or its key is absent. An output in an unknown layout raises `ParseError`.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple, cast

if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Sequence, TypedDict

    Header = tuple[tuple["_Column", ...], ...]

    class ToolError(TypedDict):
        """An error that the tool printed, with the return code of the library (dcmi) if the message contains a code."""

        message: str
        code: int | None

    class ChipRow(TypedDict):
        """A chip in the device table. A value is ``None`` if its column is missing or empty."""

        npu: int
        chip: int | None
        phy_id: int | None
        name: str | None
        health: str | None
        bus_id: str | None
        power_w: float | None
        temperature_c: int | None
        hugepages_used: int | None
        hugepages_total: int | None
        aicore_percent: int | None
        memory_used_mb: int | None
        memory_total_mb: int | None
        hbm_used_mb: int | None
        hbm_total_mb: int | None

    class NpuProcess(TypedDict):
        """A row of the process table. npu-smi truncates ``name`` to 15 characters."""

        npu: int
        chip: int | None
        pid: int
        name: str
        memory_mb: int | None
        pid_in_container: int | None

    class Info(TypedDict):
        """The output of ``npu-smi info`` without the chips. ``error`` is set if it has no table."""

        error: ToolError | None
        tool_version: str | None
        driver_version: str | None
        complete: bool  # whether no row of the device table is missing
        processes: list[NpuProcess]

    class InfoTable(Info):
        """The output of ``npu-smi info``. If there is no table, the lists are empty."""

        chips: list[ChipRow]


class ParseError(ValueError):
    """The string is not an output of npu-smi. ``line`` is the line that cannot be parsed, or empty."""

    def __init__(self, message: str, line: str = "") -> None:
        super().__init__("%s: %r" % (message, line) if line else message)
        self.line = line


def parse_info(text: str) -> InfoTable:
    """Parse the output of ``npu-smi info``. If there are several outputs, only the first one is read.

    :raises ParseError: if a row has an unknown layout, or if the output contains neither a table nor an error.
    """
    lines = [line for line in _lines(text) if line]
    if not any(line.startswith(("|", "+")) for line in lines):
        error = _tool_error(lines)
        if error is None:
            raise ParseError("npu-smi info printed no table and no known error", lines[0] if lines else "")
        return no_table(error["message"], error["code"])
    return _InfoReader(lines).read()


def no_table(message: str, code: int | None = None) -> InfoTable:
    """Return the result of `parse_info` for an error."""
    return {"error": {"message": message, "code": code}, "tool_version": None, "driver_version": None,
            "complete": False, "chips": [], "processes": []}


# Text -------------------------------------------------------------------------------------------------------------

# The maximum number of characters of a line. The run time of some patterns is quadratic in the length of a line.
MAX_LINE = 1000
_CONTROL = re.compile("\x1b\\[[0-9;?]*[A-Za-z]|[\ufeff\u200b\x00]")
_ERROR = re.compile(
    r"\b(?:failed|failure|error|invalid|permission denied|cannot|can't|could not|no such file|no NPU)\b|not support"
    r"|not found|未找到命令|没有那个文件或目录|权限不够", re.IGNORECASE)
_CODE = re.compile(r"\bret(?: is|\s*[=:])\s*(-?[0-9]{1,9})\b")


def _lines(text: str) -> list[str]:
    """Return the lines without terminal control sequences and surrounding space, and with tabs expanded."""
    text = _CONTROL.sub("", text).replace("\xa0", " ").replace("\r\n", "\n").replace("\r", "\n")
    return [line[:MAX_LINE].expandtabs().strip() for line in text.split("\n")]


def _tool_error(lines: list[str]) -> ToolError | None:
    """Return the error in the lines, or None. The line of the library (dcmi) is preferred, because it has the code."""
    errors = [line for line in lines if _ERROR.search(line)]
    if not errors:
        return None
    message = next((line for line in errors if "dcmi" in line), errors[0])
    code = _CODE.search(message)
    return {"message": message, "code": int(code.group(1)) if code else None}


# The tables of npu-smi info ---------------------------------------------------------------------------------------

_NULL = r"--?|NA|x+"  # the vendor's documents mask values with x
_KINDS = {
    "id": r"[0-9]{1,9}",
    "int": r"-?[0-9]{1,9}|%s" % _NULL,
    "float": r"[0-9]{1,9}(?:\.[0-9]{1,9})?|%s" % _NULL,
    "pair": r"(?:[0-9]{1,9}|%s)\s*/\s*(?:[0-9]{1,9}|%s)|%s" % (_NULL, _NULL, _NULL),
    "bus": r"[0-9A-Fa-fx]{4,8}:[0-9A-Fa-fx]{2}:[0-9A-Fa-fx]{2}\.[0-9A-Fa-fx]|%s" % _NULL,
    "word": r"[A-Za-z]+(?: [A-Za-z]+)*|%s" % _NULL,
    "text": r"\S+(?: +\S+)*?",
}
# {printed column: (field, kind)}. A pair has two fields. Columns without a field are recognized and ignored: `Device`
# is a logical number, not the physical number, and `NPU Util(%)` is not the load of the AI cores.
_COLUMNS: dict[str, tuple[str | None, str]] = {
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


class _Column(NamedTuple):
    """A column of a header cell. ``offset`` is its position in the cell, or None if the header was not printed."""

    name: str
    offset: int | None


def _header(cells: list[str], placed: bool = True) -> Header:
    """Return the columns of each header cell. Only a header that was printed (``placed``) has positions."""
    return tuple(
        tuple(_Column(match.group(), match.start() if placed else None) for match in _COLUMN.finditer(cell))
        for cell in cells)


def _cells(line: str) -> list[str] | None:
    """Return the cells of a table row, or None if the row is truncated (has no closing border)."""
    return line[1:-1].split("|") if len(line) > 1 and line.endswith("|") else None


def _known_header(line: str) -> Header:
    return _header(_cells(line) or [], placed=False)


# The layouts to try if the header of the table is missing: 910B, A3 (two chips per NPU), 310 family, 950.
_FIRST_ROWS = tuple(_known_header(line) for line in (
    "|NPU  Name|Health|Power(W)  Temp(C)  Hugepages-Usage(page)|",
    "|NPU ID|Name|Health|Power(W)  Temp(C)  Hugepages-Usage(page)|",
))
_SECOND_ROWS = tuple(_known_header(line) for line in (
    "|Chip|Bus-Id|AICore(%)  Memory-Usage(MB)  HBM-Usage(MB)|",
    "|Chip  Phy-ID|Bus-Id|AICore(%)  Memory-Usage(MB)  HBM-Usage(MB)|",
    "|Chip  Device|Bus-Id|AICore(%)  Memory-Usage(MB)|",
    "|||Bus-Id|NPU Util(%)  Memory-Usage(MB)  HBM-Usage(MB)|",
))


def _match(cells: list[str], headers: Iterable[Header]) -> dict[str, Any] | None:
    """Return ``{field: value}`` of a row that fits one of the headers, or None."""
    for header in headers:
        if len(cells) != len(header):
            continue
        values: dict[str, Any] = {}
        for cell, columns in zip(cells, header):
            texts = _split(cell, columns)
            if texts is None:
                break
            for column, text in zip(columns, texts):
                values.update(_value(column.name, text))
        else:
            return values
    return None


def _split(cell: str, columns: tuple[_Column, ...]) -> Sequence[str] | None:
    """Return the content of each column in a cell, or None if the cell does not fit the columns.

    If all columns have text, the cell is split in order. Otherwise, it is split at the positions of the columns in
    the header.
    """
    kinds = [_COLUMNS.get(column.name, (None, "text"))[1] for column in columns]
    match = re.match(r"\s*%s\s*\Z" % r"\s+".join("(%s)" % _KINDS[kind] for kind in kinds), cell)
    if match:
        return match.groups()
    bounds = [column.offset for column in columns if column.offset is not None] + [len(cell)]
    if len(bounds) == 1:
        return None
    texts = []
    for kind, start, end in zip(kinds, bounds, bounds[1:]):
        text = cell[start:end].strip()
        if cell[max(start - 1, 0):start].strip() or not re.match(r"(?:%s)?\Z" % _KINDS[kind], text):
            return None
        if not text and kind == "id":
            return None
        texts.append(text)
    return None if cell[:bounds[0]].strip() else texts


def _value(column: str, text: str) -> dict[str, Any]:
    """Return ``{field: value}`` of a column. A pair has a field for the used amount and a field for the total."""
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


def _number(text: str, convert: Callable[[str], Any]) -> Any:
    text = text.strip()
    return None if re.match(r"(?:%s)?\Z" % _NULL, text) else convert(text)


class _InfoReader:
    """A parser for the lines of one output of ``npu-smi info``, without empty lines."""

    def __init__(self, lines: list[str]) -> None:
        self.lines = lines
        self.tool_version: str | None = None
        self.driver_version: str | None = None
        self.chips: list[ChipRow] = []
        self.processes: list[NpuProcess] = []
        self.first, self.second = _FIRST_ROWS, _SECOND_ROWS  # until the header of the table is read
        self.process_header: Header | None = None
        self.headed = False      # whether the header of the device table was read
        self.upper: dict[str, Any] | None = None  # the first row of a chip whose second row has not been read yet
        self.borders = 0         # the number of borders since the last row
        self.width = 0           # the number of characters of the last row
        self.closed = False      # whether a closing border follows the last row of a chip
        self.damaged = False     # whether a part of the device table is missing

    def read(self) -> InfoTable:
        known = False
        framed = [number for number, line in enumerate(self.lines) if line.startswith(("|", "+"))]
        for number, line in enumerate(self.lines):
            edge = number <= framed[0] or number >= framed[-1]  # the first and the last line can be truncated
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
        return {"error": None, "tool_version": self.tool_version, "driver_version": self.driver_version,
                "complete": complete, "chips": self.chips, "processes": self.processes}

    def _starts_again(self, line: str) -> bool:
        """Return whether a line is the start of a second output in the same text."""
        again = line.startswith("|") and (_is_title(line) or _is_device_header(line))
        return again and bool(self.chips or self.process_header)

    def _border(self, line: str) -> None:
        self._drop_upper()
        truncated = not line.endswith("+") and len(line) < self.width - 1  # some authors lose the last corner
        closing = line.count("=") > line.count("-") and not truncated
        if self.process_header is None:
            # If a closing border directly follows another border, the rows between them are missing.
            self.damaged = self.damaged or (closing and self.borders > 0)
            self.closed = self.closed or (closing and bool(self.chips))
        self.borders += 1

    def _drop_upper(self) -> None:
        self.damaged = self.damaged or self.upper is not None
        self.upper = None

    def _row(self, line: str, edge: bool) -> bool:
        """Read a row of a table. Return False if the row is truncated and has no usable value."""
        cells, borders, self.borders, self.width = _cells(line), self.borders, 0, len(line)
        if cells is None:
            if not edge and not _is_title(line):
                raise ParseError("a row of the npu-smi table is truncated", line)
            self.damaged = self.damaged or (self.process_header is None and not self.closed)
            return False
        if _is_title(line):
            self.tool_version = _first_group(r"npu-smi\s+(?!Version:)(\S+)", cells[0])
            self.driver_version = _first_group(r"Version:\s*(\S+)", cells[0])
        elif _is_device_header(line):
            self.first, self.second, self.headed = (_header(cells),), (), True
        elif "Bus-Id" in line:
            self.second = (_header(cells),)
        elif "Process id" in line:
            self._drop_upper()
            self.process_header = _header(cells)
        elif self.process_header is not None:
            return self._process_row(self.process_header, cells, line, edge)
        else:
            self.damaged = self.damaged or borders > 1
            tabular = len(cells) > 1 or (self.headed and not self.closed)
            return tabular and self._device_row(cells, line, edge)
        return True

    def _device_row(self, cells: list[str], line: str, edge: bool) -> bool:
        lower = _match(cells, self.second)
        if lower is not None:
            if self.upper is None:
                self.damaged = True
            else:
                self._add_chip(dict(self.upper, **lower), line)
                self.upper = None
            return True
        self._drop_upper()
        # Every known layout has two rows per chip. If the header has one row, the layout is unknown.
        self.upper = _match(cells, self.first) if self.second else None
        if self.upper is None and not edge:
            raise ParseError("a row of the device table does not fit its header", line)
        self.damaged = self.damaged or self.upper is None
        return self.upper is not None

    def _add_chip(self, values: dict[str, Any], line: str) -> None:
        _require(values, ("npu", "health"), line)
        chip = cast("ChipRow", {field: values.get(field) for field in _CHIP_FIELDS})
        if any((chip["npu"], chip["chip"]) == (other["npu"], other["chip"]) for other in self.chips):
            raise ParseError("NPU %s chip %s is listed twice" % (chip["npu"], chip["chip"]), line)
        self.chips.append(chip)
        self.closed = False

    def _process_row(self, header: Header, cells: list[str], line: str, edge: bool) -> bool:
        if len(cells) == 1 and cells[0].strip().startswith("No running process"):
            return True
        values = _match(cells, (header,))
        if values is not None:
            _require(values, ("npu", "pid"), line)
        if values is not None and values["pid"] is not None:  # some releases print NA for an NPU without a process
            self.processes.append({
                "npu": values["npu"], "chip": values.get("chip"), "pid": values["pid"],
                "name": values.get("process") or "", "memory_mb": values.get("process_memory"),
                "pid_in_container": values.get("pid_in_container")})
        elif values is None and not edge:
            raise ParseError("a row of the process table does not fit its header", line)
        return values is not None


def _require(values: dict[str, Any], fields: tuple[str, ...], line: str) -> None:
    """Raise `ParseError` if a field that every known layout has is missing."""
    for field in fields:
        if field not in values:
            raise ParseError("the npu-smi table has no column for %s" % field, line)


def _is_title(line: str) -> bool:
    return re.match(r"\|\s*npu-smi\b", line) is not None


def _is_device_header(line: str) -> bool:
    return re.match(r"\|\s*NPU\b.*\bName\b.*\bHealth\b", line) is not None


def _first_group(pattern: str, text: str) -> str | None:
    match = re.search(pattern, text)
    return match.group(1) if match else None


# Key-value blocks -------------------------------------------------------------------------------------------------

# There is no blank behind the colon if the tool cannot read a value and prints an error in its place.
_KEY_VALUE = re.compile(r"(?P<key>.*?)(?:(?:(?<=\s)|^):(?=\s|\Z)|(?<=\s\s):)\s*(?P<value>.*)\Z")
_FRAME = frozenset(("NPU ID", "Chip Count", "Chip ID"))


def parse_blocks(text: str) -> list[dict[str, str]]:
    """Parse the ``key : value`` output of ``npu-smi info -t <type>``.

    Return ``[{printed key: printed value}]``, with one block for each NPU or chip. The block of an NPU is followed
    by the block of its MCU. An output without ``key : value`` lines, such as an error, has no blocks.

    :raises ParseError: if the output is empty.
    """
    lines = _lines(text)
    if not any(lines):
        raise ParseError("npu-smi printed nothing")
    blocks: list[dict[str, str]] = []
    block: dict[str, str] = {}
    key: str | None = None
    gap = False
    # "NPU ID" and "Chip ID" enclose the values of a chip.
    for line in lines:
        match = _KEY_VALUE.match(line)
        if match is None:
            gap = gap or not line
            continue
        name, value = match.group("key").strip(), match.group("value").strip()
        if not name:
            if key is not None and value:
                block[key] = "%s\n%s" % (block[key], value) if block[key] else value
            continue
        chip_complete = gap and "Chip ID" in block and not _FRAME.issuperset(block)
        if block and (name in block or name == "NPU ID" or chip_complete):
            blocks.append(block)
            block = {}
        block[name], key, gap = value, name, False
    return [*blocks, block] if block else blocks
