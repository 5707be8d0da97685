# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Split a pasted terminal session of ``hccn_tool`` into outputs, and parse each with the collection's parser.

Published output often consists of sessions with prompts, commands, and several queries or devices. The tool does not
print the device to which an output belongs, so the text is split at lines that only one query prints.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool

PARSED_QUERIES = ("link", "net_health", "ip", "gateway", "netdetect", "lldp", "ping", "tls", "speed", "link_stat",
                  "stat", "optical", "fec", "vnic")


def parse_session(text: str) -> dict:
    """Return ``{"queries": [{"query", "device", "result"}]}``, one entry per output.

    ``query`` is ``other`` for a query that is not in `PARSED_QUERIES`; ``device`` is an int if the text contains it,
    otherwise None.
    """
    outputs = [(output, output.result()) for output in _split(text)]
    commands = {output.command for output, result in outputs if result is not None}
    queries = []
    for output, result in outputs:
        if result is None and output.command not in commands and output.text.strip():
            result = hccn_tool._error(output.text.strip().splitlines()[0].strip())
        if result is not None:
            queries.append({"query": output.query, "device": output.device, "result": result})
    _name_errors(queries)
    return {"queries": queries}


def without_commands(text: str) -> str:
    """Return the text without commands and ellipses, because hccn_tool did not print them."""
    lines = hccn_tool.terminal_text.plain(text).split("\n")
    return "\n".join(line for line in lines if _command(line) is None and not _ELLIPSIS.match(line))


@dataclass(frozen=True, eq=False)
class _Command:
    """The shell command above an output; ``query`` is None if it is not a command of hccn_tool."""

    query: str | None
    device: int | None


@dataclass
class _Output:
    """The lines of one output, without device prefixes; ``slots`` are the keys that must not occur again."""

    query: str
    command: _Command | None
    error: bool = False
    device: int | None = None
    lines: list[str] = field(default_factory=list)
    slots: set = field(default_factory=set)
    open: bool = True

    def __post_init__(self) -> None:
        self.device = self.command.device if self.command else None

    @property
    def text(self) -> str:
        return "\n".join(self.lines)

    def continues(self, body: str) -> bool:
        """Return whether a line that several queries could print belongs to this output."""
        if self.query == "link":
            return re.match(r"port [0-9]+\s*:", body) is not None
        return self.query in _BLOCKS or (self.query == "link_stat" and body.startswith(("+-", "|")))

    def result(self) -> dict | None:
        """Return the parsed output, an error as ``{"error"}``, or None if the lines contain neither."""
        if self.error:
            return hccn_tool._error(self.text.strip().splitlines()[0].strip())
        row = re.search(r"^\s*\|\s*([0-9]{1,4})\s*\|", self.text, re.MULTILINE)
        if row and self.query in ("speed", "link_stat"):  # Atlas 950
            self.device = int(row.group(1))
        try:
            return hccn_tool.parse(self.query, self.text)
        except hccn_tool.ParseError:
            return None


_ELLIPSIS = re.compile(r"\s*(?:[^:]+:\s*)?(?:\.{3,}|\u2026+)(?:\s+\.{3,})*\s*$")
_PREFIX = re.compile(r"\s*\[(?:devid|device) ?([0-9]+)\] ?")
_NAMES_DEVICE = re.compile(r"(?:dev_id:|device )([0-9]+)\b")
_HCCN_COMMAND = re.compile(r"hccn_tool\s+(?:-i\s+(\S+)|-a)\s+-(\w+)(.*)")
_PROMPT = re.compile(r"\s*(?:\([\w.-]+\)\s*)?(?:\[?[\w.-]+@[^#$>]*[#$>]|[#$])(?:\s|$)")
_PROGRAM = re.compile(r"(?:sudo\s+)?(?:cat|pip3?|npu-smi|ls|ifconfig|ip|lspci|lsmod|uname|date|hostname|env)\s+\S")
_OPTICAL_KEY = (r"present|temperature|[Hh]igh power enable reg|vendor [a-z ]+?|xsfp [a-z ]+?|manufact date code|Vcc"
                r"(?: (?:High|Low) Thres)?|Temp (?:High|Low) Thres|[TR]xPower (?:High|Low) Thres|Tx Bias[0-9]?"
                r"|[TR]x (?:Power[0-9]?|Lo[sL] Flag)|(?:Host|Media) SNR Lane[0-9]")
# (query, pattern of a line that only this query prints, whether an output can have several such lines). The first match
# counts. If a line that an output has only once appears again, it starts the next output. The group `key` distinguishes
# such lines.
_SIGNATURES = tuple((query, re.compile(pattern, re.ASCII), many) for query, pattern, many in (
    ("link", r"link status\s*:\s*(?:UP|DOWN)$", False),
    ("net_health", r"net health status\s*:", False),
    ("ip", r"(?P<key>ipaddr|netmask)\s*:", False),
    ("gateway", r"default gateway\s*:", False),
    ("netdetect", r"netdetect (?:address|addr)\s*:", False),
    ("lldp", r"(?P<key>Chassis ID TLV|Port ID TLV|Ifname)\b", False),
    ("lldp", r"[A-Z][\w ]+ TLV$", True),
    ("ping", r"(?P<key>device) [0-9]+ (?:PING6? |dev\s+EID )", False),
    ("ping", r"recv (?:time out )?seq", True),
    ("ping", r"[0-9]+ (?P<key>packets) transmitted", False),
    ("tls", r"(?:dev_id:[0-9]+, )?tls switch ?\[", False),
    ("tls", r"dev_id:[0-9]+, ", True),
    ("speed", r"Speed:\s*(?:[0-9]+ Mb/s|Unknown!)$", False),
    ("link_stat", r"(?P<key>current time|link up count|link down count|link change records)\b", False),
    ("link_stat", r".*\s+LINK (?:UP|DOWN)$", True),
    ("stat", r"(?P<key>packet statistics|(?:mac|roce|nic)_[a-z0-9_]+)\s*:", False),
    ("optical", r"(?P<key>optical info|" + _OPTICAL_KEY + r")\s*:", False),
    ("fec", r"fec mode\s*:", False),
    ("vnic", r"(?P<key>vnic [a-z ]+?)\s*:", False),
))
# Queries whose output can continue with lines that have no signature.
_BLOCKS = ("lldp", "ping", "tls", "stat", "optical")
# hccn_tool prints these lines below the reason, or alone if it knows no reason.
_VAGUE_ERROR = re.compile(r"(?:Cmd|Command) execute failed!|Enter \[ hccn_tool -h \]")
_ERROR_HINTS = (("no ip was preset", "ip"), ("no gateway was preset", "gateway"), ("ptical module", "optical"),
                ("device health status", "net_health"), ("Certificate has", "tls"))


