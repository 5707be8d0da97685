# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

from unittest.mock import Mock

import pytest
from ansible import constants as C
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text as text


@pytest.mark.parametrize(("error", "line"), [
    (ValueError("\n  first \nsecond"), "first"), (ValueError(""), "ValueError"), (KeyError("x"), "'x'")])
def test_error_is_reduced_to_its_first_line(error, line):
    assert text.error_line(error) == line


@pytest.mark.parametrize(("output", "line"), [
    ("Traceback\n  no space left \n\n", "no space left"), ("", text.NO_REASON), ("\n \n", text.NO_REASON)])
def test_last_line_of_the_output_is_the_reason(output, line):
    assert text.reason_line(output) == line


def test_columns_are_aligned():
    rows = [("figure", "before", "", ""), ("a", "1", "x", ""), ("long figure", "100", "yy", "")]
    assert text.table(rows, right=[1]) == ["figure       before", "a                 1  x", "long figure     100  yy"]


# {kind: (text in a name, log or response, text that is printed)}
HOSTILE = {
    "a color": ("a\x1b[31mb\x1b[0mc", "abc"),
    "a title": ("a\x1b]0;owned\x07b\x1b]2;x\x1b\\c", "abc"),
    "an unterminated title": ("a\x1b]0;owned", "a"),
    "a device control string": ("a\x1bPx\x1b\\b", "ab"),
    "a cleared screen": ("\x1bc\x1b[2J\x1b[Ha", "a"),
    "backspaces": ("failed\b\b\b\b\b\bpassed", "failedpassed"),
    "a bell, NUL and DEL": ("a\x07\x00\x7fb", "ab"),
    "ISO 8859 control characters": ("a\x9b31mb\x90c", "a31mbc"),
    "line breaks": ("a\nb\r\nc\rd\x0be\x0cf\x85g\u2028h\u2029i", "a b c d e f g h i"),
    "a tab": ("a\tb", "a b"),
    "another text direction": ("a\u202eb\u2066c\u200f", "abc"),
    "invisible characters": ("a\u200bb\u2060c\ufeffd\u00ade", "abcde"),
    "a lone surrogate": ("a\ud800b", "ab"),
    "other languages": ("Knoten-Ä 节点 ✓", "Knoten-Ä 节点 ✓"),
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_text_is_printed_as_one_harmless_line(kind):
    hostile, printed = HOSTILE[kind]
    assert text.one_line(hostile) == printed
    assert text.table([("x", "y"), ("z", hostile)])[1] == "z  " + printed
    assert text.error_line(ValueError(hostile)) == text.one_line(hostile.replace("\r", "\n").split("\n")[0]) or (
        kind == "line breaks")
    display = Mock()
    text.warn(display, hostile)
    assert display.warning.call_args.args == (printed,)


def test_printed_lines_are_cleaned_individually():
    display = Mock()
    text.say(display, ["  a\x1b[31m", "b\rc", "", "key hunter22"], ["hunter22"])
    text.say(display, "a  b\n\tc\u202e")
    assert [call.kwargs for call in display.display.call_args_list] == 2 * [{"stderr": False}]
    assert [call.args for call in display.display.call_args_list] == [
        ("  a\nb c\n\nkey (redacted)",), ("a  b\nc",)]


@pytest.mark.parametrize(("callback", "stderr"), [("ansible.posix.jsonl", True), ("ansible.builtin.default", False)])
def test_text_is_printed_to_stderr_if_stdout_is_json(callback, stderr, monkeypatch):
    monkeypatch.setattr(C, "DEFAULT_STDOUT_CALLBACK", callback)
    display = Mock()
    text.say(display, "a")
    assert display.display.call_args.kwargs == {"stderr": stderr}


@pytest.mark.parametrize(("hostile", "escaped"), [
    ("<script>alert(1)</script>", "&lt;script>alert(1)&lt;/script>"), ("a | b", r"a \| b"), ("`rm`", r"\`rm\`"),
    ("**passed**", r"\*\*passed\*\*"), ("[here](http://evil)", r"[here]\(http://evil)"), ("![x](y)", r"![x]\(y)"),
    ("&lt;b&gt; &#60; & a", "&amp;lt;b&amp;gt; &amp;#60; & a"), ("~~failed~~", r"\~~failed\~~"), (r"\*", r"\\\*"),
    ("_failed_ a_b", r"\_failed\_ a_b"), ("a\n\n# Passed", "a # Passed"), ("C:\\x", "C:\\x"),
    ("< 90 and <= 3", "< 90 and <= 3"), ("NPU [1, 2]", "NPU [1, 2]"),
])
def test_markup_in_text_is_escaped(hostile, escaped):
    assert text.markdown(hostile) == escaped


@pytest.mark.parametrize("function", [text.one_line, text.markdown])
def test_long_text_is_truncated(function):
    assert function("x" * 10_000_000) == "x" * (text.LINE_LIMIT - 1) + "…"
    assert function("x" * 10, 5) == "xxxx…"
    assert function("a" + "\0" * 20 + "b", 5) == "a…"


@given(st.text())
def test_any_text_becomes_one_printable_line(anything):
    line = text.one_line(anything)
    assert line.isprintable() or all(character.isprintable() or character.isspace() or ord(character) > 0x7f
                                     for character in line)
    assert len((line + "x").splitlines()) == 1
    assert text.one_line(line) == line


@pytest.mark.parametrize(("found", "hosts", "sentences"), [
    ({}, 2, []),
    ({"a": ["X."], "b": ["X."]}, 2, ["X."]),
    ({"a": ["X.", "Y."], "b": ["Y."]}, 3, ["X (on a).", "Y (on a, b)."]),
    ({f"n{number}": ["X."] for number in range(11)}, 12, ["X (on n0, n1, n2, n3, n4, n5, n6, n7 and 3 more)."]),
])
def test_equal_sentences_are_grouped_over_hosts(found, hosts, sentences):
    assert text.grouped(found, hosts) == sentences
