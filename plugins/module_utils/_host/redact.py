# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask secrets in text before it is sent from the node.

The run time is linear in the length of the text, for three reasons: a name is only matched from its beginning, every
repetition in the patterns is either bounded or cannot fail, and a masked value is not searched again.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any, Match
from urllib.parse import quote

MASK = "(redacted)"
# Longer lines are truncated. The longest line in the log of a server is its configuration, with a few thousand
# characters.
LINE_LIMIT = 32 * 1024
# Known secrets with fewer characters are not masked, because too many words contain them.
SHORTEST = 4
_LONG_LINE = re.compile(r"(?m)^([^\n]{%d})[^\n]+" % LINE_LIMIT)

# --- names and values -------------------------------------------------------------------------------------------------
# A name and the text between the name and its value, as in NAME=, "name": , names["name"] = and name => (group 2). The
# value of an option can also be the next word or the next element of a list. The value of an XML element is between two
# tags (group 3).
_NAMED = re.compile(
    r"""(?i)(?<![\w.-])(?=[\w.-]*(?:key|token|secret|pass|pwd|credential|auth|cookie|sess|_pat\b|sig))([\w.-]+)
    (?:(\\{0,3}["']?\]?[ \t]{0,20}(?:=>|:=|==?|:)[ \t]{0,20})
      |(\\{0,3}["']\s{0,40},\s{0,40}(?=\\{0,3}["'])|[ \t]{1,20}|>))""", re.VERBOSE | re.ASCII)
_OPTION = re.compile(r"--?[A-Za-z]")
_OPENING_QUOTE = re.compile(r"(?i)[bru]{0,2}(\\{0,3})([\"'])")
_QUOTED_REST = {mark: re.compile(r"[^%s\\]*(?:\\[\s\S][^%s\\]*)*%s" % (mark, mark, mark)) for mark in "\"'"}
_LIST = re.compile(r"\[\s{0,40}[\"']([^\]\[]{1,4000})[\"']\s{0,40}\]")
# A comma, semicolon or bracket only ends a value if another value, another name or nothing follows.
_WORD = re.compile(
    r"""(?m)(?:[^\s,;&}\]<]|[,;&](?![\s"'{\[]|[\w.-]{1,40}["']?[=:]|$)|[}\]](?![\s,;}\])"']|$))+""", re.ASCII)
_REST_OF_HEADER = re.compile(r"[^\r\n\"']+")
_BLOCK = re.compile(r"[|>][+-]?[ \t]{0,20}\n([ \t]{1,64})[^\n]*(?:\n\1[^\n]*)*")

# A name that contains one of these words is the name of a secret. Separators in the name are removed before the search.
_SECRET = re.compile(
    r"password|passwd|passphrase|secret|credential|sshpass|sessionid|jsessionid|phpsessid|accesssignature"
    r"|(?:api|access|private|encryption|signing|account|master|shared|session|auth|deploy|license|subscription|ssh)key"
    r"|(?:amz|goog|oss)signature")
# If the last word of a name is one of these, the value is not a secret but a property of it, such as its length.
_PROPERTY = re.compile(
    r"""(?:files?|paths?|dir|folder|names?|ids?|types?|url|uri|endpoint|counts?|len|length|size|limit|ttl|expiry|expires
    |age|version|mode|format|headers?|prefix|status|policy|algorithm|provider|source|enabled|required|usage|rate|error
    |method|backend|timeout|index|map|budget|latency|config|class|fields|allowed)$""", re.VERBOSE)
# If a name contains one of these words, "token" means a token of a model.
_MODEL_TOKEN_WORD = re.compile(
    r"""(?:eos|bos|pad|unk|sep|cls|mask|image|video|vision|audio|stop|start|end|special|added|next|previous|first|last
    |per|output|input|prompt|completion|generated|max|min|num|mean|median|sampled|draft|bonus|text|media|multimodal
    |placeholder|think|reasoning|tool|ignore|new|decoded|begin|unexpected)$""", re.VERBOSE)
# Values that are not secrets: missing values, switches, types, placeholders, references to a variable, masks.
_NOT_SECRET = re.compile(
    r"""(?i)(?:none|null|nil|true|false|yes|no|on|off|auto|unset|set|empty|str|string|optional\S*|required|invalid
    |missing|\*+|x{3,}|\.{3}|\$\S*|\{\S*|<[\w -]*|%\S*|value_specified_in_no_log_parameter|\(redacted.*|secretstr\(.*
    |)[.,)]*$""", re.VERBOSE)
_NUMBER = re.compile(r"(?i)[-+]?[\d.,:_]+(?:e[-+]?\d+)?[%smk]?[.)]*$")
_PATH = re.compile(r"(?:~|\.{1,2})?/")
_SCHEME = re.compile(r"(?i)(?:basic|bearer|token|digest|negotiate|ntlm|aws4-hmac-sha256|api-?key|key|sharedkey\w*)[ ]")

