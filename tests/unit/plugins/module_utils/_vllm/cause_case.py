# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The effects of a cause, for the tests of the log triage and its data."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import BY_ID


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
