# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Examples of the signatures, and what causes produce and match, for the tests of the log triage and its data."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.ascend.vllm.plugins.module_utils._vllm import log_triage
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import BY_ID, CAUSES

# {id of the cause: [an example of a line for each signature]}
EXAMPLES = yaml.safe_load(Path(__file__).with_name("log_examples.yml").read_text("utf-8"))
SIGNATURES = [(cause, pattern, example) for cause in CAUSES
              for pattern, example in zip(cause.signatures, EXAMPLES[cause.id])]


def effects_of(cause):
    """Return the ids of all causes that this cause produces, directly or indirectly."""
    found = set()
    waiting = list(cause.effects)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting.extend(BY_ID[name].effects)
    return found


def signature_hits(causes, text):
    """Return the lines that match the signatures of these causes."""
    scan = log_triage._Scan(log_triage.index(causes))
    scan.feed(text)
    return [hit.text for number, hit in scan.hits.items() if scan.index.signatures[number].cause]
