# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that each sentence that users can read was reviewed (tests/data/messages.txt) and obeys simple rules."""

from __future__ import annotations

import difflib
import importlib.util
import re
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ACCEPTED = ROOT / "tests" / "data" / "messages.txt"

_spec = importlib.util.spec_from_file_location("messages", Path(__file__).with_name("messages.py"))
messages = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(messages)

INPUTS = {name for path in ROOT.glob("roles/*/defaults/main.yml")
          for name in yaml.safe_load(path.read_text("utf-8")) or {}}
# Names that are not capitalized at the beginning of a sentence.
NAMES = INPUTS | {"config.json", "forks", "hccn_tool", "job", "npu-smi", "quant_model_description.json",
                  "vllm", "vLLM"}
# A refusal contains the allowed values or an instruction.
ADVICE = re.compile(
    r"\bmust\b|; (?:add|change|choose|correct|give|keep|lower|quote|raise|remove|set)\b|\bset it to\b|so remove it")
FOUND = messages.messages()


def bare(text):
    """Return the text with an X for each inserted value."""
    while re.search(r"\{[^{}]*\}", text):
        text = re.sub(r"\{[^{}]*\}", "X", text)
    return text


def begins(text):
    """Return whether the text begins with a capital letter, an inserted value, an option, a path or a name."""
    return bool(re.match(r"[A-Z{/-]", text)) or text.split()[0].rstrip(",:;") in NAMES


def complaints(message):
    """Return the violations of the rules in a message."""
    text, found = bare(message.text), []
    # A value at the end is a whole message with its own period.
    ends = text.endswith((".", "?")) or message.text.endswith("}")
    if message.kind in ("refusal", "warning", "failure", "remedy", "reason"):
        if not begins(message.text):
            found.append("begins with a small letter")
        if not ends:
            found.append("has no period")
        # Remedies in log_causes.py are longer: they also name where to look first, and the checks to run.
        limit = 5 if message.file.endswith("log_causes.py") else 3
        if len(re.findall(r"[a-z)] ?[.?] (?=[A-Z])", text)) >= limit:
            found.append("has too many sentences")
    if message.kind == "title" and (not begins(message.text) or text.endswith(".")):
        found.append("is not written as a title: a sentence without a period")
    if message.kind in ("cause", "summary") and text.endswith("."):
        found.append("is inserted into a sentence, but has a period")
    if message.kind == "refusal":
        if not INPUTS & set(re.findall(r"\w+", text)) and not message.text.startswith("{"):
            found.append("names no input")
        if not ADVICE.search(text) and not text.endswith(("; X.", "X")):
            found.append("does not say what to do")
    if "  " in text or " ," in text or ".." in text.replace("...", ""):
        found.append("has a needless space or period")
    return found


def test_every_message_was_read():
    accepted, current = ACCEPTED.read_text("utf-8"), messages.listed(FOUND)
    changed = [line for line in difflib.unified_diff(
        accepted.splitlines(), current.splitlines(), "read", "now", lineterm="", n=0) if line[0] in "+-"]
    assert accepted == current, "\n".join(["read these messages, then run `make messages`:", *changed])


def test_messages_obey_the_rules():
    found = [f"{each.file}: {each.kind}: {each.text}: {complaint}"
             for each in FOUND for complaint in complaints(each)]
    assert not found, "\n".join(found)


@pytest.mark.parametrize(("kind", "text", "expected"), [
    ("refusal", "serving_port is {port}; set a lower one.", []),
    ("refusal", "serving_port is {port}.", ["does not say what to do"]),
    ("refusal", "The port is {port}; set a lower one.", ["names no input"]),
    ("failure", "the image is missing.", ["begins with a small letter"]),
    ("failure", "The image {name} is missing", ["has no period"]),
    ("failure", "The image is missing: {error}", []),
    ("remedy", "Read it. Load it. Run it. Stop it.", ["has too many sentences"]),
    ("title", "The image exists.", ["is not written as a title: a sentence without a period"]),
    ("title", "npu-smi prints its table", []),
    ("cause", "the file is empty.", ["is inserted into a sentence, but has a period"]),
    ("reason", "There is  no image.", ["has a needless space or period"]),
])
def test_rules_find_bad_messages(kind, text, expected):
    assert complaints(messages.Message("a.py", kind, text)) == expected


@pytest.mark.parametrize(("code", "expected"), [
    ('findings.refuse("a", "serving_port is %s, not %d %%.", port, 1 + 2)',
     [("refusal", "serving_port is {port}, not {1 + 2} %.")]),
    ('findings.warn("a", "The " "port.")', [("warning", "The port.")]),
    ('raise AnsibleActionFail(f"{host} is not reachable: {error}")', [("failure", "{host} is not reachable: {error}")]),
    ('raise ParseError("row %r is cut" % row)', [("cause", "row {row} is cut")]),
    ('module.fail_json(msg="There is no %s." % ("file" if a else b))', [("failure", "There is no {'file' | b}.")]),
    ('checks.not_run("a", "There is none." if b else "There are %d." % c)',
     [("reason", "There is none."), ("reason", "There are {c}.")]),
    ('MARK = "Say: "\nraise Refused(MARK + "no %s" % x)', [("failure", "Say: no {x}")]),
    ('CHECKS = (Check("a", CRITICAL, "It is there", "Put it there."),)',
     [("title", "It is there"), ("remedy", "Put it there.")]),
    ('checks.not_run("a", "There is none.")', [("reason", "There is none.")]),
    ('checks.expect("a", ok, message=f"{x} is late", remedy=ADVICE)', [("message", "{x} is late")]),
    ('def reason():\n    """The text of a reason."""\n    return "there is no container"',
     [("text", "there is no container")]),
    ('pattern = re.compile("there is no container")', []),
    ('DOCUMENTATION = "a text of several words"', []),
    ('raise KeyError(name)', []),
])
def test_messages_are_found(code, expected):
    assert [(each.kind, each.text) for each in messages.Source("a.py", code).messages()] == expected


def test_messages_of_tasks_are_found():
    tasks = yaml.safe_load("""
- block:
    - ansible.builtin.assert:
        that: a
        fail_msg: >-
          The port {{ b }}
          is in use.
    - ansible.builtin.fail: {msg: Stop.}
    - ansible.builtin.copy: {msg: no message}
""")
    assert [each.text for each in messages.task_messages("a.yml", tasks)] == ["The port {{ b }} is in use.", "Stop."]


def test_messages_of_the_catalogue_are_found():
    content = {"a": {"bugs": [{"summary": "It hangs"}], "unsupported": {"ray": "it fails"}, "name": "no message"}}
    assert [each.text for each in messages.catalogue_messages("a.yml", content)] == ["It hangs", "it fails"]
