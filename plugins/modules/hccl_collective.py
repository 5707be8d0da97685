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
  - Starts a container on every node by M(community.docker.docker_container), waits for it, removes it, and keeps what
    it measured with the node's observation, for the stage C(hccl) to judge. It fails no host.
  - In the container runs CANN's hccl_test where the image has it built and has MPICH, else an all-reduce of this
    collection by C(torchrun). No keys between the nodes are needed for either.
  - The container gets all NPUs. It is not started while something holds an NPU, or where the image is missing.
  - The inputs are those of the role P(ascend.vllm.hccl#role).
extends_documentation_fragment:
  - ascend.vllm.plan_option
options:
  step:
    description:
      - With V(run), one all-reduce over all nodes.
      - With V(diagnosis), after one that failed or was slow, each node alone and then pairs of nodes; else nothing.
      - With V(resume), none. Where V(run) could not run for want of the image, the node is asked again for it.
    type: str
    choices: [run, diagnosis, resume]
    default: run
attributes:
  check_mode:
    support: full
    description: No container is started.
seealso:
  - module: ascend.vllm.stage
"""

EXAMPLES = r"""
- name: Run an all-reduce over all nodes
  ascend.vllm.hccl_collective:
"""

RETURN = r"""
rounds:
  description: The rounds that were run.
  type: list
  elements: str
  returned: success
  sample: [all]
resumed:
  description: Whether V(run) has to be done again, now that the stage C(image) is over.
  type: bool
  returned: success
"""
