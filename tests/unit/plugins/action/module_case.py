# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Validation of module arguments, so that a fake node rejects what a real node rejects."""

from __future__ import annotations

from importlib import import_module

import yaml
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

COLLECTION = "ascend.vllm."


def validated(name, arguments):
    """Return the arguments as the module receives them: converted, and completed with defaults.

    :param name: ``ascend.vllm.<module>``.
    :raises AssertionError: for arguments that the module's documentation does not allow.
    """
    assert name.startswith(COLLECTION), f"{name} is not a module of this collection"
    module = import_module(f"ansible_collections.ascend.vllm.plugins.modules.{name[len(COLLECTION):]}")
    result = ArgumentSpecValidator(_spec(documented_options(module))).validate(arguments)
    assert not result.error_messages, f"{name}: {'; '.join(result.error_messages)}"
    return result.validated_parameters


def documented_options(module):
    """Return the options in the documentation of a module and in its documentation fragments."""
    documentation = yaml.safe_load(module.DOCUMENTATION)
    options = dict(documentation.get("options", {}))
    fragments = documentation.get("extends_documentation_fragment", [])
    for name in [fragments] if isinstance(fragments, str) else fragments:
        file, _dot, section = name[len(COLLECTION):].partition(".")
        fragment = import_module(f"ansible_collections.ascend.vllm.plugins.doc_fragments.{file}").ModuleDocFragment
        options.update(yaml.safe_load(getattr(fragment, section.upper() or "DOCUMENTATION")).get("options", {}))
    return options


def _spec(options):
    return {name: {**{key: option[key] for key in ("type", "elements", "choices", "required", "default")
                      if key in option},
                   **({"options": _spec(option["suboptions"])} if "suboptions" in option else {})}
            for name, option in options.items()}
