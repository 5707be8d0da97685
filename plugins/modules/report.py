# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/report.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write one report from the results of every stage
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Reads C(<report_path>/<host>/<stage>.json) of the given hosts, and writes C(report.json) and C(report.md)
    beside them.
  - Runs on the controller and reads nothing but those files. A stage without a file is C(not_run).
options:
  phase:
    description:
      - V(begin) removes the results that an earlier run left for the stages that the tags of this run select,
        so that a host that gets lost does not keep its old ones.
      - V(end) writes the report.
    type: str
    choices: [begin, end]
    default: end
  hosts:
    description: Every host that was expected, in the order of the report.
    type: list
    elements: str
    required: true
attributes:
  check_mode:
    support: full
    description: The report is made and shown, and no file is written or removed.
"""

EXAMPLES = r"""
- name: Write the report
  ascend.vllm.report:
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
"""

RETURN = r"""
msg:
  description: The verdict in one sentence; the table host × stage is shown as well.
  type: str
  returned: at the end
path:
  description: The report for people.
  type: str
  returned: at the end
status:
  description: The worst status of all stages that ran.
  type: str
  returned: at the end
  sample: passed
stages:
  description: The stages whose earlier results were removed.
  type: list
  returned: at the beginning
"""
