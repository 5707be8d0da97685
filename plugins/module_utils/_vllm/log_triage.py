# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the cause of a failed start or a dead engine in a server log.

The messages and causes are in `log_causes`. One fault has many consequences in a log: other ranks time out, the engine
dies, the server is stopped. Therefore, causes are ranked by how close they are to the fault, and then by their position
in the log. A consequence is never ranked above the cause that produces it. If the log contains no known message, the
cause is ``unknown``, with an error block of CANN or an exception as evidence.

The log is read once, in chunks. One pattern finds the literals that the signatures contain. Only the signatures whose
literals are in a line are matched against the line. The run time is linear, because the length of a line is limited and
a signature spans only a few lines.
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import log_causes

if TYPE_CHECKING:
    from typing import Iterable, Iterator, Pattern, TypedDict

    class Diagnosis(TypedDict):
        """A cause in a log. ``evidence`` is the decisive line. For ``unknown``, see `diagnose`."""

        cause: str
        evidence: str | None
        remedy: str
        line: int | None  # the number of the decisive line; the first line is 1
        time: str | None  # the time of the line according to the clock of the container, MM-DD HH:MM:SS
        process: str | None  # the process that logged the line, such as Worker_TP3 pid=9


CHUNK_CHARACTERS = 1 << 20
# Longer lines are split.
LINE_CHARACTERS = 8192
SPAN_CHARACTERS = 250  # the maximum length of `.*` in a signature
# The number of characters before a line in which a signature of several lines and the time of the line are searched.
CONTEXT_CHARACTERS = 1000
# The number of characters that are kept from the first exception on.
EXCEPTION_CHARACTERS = 1 << 16
CANN_BLOCK_LINES = 12
# Lines are only joined in shorter logs. A longer log was not copied from a terminal that wraps lines.
WRAPPED_CHARACTERS = 1 << 18

_LEVEL = r"(?:^|\)\s*|\|\s+|Z\s+|\]:\s+)"
# Lines with a log level below ERROR in the formats of vLLM, uvicorn, plog, torch and Python's warnings. They report
# errors that were handled, and are not a fault. The name of a container, a time or the process can precede the level.
_HANDLED = re.compile(
    _LEVEL + r"(?:DEBUG|INFO|WARNING)(?: \d\d-\d\d |[: ])|\b(?:DEBUG|INFO|WARNING) -"
    r"|(?:^|[:\s])\[(?:DEBUG|INFO|WARNING|EVENT)\] |(?:^|[\s:])\[[WI](?:\d{3,4}|\.\.\.)[\] ]"
    r"|\b[A-Z]\w*Warning: ", re.MULTILINE)
# Only the beginning of a line is searched for its log level, and only if it contains one of these words.
_HEAD_CHARACTERS = 250
_MAYBE_HANDLED = re.compile(r"DEBUG|INFO|WARNING|EVENT|Warning: |\[[WI][\d.]")
# Every version of vLLM logs one of these messages once when a server starts.
_STARTED = r"non-default args: |vLLM API server version "
_TLS_SWITCH = r"TLS SWITCH \(([01])\)"
# The first lines of a traceback or of an exception. They are also found if the beginning of the log is missing.
_TROUBLE = (r"Traceback \(most recent call last\):|\bFile \"[^\"]+\", line \d+|(?:^|[\s\]])[A-Za-z_][\w.]*Error: "
            r"|(?:^|[\s\]])(?:[A-Za-z_][\w.]*)?Exception: ")
# An error that is not an exception and has no error code of CANN.
_ERROR = r"^\[ERROR\] ?[A-Z]+\(|execut(?:e|ion) failed, reason="
_STARTED_ORDER, _TLS_SWITCH_ORDER, _TROUBLE_ORDER, _ERROR_ORDER = range(4)
_CANN_CODE = re.compile(r"[EWI][A-Z0-9]\d{4}(?<![A-Za-z0-9_]......)(?![0-9A-Za-z])")

# A line break within a line, which is not counted: after an update of a progress bar, or where a long line was split.
_BREAK = "\r\n"
_COLOR = re.compile(r"\x1b\[[0-9;]*m")
_PROCESS = re.compile(
    r"\((?:[A-Z]\w*(?: \w+)*) (?:rank=\d+ )?pid=\d+[^)]*\)|\[rank\d+\]|\(PID:\d+[^)]*\)|\bHCC[LP]\(\d+")
