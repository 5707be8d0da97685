# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/accuracy.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: accuracy
short_description: Measure the accuracy of the served model, judge the scores and record the result
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Runs AISBench with M(ascend.vllm.ais_bench) against the first instance of the plan, and prints the progress of
    the run.
  - Judges the scores and records the result in the same way as M(ascend.vllm.stage).
  - Delegate the task to the host that runs AISBench.
  - If several hosts of the run have the same deployment, only the first one is measured.
  - The action reads the inputs of the role P(ascend.vllm.accuracy#role).
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.action, ascend.vllm._plan_option]
options:
  step: {type: str, choices: [choose, begin, measure], default: measure, description: "V(choose) only returns
    RV(measured). V(begin) only checks the Python of the host, before AISBench is installed on it."}
attributes:
  check_mode: {support: full, details: ["In check mode, nothing is measured and no result is written."]}
seealso: [{module: ascend.vllm.stage}, {module: ascend.vllm.ais_bench}]
"""

EXAMPLES = r"""
- name: Measure the accuracy of the served model
  ascend.vllm.accuracy:
  delegate_to: localhost
"""

RETURN = r"""
status: {type: str, returned: always, sample: passed, description: "The worst status of the checks."}
path: {type: str, returned: always, description: "The path of the result on the controller; null in check mode."}
measured: {type: bool, returned: with O(step=choose), description: "Whether this host is measured."}
reachable: {type: bool, returned: always, description: "Whether the host that runs AISBench was reachable."}
"""