# --- credentials that are recognized by their form --------------------------------------------------------------------
_TOKEN_FORMAT = re.compile(
    r"""(?<![A-Za-z0-9_-])(?:
    hf_[A-Za-z0-9]{16,} | api_org_[A-Za-z0-9]{16,} | ms-[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f-]{8,}
    | gh[pousr]_[A-Za-z0-9]{16,} | github_pat_\w{16,} | gl(?:pat|ptt|dt|rt)-[\w-]{16,}
    | sk-(?=[A-Za-z_-]*[0-9])[\w-]{16,} | nvapi-[\w-]{16,} | gsk_[A-Za-z0-9]{16,} | r8_[A-Za-z0-9]{16,}
    | A[KS]IA[A-Z0-9]{12,} | LTAI[A-Za-z0-9]{12,} | AIza[\w-]{30,} | ya29\.[\w-]{8,}
    | npm_[A-Za-z0-9]{16,} | pypi-[\w-]{16,} | dckr_[po]at_[\w-]{16,} | hv[bs]\.[\w-]{16,}
    | xox[abeprs]-[\w-]{8,} | xapp-[\w-]{8,} | SG\.[\w-]{8,}\.[\w-]{8,} | [rs]k_(?:live|test)_[A-Za-z0-9]{8,}
    | [0-9]{8,10}:AA[\w-]{30,} | AGE-SECRET-KEY-1[A-Z0-9]{8,}
    | eyJ[\w-]{5,}\.[\w-]{5,}(?:\.[\w-]*){1,3})""", re.VERBOSE | re.ASCII)
_BEARER = re.compile(
    r"(?i)\b(bearer[ \t]{1,20})(?!(?:tokens?|auth\w*|realm|schemes?|credentials?|errors?|format|header|is|was|not)\b)"
    r"[A-Za-z0-9._~+/=-]+")
_BASIC = re.compile(r"(?i)\b(basic[ \t]{1,20})([A-Za-z0-9+/]{6,}={0,2})")
_URL_CREDENTIALS = re.compile(
    r"(://)(?:[^\s/?#\"'<>@:]{0,128}:[^\s/?#\"'<>]{1,256}|(?=[A-Za-z_-]*[0-9])[\w-]{20,256})@", re.ASCII)
_WEBHOOK = re.compile(r"(hooks\.slack\.com/services/|discord(?:app)?\.com/api/webhooks/)[\w/-]+", re.ASCII)
_NETRC = re.compile(r"(?i)\b((?:machine[ \t]{1,20}\S{1,256}|default)\s{1,40}login[ \t]{1,20}\S{1,256}\s{1,40}"
                    r"(?:account[ \t]{1,20}\S{1,256}\s{1,40})?password[ \t]{1,20})\S+")
_SQL = re.compile(r"(?i)\b((?:identified[ \t]{1,20}by|with[ \t]{1,20}password)[ \t]{1,20})([\"'])[^\"']{1,256}\2")
# Programs that take a password in a short option.
_PROGRAM = re.compile(
    r"(?m)^[^\n]*\b(login|sshpass|mysql\w*|mariadb\w*|curl|wget|skopeo|redis-cli|htpasswd)\b[^\n]*", re.ASCII)
