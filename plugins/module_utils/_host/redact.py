# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Mask secrets in texts before they leave the node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "(redacted)"

_NAME = r"[A-Za-z0-9_.-]*(?:api[_-]?key|token|secret|passw(?:or)?d|credential|authorization)[A-Za-z0-9_.-]*"
# A numeric value is not a secret but a count, such as "max_num_batched_tokens: 50000".
_ASSIGNED = re.compile(
    r"""(?i)(["']?%s["']?\s*[=:]\s*)(?!\s*\d+\s*(?:[,}\]\s]|$))(?!\s*(?:None|null|True|False)\b)"""
    # A quote at the end is that of a text around it, such as "TOKEN=x" in JSON.
    r"""(?:(["'])(?:(?!\2)[\s\S])*\2|[^\s,;}\]]+?(?=["']*(?:[\s,;}\]]|$)))""" % _NAME)
_OPTION = re.compile(r"(?i)(--(?:api-key|hf-token|token|password)(?:=|\s+|[\"']\s*,\s*[\"']))([^\s\"',]+)")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]+:[^/\s@]+@")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Mask the values of names that look like secrets, bearer tokens and passwords in URLs.

    :param secrets: known secret values, masked wherever they occur.
    """
    for secret in sorted((value for value in secrets if value), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _BEARER.sub(r"\g<1>" + MASK, text)
    text = _URL.sub(r"\g<1>" + MASK + "@", text)
    text = _OPTION.sub(r"\g<1>" + MASK, text)
    return _ASSIGNED.sub(lambda match: "%s%s%s%s" % (match.group(1), match.group(2) or "", MASK, match.group(2) or ""),
                         text)
