# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Own questions are converted, and the answers are scored with the rules and examples of the role's README."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import questions

ROOT = Path(__file__).resolve().parents[5]
PICTURE = ROOT / "roles/functional/files/illustration.png"
_MARK = "<!-- examples of rules: tests/unit/plugins/module_utils/_ais_bench/test_questions.py runs them -->\n"


def examples():
    """Return ``[(rule, question, right answer, wrong answer)]`` from the table in the README."""
    text = (ROOT / "roles/accuracy/README.md").read_text("utf-8").partition(_MARK)[2]
    rows = [line.strip("|").split(" | ") for line in text.split("\n\n")[0].splitlines()[2:]]
    return [(re.search(r"`(\w+)`", row[0]).group(1), *(cell.strip().strip("`") for cell in row[2:])) for row in rows]


def convert(tmp_path, *rows, count=0):
    source, target = tmp_path / "own.jsonl", tmp_path / "converted.jsonl"
    source.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pictures = questions.convert(str(source), str(target), count)
    return pictures, [json.loads(line) for line in target.read_text("utf-8").splitlines()], str(target)


def scored(tmp_path, row, *answers):
    path = convert(tmp_path, *[row] * len(answers))[2]
    return questions.outcomes(path, dict(enumerate(answers)))


def test_the_readme_has_an_example_of_each_rule():
    assert sorted(rule for rule, *_rest in examples()) == sorted(questions.RULES)


@pytest.mark.parametrize(("rule", "question", "right", "wrong"), examples(), ids=[each[0] for each in examples()])
def test_examples_of_the_readme_are_scored_as_the_readme_says(tmp_path, rule, question, right, wrong):
    (tmp_path / "sign.png").write_bytes(PICTURE.read_bytes())
    row = json.loads(question)
    assert scored(tmp_path, row, right, wrong) == "10"
    (_pictures, (line,), _path) = convert(tmp_path, row)
    assert json.loads(line[questions.EXPECTED])["rule"] == rule


@pytest.mark.parametrize(("row", "answer", "right"), [
    ({"answer": "Paris"}, "PARIS!\n", True), ({"answer": "Paris"}, "", False),
    ({"answer": ["8", "eight"]}, "Eight", True), ({"answer": 8}, "8", True), ({"answer": "3.5"}, "3", False),
    ({"answer": "cat", "score": "contains"}, "a cat, asleep", True),
    ({"answer": "cat", "score": "contains"}, "concatenate", False),
    ({"answer": "a+b", "score": "contains"}, "it is a+b.", True),
    ({"answer": 42, "score": "number"}, "1 + 41 = 42.00", True), ({"answer": 42, "score": "number"}, "none", False),
    ({"answer": -3, "score": "number"}, "It is -3", True), ({"answer": [1, 2], "score": "number"}, "2", True),
    ({"answer": "B", "A": "x", "B": "y"}, "B. y", True), ({"answer": "B", "A": "x", "B": "y"}, "b", False),
    ({"answer": "B", "A": "x", "B": "y"}, "Banana", False), ({"answer": "B", "A": "x", "B": "y"}, "A", False),
    ({"answer": ["A", "B"], "A": "x", "B": "y", "C": "z"}, "A", True),
])
def test_answers_are_scored(tmp_path, row, answer, right):
    assert scored(tmp_path, {"question": "?", **row}, answer) == str(int(right))


def test_question_without_an_answer_counts_as_wrong(tmp_path):
    path = convert(tmp_path, *[{"question": "?", "answer": "8"}] * 3)[2]
    assert questions.outcomes(path, {0: "8", 2: "8"}) == "101"


def test_options_are_a_part_of_the_prompt(tmp_path):
    _pictures, (line,), _path = convert(tmp_path, {"question": "?", "answer": "A", "A": "yes", "B": "no"})
    assert line["question"] == "?\nA. yes\nB. no\nAnswer with the letter of the right option only."


def test_pictures_become_data_urls(tmp_path):
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "1.png").write_bytes(PICTURE.read_bytes())
    url = "data:image/jpeg;base64,AAAA"
    pictures, lines, _path = convert(
        tmp_path, {"question": "1?", "answer": "x", "image": "pictures/1.png"},
        {"question": "2?", "answer": "x", "image": [url, url]}, {"question": "3?", "answer": "x"})
    encoded = "data:image/png;base64," + base64.b64encode(PICTURE.read_bytes()).decode()
    assert (pictures, [line["path"] for line in lines]) == (True, [[encoded], [url, url], []])
    assert {line["type"] for line in lines} == {"image"}


def test_text_needs_no_pictures_and_only_the_first_questions_are_converted(tmp_path):
    pictures, lines, _path = convert(tmp_path, *[{"question": "?", "answer": "x"}] * 3, count=2)
    assert (pictures, len(lines), sorted(lines[0])) == (False, 2, [questions.EXPECTED, "question"])


@pytest.mark.parametrize(("row", "sentence"), [
    ({"answer": "x", "score": "fuzzy"}, "score has to be one of exact, contains, number, choice, but is fuzzy"),
    ({"answer": "many", "score": "number"}, "answer has to be a number, because score is number, but is many"),
    ({"answer": "C", "A": "x", "B": "y"}, "answer has to be the letter of an option (A, B), but is C"),
    ({"answer": "A", "score": "choice"}, "(there are none)"),
    ({"answer": "x", "image": "https://example.com/1.png"}, "image has to be a path or a data URL"),
    ({"answer": "x", "image": "none.png"}, "none.png"),
    ({"answer": "x", "image": "own.jsonl"}, "image own.jsonl has to be a PNG, JPEG, GIF or WebP of at most 20 MiB"),
])
def test_mistake_is_one_sentence_with_the_line(tmp_path, row, sentence):
    with pytest.raises(questions.BadData, match="line 2 of .*" + re.escape(sentence)):
        convert(tmp_path, {"question": "?", "answer": "x"}, {"question": "?", **row})


@pytest.mark.parametrize("row", [{"question": 1, "answer": "x"}, {"question": "?", "answer": []},
                                 {"question": "?", "answer": ""}, {"answer": "x"}, []])
def test_line_that_is_not_a_question_is_refused(tmp_path, row):
    with pytest.raises(questions.BadData, match="line 1 is not"):
        convert(tmp_path, row)


def test_large_picture_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(questions, "MAX_IMAGE_BYTES", 100)
    (tmp_path / "1.png").write_bytes(PICTURE.read_bytes())
    with pytest.raises(questions.BadData, match=r"1\.png has to be a PNG"):
        convert(tmp_path, {"question": "?", "answer": "x", "image": "1.png"})
