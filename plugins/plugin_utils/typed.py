# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of a role in the types of its argument specs: ``-e benchmark_repeats=3`` is a text until somebody says so.

PRIVATE to the collection.
"""

from __future__ import annotations

import yaml
from ansible.errors import AnsibleActionFail
from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

from ansible_collections.ascend.vllm.plugins.plugin_utils.settings import collection_root

_KEYS = ("type", "elements", "choices", "no_log")


def typed_settings(role, settings):
    """Return ``{input without the role's prefix: value}`` in its type.

    Raises AnsibleActionFail with the sentence of the first input that cannot be read as its type.
    """
    path = collection_root() / "roles" / role / "meta" / "argument_specs.yml"
    options = yaml.safe_load(path.read_text("utf-8"))["argument_specs"]["main"]["options"]
    spec = {name: {key: option[key] for key in _KEYS if key in option} for name, option in options.items()}
    result = ArgumentSpecValidator(spec).validate({f"{role}_{name}": value for name, value in settings.items()})
    if result.error_messages:
        raise AnsibleActionFail(result.error_messages[0])
    return {name[len(role) + 1:]: value for name, value in result.validated_parameters.items()}
