# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Typed access to the inputs of a plan, and the warnings and refusals that are found while the plan is resolved.

A bad input is recorded as a refusal and replaced by a harmless value, so that one run reports all mistakes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeVar

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Finding

_T = TypeVar("_T")


class Findings:
    """Warnings and refusals. The message of each is one or two sentences."""

    def __init__(self) -> None:
        self.warnings: list[Finding] = []
        self.refusals: list[Finding] = []

    def warn(self, finding: str, message: str, *values: object) -> None:
        """Record a warning, which does not stop the deployment. The values are filled into the message."""
        self._add(self.warnings, finding, message, values)

    def refuse(self, finding: str, message: str, *values: object) -> None:
        """Record a refusal. The message names the variable, what was expected, what was found and what to do."""
        self._add(self.refusals, finding, message, values)

    @staticmethod
    def _add(findings: list[Finding], finding: str, message: str, values: tuple[object, ...]) -> None:
        found: Finding = {"id": finding, "message": message % values}
        if found not in findings:  # Some inputs are read once per instance.
            findings.append(found)


class Inputs:
    """Typed access to ``{variable: value}``. Before ansible-core 2.19, templating a number results in a string."""

    def __init__(self, values: Mapping[str, Any], findings: Findings) -> None:
        self._values = values
        self._findings = findings

    def text(self, name: str) -> str:
        """Return the text without surrounding whitespace, or an empty string for null."""
        value = self._values.get(name)
        if isinstance(value, (dict, list)):
            return self._refused(name, "a string", value, "")
        return "" if value is None else str(value).strip()

    def is_auto(self, name: str) -> bool:
        """Return whether the input is ``auto``. Other values may be lists or numbers."""
        return bool(self._values.get(name) == "auto")

    def integer(self, name: str, low: int, high: int) -> int:
        """Return an integer from low to high."""
        value = self._values.get(name)
        try:
            number = int(str(value))
        except ValueError:
            number = None
        if isinstance(value, bool) or number is None or not low <= number <= high:
            return self._refused(name, "an integer from %d to %d" % (low, high), value, low)
        return number

    def boolean(self, name: str) -> bool:
        """Return a Boolean."""
        value = self._values.get(name)
        words = {"true": True, "yes": True, "false": False, "no": False}
        if str(value).lower() not in words:
            return self._refused(name, "true or false", value, False)
        return words[str(value).lower()]

    def choice(self, name: str, allowed: Sequence[str]) -> str:
        """Return one of the allowed strings."""
        value = self.text(name)
        if value not in allowed:
            return self._refused(name, "one of " + ", ".join(allowed), value, allowed[0])
        return value

    def path(self, name: str) -> str:
        """Return an absolute path without a trailing slash."""
        value = self.text(name)
        if not value.startswith("/") or ":" in value:
            return self._refused(name, "an absolute path without a colon", value, "/")
        return value.rstrip("/") or "/"

    def mapping(self, name: str) -> dict[str, Any]:
        """Return a dictionary, which is empty for null."""
        value = self._values.get(name)
        if value in (None, ""):
            return {}
        shown = "***" if name == "serving_env" else value  # may contain secrets
        return value if isinstance(value, dict) else self._refused(name, "a mapping of names to values", shown, {})

    def items(self, name: str) -> list[Any]:
        """Return a list, which is empty for null."""
        value = self._values.get(name)
        if value in (None, ""):
            return []
        return value if isinstance(value, list) else self._refused(name, "a list", value, [])

    def _refused(self, name: str, expected: str, value: object, instead: _T) -> _T:
        self._findings.refuse(name, "%s must be %s, but is %r.", name, expected, value)
        return instead