def _split(text: str) -> list[_Output]:
    outputs: list[_Output] = []
    command = None
    pasted = _HCCN_COMMAND.search(text) is not None
    for line in hccn_tool.terminal_text.plain(text).split("\n"):
        line = line.rstrip()
        current = outputs[-1] if outputs and outputs[-1].open else None
        started = _command(line)
        if started is not None:
            command = started
            if current:
                current.open = False
        elif not line:
            if current:
                current.lines.append("")
        elif not _ELLIPSIS.match(line) and not hccn_tool._NOISE.match(line):
            foreign = pasted if command is None else command.query is None
            _add_line(line, outputs, current, command, foreign)
    return [_corrected(output) for output in outputs]


def _command(line: str) -> _Command | None:
    """Return the command that a line of a terminal shows, or None if the line is output."""
    found = _HCCN_COMMAND.findall(line)
    if len(found) == 1 and "hccn_tool" not in found[0][2]:
        device, query, rest = found[0]
        parsed = query in PARSED_QUERIES and re.search(r"\s-g\b", rest)
        return _Command(query if parsed else "other", int(device) if re.match(r"[0-9]{1,4}$", device) else None)
    if found:
        return _Command("other", None)
    return _Command(None, None) if _PROMPT.match(line) or _PROGRAM.match(line) else None


def _add_line(line, outputs, current, command, foreign) -> None:
    """Add a line to the output to which it belongs, or start the next output with it.

    ``foreign``: another program could have printed the line, so only lines with a signature are used.
    """
    prefix = _PREFIX.match(line)
    content = line[prefix.end():] if prefix else line
    body = content.strip()
    query, slot = _signature(body)
    if query == "speed" and body != content:
        query, slot = None, None  # an indented ethtool line in the output of -status
    named = prefix or (_NAMES_DEVICE.match(body) if query in ("ping", "tls") else None)
    device = int(named.group(1)) if named else None
    error = False
    if query is None:
        if body == hccn_tool._DONE and current and current.query != "other":
            current.open = False
            return
        failed = hccn_tool._ERROR.match(body) is not None
        if current and (current.query == "ping" or (current.continues(body) and not failed)):
            query = current.query
        elif foreign:
            return
        else:
            error = failed and not body.startswith("|")
            query = command.query if command else "other"
            slot = _slot(body)
    if error:
        query = next((hint for words, hint in _ERROR_HINTS if words in body), query)
    if not _belongs_to(current, query, slot, device, error, body):
        current = _Output(query, command, error)
        outputs.append(current)
    if device is not None:
        current.device = device
    current.slots.add(slot)
    current.lines.append(content)
    current.open = body != hccn_tool._DONE


def _signature(body: str) -> tuple[str | None, str | None]:
    """Return (query, slot) of a line that only one query prints, or (None, None). A line without a slot can repeat."""
    for query, pattern, many in _SIGNATURES:
        match = pattern.match(body)
        if match:
            return query, None if many else match.groupdict().get("key") or query
    return None, None


def _slot(body: str) -> str | None:
    """Return the key of a ``key: value`` line; its repetition starts the next output of the same command."""
    key, colon, _value = body.partition(":")
    return key.strip() if colon and not body.startswith("|") else None


def _belongs_to(current, query, slot, device, error, body) -> bool:
    """Return whether a line belongs to the current output."""
    if current is None or (device is not None and current.device not in (None, device)):
        return False
    if current.error or error:
        return current.error and error and _VAGUE_ERROR.match(body) is not None
    if query == "ping" and slot is None and "packets" in current.slots and body.startswith("recv"):
        return False
    return current.query == query and (slot is None or slot not in current.slots)


def _corrected(output: _Output) -> _Output:
    """Correct the query of an output that only its complete text identifies."""
    if output.query == "link" and len([line for line in output.lines if line.strip()]) > 1:
        output.query = "other"  # the port list of an Atlas 950
    if output.query == "other" and not output.error:
        tables = hccn_tool._tables(output.lines)
        if len(tables) == 1 and not hccn_tool._read_fields(output.lines)["fields"]:
            columns = set(tables[0][0])
            if {"Link_Status", "Time_Stamp"} <= columns:
                output.query = "link_stat"
            elif {"Speed", "Cap", "Width"} <= columns:
                output.query = "speed"
    return output


def _name_errors(queries: list[dict]) -> None:
    """If all other outputs have the same query, assign it to the errors whose query is unknown."""
    known = {entry["query"] for entry in queries if "error" not in entry["result"]}
    if len(known) == 1:
        query = known.pop()
        for entry in queries:
            if entry["query"] == "other" and "error" in entry["result"]:
                entry["query"] = query