_TIMES = (
    re.compile(r"\b\d{4}-(?P<month>\d\d)-(?P<day>\d\d)[-T ](?P<time>\d\d:\d\d:\d\d(?:[.,]\d{3})?)"),
    re.compile(r"\b(?P<month>\d\d)-(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d)\b"),
    re.compile(r"\[[EWI](?P<month>\d?\d)(?P<day>\d\d) (?P<time>\d\d:\d\d:\d\d(?:\.\d{3})?)"),
)
# The prefix of a line: the container, time, process, level and source file.
_PREFIX = re.compile(
    r"^(?:[\w.-]+ +\| |\S+Z )?(?:\([^()]*(?:\([^()]*\))?[^()]*\) ?)*"
    r"(?:(?:ERROR|CRITICAL|INFO|WARNING)(?: \d\d-\d\d \d\d:\d\d:\d\d)? ?\[?[\w./]+:\d+\] ?|\[rank\d+\]: ?)*")
_EXCEPTION = re.compile(r"(?:[A-Za-z_][\w.]*(?:Error|Exception|Interrupt|Exit|Timeout|Failure)|Exception)\b(?::|$)")
_CHAINED = ("During handling of the above exception", "The above exception was the direct cause")
# The beginnings of lines that do not continue a wrapped line.
_NEW_LINE = re.compile(
    r"\(|\[|\s|(?:INFO|WARNING|ERROR|DEBUG|CRITICAL|Traceback|File)\b|\d{4}-|[\w.]+(?:Error|Exception)\b"
    r"|[EWI][A-Z0-9]\d{4}|$")


class _Signature(NamedTuple):
    """A compiled signature. ``order`` is its position in the cause. Markers, such as a server start, have no cause."""

    cause: log_causes.Cause | None
    order: int
    pattern: Pattern[str]
    multiline: bool
    in_handled: bool  # whether it is also searched in lines about handled errors, see `_HANDLED`
    required: tuple[str, ...]  # other literals, in lower case, that a matching line must contain


class _Hit(NamedTuple):
    """The first line that matches a signature. ``place`` is the offset of the line in the log."""

    place: int
    line: int
    text: str
    before: str


class _Found(NamedTuple):
    cause: log_causes.Cause
    weak: bool
    hit: _Hit


# The parts of a regular expression. A character class is one part, and so is a quantifier.
_PART = re.compile(
    r"\\(?P<escaped>.)|(?P<begin>\()|(?P<end>\))|(?P<bar>\|)|(?P<repeat>[?*]|\{[^}]*\})"
    r"|(?P<unknown>[.+^$]|\[\^?\]?(?:\\.|[^\]\\])*\])|(?P<character>.)", re.DOTALL)


def literals(pattern: str) -> list[list[str]]:
    """Return the literals of each top-level alternative of a pattern, in lower case, with the longest literal first.

    Groups, character classes and optional characters are not literals. In a pattern with line breaks, only the last
    line is used.
    """
    found, depth = [[""]], 0
    for part in _PART.finditer(pattern.rpartition(r"\n")[2].lstrip("]*").lower()):
        kind, text, runs = part.lastgroup, part.group(part.lastgroup or 0), found[-1]
        depth += {"begin": 1, "end": -1}.get(kind or "", 0)
        if depth:
            continue
        if kind == "bar":
            found.append([""])
        elif kind == "character" or (kind == "escaped" and not text.isalnum()):
            runs[-1] += text
        else:
            if kind == "repeat":
                runs[-1] = runs[-1][:-1]
            runs.append("")
    return [sorted(filter(None, runs), key=len, reverse=True) for runs in found]


def _trie(words: Iterable[str]) -> str:
    """Return a pattern that matches the longest of the words at a position. It is much faster than ``word|word``."""
    first: dict[str, set[str]] = {}
    for word in words:
        first.setdefault(word[:1], set()).add(word[1:])
    ends = first.pop("", None) is not None
    branches = [re.escape(character) + _trie(rest) for character, rest in sorted(first.items())]
    if not branches:
        return ""
    if len(branches) == 1 and not ends:
        return branches[0]
    return "(?:%s)%s" % ("|".join(branches), "?" if ends else "")


