# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Queries of the report: the JMESPath expression in ``report_query``."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract

try:
    import jmespath
    from jmespath.functions import Functions
except ImportError:  # It is only needed for report_query.
    jmespath = None  # type: ignore[assignment]


def problems(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return ``{variable: sentence}`` for the mistakes in the inputs of the report that their types do not show."""
    found, expression, fail_on = {}, inputs["report_query"], inputs["report_fail_on"]
    if expression and jmespath is None:
        found["report_query"] = "report_query needs the Python package jmespath on the control node; install it there."
    elif expression:
        try:
            for name in set(_functions(jmespath.compile(str(expression)).parsed)) - set(Functions.FUNCTION_TABLE):
                raise ValueError(f"there is no function {name}")
        except (ValueError, LookupError) as error:
            reason = _text.error_line(error).partition(", for expression")[0].rstrip(":.")
            found["report_query"] = (f"report_query must be a JMESPath expression, but is {expression!r} ({reason}); "
                                     f"remove all spaces from a value that follows -e, or write it as JSON.")
    if isinstance(fail_on, list) and contract.FAILED not in fail_on:
        found["report_fail_on"] = (f"report_fail_on must contain {contract.FAILED}, because a failed stage fails its "
                                   f"run in any case, but is {fail_on}.")
    return found


def _functions(node: Mapping[str, Any]) -> Iterator[str]:
    """Yield the names of the functions that an expression calls. JMESPath looks them up only if they are called."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        yield from _functions(child)


def search(expression: str, report: Mapping[str, Any]) -> Any:
    """Return what a valid expression finds in the report.

    :raises ValueError: if a function of the expression gets a value that it does not accept.
    """
    return jmespath.search(expression, report)


def lines(found: Any) -> list[str]:
    """Return the result of a query as lines of text, one per item of a list. All items but strings are JSON."""
    if found in (None, []):
        return ["report_query finds nothing in the report."]
    return [each if isinstance(each, str) else json.dumps(each, ensure_ascii=False)
            for each in (found if isinstance(found, list) else [found])]
