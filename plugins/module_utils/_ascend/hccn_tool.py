# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read what ``hccn_tool`` prints, and ``/etc/hccn.conf``. PRIVATE to the collection.

The tool has no machine-readable output, writes some errors to stdout and does not say which device answers, so a text
is read in two steps: cut it into answers by the lines that only one query prints, then read each answer. Values are
kept as printed; what is not in the text is missing from the result.
"""
from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.module_utils._host import terminal_text

TYPED = ("link", "net_health", "ip", "gateway", "netdetect", "lldp", "ping", "tls", "speed", "link_stat", "stat",
         "optical", "fec", "vnic")


class ParseError(ValueError):
    """The text holds no answer to the query, or more than one."""


def parse(query, text):
    """Return the result of the one answer that ``hccn_tool -i N -<query> -g`` printed.

    link ``{"status"}``, net_health ``{"status"}``, ip ``{"address", "netmask"}``, gateway ``{"address",
    "interface"}``, netdetect ``{"address"}``, lldp ``{"ifname", "tlvs"}``, ping ``{"address", "transmitted",
    "received", "loss_percent", "rtt_ms": [...]}``, tls ``{"enabled"}``, link_stat ``{"up_count", "down_count",
    "current_time", "events": [{"time", "status"}]}`` (newest first), fec ``{"mode"}``, optical ``{"present", ...}``
    (numbers without their unit), every other query ``{"fields": {printed key: printed value}}``. When the tool
    reports an error instead: ``{"error": {"message", "code"}}``. Raises ParseError otherwise.
    """
    wanted = query if query in TYPED else "other"
    answers = [a for a in _split(text, _Command(wanted, None)) if a.error or a.query == wanted]
    results = [result for result in (answer.result() for answer in answers) if result is not None]
    errors = [result for result in results if "error" in result]
    if errors:
        return errors[0]
    if not results:
        raise ParseError("no answer to -%s in: %r" % (query, text.strip()[:120]))
    if len(results) > 1:
        raise ParseError("%d answers to -%s where one was expected; use parse_session" % (len(results), query))
    return results[0]


def parse_session(text):
    """Return ``{"queries": [{"query", "device", "result"}]}`` for a pasted terminal, one entry per answer.

    ``query`` is ``other`` for what has no form of its own; ``device`` is an int only where the text says it.
    """
    answers = [(answer, answer.result()) for answer in _split(text, None)]
    answered = {answer.command for answer, result in answers if result is not None}
    queries = []
    for answer, result in answers:
        if result is None and answer.command not in answered and any(line.strip() for line in answer.lines):
            result = _error(answer.lines)
        if result is not None:
            queries.append({"query": answer.query, "device": answer.device, "result": result})
    _name_errors(queries)
    return {"queries": queries}


def parse_conf(text):
    """Return ``{"kind": "hccn_conf", "fields", "devices", "duplicates"}`` of an ``/etc/hccn.conf``.

    ``fields`` maps each key to its value, ``devices`` maps the device number (str) to ``{"address", "netmask", ...}``,
    all strings. A key that is set twice to different values is in ``duplicates`` only. Raises ParseError when there is
    text but no ``key=value`` line.
    """
    fields, duplicates = {}, []
    for line in text.splitlines():
        match = re.match(r"\s*([A-Za-z][\w.-]*)\s*=\s*(.*?)\s*$", line, re.ASCII)
        if not match:
            continue
        key, value = match.groups()
        if fields.setdefault(key, value) != value and key not in duplicates:
            duplicates.append(key)
    if not fields and text.strip():
        raise ParseError("no key=value line in: %r" % text.strip()[:120])
    devices = {}
    fields = {key: value for key, value in fields.items() if key not in duplicates}
    for key, value in fields.items():
        match = re.match(r"(.+)_([0-9]+)$", key)
        if match:
            devices.setdefault(match.group(2), {})[match.group(1)] = value
    return {"kind": "hccn_conf", "fields": fields, "devices": devices, "duplicates": duplicates}


# --- Step 1: cut a text into answers ---------------------------------------------------------------------------------

class _Command:
    """The shell command that printed what follows it; ``query`` None where it is not one of hccn_tool."""

    def __init__(self, query, device):
        self.query = query
        self.device = device


class _Answer:
    """The lines of one answer (device prefixes taken off), and what they tell of its query and device."""

    def __init__(self, query, command, error=False):
        self.query = query
        self.command = command
        self.device = command.device if command else None
        self.error = error
        self.lines = []
        self.slots = set()
        self.open = True

    def continues(self, body):
        """Whether a line that several queries could print goes on with this answer."""
        if self.query == "link":
            return re.match(r"port [0-9]+\s*:", body) is not None
        return self.query in _BLOCKS or (self.query == "link_stat" and body.startswith(("+-", "|")))

    def result(self):
        """Return the result, an error as ``{"error"}``, or None when the lines hold neither."""
        return _error(self.lines) if self.error else _READERS.get(self.query, _read_fields)(self)


# Words of other programs that a pasted text may hold anywhere.
_NOISE = re.compile(r"(?:grep|egrep|sed|awk): warning: |stty: ")
_ELISION = re.compile(r"\s*(?:[^:]+:\s*)?(?:\.{3,}|\u2026+)(?:\s+\.{3,})*\s*$")
_PREFIX = re.compile(r"\s*\[(?:devid|device) ?([0-9]+)\] ?")
_NAMES_DEVICE = re.compile(r"(?:dev_id:|device )([0-9]+)\b")
_HCCN_COMMAND = re.compile(r"hccn_tool\s+(?:-i\s+(\S+)|-a)\s+-(\w+)(.*)")
_PROMPT = re.compile(r"\s*(?:\([\w.-]+\)\s*)?(?:\[?[\w.-]+@[^#$>]*[#$>]|[#$])(?:\s|$)")
_PROGRAM = re.compile(r"(?:sudo\s+)?(?:cat|pip3?|npu-smi|ls|ifconfig|ip|lspci|lsmod|uname|date|hostname|env)\s+\S")
_OPTICAL_KEY = (r"present|temperature|[Hh]igh power enable reg|vendor [a-z ]+?|xsfp [a-z ]+?|manufact date code|Vcc"
                r"(?: (?:High|Low) Thres)?|Temp (?:High|Low) Thres|[TR]xPower (?:High|Low) Thres|Tx Bias[0-9]?"
                r"|[TR]x (?:Power[0-9]?|Lo[sL] Flag)|(?:Host|Media) SNR Lane[0-9]")

# (query, line that only it prints, whether one answer holds several such lines); the first match decides. A line that
# an answer holds once (told apart by the group ``key``) starts the next answer when it comes again.
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
# Answers that go on over lines without a signature.
_BLOCKS = ("lldp", "ping", "tls", "stat", "optical")
_DONE = "Cmd executed successfully!"
# The last words of three lines are those of a Chinese shell: command not found, no such file, permission denied.
_ERROR = re.compile(
    r"hccn_tool is busy|The command is not supported|Optical module is not present|I2c is busy|Command unsupported"
    r"|This device does not support|Get (?:\w+ )+failed\b|Get invalid|Get unknown|The device is (?:not exist|occupied)"
    r"|Cmd execute failed|Command execute failed|The cmd line execute timeout|Control link unreachable"
    r"|Execute failed\s*:|The VM does not support|permission denied\s*:|The hccn\.conf can't access"
    r"|The Certificate has expired|The total count of input parameters|-?\w*sh: |(?:sudo|env|timeout): "
    r"|.*(?:: command not found|: No such file or directory|: Permission denied|\u672a\u627e\u5230\u547d\u4ee4"
    r"|\u6ca1\u6709\u90a3\u4e2a\u6587\u4ef6\u6216\u76ee\u5f55|\u6743\u9650\u4e0d\u591f)$|dcmi \w.*\bfailed\b"
    r"|[^:]*\b(?:fail(?:ed)?|invalid|not supported|not exist|timed? ?out)\b[^:]*[!.]$", re.ASCII)
# Printed after the line that says what was wrong, or alone where nothing more is known.
_VAGUE_ERROR = re.compile(r"(?:Cmd|Command) execute failed!|Enter \[ hccn_tool -h \]")
_ERROR_HINTS = (("no ip was preset", "ip"), ("no gateway was preset", "gateway"), ("ptical module", "optical"),
                ("device health status", "net_health"), ("Certificate has", "tls"))


def _split(text, command):
    """Return the answers in a text, as far as its lines tell; ``command`` is what printed the text, if known."""
    answers = []
    pasted = command is None and _HCCN_COMMAND.search(text) is not None
    for line in terminal_text.plain(text).split("\n"):
        line = line.rstrip()
        current = answers[-1] if answers and answers[-1].open else None
        started = _command(line)
        if started is not None:
            command = started
            if current:
                current.open = False
        elif not line:
            if current:
                current.lines.append("")
        elif not _ELISION.match(line) and not _NOISE.match(line):
            foreign = pasted if command is None else command.query is None
            _place(line, answers, current, command, foreign)
    return [_retyped(answer) for answer in answers]


def _command(line):
    """Return the _Command that a line of a terminal shows, or None when it is output."""
    found = _HCCN_COMMAND.findall(line)
    if len(found) == 1 and "hccn_tool" not in found[0][2]:
        device, query, rest = found[0]
        typed = query in TYPED and re.search(r"\s-g\b", rest)
        return _Command(query if typed else "other", int(device) if re.match(r"[0-9]{1,4}$", device) else None)
    if found:
        return _Command("other", None)
    return _Command(None, None) if _PROMPT.match(line) or _PROGRAM.match(line) else None


def _place(line, answers, current, command, foreign):
    """Add one line of output to the answer it belongs to, or start the next one with it.

    ``foreign``: another command may have printed it, so only what nothing but hccn_tool prints is taken.
    """
    prefix = _PREFIX.match(line)
    content = line[prefix.end():] if prefix else line
    body = content.strip()
    query, slot = _signature(body)
    if query == "speed" and body != content:
        query, slot = None, None  # the indented line of ethtool's that -status prints
    named = prefix or (_NAMES_DEVICE.match(body) if query in ("ping", "tls") else None)
    device = int(named.group(1)) if named else None
    error = False
    if query is None:
        if body == _DONE and current and current.query != "other":
            current.open = False
            return
        if current and (current.query == "ping" or (current.continues(body) and not _ERROR.match(body))):
            query = current.query
        elif foreign:
            return
        else:
            error = _ERROR.match(body) is not None and not body.startswith("|")
            query = command.query if command else "other"
            slot = _slot(body)
    if error:
        query = next((hint for words, hint in _ERROR_HINTS if words in body), query)
    if not _joins(current, query, slot, device, error, body):
        current = _Answer(query, command, error)
        answers.append(current)
    if device is not None:
        current.device = device
    current.slots.add(slot)
    current.lines.append(content)
    current.open = body != _DONE


def _signature(body):
    """Return (query, slot) of a line that only one query prints, else (None, None); slot None: may be repeated."""
    for query, pattern, many in _SIGNATURES:
        match = pattern.match(body)
        if match:
            return query, None if many else match.groupdict().get("key") or query
    return None, None


def _slot(body):
    """Return the key of a ``key: value`` line, by which a second answer of the same command is known."""
    key, colon, _value = body.partition(":")
    return key.strip() if colon and not body.startswith("|") else None


def _joins(current, query, slot, device, error, body):
    """Whether a line goes on with the current answer."""
    if current is None or (device is not None and current.device not in (None, device)):
        return False
    if current.error or error:
        return current.error and error and _VAGUE_ERROR.match(body) is not None
    if query == "ping" and slot is None and "packets" in current.slots and body.startswith("recv"):
        return False
    return current.query == query and (slot is None or slot not in current.slots)


def _retyped(answer):
    """Return the answer with its query corrected where only all of its lines together tell it."""
    if answer.query == "link" and len([line for line in answer.lines if line.strip()]) > 1:
        answer.query = "other"  # the port list of an Atlas 950
    if answer.query == "other" and not answer.error:
        tables = _tables(answer.lines)
        if len(tables) == 1 and not _read_fields(answer)["fields"]:
            columns = set(tables[0][0])
            if {"Link_Status", "Time_Stamp"} <= columns:
                answer.query = "link_stat"
            elif {"Speed", "Cap", "Width"} <= columns:
                answer.query = "speed"
    return answer


def _name_errors(queries):
    """Give errors of unknown origin the query of all the other answers, where those agree."""
    known = {entry["query"] for entry in queries if "error" not in entry["result"]}
    if len(known) == 1:
        query = known.pop()
        for entry in queries:
            if entry["query"] == "other" and "error" in entry["result"]:
                entry["query"] = query


# --- Step 2: read one answer -----------------------------------------------------------------------------------------

_NUMBER = r"[0-9]+(?:\.[0-9]+)?"
_QUANTITY = re.compile(r"(-?" + _NUMBER + r")\s*(?:mW|uW|dBm|dB|mV|V|mA|uA|C|nm)$")
_TEXT_KEYS = ("vendor", "manufact", "xsfp identifier")
_PING_SUMMARY = re.compile(r"([0-9]+) packets transmitted, ([0-9]+) received, (" + _NUMBER + r")% packets? loss")
_PING_REPLY = re.compile(r"recv seq\s*[=:]?\s*[0-9]+,\s*time\s*[=:]\s*(" + _NUMBER + r")(ms|us)\b")
_PING_TARGET = re.compile(r"device [0-9]+ (?:PING6? |dev\s+EID \S+ to )(\S+)$")
_EVENT = re.compile(r"(\S.*[0-9].*?)\s+(LINK (?:UP|DOWN))$", re.ASCII)


def _error(lines):
    message = next(line.strip() for line in lines if line.strip())
    code = re.search(r"\b(?:ret(?:code)?|code)\s*(?:is|[=:])?\s*\[?(-?[0-9]+)\b", message, re.ASCII)
    return {"error": {"message": message, "code": int(code.group(1)) if code else None}}


def _reader(*patterns):
    """Return a reader of values that stand on lines of their own; each named group is a key of the result."""
    compiled = [re.compile(pattern, re.ASCII) for pattern in patterns]

    def read(answer):
        result = {name: None for pattern in compiled for name in pattern.groupindex}
        for line in answer.lines:
            for pattern in compiled:
                match = pattern.match(line.strip())
                if match:
                    result.update(match.groupdict())
        return result if any(result.values()) else None
    return read


def _read_tls(answer):
    # Every line holds the words "disable" and "enable": only the digit tells.
    switches = [match.group(1) for match in
                (re.search(r"tls switch ?\[([01])\]", line) for line in answer.lines) if match]
    return {"enabled": switches[0] == "1"} if switches else None


def _read_lldp(answer):
    tlvs, title = {}, None
    for line in answer.lines:
        body = line.strip()
        if re.match(r"[A-Z][\w ]+ TLV$", body, re.ASCII):
            title = body
        elif title and title != "End of LLDPDU TLV":
            tlvs[title] = tlvs[title] + "\n" + body if title in tlvs else body
    tlvs = {title: content.strip() for title, content in tlvs.items() if content.strip()}
    where = tlvs.get("Port ID TLV") or "\n".join(line.strip() for line in answer.lines)
    ifname = re.search(r"^Ifname\s*:\s*(\S.*)$", where, re.MULTILINE)
    if not (ifname or tlvs):
        return None
    result = {"ifname": ifname.group(1).strip() if ifname else None}
    return dict(result, tlvs=tlvs) if tlvs else result


def _read_ping(answer):
    result = {"address": None, "transmitted": None, "received": None, "loss_percent": None, "rtt_ms": []}
    for line in answer.lines:
        body = line.strip()
        target, reply, summary = (p.match(body) for p in (_PING_TARGET, _PING_REPLY, _PING_SUMMARY))
        if target:
            result["address"] = target.group(1)
        elif reply:
            value = float(reply.group(1))
            result["rtt_ms"].append(value / 1000 if reply.group(2) == "us" else value)
        elif summary:
            result.update(transmitted=int(summary.group(1)), received=int(summary.group(2)),
                          loss_percent=float(summary.group(3)))
    if result["transmitted"] is None:
        errors = [line for line in answer.lines if _ERROR.match(line.strip())]
        return _error(errors) if errors else result if result["rtt_ms"] else None
    return result


def _read_link_stat(answer):
    result = {"up_count": None, "down_count": None, "current_time": None, "events": []}
    for line in answer.lines:
        count = re.match(r"\s*link (up|down) count\s*:?\s*([0-9]+)$", line)
        now = re.match(r"\s*current time\s*:?\s*(\S.*)$", line)
        event = _EVENT.match(line.strip())
        if count:
            result[count.group(1) + "_count"] = int(count.group(2))
        elif now:
            result["current_time"] = now.group(1)
        elif event:
            result["events"].append({"time": event.group(1), "status": event.group(2)})
    for row in (row for table in _tables(answer.lines) for row in table):
        if row.get("Time_Stamp") and row.get("Link_Status"):
            result["events"].append({"time": row["Time_Stamp"], "status": row["Link_Status"]})
            _take_device(answer, row)
    return result if any(value not in (None, []) for value in result.values()) else None


def _read_optical(answer):
    result = {"present": None}
    for line in answer.lines:
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


def _read_fields(answer):
    """Read ``key: value`` lines, tables and bare lines; a line that is indented further continues the value above."""
    fields, rest, routes, columns = {}, [], [], None
    key, key_indent = None, 0
    for line in answer.lines:
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
    result = {"fields": fields}
    tables = _tables(answer.lines) + ([routes] if routes else [])
    if len(tables) == 1 and len(tables[0]) == 1 and answer.query == "speed":
        fields.update(tables[0][0])
        _take_device(answer, tables[0][0])
    elif tables:
        result["tables"] = tables
    if answer.query != "other":
        return result if fields or tables else None
    return dict(result, lines=rest) if rest else result


def _tables(lines):
    """Return the box tables in the lines, each a list of rows ``{column: cell}``; two borders in a row divide them."""
    tables, header, after_border = [], None, False
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


def _take_device(answer, row):
    if re.match(r"[0-9]{1,4}$", row.get("NPU", "")):
        answer.device = int(row["NPU"])


_READERS = {
    "link": _reader(r"link status\s*:\s*(?P<status>\S.*)$"),
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
}