class _Index(NamedTuple):
    signatures: list[_Signature]
    by_literal: dict[str, list[int]]
    literal: Pattern[str]


@lru_cache(maxsize=None)
def _index() -> _Index:
    """Return the compiled signatures. They are compiled on demand, because most importing processes never need them."""
    return index(log_causes.CAUSES)


def index(causes: Iterable[log_causes.Cause]) -> _Index:
    """Compile the signatures. They ignore case, because capitals differ between releases more often than words."""
    signatures, by_literal = [], {}  # type: list[_Signature], dict[str, list[int]]
    texts = [(cause, order, text) for cause in causes for order, text in enumerate(cause.signatures)]
    markers = [(None, order, text) for order, text in enumerate((_STARTED, _TLS_SWITCH, _TROUBLE, _ERROR))]
    for cause, order, text in [*texts, *markers]:
        bounded = re.sub(r"(?<!\\)\.\*", ".{0,%d}" % SPAN_CHARACTERS, text)
        flags = re.MULTILINE | (re.IGNORECASE if cause else 0)
        alternatives = literals(text)
        for longest, *_shorter in alternatives:
            by_literal.setdefault(longest, []).append(len(signatures))
        required = tuple(alternatives[0][1:]) if len(alternatives) == 1 else ()
        in_handled = cause.level > log_causes.ENGINE if cause else order < _TROUBLE_ORDER
        signatures.append(_Signature(cause, order, re.compile(bounded, flags), r"\n" in text, in_handled, required))
    for literal, numbers in by_literal.items():
        # At each position, only the longest literal is found, so the signatures of shorter literals are added to it.
        for shorter in by_literal:
            if literal != shorter and literal.startswith(shorter):
                numbers.extend(number for number in by_literal[shorter] if number not in numbers)
    return _Index(signatures, by_literal, re.compile(_trie(by_literal)))


def _is_handled(text: str, line: tuple[int, int]) -> bool:
    start, end = line[0], min(line[1], line[0] + _HEAD_CHARACTERS)
    return _MAYBE_HANDLED.search(text, start, end) is not None and _HANDLED.search(text, start, end) is not None


