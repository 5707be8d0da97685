# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: observe
short_description: Observe the node for a stage that compares nodes
version_added: 0.9.0
description:
  - Observes the node in one module call and saves the observation on the controller. M(ascend.vllm.stage) judges the
    observation when all hosts of the play have been observed.
  - The action does not fail the host. If the node is unreachable or the module fails, the failure is saved.
    M(ascend.vllm.stage) then records it and fails the host.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
options:
  stage: {type: str, required: true, choices: [npu_driver, hccl, image, weights, serving, functional, accuracy,
    benchmark], description: "The stage. It determines the judge and the role whose inputs are read."}
  phase: {type: str, default: "", description: "The phase of the stage, if the stage is judged more than once."}
attributes:
  check_mode: {details: ["The node is observed, and the observation is saved, because M(ascend.vllm.stage) uses it."]}
seealso: [{module: ascend.vllm.stage}]
"""

EXAMPLES = r"""
- name: Observe the NPUs, the driver and the host
  ascend.vllm.observe: {stage: npu_driver}
"""

RETURN = r"""
observed: {type: dict, returned: always, description: "The part of the observation that tasks of the role use."}
failure: {type: str, returned: always, description: "The reason why there is no observation, or null."}
reachable: {type: bool, returned: always, description: "Whether the node was reachable."}
"""
