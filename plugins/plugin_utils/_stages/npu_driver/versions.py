# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Order the versions of Ascend drivers, firmware and CANN.

The vendor's versions look like ``24.1.0.1`` (a patch), ``25.0.rc1.1`` (a patch of a release candidate),
``24.1.rc1.b030`` (a build before the release candidate) and ``25.3.x`` (a series of releases). RC can be upper or lower
case.
"""

from __future__ import annotations

import re

# Prefixes of a component in chronological order: build, test, release candidate, none.
_RANKS = {"b": 0, "t": 1, "rc": 2, "": 3}
_COMPONENT = re.compile(r"(b|t|rc|)([0-9]{1,9})\Z")
_END = (3, 0)  # A missing component counts as .0, which is newer than a build or release candidate.
_WIDTH = 8     # The maximum number of components in a version.
_RANGE = re.compile(r"\[([^\[\],]+)(?:,([^\[\],]+))?\]")

Key = tuple[tuple[int, int], ...]


def key(version: object) -> Key:
    """Return the sort key of a version. Case and a leading v are ignored, and 24.1 equals 24.1.0.

    :param version: a string, or a number, because YAML parses ``5.10`` as a number.
    :raises ValueError: if the text is not a version.
    """
    parts = _parts(version)
    found = [match for match in map(_COMPONENT.match, parts) if match]
    if len(found) < len(parts) or len(parts) > _WIDTH:
        raise ValueError("%r is not a version such as 24.1.0.1 or 25.0.rc1.1" % version)
    components = [(_RANKS[match.group(1)], int(match.group(2))) for match in found]
    return tuple(components + [_END] * (_WIDTH - len(parts)))


def at_least(version: str, minimum: str) -> bool:
    """Return whether `version` is `minimum` or newer. A minimum of ``25.3.x`` includes release candidates of 25.3."""
    depth, bound = _bound(minimum)
    return key(version)[:depth] >= bound


def matches(version: str, pattern: str) -> bool:
    """Return whether `version` is `pattern`, or belongs to its series if the pattern ends in ``.x``."""
    depth, bound = _bound(pattern)
    return key(version)[:depth] == bound


def in_ranges(version: str, ranges: str) -> bool:
    """Return whether `version` is in one of the ranges of a version file, such as ``[7.0.0,7.2.99],[7.5.0]``.

    A lower bound includes its release candidates and patches. An upper bound includes them only if it ends with a dot
    (``[23.0.0,23.0.0.]``).

    :raises ValueError: if `ranges` contains no range, or if a bound is not a version.
    """
    bounds = _RANGE.findall(ranges)
    if not bounds:
        raise ValueError("%r is not a list of version ranges" % ranges)
    return any(_within(version, low.strip(), (high or low).strip()) for low, high in bounds)


def _within(version: str, low: str, high: str) -> bool:
    return at_least(version, low.rstrip(".") + ".x") and (
        key(version) <= key(high.rstrip(".")) or (high.endswith(".") and matches(version, high + "x")))


def _bound(pattern: str) -> tuple[int, Key]:
    """Return the number of components to compare with a pattern, and the sort key of the pattern."""
    parts = _parts(pattern)
    if parts[-1] != "x":
        return _WIDTH, key(pattern)
    return len(parts) - 1, key(".".join(parts[:-1]))[:len(parts) - 1]


def _parts(version: object) -> list[str]:
    parts = str(version).strip().lower().split(".")
    return [parts[0].lstrip("v"), *parts[1:]]
