# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: hccl_collective
short_description: Run all-reduces over the nodes of the play
version_added: 0.9.0
description:
  - Runs a container on every node with M(community.docker.docker_container), waits until the container exits, removes
    it, and saves its results with the observation of the node. The C(hccl) stage judges the results. A failed
    all-reduce does not fail the host.
  - The container runs CANN's hccl_test if the image has MPICH and a compiled all_reduce_test. Otherwise, it runs the
    all-reduce program of this collection with C(torchrun). Neither program needs SSH keys between the nodes.
  - The container uses all NPUs of the node. No container is started if a process uses an NPU of any node, or if a node
    does not have the image.
  - A node that could not be observed is skipped.
  - The action reads the inputs of the role P(ascend.vllm.hccl#role).
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
options:
  step:
    description:
      - V(run) runs one all-reduce over all nodes.
      - V(diagnosis) runs all-reduces on each node alone and between pairs of nodes, if the all-reduce over all nodes
        failed or was slow.
      - V(resume) does not run an all-reduce. If V(run) did not run one because a node did not have the image, V(resume)
        queries the nodes again and returns V(true) in RV(resumed).
    type: str
    choices: [run, diagnosis, resume]
    default: run
attributes:
  check_mode: {details: ["In check mode, no container is started."]}
seealso: [{module: ascend.vllm.observe}, {module: ascend.vllm.stage}]
"""

EXAMPLES = r"""
- name: Query the network ports of the node
  ascend.vllm.observe: {stage: hccl}

- name: Run an all-reduce over all nodes
  ascend.vllm.hccl_collective:

- name: Find the cause of a failed or slow all-reduce
  ascend.vllm.hccl_collective: {step: diagnosis}
"""

RETURN = r"""
rounds: {type: list, elements: str, sample: [all], returned: always, description: "The rounds of all-reduces that were
  run, such as C(all) for the round with all nodes."}
resumed: {type: bool, returned: always, description: "Whether to repeat V(run), since all nodes may have the image."}
msg: {type: str, returned: "with O(step=run) and O(step=diagnosis), if the node was observed", description: "The reason
  why there was no all-reduce over all nodes, or an empty string."}
"""
