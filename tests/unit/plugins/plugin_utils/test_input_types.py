# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Values are converted and their ranges are checked; every default is valid."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils import _input_types
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import options, role_defaults, roles, typed

NUMBERS = [name for role in roles() for name, option in options(role).items()
           if {option["type"], option.get("elements")} & {"int", "float"}]


@pytest.mark.parametrize("role", roles())
def test_defaults_are_valid(role):
    assert {name: sentence for name, sentence in typed(role, role_defaults(role))[1].items()
            if "{{" not in str(role_defaults(role)[name])} == {}


@pytest.mark.parametrize("name", NUMBERS)
def test_no_number_may_be_negative(name):
    role = next(role for role in roles() if name in options(role))
    value = [-1] if options(role)[name]["type"] == "list" else "-1"
    assert (name in typed(role, {name: value})[1]) == (name not in _input_types.AT_LEAST)


@pytest.mark.parametrize("ending", [*_input_types.ABOVE_ZERO, *_input_types.MAY_BE_ZERO, *_input_types.AT_MOST])
def test_every_ending_is_that_of_an_input(ending):
    assert [name for name in NUMBERS if name.endswith(ending)]


@pytest.mark.parametrize(("option", "value", "converted"), [
    ({"type": "int"}, "3", 3), ({"type": "bool"}, "yes", True), ({"type": "list", "elements": "int"}, "1,2", [1, 2]),
    ({"type": "list"}, None, []), ({"type": "dict"}, None, {}), ({"type": "str"}, None, ""), ({"type": "str"}, 5, "5"),
    ({"type": "path"}, "~/x", "~/x"), ({"type": "raw"}, [1], [1]), ({"type": "raw"}, None, None)])
def test_values_are_converted(option, value, converted):
    assert _input_types.converted("x", option, value) == (converted, None)


def test_secret_is_not_in_the_sentence():
    assert _input_types.converted("x", {"type": "str"}, ["sesame"], True) == (["sesame"], "x must be a string.")
