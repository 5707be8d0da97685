# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Masks secrets in texts before they leave a node."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

MASK = "(redacted)"

_NAME = r"[A-Za-z0-9_.-]*(?:api[_-]?key|token|secret|passw(?:or)?d|credential|authorization)[A-Za-z0-9_.-]*"
# Counts such as "max_num_batched_tokens: 50000" are no secrets: a purely numeric value stays.
_ASSIGNED = re.compile(
    r"""(?i)(["']?%s["']?\s*[=:]\s*)(?!\s*\d+\s*(?:[,}\]\s]|$))(?!\s*(?:None|null|True|False)\b)"""
    # A quote at the end is that of a text around it, such as "TOKEN=x" in JSON.
    r"""(?:(["'])(?:(?!\2)[\s\S])*\2|[^\s,;}\]]+?(?=["']*(?:[\s,;}\]]|$)))""" % _NAME)
_OPTION = re.compile(r"(?i)(--(?:api-key|hf-token|token|password)(?:=|\s+|[\"']\s*,\s*[\"']))([^\s\"',]+)")
_BEARER = re.compile(r"(?i)\b(bearer\s+)[A-Za-z0-9._~+/=-]+")
_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^/\s:@]+:[^/\s@]+@")


def redact(text: str, secrets: Iterable[str] = ()) -> str:
    """Return the text with every value of a secret-looking name, every bearer token and every URL password masked.

    :param secrets: known secret values, masked wherever they stand.
    """
    for secret in sorted((value for value in secrets if value), key=len, reverse=True):
        text = text.replace(secret, MASK)
    text = _BEARER.sub(r"\g<1>" + MASK, text)
    text = _URL.sub(r"\g<1>" + MASK + "@", text)
    text = _OPTION.sub(r"\g<1>" + MASK, text)
    return _ASSIGNED.sub(lambda match: "%s%s%s%s" % (match.group(1), match.group(2) or "", MASK, match.group(2) or ""),
                         text)
