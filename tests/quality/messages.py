# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find the sentences that users can read. As a script, this file prints the content of tests/data/messages.txt.

The sentences are taken from the syntax trees of the code, the tasks of roles and playbooks, and the catalogue. They are
written as printed, with ``{…}`` for inserted values. Any other string of three or more words that is not documentation
is also included, with the kind ``text``, because it may be printed elsewhere.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
CODE = ("plugins/action/*.py", "plugins/filter/*.py", "plugins/modules/*.py", "plugins/module_utils/**/*.py",
        "plugins/plugin_utils/**/*.py", "roles/*/files/*.py")
TASKS = ("roles/*/tasks/*.yml", "roles/*/handlers/*.yml", "playbooks/*.yml")
CATALOGUE = ("roles/plan/files/catalogue/*.yml",)

# Functions that print text or fail with it: {name: (kind, position, keyword)}.
PRINTED_BY = {
    "refuse": ("refusal", 1, "template"), "warn": ("warning", 1, "template"), "warning": ("warning", 0, "msg"),
    "fail_json": ("failure", None, "msg"), "display": ("output", 0, "msg"), "say": ("output", 0, "text"),
    "print": ("output", 0, None), "exit": ("output", 0, None),
    "not_run": ("reason", 1, "why"), "not_required": ("reason", 1, "why"), "unsupported": ("reason", 1, "why"),
}
# Exceptions whose text becomes the message of a failed task or of a check.
FAILURES = ("AnsibleActionFail", "AnsibleError", "AnsibleFilterError", "BadInput", "BadCertificates", "BadData",
            "StagingError", "NoPlan", "UnknownCheck", "Refused", "BadHostName")
PRINTING_TASKS = ("assert", "fail", "debug", "wait_for")
DOCUMENTATION = ("DOCUMENTATION", "EXAMPLES", "RETURN", "__doc__")
# Strings with these parts are programs or patterns.
NO_PROSE = re.compile(r"import |\n\w+ = |\$@|\$\$|\\[a-zA-Z.]|\(\?|\.\*|\[\^|%\(")
PROSE = re.compile(r"[A-Za-z][a-z]+[,;:]? (?:\S+ )*?[a-z]+[,;:]? (?:\S+ )*?[a-z]+")


class Message(NamedTuple):
    """A sentence, or part of one."""

    file: str
    #: refusal, warning, failure, cause (inserted into another sentence), title, remedy, message and reason of a check,
    #: output, or text; in the catalogue also summary.
    kind: str
    text: str
    #: The lines of the code that prints it.
    lines: range = range(0)


