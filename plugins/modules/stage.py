# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/stage.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Observe a node, judge it and record the result of a stage
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Runs an C(*_info) module on the node, hands what it returned to the stage's judge together with the plan and the
    role's inputs, writes C(<report_path>/<host>/<stage>.json) on the controller, and only then fails the host.
  - A node that cannot be reached, or a module that fails, is recorded as a failed check too.
  - The inputs of the role are read by themselves, role defaults under the host's variables.
options:
  stage:
    description: The stage. It names the judge, the role whose inputs are read, and the file.
    type: str
    required: true
  observe:
    description: The fully qualified name of the module that observes the node.
    type: str
  arguments:
    description: The arguments of that module. Left out, the stage's judge makes them from the plan.
    type: dict
  observed:
    description: What earlier tasks of the role measured. Laid over what the module returned.
    type: dict
  plan:
    description: The plan, as P(ascend.vllm.plan#module) returned it. Left out, it is resolved by this task.
    type: dict
  defer:
    description: Only keep the observation, so that a later task with O(peers=true) judges all hosts together.
    type: bool
    default: false
  peers:
    description: Judge with the kept observations of every host that is still in the play.
    type: bool
    default: false
  only:
    description: The checks to take anew in a result that this run has already left, for a stage in two parts.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
    description: The node is observed and judged, and no result is written.
seealso:
  - module: ascend.vllm.plan
"""

EXAMPLES = r"""
- name: Query the node, judge it and record the result
  ascend.vllm.stage:
    stage: npu_driver
    observe: ascend.vllm.npu_info
"""

RETURN = r"""
status:
  description: The status of the stage, the worst of its checks.
  type: str
  returned: unless deferred
  sample: passed
path:
  description: The file of the result on the controller.
  type: str
  returned: unless deferred
reachable:
  description: Whether the node answered.
  type: bool
  returned: unless deferred
result:
  description: The result, in the shape of C(docs/schemas/stage-result-v1.json).
  type: dict
  returned: when the task registers it or runs verbosely
observed:
  description: The observation.
  type: dict
  returned: when deferred
"""
