# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/stage.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: stage
short_description: Judge a node and record the result of a stage
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Judges what was observed on the node together with the plan and the inputs of the stage's role, writes
    C(<report_path>/<host>/<stage>.json) on the controller, and only then fails the host if a critical check does not
    hold.
  - If M(ascend.vllm.observe) has filed an observation of this phase in this run, it is used, and the judge also sees
    what was observed on the other hosts of the play. Otherwise, the node is observed by this task, in one module call
    that the stage's judge chooses.
  - A node that cannot be reached and a module that fails are recorded as failed checks, too.
  - The action reads the inputs of the role itself. Variables of the host take precedence over role defaults.
extends_documentation_fragment:
  - ascend.vllm.plan_option
options:
  stage:
    description: The stage. It determines the judge, the role whose inputs are read, and the name of the file.
    type: str
    required: true
    choices: [npu_driver, hccl, image, weights, serving, functional, accuracy, benchmark]
  phase:
    description:
      - The part of the stage, for stages that are judged more than once.
      - The stages C(image) and C(serving) have a phase C(before), in which nothing has been changed yet. The stage
        C(serving) also has C(rolled_back), after an upgrade that failed.
    type: str
    default: ""
  measured:
    description: What other tasks of the role found. The judge of the stage documents the keys.
    type: dict
  failure:
    description: The message of a task of the role that failed.
    type: str
  only:
    description: The checks to renew in a result that this run has already written, for a stage in two parts.
    type: list
    elements: str
attributes:
  check_mode:
    support: full
    description: The node is observed and judged, and no result is written.
seealso:
  - module: ascend.vllm.observe
  - module: ascend.vllm.plan
"""

EXAMPLES = r"""
- name: Observe the service, judge it and record the result
  ascend.vllm.stage:
    stage: serving

- name: Record why the image could not be pulled
  ascend.vllm.stage:
    stage: image
    failure: "{{ ansible_failed_result.msg }}"
"""

RETURN = r"""
status:
  description: The status of the stage, the worst of its checks.
  type: str
  returned: always
  sample: passed
path:
  description: The file of the result on the controller.
  type: str
  returned: always
reachable:
  description: Whether the node answered.
  type: bool
  returned: always
observed:
  description: The part of the observation that tasks of the role need. The whole observation is in the result file.
  type: dict
  returned: always
"""