class Source:
    """The messages of a Python file."""

    def __init__(self, file: str, text: str) -> None:
        self.file = file
        self.tree = ast.parse(text)
        self.used: set[int] = set()
        self.constants = {
            node.targets[0].id: node.value.value for node in self.tree.body
            if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name)
            and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)}

    def written(self, node: ast.AST, values: list[ast.expr] | None = None) -> str:
        """Return a text as printed, with ``{…}`` for inserted values. `values` are those of a ``%`` template."""
        self.used.update(id(each) for each in ast.walk(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return self.filled(node.value, values) if values is not None else node.value
        if isinstance(node, ast.JoinedStr):
            return "".join(self.written(each) for each in node.values)
        if isinstance(node, ast.FormattedValue):
            return self.inserted(node.value)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mod):
            return self.written(node.left, node.right.elts if isinstance(node.right, ast.Tuple) else [node.right])
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
            return self.written(node.left) + self.written(node.right)
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        return self.inserted(node)

    def inserted(self, node: ast.expr) -> str:
        """Return ``{…}`` for an inserted value. It contains the value's texts if there are any, or the expression."""
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            return node.value
        if isinstance(node, ast.IfExp):
            return "{%s | %s}" % (self.alternative(node.body), self.alternative(node.orelse))
        if isinstance(node, ast.BoolOp):
            return "{%s}" % " or ".join(self.alternative(each) for each in node.values)
        if isinstance(node, ast.BinOp):
            return self.written(node) if any(
                isinstance(each, ast.Constant) and isinstance(each.value, str) for each in ast.walk(node)
            ) and isinstance(node.op, (ast.Mod, ast.Add)) else "{%s}" % ast.unparse(node)
        if isinstance(node, ast.Name) and node.id in self.constants:
            return self.constants[node.id]
        return "{%s}" % ast.unparse(node)

    def alternative(self, node: ast.expr) -> str:
        """Return one of several values that can be inserted, in quotes if it is a text."""
        text = self.written(node)
        inserted = isinstance(node, (ast.Name, ast.Attribute, ast.Call, ast.Subscript, ast.IfExp, ast.BoolOp))
        return text[1:-1] if inserted and text.startswith("{") else f"'{text}'"

    def filled(self, template: str, values: list[ast.expr]) -> str:
        """Return a ``%`` template with its placeholders replaced."""
        remaining = list(values)
        return re.sub(r"%(?:[-+0#]*[\d.]*[a-z]|%)", lambda match: "%" if match.group() == "%%" else (
            self.inserted(remaining.pop(0)) if remaining else match.group()), template)

    def messages(self) -> Iterator[Message]:
        """Yield the messages of the file."""
        calls = [node for node in ast.walk(self.tree) if isinstance(node, (ast.Call, ast.Raise))]
        for node in calls:
            for kind, value, arguments in self.raised(node) if isinstance(node, ast.Raise) else self.passed(node):
                for each in self.either(value):
                    text = self.written(each, arguments)
                    if re.search(r"[A-Za-z]{2} ", re.sub(r"\{[^}]*\}", "", text)):
                        yield Message(self.file, kind, text, range(node.lineno, node.end_lineno + 1))
        yield from self.others()

    def either(self, node: ast.expr) -> list[ast.expr]:
        """Return the alternative expressions of a text."""
        if isinstance(node, ast.IfExp):
            return self.either(node.body) + self.either(node.orelse)
        if isinstance(node, ast.BoolOp):
            return [each for value in node.values for each in self.either(value)]
        return [node]

    def raised(self, node: ast.Raise) -> Iterator[tuple[str, ast.expr, list[ast.expr] | None]]:
        if isinstance(node.exc, ast.Call) and node.exc.args:
            name = ast.unparse(node.exc.func).rpartition(".")[2]
            yield "failure" if name in FAILURES else "cause", node.exc.args[0], None

    def passed(self, node: ast.Call) -> Iterator[tuple[str, ast.expr, list[ast.expr] | None]]:
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        if name == "Check" and len(node.args) == 4:
            yield "title", node.args[2], None
            yield "remedy", node.args[3], None
        elif name == "Cause" and len(node.args) > 2:
            yield "remedy", node.args[2], None
            self.used.update(id(each) for each in ast.walk(node))
        elif name in PRINTED_BY:
            kind, position, keyword = PRINTED_BY[name]
            given = node.args[position:position + 1] if position is not None else []
            given += [each.value for each in node.keywords if each.arg and each.arg == keyword]
            for value in given:
                values = node.args[position + 1:] if name in ("refuse", "warn") and position is not None else None
                yield kind, value, values or None
        for each in node.keywords:
            if each.arg in ("message", "remedy") and not isinstance(each.value, ast.Name):
                yield each.arg, each.value, None

    def others(self) -> Iterator[Message]:
        """Yield the remaining strings that are prose."""
        skipped = set(self.used)
        for node in ast.walk(self.tree):
            if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef)) and node.body and isinstance(
                    node.body[0], ast.Expr):
                skipped.add(id(node.body[0].value))
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") in DOCUMENTATION:
                skipped.update(id(each) for each in ast.walk(node))
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re."):
                skipped.update(id(each) for each in ast.walk(node))
        for node in ast.walk(self.tree):
            if id(node) in skipped or not isinstance(node, (ast.Constant, ast.JoinedStr, ast.BinOp)):
                continue
            if isinstance(node, ast.BinOp) and not isinstance(node.op, ast.Mod):
                continue
            text = self.written(node)
            skipped.update(id(each) for each in ast.walk(node))
            if PROSE.search(re.sub(r"\{[^}]*\}", "X", text)) and not NO_PROSE.search(text):
                yield Message(self.file, "text", text, range(node.lineno, node.end_lineno + 1))


def task_messages(file: str, content: object) -> Iterator[Message]:
    """Yield the messages of `PRINTING_TASKS`, in which ``{{ … }}`` is a value that Ansible inserts."""
    if isinstance(content, list):
        for item in content:
            yield from task_messages(file, item)
    elif isinstance(content, dict):
        for name, value in content.items():
            if name.rpartition(".")[2] in PRINTING_TASKS and isinstance(value, dict):
                for key in ("fail_msg", "success_msg", "msg"):
                    if key in value:
                        yield Message(file, "failure", value[key].strip())
            else:
                yield from task_messages(file, value)


def catalogue_messages(file: str, content: object) -> Iterator[Message]:
    """Yield the reasons and summaries of a catalogue file."""
    if isinstance(content, list):
        for item in content:
            yield from catalogue_messages(file, item)
    elif isinstance(content, dict):
        for name, value in content.items():
            if name in ("reason", "summary") and isinstance(value, str):
                yield Message(file, "summary", value.strip())
            elif name == "unsupported" and isinstance(value, dict):
                yield from (Message(file, "summary", each) for each in value.values())
            else:
                yield from catalogue_messages(file, value)


def messages(root: Path = ROOT) -> list[Message]:
    """Return all messages, in the order of the files."""
    found = []
    for patterns, read in ((CODE, lambda file, text: Source(file, text).messages()),
                           (TASKS, lambda file, text: task_messages(file, yaml.safe_load(text))),
                           (CATALOGUE, lambda file, text: catalogue_messages(file, yaml.safe_load(text)))):
        for path in sorted({path for pattern in patterns for path in root.glob(pattern)}):
            file = path.relative_to(root).as_posix()
            found += [each._replace(text=" ".join(each.text.split())) for each in read(file, path.read_text("utf-8"))]
    return found


def listed(found: list[Message]) -> str:
    """Return the content of tests/data/messages.txt."""
    lines = ["Text that users can read; {…} is an inserted value. `make messages` writes this file: read each change."]
    file = None
    # Sorted by text and not by line, so that moving code does not change the file.
    for source, kind, text in sorted({(each.file, each.kind, each.text) for each in found}):
        if source != file:
            file = source
            lines += ["", file]
        lines.append(f"  {kind}: {text}")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(listed(messages()))