class _Scan:
    """One pass over a log.

    A completed start shows that earlier faults were overcome, and a start after a stop makes the stop irrelevant. After
    the death of an engine, the causes of the previous start only count if the log shows no fault of the next start.
    """

    def __init__(self, signatures: _Index | None = None) -> None:
        self.index = signatures or _index()
        self.offset = self.lines = 0
        self.context = ""
        self._reset()

    def _reset(self) -> None:
        self.hits: dict[int, _Hit] = {}
        self.stopped = False
        self.switches: dict[str, _Hit] = {}
        self.trouble: _Hit | None = None
        self.trouble_text = ""
        self.block: _Hit | None = None
        self.error: _Hit | None = None
        #: The causes of the previous start if its engine died and the server does not run yet.
        self.earlier: list[_Found] = []

    def _reset_before(self, text: str, line: tuple[int, int]) -> None:
        """Drop the findings before a line. The error block can be after this line, because it is searched first."""
        block, place = self.block, self._hit(text, line).place
        self._reset()
        if block and block.place > place:
            self.block = block
        elif block:
            self._read_codes(text, line[1])

    def feed(self, chunk: str) -> None:
        """Search a chunk of whole lines."""
        text = self.context + chunk
        begin = len(self.context)
        lower = text.lower()
        if len(lower) != len(text):  # The lower case of some letters is longer.
            lower = "".join(character.lower() if character < "\x80" else character for character in text)
        if self.trouble and len(self.trouble_text) < EXCEPTION_CHARACTERS:
            self.trouble_text += chunk[:EXCEPTION_CHARACTERS]
        self._read_codes(text, begin)
        handled, tried, line = False, set(), (0, 0)  # type: bool, set[int], tuple[int, int]
        match = self.index.literal.search(lower, begin)
        while match:
            place = match.start()
            if place >= line[1]:
                start, end = text.rfind("\n", 0, place) + 1, text.find("\n", place)
                line = start, len(text) if end < 0 else end
                handled, tried = _is_handled(text, line), set()
            for number in self.index.by_literal[match.group()]:
                signature = self.index.signatures[number]
                if number not in self.hits and number not in tried and (signature.in_handled or not handled):
                    tried.add(number)
                    if all(lower.find(literal, *line) >= 0 for literal in signature.required):
                        self._try(number, text, line, place)
            match = self.index.literal.search(lower, place + 1)
        self.offset += len(chunk)
        self.lines += _count_lines(chunk, 0, len(chunk))
        self.context = text[-CONTEXT_CHARACTERS:]

    def _try(self, number: int, text: str, line: tuple[int, int], place: int) -> None:
        """Match a signature against a line, or in a long line, against the part around the literal at ``place``."""
        cause, _order, pattern, multiline, *_rest = self.index.signatures[number]
        start = max(0, line[0] - CONTEXT_CHARACTERS) if multiline else max(line[0], place - CONTEXT_CHARACTERS)
        match = pattern.search(text, start, min(line[1], place + CONTEXT_CHARACTERS))
        if not match or match.end() <= line[0]:
            return
        if cause is None:
            self._handle_marker(number, match.group(match.lastindex or 0), text, line)
            return
        if cause.level == log_causes.HEALTHY:
            self._reset_before(text, line)
        self.stopped = self.stopped or cause.level == log_causes.SIGNAL
        self.hits[number] = self._hit(text, line)

    def _handle_marker(self, number: int, value: str, text: str, line: tuple[int, int]) -> None:
        order = self.index.signatures[number].order
        if order == _STARTED_ORDER:
            found = [] if self.stopped else self.found()
            if self.stopped or any(entry.cause.level == log_causes.ENGINE for entry in found):
                self._reset_before(text, line)
                self.earlier = found
        elif order == _TLS_SWITCH_ORDER and value not in self.switches:
            self.switches[value] = self._hit(text, line)
        elif order == _TROUBLE_ORDER:
            self.trouble = self.hits[number] = self._hit(text, line)
            self.trouble_text = text[line[0]:line[0] + EXCEPTION_CHARACTERS]
        elif order == _ERROR_ORDER:
            self.error = self.hits[number] = self._hit(text, line)

    def _read_codes(self, text: str, begin: int) -> None:
        """Keep the first error block of CANN."""
        if self.block is not None:
            return
        for match in _CANN_CODE.finditer(text, begin):
            start, end = text.rfind("\n", 0, match.start()) + 1, text.find("\n", match.start())
            line = start, len(text) if end < 0 else end
            if not _is_handled(text, line):
                self.block = self._hit(text, line)._replace(text=_block(text[start:start + LINE_CHARACTERS]))
                return

    def _hit(self, text: str, line: tuple[int, int]) -> _Hit:
        start, end = line
        place = self.offset + start - len(self.context)
        return _Hit(place, self.lines + 1 + _count_lines(text, len(self.context), max(start, len(self.context))),
                    text[start:end].strip(), text[max(0, start - CONTEXT_CHARACTERS):start])

    def found(self) -> list[_Found]:
        """Return the causes, each with the line of its most specific signature."""
        by_cause: dict[str, list[tuple[int, _Hit]]] = {}
        for number, hit in self.hits.items():
            cause, order = self.index.signatures[number][:2]
            if cause:
                by_cause.setdefault(cause.id, []).append((order, hit))
        causes = []
        for name, hits in by_cause.items():
            weak = all(log_causes.BY_ID[name].signatures[order] in log_causes.BY_ID[name].weak for order, _hit in hits)
            causes.append(_Found(log_causes.BY_ID[name], weak, min(hits)[1]))
        if len(self.switches) > 1 and "tls_mismatch" not in by_cause:
            # Device logs contain the TLS switch of each device. It is only a cause if two devices differ.
            first, second = sorted(self.switches.values())
            causes.append(_Found(log_causes.BY_ID["tls_mismatch"], False, first._replace(
                text="%s\n%s" % (first.text, second.text))))
        return causes


