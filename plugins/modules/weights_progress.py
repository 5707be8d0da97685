# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: weights_progress
short_description: Wait for a container that stages a model on a node, and show its progress
version_added: 0.9.0
description:
  - Polls a container until the container exits or its task is done. If the output is a terminal and C(CI) is not set,
    the action prints the size, the rate and the remaining time for each host.
  - Fails if the exit code of the container is not 0. The error message contains the last line that the container
    printed.
  - Tolerates a lost connection to the node for up to a minute.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.docker]
options:
  container: {type: str, required: true, description: "The name of the container."}
  folder: {type: path, required: true, description: "The folder on the node that the container writes to."}
  total_bytes: {type: int, default: 0, description: "The final size of the folder in bytes, or V(0) if it is unknown."}
  done: {type: str, default: "", description: "The path of a file on the node that the container creates when its task
    is done. Set this option if the container continues to run after the task."}
  interval_s: {type: int, default: 10, description: "The seconds between lines of progress. V(0) prints none."}
  timeout_s: {type: int, default: 86400, description: "The seconds within which the container has to finish."}
attributes:
  check_mode: {support: none, details: ["In check mode, no container is started, so there is nothing to wait for."]}
"""

EXAMPLES = r"""
- name: Wait for the download client
  ascend.vllm.weights_progress:
    container: ascend-vllm-download
    folder: /data/.ascend-vllm/model/staging
    total_bytes: 66905436672
"""

RETURN = r"""
bytes: {type: int, returned: success, description: "The size of the folder in bytes."}
seconds: {type: float, returned: success, description: "The duration of the task in seconds."}
running: {type: bool, returned: success, description: "Whether the container is running."}
exit_code: {type: int, returned: success, description: "The exit code of the container, V(0) while it is running."}
done: {type: bool, returned: success, description: "Whether the file O(done) exists."}
output: {type: str, returned: when the container has exited, description: "The last lines that the container printed."}
"""