_PASSWORD_OPTION = re.compile(r"([\s\"']-p(?:[\s=]{1,20}|[\"'],[ \t]{0,20}[\"']|))([^\s\"',]+)")
_USER_OPTION = re.compile(r"(\s(?:-u|-U|--user|--proxy-user|--creds)[\s=]{0,20}[\"']?[^\s:\"']{1,64}:)([^\s\"',]+)")
_PASSWORD_OPTIONS = {
    "login": _PASSWORD_OPTION, "sshpass": _PASSWORD_OPTION, "mysql": _PASSWORD_OPTION, "mariadb": _PASSWORD_OPTION,
    "curl": _USER_OPTION, "wget": _USER_OPTION, "skopeo": _USER_OPTION,
    "redis-cli": re.compile(r"(\s-a\s)([^\s\"',]+)"),
    "htpasswd": re.compile(r"(\s-\w{0,8}b\w{0,8}\s\S{1,256}\s\S{1,64}\s)([^\s\"',]+)"),
}
_PEM_BEGIN = re.compile(r"-----BEGIN [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_END = re.compile(r"-----END [A-Z0-9 ]{0,40}PRIVATE KEY(?: BLOCK)?-----")
_PEM_LINES = re.compile(r"[^\n]*(?:\n[^\n]{0,64}?[A-Za-z0-9+/=]{16,}[^\n]*)*")
_PEM_LIMIT = 16 * 1024
# The tail of a private key, at the beginning of a log that was truncated inside the key.
_PEM_REST = re.compile(r"[A-Za-z0-9+/=\s]{1,%d}%s" % (_PEM_LIMIT, _PEM_END.pattern))
_SEVERAL_WORDS = re.compile(r"[\s=:]")


def redact(text: str, secrets: Iterable[str] = (), line_limit: bool = True) -> str:
    """Mask known secrets, values whose names indicate a secret, and credentials that are recognized by their form.

    :param secrets: the known secrets, which are masked wherever they occur.
    :param line_limit: whether to truncate lines after `LINE_LIMIT` characters. Set it to False for JSON.
    """
    text = mask_known(text, secrets)
    if line_limit and len(text) > LINE_LIMIT:
        text = _LONG_LINE.sub(lambda match: "%s… (%d characters were left out)" % (
            match.group(1), len(match.group()) - LINE_LIMIT), text)
    text = _mask_private_keys(text)
    text = _mask_named(text)
    text = _TOKEN_FORMAT.sub(MASK, text)
    text = _BEARER.sub(r"\g<1>" + MASK, text)
    text = _BASIC.sub(_mask_basic, text)
    text = _URL_CREDENTIALS.sub(r"\g<1>" + MASK + "@", text)
    text = _WEBHOOK.sub(r"\g<1>" + MASK, text)
    text = _NETRC.sub(r"\g<1>" + MASK, text)
    text = _SQL.sub(r"\g<1>\g<2>" + MASK + r"\g<2>", text)
    return _PROGRAM.sub(_mask_short_options, text)


def mask_known(text: str, secrets: Iterable[str | None], shortest: int = SHORTEST) -> str:
    """Mask only known secrets, including their forms in URLs, JSON, and exceptions of http.client that quote a header.

    :param shortest: the length of the shortest secret that is masked. A shorter one would occur in too many words.
    """
    forms = {form for secret in secrets if secret and len(secret.strip()) >= shortest
             for form in (secret.strip(), quote(secret.strip(), safe=""), json.dumps(secret.strip())[1:-1],
                          json.dumps(secret.strip(), ensure_ascii=False)[1:-1], repr(secret)[1:-1],
                          repr(secret.encode("utf-8", "surrogatepass"))[2:-1])}
    for form in sorted(forms, key=len, reverse=True):
        text = text.replace(form, MASK)
    return text


def redact_in(value: Any, secrets: Iterable[str] = ()) -> Any:
    """Mask secrets in all strings in nested dictionaries and lists, and known secrets in the keys."""
    secrets = tuple(secrets)
    if isinstance(value, str):
        # A single word cannot contain both a name and a value. Most strings in an observation are single words.
        return redact(value, secrets) if _SEVERAL_WORDS.search(value) else _TOKEN_FORMAT.sub(
            MASK, mask_known(value, secrets))
    if isinstance(value, dict):
        return {mask_known(key, secrets) if isinstance(key, str) else key: redact_in(item, secrets)
                for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [redact_in(item, secrets) for item in value]
    return value


def is_secret(name: str, value: str) -> bool:
    """Return whether the value of a variable or option with this name is a secret."""
    kind = _kind(name)
    return kind is not None and not _is_harmless(name, kind, value)


def _mask_private_keys(text: str) -> str:
    """Mask private keys in the PEM format, including truncated keys."""
    rest = _PEM_REST.match(text)
    parts, done = ([MASK], rest.end()) if rest else ([], 0)
    for begin in _PEM_BEGIN.finditer(text):
        if begin.start() < done:
            continue
        end = _PEM_END.search(text, begin.end(), begin.end() + _PEM_LIMIT) or _PEM_LINES.match(text, begin.end())
        parts += [text[done:begin.start()], MASK]
        done = end.end() if end else begin.end()
    return "".join([*parts, text[done:]])


def _mask_named(text: str) -> str:
    """Mask the values whose names indicate a secret."""
    parts, done = [], 0
    for match in _NAMED.finditer(text):
        if match.start() < done:
            continue
        start, end = _value(text, match)
        if end > start:
            parts += [text[done:start], MASK]
            done = end
    return "".join([*parts, text[done:]])


def _value(text: str, match: Match[str]) -> tuple[int, int]:
    """Return the start and the end of the secret value that follows a name. They are equal if there is no secret."""
    name, at = match.group(1)[-128:], match.end()
    before = text[match.start() - 1] if match.start() else "\n"
    kind = "token" if before in "?&" and name.lower() in ("key", "sig", "signature", "code") else _kind(name)
    separator = match.group(3)
    option = _OPTION.match(name) is not None
    if not kind or (separator is not None and not option and (separator != ">" or before != "<")):
        return at, at
    if separator is not None and option and text.startswith("-", at):
        return at, at  # the next option
    opened = _OPENING_QUOTE.match(text, at)
    if opened and opened.end() > at:
        start, end = opened.end(), _closing(text, opened.end(), opened.group(1), opened.group(2))
        if end is None:
            end = _end_of_word(text, start)
    elif text.startswith("[", at):
        listed = _LIST.match(text, at)
        return listed.span(1) if listed and MASK not in listed.group() else (at, at)
    elif kind == "header" and (name.lower() != "authorization" or _SCHEME.match(text, at)):
        rest = _REST_OF_HEADER.match(text, at)
        start, end = at, rest.end() if rest else at
        while end > start and text[end - 1] in " \\":
            end -= 1
    elif text.startswith(("|", ">"), at) and _BLOCK.match(text, at):
        block = _BLOCK.match(text, at)
        start, end = (block.start(1) + len(block.group(1)), block.end()) if block else (at, at)
    else:
        start, end = at, _end_of_word(text, at)
        if before in "\"'" and match.group(2) and not set("\"'") & set(match.group(2)):
            # In "NAME=value with spaces", the value ends at the closing quotation mark.
            closed = _closing(text, at, "\\" * _backslashes(text, match.start() - 1), before)
            end = closed if closed is not None and "\n" not in text[at:closed] else end
    return (at, at) if _is_harmless(name, kind, text[start:end]) else (start, end)


def _closing(text: str, at: int, backslashes: str, mark: str) -> int | None:
    """Return the position of the closing quotation mark, or None if there is none."""
    if backslashes:
        found = text.find(backslashes + mark, at, at + LINE_LIMIT)
        return found if found >= 0 else None
    closed = _QUOTED_REST[mark].match(text, at, at + LINE_LIMIT)
    return closed.end() - 1 if closed else None


def _backslashes(text: str, at: int) -> int:
    """Return the number of backslashes before a quotation mark, at most three."""
    return next(count for count in range(4) if count == 3 or text[at - count - 1:at - count] != "\\")


def _end_of_word(text: str, at: int) -> int:
    """Return the end of a value without quotation marks. Marks at the end belong to the surrounding text."""
    word = _WORD.match(text, at)
    end = word.end() if word else at
    while end > at and text[end - 1] in "\"'\\":
        end -= 1
    return end


@lru_cache(maxsize=4096)
def _kind(name: str) -> str | None:
    """Return the kind of secret that a name stands for: header, secret, token, pwd or auth; None for other names."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", name).lower().replace("_", "-").replace(".", "-").split("-")
    words = [word for word in words if word]
    if not words or (_PROPERTY.match(words[-1]) and words[-2:] != ["secret", "id"]):
        return None
    if words[-1] in ("authorization", "cookie"):
        return "header"
    if _SECRET.search("".join(words)):
        return "secret"
    if "token" in words or words[-1] in ("authtoken", "accesstoken", "usertoken"):
        return None if any(map(_MODEL_TOKEN_WORD.match, words)) else "token"
    if "pwd" in words or words[-1] == "oldpwd":
        return "pwd"
    if words[-1] == "auth":
        return "auth"
    if words[-1] in ("pass", "pat") and (name.startswith("-") or (len(words) > 1 and name.isupper())):
        return "secret"
    return None


def _is_harmless(name: str, kind: str, value: str) -> bool:
    """Return whether a value cannot be a secret, although its name indicates one."""
    if _NOT_SECRET.match(value) or value.startswith(MASK):
        return True
    if kind == "token":
        return _NUMBER.match(value) is not None
    if (kind == "pwd" and name.lower() in ("pwd", "oldpwd")) or name.lower().endswith("credentials"):
        return _PATH.match(value) is not None
    # A word such as "basic" or "failed" is not a credential.
    return kind == "auth" and (len(value) < 6 or (value.isalpha() and value.islower()))


def _mask_basic(match: Match[str]) -> str:
    """Mask the credentials of basic authentication, which are the Base64 encoding of a string with a colon."""
    text = match.group(2)
    try:
        decoded = base64.b64decode(text.rstrip("=") + "=" * (-len(text.rstrip("=")) % 4))
    except (binascii.Error, ValueError):
        return match.group()
    return match.group(1) + MASK if b":" in decoded else match.group()


def _mask_short_options(match: Match[str]) -> str:
    """Mask the password in the short option of a program, unless the value is a port or another number."""
    program = match.group(1)
    pattern = _PASSWORD_OPTIONS[next(name for name in _PASSWORD_OPTIONS if program.startswith(name))]
    line, at = match.group(), match.start(1) - match.start()
    return line[:at] + pattern.sub(
        lambda option: option.group() if _NUMBER.match(option.group(2)) or option.group(2).startswith(MASK)
        else option.group(1) + MASK, line[at:])
