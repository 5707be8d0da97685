# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the output of ``hccn_tool`` and the file ``/etc/hccn.conf``.

The tool has no machine-readable output and prints some errors to stdout. Values are returned as they are printed. A
value that was not printed is None, or its key is absent.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, cast

from ansible_collections.ascend.vllm.plugins.module_utils._host import terminal_text

if TYPE_CHECKING:
    from typing import Any, Callable, Optional, TypedDict

    Reader = Callable[[list[str]], Optional[dict[str, Any]]]

    class HccnError(TypedDict, total=False):
        """A failed query. `parse` sets ``message`` and ``code``. ``hccn_query.run_query`` also sets ``kind``."""

        kind: str
        message: str
        code: int | None

    class HccnAnswer(TypedDict, total=False):
        """The result of a query. The keys of each query are documented in `parse`.

        The result of ``optical`` also has a key for every value that the optical module reports, such as ``Tx Power0``.
        """

        error: HccnError
        status: str | None
        address: str | None
        netmask: str | None
        interface: str | None
        ifname: str | None
        tlvs: dict[str, str]
        transmitted: int | None
        received: int | None
        loss_percent: float | None
        rtt_ms: list[float]
        enabled: bool
        up_count: int | None
        down_count: int | None
        current_time: str | None
        #: The history of a link, each with ``time`` and ``status``, which is ``LINK UP`` or ``LINK DOWN``.
        events: list[dict[str, str]]
        mode: str
        present: bool | None
        fields: dict[str, str]
        tables: list[list[dict[str, str]]]
        lines: list[str]

    class HccnConf(TypedDict):
        """The content of ``/etc/hccn.conf``. The keys are documented in `parse_conf`."""

        fields: dict[str, str]
        devices: dict[str, dict[str, str]]
        duplicates: list[str]


class ParseError(ValueError):
    """The output does not contain exactly one result of the query."""


def parse(query: str, text: str) -> HccnAnswer:
    """Parse the output of ``hccn_tool -i N -<query> -g``.

    Return for each query:

    - link and net_health: ``{"status"}``
    - ip: ``{"address", "netmask"}``; gateway: ``{"address", "interface"}``; netdetect: ``{"address"}``
    - lldp: ``{"ifname", "tlvs"}``
    - ping: ``{"address", "transmitted", "received", "loss_percent", "rtt_ms": [...]}``
    - tls: ``{"enabled": bool}``
    - link_stat: ``{"up_count", "down_count", "current_time", "events": [{"time", "status"}]}``, newest event first
    - fec: ``{"mode"}``
    - optical: ``{"present": bool, ...}``, with numbers without their units
    - any other query: ``{"fields": {printed key: printed value}}``, and ``tables`` and ``lines`` if there are any
    - an error that the tool printed: ``{"error": {"message", "code"}}``

    :raises ParseError: if the output does not contain exactly one result of the query.
    """
    lines = _lines(text)
    if query in _READERS:
        lines = [line for line in lines if line.strip() != _DONE]
    result = _READERS.get(query, _read_fields)(lines)
    error = next((line for line in map(str.strip, lines) if _ERROR.match(line) and not line.startswith("|")), None)
    if result is None and error is None:  # any other sentence in place of a result
        error = next((line for line in map(str.strip, lines) if _SENTENCE.match(line)), None)
    # A ping that lost packets can print an error below its summary.
    if error is not None and not (query == "ping" and result and result["transmitted"] is not None):
        return cast("HccnAnswer", _error(error))
    if result is None:
        raise ParseError("no answer to -%s in: %r" % (query, text.strip()[:120]))
    _require_one_answer(query, lines)
    return cast("HccnAnswer", result)


# The keys that can occur in several lines, because hccn_tool appends a line for each value (FILE_OPT_TYPE_APPEND_WRITE
# in tool_ext.c and tool_recovery.c of github.com/hicann/driver). For any other key, it replaces the line.
_REPEATED = re.compile(r"(?:arp|ip_rule|ip_route)_[0-9]+\Z", re.ASCII)


