# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/weights_progress.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: weights_progress
short_description: Wait for a container that brings a model to a node, and show how far it is
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Polls a container until it ends, or until its task is done, and prints bytes, rate and time left for each host
    while it runs. Nothing is printed where the output is no terminal, or where C(CI) is set.
  - Fails when the container ends with another exit code than 0, with the last line that it printed.
  - A connection that is lost for less than a minute is taken up again.
extends_documentation_fragment:
  - ascend.vllm._docker
options:
  container:
    description: The container's name.
    type: str
    required: true
  folder:
    description: The folder that it fills.
    type: path
    required: true
  total_bytes:
    description: What the folder will hold in the end.
    type: int
    default: 0
  done:
    description: A file that tells that the task is done while the container goes on. Empty when its end tells that.
    type: str
    default: ""
  interval_s:
    description: Seconds between two lines of progress. V(0) prints none.
    type: int
    default: 10
  timeout_s:
    description: Seconds after which it is given up.
    type: int
    default: 86400
attributes:
  check_mode:
    support: none
    description: There is nothing to wait for.
"""

EXAMPLES = r"""
- name: Wait for the hub's client
  ascend.vllm.weights_progress:
    container: ascend-vllm-download
    folder: /data/.ascend-vllm/model/staging
    total_bytes: 66905436672
"""

RETURN = r"""
bytes:
  description: What the folder holds.
  type: int
  returned: always
seconds:
  description: How long it was waited.
  type: float
  returned: always
running:
  description: Whether the container runs.
  type: bool
  returned: always
output:
  description: The last lines that the container printed.
  type: str
  returned: when it has ended
"""
