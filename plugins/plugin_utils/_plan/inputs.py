# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a plan is made from: the inputs with their types checked, and the findings on the way.

PRIVATE to the plan. A bad input is written down as a refusal and a harmless value is used in its place, so that one
run names every mistake at once.
"""

from __future__ import annotations


class Findings:
    """Warnings and refusals: lists of ``{"id", "message"}``, each message one sentence or two."""

    def __init__(self):
        self.warnings = []
        self.refusals = []

    def warn(self, finding, message, *values):
        """Note what is worth knowing and does not stop the deployment; the values fill the message."""
        self._add(self.warnings, finding, message, values)

    def refuse(self, finding, message, *values):
        """Note what makes the deployment impossible: the variable, what was expected, what was found, what to do."""
        self._add(self.refusals, finding, message, values)

    @staticmethod
    def _add(findings, finding, message, values):
        found = {"id": finding, "message": message % values}
        if found not in findings:  # an input may be read once per instance
            findings.append(found)


class Inputs:
    """Typed access to ``{variable: value}``. Before ansible-core 2.19 a templated number arrives as a string."""

    def __init__(self, values, findings):
        self._values = values
        self._findings = findings

    def text(self, name):
        """Return a stripped string; an empty or null value is the empty string."""
        value = self._values.get(name)
        if isinstance(value, (dict, list)):
            return self._refused(name, "a text", value, "")
        return "" if value is None else str(value).strip()

    def is_auto(self, name):
        """Tell whether the input is the word auto; it may be a list or number otherwise."""
        return self._values.get(name) == "auto"

    def integer(self, name, low, high):
        """Return a whole number within [low, high]."""
        value = self._values.get(name)
        try:
            number = int(str(value))
        except ValueError:
            number = None
        if isinstance(value, bool) or number is None or not low <= number <= high:
            return self._refused(name, "a whole number from %d to %d" % (low, high), value, low)
        return number

    def boolean(self, name):
        """Return a truth value."""
        value = self._values.get(name)
        words = {"true": True, "yes": True, "false": False, "no": False}
        if str(value).lower() not in words:
            return self._refused(name, "true or false", value, False)
        return words[str(value).lower()]

    def choice(self, name, allowed):
        """Return one of the allowed strings."""
        value = self.text(name)
        if value not in allowed:
            return self._refused(name, "one of " + ", ".join(allowed), value, allowed[0])
        return value

    def path(self, name):
        """Return an absolute path without a trailing slash."""
        value = self.text(name)
        if not value.startswith("/") or ":" in value:
            return self._refused(name, "an absolute path without a colon", value, "/")
        return value.rstrip("/") or "/"

    def mapping(self, name):
        """Return a dict; null is empty."""
        value = self._values.get(name)
        if value in (None, ""):
            return {}
        return value if isinstance(value, dict) else self._refused(name, "a mapping (name: value)", value, {})

    def items(self, name):
        """Return a list; null is empty."""
        value = self._values.get(name)
        if value in (None, ""):
            return []
        return value if isinstance(value, list) else self._refused(name, "a list", value, [])

    def _refused(self, name, expected, value, instead):
        self._findings.refuse(name, "%s must be %s, but is %r.", name, expected, value)
        return instead