def parse_conf(text: str) -> HccnConf:
    """Parse the content of ``/etc/hccn.conf``.

    Return ``{"fields", "devices", "duplicates"}``. ``fields`` maps each key to its value. ``devices`` maps each device
    number (str) to ``{"address", "netmask", ...}``. All values are strings. If a key is allowed to occur several times,
    its values are joined with line breaks. Any other key that is set twice to different values is only in
    ``duplicates``.

    :raises ParseError: if the text is not empty and has no ``key=value`` line.
    """
    fields: dict[str, str] = {}
    duplicates: list[str] = []
    for line in text.splitlines():
        match = re.match(r"\s*([A-Za-z][\w.-]*)\s*=\s*(.*?)\s*$", line[:MAX_LINE], re.ASCII)
        if not match:
            continue
        key, value = match.groups()
        if key in fields and _REPEATED.match(key):
            fields[key] += "\n" + value
        elif fields.setdefault(key, value) != value and key not in duplicates:
            duplicates.append(key)
    if not fields and text.strip():
        raise ParseError("no key=value line in: %r" % text.strip()[:120])
    devices: dict[str, dict[str, str]] = {}
    fields = {key: value for key, value in fields.items() if key not in duplicates}
    for key, value in fields.items():
        match = re.match(r"(.+)_([0-9]+)$", key)
        if match:
            devices.setdefault(match.group(2), {})[match.group(1)] = value
    return {"fields": fields, "devices": devices, "duplicates": duplicates}


# --- Lines and errors ------------------------------------------------------------------------------------------------

# Warnings of programs that the tool calls.
_NOISE = re.compile(r"(?:grep|egrep|sed|awk): warning: |stty: ")
_DEVICE_PREFIX = re.compile(r"^\s*\[(?:devid|device) ?[0-9]+\] ?")
_DONE = "Cmd executed successfully!"
# The Chinese words are messages of a shell: command not found, no such file, permission denied.
_ERROR = re.compile(
    r"hccn_tool is busy|The command is not supported|Optical module is not present|I2c is busy|Command unsupported"
    r"|This device does not support|Get (?:\w+ )+failed\b|Get invalid|Get unknown|The device is (?:not exist|occupied)"
    r"|Cmd execute failed|Command execute failed|The cmd line execute timeout|Control link unreachable"
    r"|Execute failed\s*:|The VM does not support|permission denied\s*:|The hccn\.conf can't access"
    r"|The Certificate has expired|The total count of input parameters|-?\w*sh: |(?:sudo|env|timeout): "
    r"|.*(?:: command not found|: No such file or directory|: Permission denied|\u672a\u627e\u5230\u547d\u4ee4"
    r"|\u6ca1\u6709\u90a3\u4e2a\u6587\u4ef6\u6216\u76ee\u5f55|\u6743\u9650\u4e0d\u591f)$|dcmi \w.*\bfailed\b"
    r"|[^:]*\b(?:fail(?:ed)?|invalid|not supported|not exist|timed? ?out)\b[^:]*[!.]$", re.ASCII)
_SENTENCE = re.compile(r"(?:\[[^\]|]*\] )?[A-Za-z](?=.* )[^:|]*[.!]$", re.ASCII)
# Lines that occur only once in the output of a query. They are identified by the group `key`.
_ONCE = {query: re.compile(pattern, re.ASCII) for query, pattern in (
    ("link", r"(?P<key>link status)\s*:"),
    ("net_health", r"(?P<key>net health status)\s*:"),
    ("ip", r"(?P<key>ipaddr|netmask)\s*:"),
    ("gateway", r"(?P<key>default gateway)\s*:"),
    ("netdetect", r"(?P<key>netdetect) (?:address|addr)\s*:"),
    ("lldp", r"(?P<key>Chassis ID TLV|Port ID TLV|Ifname)\b"),
    ("ping", r"(?P<key>device) [0-9]+ (?:PING6? |dev\s+EID )|[0-9]+ (?P<summary>packets) transmitted"),
    ("tls", r"(?:(?:dev_id:|device )[0-9]+, )?(?P<key>tls switch) ?\["),
    ("link_stat", r"(?P<key>current time|link up count|link down count|link change records)\b"),
    ("optical", r"(?P<key>[^:]*[^:\s])\s*:"),
    ("fec", r"(?P<key>fec mode)\s*:"),
)}
_ANY_KEY = re.compile(r"(?P<key>[^:|]*[^:|\s])\s*:")


def _lines(text: str) -> list[str]:
    """Return the lines without terminal control sequences, device prefixes and warnings of other programs."""
    lines = [line[:MAX_LINE].rstrip() for line in terminal_text.plain(text).split("\n")]
    return [_DEVICE_PREFIX.sub("", line) for line in lines if not _NOISE.match(line)]


def _error(message: str) -> dict[str, Any]:
    code = re.search(r"\b(?:ret(?:code)?|code)\s*(?:is|[=:])?\s*\[?(-?[0-9]+)\b", message, re.ASCII)
    return {"error": {"message": message, "code": int(code.group(1)) if code else None}}


def _require_one_answer(query: str, lines: list[str]) -> None:
    seen = set()
    for match in filter(None, (_ONCE.get(query, _ANY_KEY).match(line.strip()) for line in lines)):
        key = next(filter(None, match.groups()))
        if key in seen:
            raise ParseError("more than one answer to -%s: '%s' is printed twice" % (query, key))
        seen.add(key)


