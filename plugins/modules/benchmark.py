# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/benchmark.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Measure the planned instances, judge the numbers and record the result
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Warms every instance of the plan up, runs C(vllm bench serve) against it in a container without NPUs, watches it,
    and files the raw results in C(<report_path>/<host>/benchmark/).
  - Then judges and records like M(ascend.vllm.stage). The inputs of the role benchmark are read by themselves.
options:
  stage:
    description: The stage, C(benchmark).
    type: str
    required: true
  plan:
    description: The plan, as P(ascend.vllm.plan#module) returned it.
    type: dict
    required: true
attributes:
  check_mode:
    support: full
    description: Nothing is measured, and the result says so.
requirements:
  - community.docker on the controller, Docker on the node
seealso:
  - module: ascend.vllm.stage
  - module: ascend.vllm.benchmark_info
"""

EXAMPLES = r"""
- name: Measure the served model
  ascend.vllm.benchmark:
    stage: benchmark
    plan: "{{ __benchmark_plan.plan }}"
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
"""