def diagnose(text: str | Iterable[str]) -> list[Diagnosis]:
    """Find and rank the causes in a log. The most likely cause is first.

    :param text: the log, or an iterable of its pieces, such as the lines of a file.
    :returns: at least one cause. ``evidence`` is the decisive line (two lines if the TLS switch differs between
        devices). For ``unknown``, it is an error block of CANN, an exception, or None.
    """
    wrapped: dict[str, str] = {}
    if isinstance(text, str) and len(text) <= WRAPPED_CHARACTERS:
        text, wrapped = _unwrap(text.replace("\r\n", "\n"))
    scan = _Scan()
    for chunk in _chunks(text):
        scan.feed(chunk)
    found = scan.found()
    unknown = _unknown(scan, found)
    ranked = [_diagnosis(entry, wrapped) for entry in rank(found or ([] if unknown else scan.earlier))]
    if unknown or not ranked:
        ranked.insert(0, unknown or {"cause": log_causes.UNKNOWN, "evidence": None, "remedy": log_causes.NO_KNOWN_CAUSE,
                                     "line": None, "time": None, "process": None})
    return ranked


def _chunks(text: str | Iterable[str]) -> Iterator[str]:
    """Yield the log in chunks of whole lines, in which colors are removed and long lines are split."""
    pieces = iter((text[place:place + CHUNK_CHARACTERS] for place in range(0, len(text), CHUNK_CHARACTERS))
                  if isinstance(text, str) else text)
    waiting, size = [], 0  # type: list[str], int
    for piece in pieces:
        waiting.append(piece)
        size += len(piece)
        if size < CHUNK_CHARACTERS:
            continue
        chunk = "".join(waiting)
        end = chunk.rfind("\n", -LINE_CHARACTERS) + 1 or len(chunk)
        waiting, size = [chunk[end:]], len(chunk) - end
        yield _clean(chunk[:end])
    if size:
        yield _clean("".join(waiting))


def _count_lines(text: str, start: int, end: int) -> int:
    return text.count("\n", start, end) - text.count(_BREAK, start, end)


def _clean(chunk: str) -> str:
    if "\x1b" in chunk:
        chunk = _COLOR.sub("", chunk)
    if "\r" in chunk:
        chunk = chunk.replace("\r\n", "\n").replace("\r", _BREAK)
    lines = chunk.split("\n")
    if max(map(len, lines)) > LINE_CHARACTERS:
        chunk = "\n".join(_BREAK.join(line[place:place + LINE_CHARACTERS] for place in range(
            0, len(line) or 1, LINE_CHARACTERS)) for line in lines)
    return chunk


def _unwrap(text: str) -> tuple[str, dict[str, str]]:
    """Join the lines that a terminal has wrapped. Return (text, ``{joined line: its parts}``)."""
    lines = text.split("\n")
    width = max(map(len, lines))
    wide = [line for line in lines if len(line) > width - 6]
    if not 60 <= width <= 400 or len(wide) < 3:
        return text, {}
    parts = [[lines[0]]]
    for line, previous in zip(lines[1:], lines):
        if len(previous) > width - 6 and not _NEW_LINE.match(line):
            parts[-1].append(line)
        else:
            parts.append([line])
    return "\n".join(map("".join, parts)), {"".join(each).strip(): "\n".join(each) for each in parts if len(each) > 1}


def rank(found: list[_Found]) -> list[_Found]:
    """Sort the causes by how close they are to the fault. A cause never precedes another cause that produces it."""
    stopped = min((float(entry.hit.place) for entry in found if entry.cause.level == log_causes.SIGNAL),
                  default=float("inf"))
    if any(entry.hit.place < stopped for entry in found if entry.cause.level < log_causes.SIGNAL):
        stopped = float("inf")  # the server stopped because of a fault, which can also be logged after the stop

    def place(entry: _Found) -> tuple[bool, int, bool, int]:
        follows_stop = entry.hit.place > stopped and entry.cause.level < log_causes.SIGNAL
        return follows_stop, entry.cause.level, entry.weak, entry.hit.place

    def produces(entry: _Found, other: _Found) -> bool:
        return other.cause.id in entry.cause.effects and place(entry)[0] == place(other)[0] and (
            other.weak or not entry.weak)

    waiting, ranked = sorted(found, key=place), []
    while waiting:
        first = next((entry for entry in waiting if not any(produces(each, entry) for each in waiting)), waiting[0])
        waiting.remove(first)
        ranked.append(first)
    return ranked


