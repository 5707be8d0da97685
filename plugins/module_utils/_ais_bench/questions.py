# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The operator's own questions: write them in the format of AISBench, and score the answers.

AISBench itself accepts only answers that are equal to the expected text character by character, and does not score
questions with pictures. roles/accuracy/README.md describes the rules.
"""

from __future__ import annotations

import base64
import json
import os
import re
import string
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Expected(TypedDict):
        """The accepted answers of a question, and the rule with which an answer is compared with them."""

        rule: str
        accepted: list[str]
        #: The letters of the options; empty if the question is not multiple choice.
        options: str

EXACT, CONTAINS, NUMBER, CHOICE = RULES = ("exact", "contains", "number", "choice")
# The column with the expected answer as JSON. AISBench replaces ``{column}`` in questions, so the name is unusual.
EXPECTED = "ascend_vllm_expected"
_CHOICE_PROMPT = "\nAnswer with the letter of the right option only."
_FORMATS = ((b"\x89PNG", "png"), (b"\xff\xd8\xff", "jpeg"), (b"GIF8", "gif"), (b"RIFF", "webp"))
_DATA_URL = re.compile(r"data:image/[a-z]+;base64,[A-Za-z0-9+/=]+")
MAX_IMAGE_BYTES = 20 << 20
_NUMBER = re.compile(r"-?\d[\d,]*(?:\.\d+)?")


class BadData(ValueError):
    """A dataset is missing or malformed. The message is one sentence about the expected files."""


def convert(path: str, target: str, count: int) -> bool:
    """Write the first ``count`` questions of a ``.jsonl`` file (0: all), and return whether there are pictures.

    :raises BadData: if the file is missing or malformed.
    """
    try:
        with open(path, encoding="utf-8-sig") as source:
            rows = [json.loads(line) for line in source if line.strip()]
    except (OSError, ValueError) as error:
        raise BadData("accuracy_datasets: %s cannot be read: %s" % (path, error)) from None
    wrong = [number for number, row in enumerate(rows, 1) if not isinstance(row, dict)
             or not isinstance(row.get("question"), str) or row.get("answer") in (None, "", [])]
    if not rows or wrong:
        raise BadData("accuracy_datasets: every line of %s has to be an object with the keys question and answer; "
                      "%s." % (path, "line %d is not" % wrong[0] if wrong else "the file is empty"))
    found = []
    for number, row in enumerate(rows, 1):
        try:
            found.append((_prompt(row), _expected(row), _images(row, os.path.dirname(path))))
        except (OSError, ValueError) as error:
            raise BadData("accuracy_datasets: line %d of %s: %s." % (number, path, error)) from None
    pictures = any(images for *_texts, images in found)
    with open(target, "w", encoding="utf-8") as stream:
        for prompt, expected, images in found[:count or None]:
            line: dict[str, Any] = {"question": prompt, EXPECTED: json.dumps(expected, sort_keys=True)}
            if pictures:
                line.update(type="image", path=images)
            stream.write(json.dumps(line) + "\n")
    return pictures


def _options(row: dict[str, Any]) -> str:
    return "".join(letter for letter in string.ascii_uppercase if letter in row)


def _prompt(row: dict[str, Any]) -> str:
    options = ["\n%s. %s" % (letter, row[letter]) for letter in _options(row)]
    return row["question"] + "".join(options) + (_CHOICE_PROMPT if options else "")


def _expected(row: dict[str, Any]) -> Expected:
    options, answers = _options(row), row["answer"] if isinstance(row["answer"], list) else [row["answer"]]
    rule, accepted = row.get("score", CHOICE if options else EXACT), [str(answer) for answer in answers]
    if rule not in RULES:
        raise ValueError("score has to be one of %s, but is %s" % (", ".join(RULES), rule))
    if rule == NUMBER and not all(_NUMBER.fullmatch(answer.strip()) for answer in accepted):
        raise ValueError("answer has to be a number, because score is number, but is %s" % ", ".join(accepted))
    if rule == CHOICE and not set(accepted) <= set(options):
        raise ValueError("answer has to be the letter of an option (%s), but is %s" % (
            ", ".join(options) or "there are none", ", ".join(accepted)))
    return {"rule": rule, "accepted": accepted, "options": options}


def _images(row: dict[str, Any], folder: str) -> list[str]:
    """Return the pictures of a question as data URLs. The server does not fetch pictures from other hosts."""
    found, images = [], row.get("image") or []
    for image in images if isinstance(images, list) else [images]:
        if _DATA_URL.fullmatch(str(image)):
            found.append(image)
            continue
        if "://" in str(image):
            raise ValueError("image has to be a path or a data URL, but is %s; download the picture" % image)
        with open(os.path.join(folder, str(image)), "rb") as stream:
            content = stream.read(MAX_IMAGE_BYTES + 1)
        kind = next((kind for head, kind in _FORMATS if content.startswith(head)), None)
        if kind is None or len(content) > MAX_IMAGE_BYTES:
            raise ValueError("image %s has to be a PNG, JPEG, GIF or WebP of at most %d MiB" % (
                image, MAX_IMAGE_BYTES >> 20))
        found.append("data:image/%s;base64,%s" % (kind, base64.b64encode(content).decode("ascii")))
    return found


def outcomes(path: str, answers: dict[int, str]) -> str:
    """Return ``1`` for each question with a right answer and ``0`` for every other question.

    :param path: a file that `convert` has written.
    :param answers: ``{index of the question: answer}``.
    """
    with open(path, encoding="utf-8") as stream:
        expected = [json.loads(json.loads(line)[EXPECTED]) for line in stream]
    return "".join("01"[index in answers and is_right(each, answers[index])] for index, each in enumerate(expected))


def is_right(expected: Expected, answer: str) -> bool:
    """Return whether an answer is right."""
    rule, accepted, text = expected["rule"], expected["accepted"], _normalized(answer)
    if rule == CHOICE:
        letters = set(re.findall("(?<![A-Za-z])[%s](?![A-Za-z])" % expected["options"], answer))
        return len(letters) == 1 and letters <= set(accepted)
    if rule == NUMBER:
        numbers = [float(each.replace(",", "")) for each in _NUMBER.findall(answer)]
        return bool(numbers) and numbers[-1] in [float(each.replace(",", "")) for each in accepted]
    if rule == CONTAINS:
        return any(re.search(r"(?<!\w)%s(?!\w)" % re.escape(_normalized(each)), text) for each in accepted)
    return text in [_normalized(each) for each in accepted]


def _normalized(text: str) -> str:
    """Return a text in lower case, with single spaces and without punctuation at the end, for comparison."""
    return " ".join(text.split()).casefold().rstrip(".!?。！？").rstrip()
