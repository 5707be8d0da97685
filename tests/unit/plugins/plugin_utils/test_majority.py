# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from collections import Counter

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority


@pytest.mark.parametrize(("values", "expected"), [
    ("aab", "a"), ("abb", "b"), ("ab", None), ("aabbc", None), ("a", "a"), ("abcdd", "d"), ("", None)])
def test_most_frequent_value_is_returned_unless_there_is_a_tie(values, expected):
    assert majority(Counter(values)) == expected
    assert majority(dict(Counter(values))) == expected
