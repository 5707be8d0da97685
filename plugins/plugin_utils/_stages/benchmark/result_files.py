# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the results of ``vllm bench serve``, ``latency`` and ``throughput``, printed or in JSON.

Numbers are returned as printed, with the printed labels as keys. A result does not imply success: ``vllm bench`` 0.11.0
prints a result and exits with 0 even if every request failed.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Iterable, Mapping
from typing import Any, TypedDict

SERVE, LATENCY, THROUGHPUT, UNKNOWN = "serve", "latency", "throughput", "unknown"

# {kind: keys that identify a result of this kind in JSON}
_KINDS = {SERVE: {"completed", "num_prompts"}, LATENCY: {"avg_latency"},
          THROUGHPUT: {"elapsed_time", "requests_per_second"}}
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
            kind = next((kind for kind, keys in _KINDS.items() if keys <= set(data)), None)
            return {"kind": kind, "metrics": flatten(data)} if kind else None
        except (ValueError, RecursionError, TypeError, AttributeError):
            continue
    return None


def _serve(text: str) -> Result | None:
    *before, block = _SERVE_TITLE.split(text)
    lines = itertools.takewhile(lambda line: set(line.strip()) != {"="}, block.splitlines())
    metrics = _labeled_numbers(_SERVE_LINE, lines) if before else {}
    return {"kind": SERVE, "metrics": metrics} if metrics else None


def _latency(text: str) -> Result | None:
    metrics = _labeled_numbers(_LATENCY_LINE, text.splitlines())
    return {"kind": LATENCY, "metrics": metrics} if metrics else None


def _labeled_numbers(pattern: re.Pattern[str], lines: Iterable[str]) -> dict[str, float]:
    """Return ``{label: number}`` for the lines that match a pattern with these two groups."""
    return {match.group(1): float(match.group(2)) for match in map(pattern.match, map(str.strip, lines)) if match}


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
