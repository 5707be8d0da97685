# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the JSON results of ``vllm bench serve``, ``latency`` and ``throughput``.

A result does not imply success: ``vllm bench`` 0.11.0 writes a result and exits with 0 even if every request failed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from typing import Any

SERVE, LATENCY, THROUGHPUT, UNKNOWN = "serve", "latency", "throughput", "unknown"

# {kind: keys that identify a result of this kind}
_KINDS = {SERVE: {"completed", "num_prompts"}, LATENCY: {"avg_latency"},
          THROUGHPUT: {"elapsed_time", "requests_per_second"}}


def parse(text: str) -> tuple[str, dict[str, float]]:
    """Return the kind of the last result in a file, and its finite numbers by dotted JSON key."""
    # With --append-result, a file has one line per run.
    for part in (text, text.rstrip().rsplit("\n", 1)[-1]):
        try:
            data = json.loads(part)
            for kind, keys in _KINDS.items():
                if keys <= set(data):
                    return kind, _numbers(data)
        except (ValueError, RecursionError, TypeError, AttributeError):
            continue
    return UNKNOWN, {}


def _numbers(data: Mapping[str, Any], prefix: str = "") -> dict[str, float]:
    found: dict[str, float] = {}
    for key, value in data.items():
        if isinstance(value, dict):
            found.update(_numbers(value, "%s%s." % (prefix, key)))
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            try:
                if math.isfinite(value):
                    found[prefix + key] = float(value)
            except OverflowError:
                continue
    return found
