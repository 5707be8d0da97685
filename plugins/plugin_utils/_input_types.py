# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The type, the choices and the range of an input."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

# Argument specs have no ranges. With one exception, no number may be negative, and inputs with these endings must be
# above 0.
ABOVE_ZERO = (
    "_port", "_timeout_s", "_round_s", "_limit_s", "_ready_interval_s", "_guard_s", "_patience_s", "_tolerance",
    "_retries", "_workers", "_shard_gb", "_concurrency", "_connections", "_max_nodes", "_sizes_bytes", "_iterations",
    "_tokens", "benchmark_num_prompts", "verify_num_prompts", "_repeats", "_per_request", "_px", "_batch_size",
    "_log_lines", "_ratio", "_sweep_minimum", "_sweep_maximum", "_sweep_runs", "_sweep_tolerance_percent",
    "_log_max_files", "_burstiness", "_trace_speed",
)
# Inputs with these endings may be 0 nevertheless.
MAY_BE_ZERO = ("_drain_timeout_s", "_stop_timeout_s", "_free_timeout_s", "benchmark_max_concurrency",
               "accuracy_maximum_tokens", "_warmup_iterations")
# {name: lowest value}: with a negative reserve, a download starts even if it may not fit.
AT_LEAST = {"weights_free_space_gib": -math.inf}
# {ending: highest value}
AT_MOST = {"_port": 65535, "_percentiles": 100, "_aicore_percent": 100, "_baseline_tolerance": 1,
           "_minimum_ratio": 1}

_TYPES = {"int": "an integer", "float": "a number", "bool": "true or false", "list": "a list", "dict": "a mapping",
          "str": "a string", "path": "a path"}
_ELEMENTS = {"int": "a list of integers", "float": "a list of numbers", "dict": "a list of mappings"}
_EMPTY: dict[str, Any] = {"str": "", "path": "", "list": [], "dict": {}}
_BUILT_IN = {"int": int, "float": float, "bool": bool, "str": str, "dict": dict}
_SPEC_KEYS = ("type", "elements", "choices", "options", "no_log")


def converted(name: str, option: Mapping[str, Any], value: Any, secret: bool = False) -> tuple[Any, str | None]:
    """Return the value in the type of its argument spec, and a sentence if it is not valid.

    A value that cannot be converted is returned unchanged. So are paths, since most of them are paths on another host.

    :param option: the option of the argument spec. :param secret: whether the sentence must not contain the value.
    """
    kind, choices = option.get("type", "str"), option.get("choices")
    if value is None and kind in _EMPTY and not choices:
        return _EMPTY[kind], None
    # Ansible would convert a dictionary or list to a string, and an empty string to a list of one empty string.
    is_wrong_type = kind in ("str", "path") and isinstance(value, (dict, list))
    if not is_wrong_type and (kind in ("path", "raw") or (value == "" and kind == "list")):
        return value, None
    has_type = value.__class__ is _BUILT_IN.get(kind) and "options" not in option
    as_documented = has_type and (not choices or value in choices)
    if not as_documented and value != []:  # The validator takes 0.1 ms for each of the 300 inputs of a host.
        spec = {key: option[key] for key in _SPEC_KEYS if key in option}
        result = ArgumentSpecValidator({name: spec}).validate({name: value})
        wrong = is_wrong_type or value is None or (isinstance(value, bool) and kind in ("int", "float"))
        if wrong or result.error_messages:
            found = "" if secret else f", but is {value!r}"
            if "options" in option and isinstance(value, dict):
                found = f", but: {'; '.join(result.error_messages)}"
            return value, f"{name} must be {_expected(option)}{found}."
        value = result.validated_parameters[name]
    kind = option.get("elements", kind)
    if kind in ("int", "float"):
        is_allowed, allowed = _range(name, kind == "int")
        for number in value if isinstance(value, list) else [value]:
            if not is_allowed(number):
                return value, f"{name} must be {allowed}, but is {number}."
    return value, None


def _range(name: str, is_integer: bool) -> tuple[Callable[[float], bool], str]:
    """Return a function that returns whether a number is allowed for an input, and the range as text."""
    positive = name.endswith(ABOVE_ZERO) and not name.endswith(MAY_BE_ZERO)
    lowest = AT_LEAST.get(name, 0)
    low = "at least 1" if positive and is_integer else "above 0" if positive else "at least 0"
    high = next((high for ending, high in AT_MOST.items() if name.endswith(ending)), math.inf)
    return (lambda number: (number > 0 if positive else number >= lowest) and number <= high,
            low if high == math.inf else f"{low} and at most {high}")


def _expected(option: Mapping[str, Any]) -> str:
    kind, choices = option.get("type", "str"), [str(choice) or "empty" for choice in option.get("choices", ())]
    if choices:
        return ("a list of " if kind == "list" else "one of ") + ", ".join(choices)
    return _ELEMENTS.get(option.get("elements", ""), _TYPES[kind])
