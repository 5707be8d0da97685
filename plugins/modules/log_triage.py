# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: log_triage
short_description: Find the causes of a failure in logs on the controller
version_added: 0.9.0
description:
  - Reads the text files of a folder or an archive on the controller, and prints the causes that were found. The most
    likely cause is first. Each cause is printed with its file, line and remedy.
  - No node is contacted, and archives are not unpacked.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes]
options:
  path: {type: path, required: true, description: "The path of a folder, an archive (tar, tar.gz or zip), or one log."}
seealso: [{module: ascend.vllm.diagnostics_bundle}]
"""

EXAMPLES = r"""
- name: Find the causes in the logs of another cluster
  ascend.vllm.log_triage: {path: logs.tar.gz}
"""

RETURN = r"""
diagnosis:
  description: The causes, each with its evidence, line, time, process, file and remedy. The most likely cause is first.
  type: list
  elements: dict
  returned: success
  sample:
    - cause: out_of_memory
      evidence: "RuntimeError: NPU out of memory."
      remedy: Lower gpu-memory-utilization or max-num-seqs.
      line: 4711
      time: 11-20 10:00:00
      process: Worker_TP3 pid=9
      file: container-vllm-ascend.log
files: {type: list, elements: str, returned: success, description: "The files that were read."}
"""
