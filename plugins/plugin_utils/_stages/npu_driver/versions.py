# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Order the versions of Ascend drivers, firmware and CANN.

The vendor writes ``24.1.0.1`` (patch), ``25.0.rc1.1`` (patch of a release candidate), ``24.1.rc1.b030`` (build before
the release candidate came out) and, for compatible releases, ``25.3.x``. RC is printed in either case.
"""

from __future__ import annotations

import re

# What a component may start with, in the order of time: build, test, release candidate, number.
_RANKS = {"b": 0, "t": 1, "rc": 2, "": 3}
_COMPONENT = re.compile(r"(b|t|rc|)([0-9]{1,9})\Z")
_END = (3, 0)  # a version that ends stands for .0: builds and candidates before it, patches behind
_WIDTH = 8     # components of the longest version that is taken for one
_RANGE = re.compile(r"\[([^\[\],]+)(?:,([^\[\],]+))?\]")


def key(version):
    """Sort key of a version (str), in either case and with or without a leading v; 24.1 equals 24.1.0.

    Raises ValueError for text that is not a version.
    """
    parts = _parts(version)
    found = [_COMPONENT.match(part) for part in parts]
    if None in found or len(parts) > _WIDTH:
        raise ValueError("%r is not a version as 24.1.0.1 or 25.0.rc1.1" % version)
    components = [(_RANKS[match.group(1)], int(match.group(2))) for match in found]
    return tuple(components + [_END] * (_WIDTH - len(parts)))


def at_least(version, minimum):
    """True if `version` is `minimum` or newer; a minimum of ``25.3.x`` takes in all of 25.3, release candidates too."""
    depth, bound = _bound(minimum)
    return key(version)[:depth] >= bound


def matches(version, pattern):
    """True if `version` is `pattern`, or one of the series where the pattern ends in ``.x``."""
    depth, bound = _bound(pattern)
    return key(version)[:depth] == bound


def in_ranges(version, ranges):
    """True if `version` lies in one of the ranges that a version file prints, as ``[7.0.0,7.2.99],[7.5.0]``.

    A lower bound takes in its candidates and patches, an upper bound (``[23.0.0,23.0.0.]``) only with a dot behind it.
    Raises ValueError where `ranges` holds no range or one that cannot be compared.
    """
    bounds = _RANGE.findall(ranges)
    if not bounds:
        raise ValueError("%r is not a list of version ranges" % ranges)
    return any(_within(version, low.strip(), (high or low).strip()) for low, high in bounds)


def _within(version, low, high):
    if not at_least(version, low.rstrip(".") + ".x"):
        return False
    return key(version) <= key(high.rstrip(".")) or (high.endswith(".") and matches(version, high + "x"))


def _bound(pattern):
    """How many components of a version count against `pattern`, and what they are compared with."""
    parts = _parts(pattern)
    if parts[-1] != "x":
        return _WIDTH, key(pattern)
    return len(parts) - 1, key(".".join(parts[:-1]))[:len(parts) - 1]


def _parts(version):
    parts = str(version).strip().lower().split(".")
    return [parts[0].lstrip("v"), *parts[1:]]