# --- Readers: each returns the result of a query, or None if the lines do not contain a result -----------------------

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_QUANTITY = re.compile(r"(-?" + _NUMBER + r")\s*(?:mW|uW|dBm|dB|mV|V|mA|uA|C|nm)$")
_TEXT_KEYS = ("vendor", "manufact", "xsfp identifier")
_PING_SUMMARY = re.compile(r"([0-9]+) packets transmitted, ([0-9]+) received, (" + _NUMBER + r")% packets? loss")
_PING_REPLY = re.compile(r"recv seq\s*[=:]?\s*[0-9]+,\s*time\s*[=:]\s*(" + _NUMBER + r")(ms|us)\b")
_PING_TARGET = re.compile(r"device [0-9]+ (?:PING6? |dev\s+EID \S+ to )(\S+)$")
# The end of a line with a time and a change of the link.
_EVENT = re.compile(r"\sLINK (?:UP|DOWN)$")
# The maximum number of characters of a line. The run time of some patterns is quadratic in the length of a line.
MAX_LINE = 1000


def _reader(*patterns: str) -> Reader:
    """Return a reader for values that are each printed in a separate line. Named groups become keys of the result."""
    compiled = [re.compile(pattern, re.ASCII) for pattern in patterns]

    def read(lines: list[str]) -> dict[str, Any] | None:
        result: dict[str, Any] = {name: None for pattern in compiled for name in pattern.groupindex}
        for line in lines:
            for pattern in compiled:
                match = pattern.match(line.strip())
                if match:
                    result.update(match.groupdict())
        return result if any(result.values()) else None
    return read


def _read_link(lines: list[str]) -> dict[str, Any] | None:
    # On an Atlas 950, the status of the ports of the NPU follows in other lines, which this reader does not support.
    return _read_link_status(lines) if sum(1 for line in lines if line.strip()) == 1 else None


def _read_tls(lines: list[str]) -> dict[str, Any] | None:
    # Every line contains the words "disable" and "enable"; only the digit is the state.
    match = re.search(r"tls switch ?\[([01])\]", "\n".join(lines))
    return {"enabled": match.group(1) == "1"} if match else None


def _read_lldp(lines: list[str]) -> dict[str, Any] | None:
    tlvs: dict[str, str] = {}
    title = None
    for line in lines:
        body = line.strip()
        if re.match(r"[A-Z][\w ]+ TLV$", body, re.ASCII):
            title = body
        elif title and title != "End of LLDPDU TLV":
            tlvs[title] = tlvs[title] + "\n" + body if title in tlvs else body
    tlvs = {title: content.strip() for title, content in tlvs.items() if content.strip()}
    port = tlvs.get("Port ID TLV") or "\n".join(line.strip() for line in lines)
    ifname = re.search(r"^Ifname\s*:\s*(\S.*)$", port, re.MULTILINE)
    if not (ifname or tlvs):
        return None
    result = {"ifname": ifname.group(1).strip() if ifname else None}
    return dict(result, tlvs=tlvs) if tlvs else result


def _read_ping(lines: list[str]) -> dict[str, Any] | None:
    result: dict[str, Any] = {
        "address": None, "transmitted": None, "received": None, "loss_percent": None, "rtt_ms": []}
    for line in lines:
        body = line.strip()
        target, reply, summary = (pattern.match(body) for pattern in (_PING_TARGET, _PING_REPLY, _PING_SUMMARY))
        if target:
            result["address"] = target.group(1)
        elif reply:
            value = float(reply.group(1))
            result["rtt_ms"].append(value / 1000 if reply.group(2) == "us" else value)
        elif summary:
            result.update(transmitted=int(summary.group(1)), received=int(summary.group(2)),
                          loss_percent=float(summary.group(3)))
    return result if result["transmitted"] is not None or result["rtt_ms"] else None


def _read_link_stat(lines: list[str]) -> dict[str, Any] | None:
    result: dict[str, Any] = {"up_count": None, "down_count": None, "current_time": None, "events": []}
    for line in lines:
        count = re.match(r"\s*link (up|down) count\s*:?\s*([0-9]+)$", line)
        now = re.match(r"\s*current time\s*:?\s*(\S.*)$", line)
        event = _EVENT.search(line.strip())
        when = line.strip()[:event.start()].strip() if event else ""
        if count:
            result[count.group(1) + "_count"] = int(count.group(2))
        elif now:
            result["current_time"] = now.group(1)
        elif event and re.search("[0-9]", when):
            result["events"].append({"time": when, "status": event.group().strip()})
    for row in (row for table in _tables(lines) for row in table):  # Atlas 950
        if row.get("Time_Stamp") and row.get("Link_Status"):
            result["events"].append({"time": row["Time_Stamp"], "status": row["Link_Status"]})
    return result if any(value not in (None, []) for value in result.values()) else None


