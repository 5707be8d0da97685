# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Versions of drivers, firmware and CANN are compared."""

from __future__ import annotations

import itertools

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import versions

ASCENDING = [
    "22.0.2", "23.0.rc2.3", "23.0.rc3", "23.0.0", "23.0.2.1", "23.0.5", "24.1.rc1.b030", "24.1.rc1", "24.1.rc2.2",
    "24.1.rc3", "24.1.rc3.3", "24.1.rc3.7", "24.1.0", "24.1.0.1", "25.0.rc1.b010", "25.0.RC1.1", "25.2.0", "25.3.rc1",
    "25.5.0", "25.5.1", "26.0.rc1", "26.1.0",
]


@pytest.mark.parametrize(("older", "newer"), list(itertools.combinations(ASCENDING, 2)))
def test_newer_version_is_greater(older, newer):
    assert versions.key(older) < versions.key(newer)
    assert versions.at_least(newer, older)
    assert not versions.at_least(older, newer)


@pytest.mark.parametrize(("left", "right"), [
    ("25.0.RC1", "25.0.rc1"), ("24.1", "24.1.0"), ("v25.3.rc1", "25.3.rc1"), (" 25.2.0 ", "25.2.0"),
])
def test_versions_in_different_notations_are_equal(left, right):
    assert versions.key(left) == versions.key(right)


@pytest.mark.parametrize("text", ["", "xxx", "x.x.x", "25.", ".1", "25.3.x", "25-3", "rc", "1.2.3.4.5.6.7.8.9", "²"])
def test_text_that_is_not_a_version_is_an_error(text):
    with pytest.raises(ValueError, match="is not a version"):
        versions.key(text)


@pytest.mark.parametrize(("version", "pattern", "same", "reached"), [
    ("25.3.rc1", "25.3.x", True, True),
    ("25.3.0.1", "25.3.X", True, True),
    ("25.2.0", "25.3.x", False, False),
    ("25.5.1", "25.3.x", False, True),
    ("26.0.rc1", "26.x", True, True),
    ("25.5.1", "25.5.1", True, True),
    ("25.5.1.1", "25.5.1", False, True),
])
def test_version_is_compared_with_a_series(version, pattern, same, reached):
    assert versions.matches(version, pattern) is same
    assert versions.at_least(version, pattern) is reached


@pytest.mark.parametrize(("version", "ranges", "inside"), [
    ("7.1.0.11.220", "[7.0.0,7.2.99]", True),
    ("7.7.0.1.231", "[7.0.0,7.2.99]", False),
    ("6.9", "[7.0.0,7.2.99]", False),
    ("23.0.0.3", "[23.0.rc3,23.0.rc3.],[23.0.0,23.0.0.]", True),
    ("23.0.rc3.1", "[23.0.rc3,23.0.rc3.],[23.0.0,23.0.0.]", True),
    ("23.0.1", "[23.0.rc3,23.0.rc3.],[23.0.0,23.0.0.]", False),
    ("25.0.0", "[25.0.0]", True),
    ("25.3.rc1", "[25.3,25.3.]", True),
    ("25.2.0", "[25.3,25.3.]", False),
])
def test_version_inside_a_range_is_recognized(version, ranges, inside):
    assert versions.in_ranges(version, ranges) is inside


@pytest.mark.parametrize("ranges", ["", "7.0.0", "[V100R001C30],[V100R001C13]"])
def test_ranges_that_cannot_be_compared_are_an_error(ranges):
    with pytest.raises(ValueError, match="is not"):
        versions.in_ranges("7.1.0", ranges)
