# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The value that most members of a cluster agree on."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeVar

_T = TypeVar("_T")


def majority(votes: Mapping[_T, int]) -> _T | None:
    """Return the value with the most votes, or None if several values have the same number of votes."""
    most = max(votes.values(), default=0)
    leaders = [value for value, count in votes.items() if count == most]
    return leaders[0] if len(leaders) == 1 else None
