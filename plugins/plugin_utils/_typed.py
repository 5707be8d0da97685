# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The inputs of a role held against its argument specs.

PRIVATE to the collection.
"""

from __future__ import annotations

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import typed


def typed_settings(role, settings):
    """Return ``{input without the role's prefix: value}`` in its type.

    Raises AnsibleActionFail with the sentence of the first input that cannot be read as its type.
    """
    values, mistakes = typed(role, {f"{role}_{name}": value for name, value in settings.items()})
    if mistakes:
        raise AnsibleActionFail(mistakes[0])
    return {name[len(role) + 1:]: value for name, value in values.items()}
