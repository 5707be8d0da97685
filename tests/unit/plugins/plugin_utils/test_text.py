# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text as text


@pytest.mark.parametrize(("error", "line"), [
    (ValueError("\n  first \nsecond"), "first"), (ValueError(""), "ValueError"), (KeyError("x"), "'x'")])
def test_line_of_an_error(error, line):
    assert text.error_line(error) == line


@pytest.mark.parametrize(("output", "line"), [
    ("Traceback\n  no space left \n\n", "no space left"), ("", text.NO_REASON), ("\n \n", text.NO_REASON)])
def test_line_with_the_reason(output, line):
    assert text.reason_line(output) == line


def test_columns_are_aligned():
    rows = [("figure", "before", "", ""), ("a", "1", "x", ""), ("long figure", "100", "yy", "")]
    assert text.table(rows, right=[1]) == ["figure       before", "a                 1  x", "long figure     100  yy"]