def _diagnosis(entry: _Found, wrapped: dict[str, str]) -> Diagnosis:
    evidence = entry.hit.text
    if evidence in wrapped:
        # The part of a wrapped line that matches is enough as evidence.
        patterns = [signature.pattern for signature in _index().signatures if signature.cause is entry.cause]
        evidence = next((part.strip() for part in wrapped[evidence].split("\n")
                         if any(pattern.search(part) for pattern in patterns)), evidence)
    return _with_origin(entry.cause.id, evidence, entry.cause.remedy, entry.hit)


def _with_origin(cause: str, evidence: str | None, remedy: str, hit: _Hit) -> Diagnosis:
    """Add the time and the process of the line. If the line has no time, the time of a previous line is used."""
    lines = [hit.text, *reversed(hit.before.split("\n"))]
    time = next((stamp for line in lines for stamp in [_time(line)] if stamp), None)
    process = _PROCESS.search(hit.text)
    return {"cause": cause, "evidence": evidence, "remedy": remedy, "line": hit.line, "time": time,
            "process": process.group().strip("()[]").replace("(", " ") if process else None}


def _time(line: str) -> str | None:
    matches = [match for match in (pattern.search(line) for pattern in _TIMES) if match]
    if not matches:
        return None
    first = min(matches, key=lambda match: match.start())
    return "%02d-%s %s" % (int(first.group("month")), first.group("day"), first.group("time").replace(",", "."))


def _unknown(scan: _Scan, found: list[_Found]) -> Diagnosis | None:
    """Return the error block of CANN, the first exception or another error in a log without a known fault, or None.

    Exceptions after a successful start are ignored unless the engine died, because the server has handled them. Errors
    after a stop are consequences of the stop.
    """
    levels = {entry.cause.level for entry in found}
    if min(levels, default=log_causes.HEALTHY) <= log_causes.TIMEOUT or (
            log_causes.HEALTHY in levels and log_causes.ENGINE not in levels):
        return None
    stop = min((entry.hit.place for entry in found if entry.cause.level == log_causes.SIGNAL), default=None)
    block, trouble = scan.block, scan.trouble
    if block and not _known(block.text) and (stop is None or block.place < stop):
        code = _CANN_CODE.search(block.text)
        component = log_causes.COMPONENTS.get(code.group()[1] if code else "", "a part of CANN")
        return _with_origin(log_causes.UNKNOWN, block.text,
                            "The error comes from %s. %s" % (component, log_causes.NO_KNOWN_CAUSE), block)
    if trouble and (stop is None or trouble.place < stop):
        exception = _last_exception(scan.trouble_text)
        if exception and not _known(exception):
            return _with_origin(log_causes.UNKNOWN, exception, log_causes.NO_KNOWN_CAUSE, trouble)
    if scan.error and not levels and not _known(scan.error.text):
        return _with_origin(log_causes.UNKNOWN, scan.error.text, log_causes.NO_KNOWN_CAUSE, scan.error)
    return None


def _known(text: str) -> bool:
    return any(signature.pattern.search(text) for signature in _index().signatures if signature.cause)


def _block(text: str) -> str:
    """Return the lines of an error block of CANN: the line with the code, and the indented lines below it."""
    lines = text.split("\n")
    kept = [lines[0].strip()]
    for line in lines[1:CANN_BLOCK_LINES]:
        content = line[_prefix(line):]
        if not (content[:1].isspace() or content.startswith(("TraceBack", "Solution", "Possible Cause")) or (
                _CANN_CODE.match(content))):
            break
        kept.append(line.rstrip())
    return "\n".join(kept)


def _prefix(line: str) -> int:
    match = _PREFIX.match(line)
    return match.end() if match else 0


def _last_exception(text: str) -> str | None:
    """Return the line of the last exception in the chain of tracebacks with which the text starts.

    Lines of other processes can be between the lines of a traceback. The end of the text can be missing.
    """
    process, last, ended = None, None, False
    for line in text.split("\n"):
        named = _PROCESS.search(line)
        name = named.group() if named else None
        if process is None:
            process = name
        if name != process and name is not None:
            continue
        content = line[_prefix(line):]
        if _EXCEPTION.match(content):
            last, ended = line.strip(), True
        elif content.startswith(_CHAINED) or "raceback (most recent call last)" in content:
            if ended and not content.startswith(_CHAINED):
                return last
            ended = False
        elif ended and content.strip() and not content.startswith(" "):
            return last
    return last
