# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/hccl_collective.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: hccl_collective
short_description: Run all-reduces over the nodes of the play
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Runs a container on every node with M(community.docker.docker_container), waits for it, removes it, and files its
    results with the observation of the node, for the C(hccl) stage to judge. A failed all-reduce does not fail the
    host.
  - The container runs CANN's hccl_test if the image has MPICH and a compiled all_reduce_test. Otherwise, it runs the
    all-reduce of this collection with C(torchrun). Neither needs SSH keys between the nodes.
  - The container has all NPUs of the node. It is not started if a process uses an NPU or if a node lacks the image.
  - A node that could not be observed is skipped.
  - The inputs are those of the role P(ascend.vllm.hccl#role).
extends_documentation_fragment:
  - ascend.vllm._plan_option
options:
  step:
    description:
      - V(run) runs one all-reduce over all nodes.
      - V(diagnosis) runs all-reduces on each node alone and between pairs of nodes, if the one over all nodes failed or
        was slow.
      - V(resume) runs no all-reduce. If there was none because a node did not have the image, the nodes are queried
        again, and RV(resumed) is true.
    type: str
    choices: [run, diagnosis, resume]
    default: run
attributes:
  check_mode:
    support: full
    description: No container is started.
seealso:
  - module: ascend.vllm.observe
  - module: ascend.vllm.stage
"""

EXAMPLES = r"""
- name: Run an all-reduce over all nodes
  ascend.vllm.hccl_collective:

- name: Find the node that makes it fail or slow
  ascend.vllm.hccl_collective:
    step: diagnosis
"""

RETURN = r"""
rounds:
  description: The rounds that were run.
  type: list
  elements: str
  returned: always
  sample: [all]
resumed:
  description: Whether O(step=run) has to be repeated, now that the nodes may have the image.
  type: bool
  returned: always
msg:
  description: Why there was no all-reduce over all nodes, or an empty string.
  type: str
  returned: with O(step=run) and O(step=diagnosis), if the node was observed
"""
