# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Variables that look like an input but are not inputs, such as ``serving_prot``. Roles ignore such a variable.

Only the names of variables are read, not their values.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable
from functools import lru_cache

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.renamed_inputs import RENAMED
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Finding
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import known_variables, roles

# The id of a finding consists of this prefix and the name of the variable.
PREFIX = "unknown."

# {first word of its name: role}
_ROLES = {role.partition("_")[0]: role for role in roles()}
# The variables of playbooks that look like an input of a role.
_OF_PLAYBOOKS = ("diagnostics_from",)
# Names without the prefix of a role must be more similar to an input than those with a prefix.
_SIMILAR, _VERY_SIMILAR = 0.6, 0.87


def unknown_names(variables: Iterable[str], allowed: Collection[str] = ()) -> list[Finding]:
    """Return a finding for each variable that has the prefix of a role or resembles an input, and is not an input.

    :param variables: the names of all variables of a host.
    :param allowed: names that the site uses for its own variables.
    """
    skipped = {*known_variables(), *RENAMED, *_OF_PLAYBOOKS, *allowed}
    found: list[Finding] = []
    for name in sorted(set(variables) - skipped):
        if not name.startswith(("_", "ansible_")):
            suspect, nearest = _nearest(name)
            if suspect:
                hint = f"the nearest input is {nearest}" if nearest else "no input has a similar name"
                found.append({"id": PREFIX + name, "message": (
                    f"The variable {name} is not an input of this collection and has no effect; {hint}. List it in "
                    "plan_allowed_names if the site uses it.")})
    return found


@lru_cache(maxsize=None)
def _nearest(name: str) -> tuple[bool, str | None]:
    """Return whether a name could stand for an input, and the nearest input."""
    role = next((role for role in _ROLES.values() if name.startswith(role + "_")), None)
    # Comparing each of thousands of names with each input would take seconds.
    likely = [role] if role else _similar_roles(name.partition("_")[0])
    inputs = [known for known, owner in known_variables().items() if owner in likely]
    inputs += [old for old in RENAMED if old.startswith(tuple(likely))]
    nearest = difflib.get_close_matches(name, inputs, 1, _SIMILAR if role else _VERY_SIMILAR)
    return bool(role or nearest), RENAMED.get(nearest[0], nearest[0]) if nearest else None


@lru_cache(maxsize=None)
def _similar_roles(word: str) -> list[str]:
    """Return the roles whose name, or the first word of it, resembles the first word of a variable."""
    similar = difflib.get_close_matches(word, _ROLES, len(_ROLES), 0.7)
    return [role for first, role in _ROLES.items() if first in similar or word.startswith(role)]
