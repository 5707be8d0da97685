# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the results of ``vllm bench serve``, ``latency`` and ``throughput``, printed or in JSON.

Numbers are returned as printed, with the printed labels as keys. A result does not imply success: ``vllm bench`` 0.11.0
prints a result and exits with 0 even if every request failed.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, TypedDict

SERVE, LATENCY, THROUGHPUT, UNKNOWN = "serve", "latency", "throughput", "unknown"

_SERVE_TITLE = re.compile(r"=+ *Serving Benchmark Result *=+")
_SERVE_LINE = re.compile(r"([A-Z][^:]*): +(-?\d+(?:\.\d+)?)$")
_LATENCY_LINE = re.compile(r"(Avg latency|[\d.]+% percentile latency): +(\d+(?:\.\d+)?(?:e-?\d+)?) seconds$")
_THROUGHPUT_LINE = re.compile(r"Throughput: +(.+/s)$")
_THROUGHPUT_CELL = re.compile(r"(\d+(?:\.\d+)?) +([a-z ]+/s)$")
_THROUGHPUT_TOTAL = re.compile(r"(Total num [a-z ]+ tokens): +(\d+)$")


class Result(TypedDict):
    """A parsed result."""

    #: ``serve``, ``latency``, ``throughput`` or ``unknown``.
    kind: str
    #: ``{printed label or JSON key: number}``; a label names the unit.
    metrics: dict[str, float]


def parse(text: str) -> Result:
    """Return the kind and the numbers of a result. If there are several results, the last one is returned."""
    for read in (_json, _serve, _latency, _throughput):
        result = read(text)
        if result:
            return result
    return {"kind": UNKNOWN, "metrics": {}}


def flatten(data: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    """Return ``{dotted key: number}`` for the finite numbers in nested objects. All other values are skipped."""
    metrics: dict[str, float] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            metrics.update(flatten(value, "%s%s." % (prefix, key)))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                value = float(value)
            except OverflowError:
                continue
            if math.isfinite(value):
                metrics[prefix + key] = value
    return metrics


def _json(text: str) -> Result | None:
    if not text.lstrip().startswith("{"):
        return None
    # With --append-result, a file has one line per run.
    for part in (text, text.rstrip().rsplit("\n", 1)[-1]):
        try:
            data = json.loads(part)
            kind = _kind_of(data)
            return {"kind": kind, "metrics": flatten(data)} if kind else None
        except (ValueError, RecursionError, TypeError, AttributeError):
            continue
    return None


def _kind_of(data: Mapping[str, Any]) -> str | None:
    for kind, keys in ((SERVE, {"completed", "num_prompts"}), (LATENCY, {"avg_latency"}),
                       (THROUGHPUT, {"elapsed_time", "requests_per_second"})):
        if keys <= set(data):
            return kind
    return None


def _serve(text: str) -> Result | None:
    blocks = _SERVE_TITLE.split(text)
    if len(blocks) < 2:
        return None
    metrics = {}
    for line in map(str.strip, blocks[-1].splitlines()):
        if line and set(line) == {"="}:
            break
        match = _SERVE_LINE.match(line)
        if match:
            metrics[match.group(1)] = float(match.group(2))
    return {"kind": SERVE, "metrics": metrics} if metrics else None


def _latency(text: str) -> Result | None:
    metrics = {}
    for line in map(str.strip, text.splitlines()):
        match = _LATENCY_LINE.match(line)
        if match:
            metrics[match.group(1)] = float(match.group(2))
    return {"kind": LATENCY, "metrics": metrics} if metrics else None


def _throughput(text: str) -> Result | None:
    metrics: dict[str, float] = {}
    for line in map(str.strip, text.splitlines()):
        match = _THROUGHPUT_LINE.match(line)
        total = _THROUGHPUT_TOTAL.match(line)
        if match:
            cells = [_THROUGHPUT_CELL.match(cell.strip()) for cell in match.group(1).split(",")]
            metrics = {cell.group(2): float(cell.group(1)) for cell in cells if cell}
        elif total and metrics:
            metrics[total.group(1)] = float(total.group(2))
    return {"kind": THROUGHPUT, "metrics": metrics} if metrics else None