def _read_optical(lines: list[str]) -> dict[str, Any] | None:
    result: dict[str, Any] = {"present": None}
    for line in lines:
        key, colon, value = (part.strip() for part in line.partition(":"))
        quantity = _QUANTITY.match(value)
        if not colon:
            continue
        if key == "present":
            result["present"] = {"present": True, "not present": False}.get(value)
        elif value in ("not supported", "NA", "get failed"):
            result[key] = None
        elif re.match(r"0x[0-9A-Fa-f]+$", value):
            result[key] = value
        elif quantity and not key.startswith(_TEXT_KEYS):
            number = quantity.group(1)
            result[key] = float(number) if "." in number else int(number)
    return result if any(value is not None for value in result.values()) else None


def _read_fields(lines: list[str]) -> dict[str, Any] | None:
    """Read ``key: value`` lines, tables and the rest. Text that is indented more than a key continues its value."""
    fields: dict[str, str] = {}
    rest: list[str] = []
    routes: list[dict[str, str]] = []
    columns: list[str] = []
    key, key_indent = "", 0
    for line in lines:
        body = line.strip()
        if not body or body.startswith(("+-", "|")) or body in ("packet statistics:", "Routing table:"):
            continue
        if columns or body.split()[:2] == ["Destination", "Gateway"]:
            cells = body.split()
            if columns and len(cells) == len(columns):
                routes.append(dict(zip(columns, cells)))
            columns = columns or cells
            continue
        indent = len(line) - len(line.lstrip())
        match = re.match(r"([^:]*[^:\s])\s*:\s*(.*)$", re.sub(r"\s{2,}# .*$", "", body))
        if match:
            key, key_indent = match.group(1), indent
            fields[key] = match.group(2)
        elif key and indent > key_indent:
            fields[key] = (fields[key] + "\n" + body).lstrip("\n")
        else:
            rest.append(body)
    tables = _tables(lines) + ([routes] if routes else [])
    result: dict[str, Any] = {"fields": fields}
    if tables:
        result["tables"] = tables
    if rest:
        result["lines"] = rest
    return result if fields or tables or rest else None


def _read_known_fields(lines: list[str]) -> dict[str, Any] | None:
    """Read only fields and tables. The row of a single table with one row (Atlas 950) becomes fields."""
    result = _read_fields(lines) or {}
    result.pop("lines", None)
    tables = result.get("tables", [])
    if [len(table) for table in tables] == [1]:
        result["fields"].update(result.pop("tables")[0][0])
    return result if result.get("fields") or tables else None


def _tables(lines: list[str]) -> list[list[dict[str, str]]]:
    """Return the bordered tables, each as a list of rows ``{column: cell}``. Consecutive borders separate tables."""
    tables: list[list[dict[str, str]]] = []
    header: list[str] | None = None
    after_border = False
    for line in (line.strip() for line in lines):
        if line.startswith("+-"):
            header = None if after_border else header
            after_border = True
        elif line.startswith("|") and line.endswith("|"):
            cells = [cell.strip() for cell in line[1:-1].split("|")]
            if header is None:
                header = cells
                tables.append([])
            elif len(cells) == len(header):
                tables[-1].append(dict(zip(header, cells)))
            after_border = False
    return [table for table in tables if table]


_read_link_status = _reader(r"link status\s*:\s*(?P<status>\S.*)$")
_READERS = {
    "link": _read_link,
    "net_health": _reader(r"net health status\s*:\s*(?P<status>\S.*)$"),
    "ip": _reader(r"ipaddr\s*:\s*(?P<address>\S+)$", r"netmask\s*:\s*(?P<netmask>\S+)$"),
    "gateway": _reader(r"default gateway\s*:\s*(?P<address>[^,\s]+)\s*(?:,\s*Iface\s*:\s*(?P<interface>\S+))?$"),
    "netdetect": _reader(r"netdetect (?:address|addr)\s*:\s*(?P<address>\S+)$"),
    "fec": _reader(r"fec mode\s*:\s*(?P<mode>\S.*)$"),
    "tls": _read_tls,
    "lldp": _read_lldp,
    "ping": _read_ping,
    "link_stat": _read_link_stat,
    "optical": _read_optical,
    "speed": _read_known_fields,
    "stat": _read_known_fields,
    "vnic": _read_known_fields,
}
