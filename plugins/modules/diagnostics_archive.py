#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_archive
short_description: Write the archive with the diagnostics of a run
version_added: 0.9.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Puts what M(ascend.vllm.diagnostics_bundle) has returned for the nodes in this run, their plans and their last
    results into one archive on the controller, which only its owner can read. Its first file, C(index.md), has
    the failed checks, the causes in the logs, and the missing files with the reasons. The causes are printed, too.
extends_documentation_fragment:
  - ascend.vllm._attributes
options:
  path:
    description: The folder for the archive, C(diagnostics-<run>.tar.gz).
    type: path
    required: true
  hosts:
    description: The hosts of the run.
    type: list
    elements: str
    required: true
  size_limit_mb:
    description: The O(ascend.vllm.diagnostics_bundle#module:size_limit_mb) of the nodes.
    type: int
    default: 64
attributes:
  check_mode:
    support: full
    details:
      - In check mode, the causes are printed, but no archive is written.
  diff_mode:
    support: none
"""

EXAMPLES = r"""
- name: Write the archive of the run
  ascend.vllm.diagnostics_archive:
    path: /root/diagnostics
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
"""

RETURN = r"""
path:
  description: The path of the archive.
  type: str
  returned: success
msg:
  description: The first fault of the nodes and its consequences.
  type: str
  returned: success
"""
