# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """Author, requirements and attributes of modules.

    ``INFO`` is for modules that change nothing, ``ACTION`` for actions of the controller. They precede the common
    fragment in the list of a module, because the first value of an attribute applies.
    """

    DOCUMENTATION = r"""
options: {}
author: [the ascend.vllm authors (@ascend-vllm)]
requirements: ["python >= 3.7"]
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
  diff_mode: {support: none, description: "Will return details on what has changed when in diff mode."}
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: linux
"""

    INFO = r"""
options: {}
attributes:
  check_mode: {details: ["This module does not change anything."]}
  diff_mode: {support: N/A, details: ["This module does not change anything."]}
"""

    ACTION = r"""
options: {}
attributes:
  action: {description: "Runs on the controller, as an action plugin.", support: full}
  check_mode: {details: ["This action does not change anything."]}
"""
