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
    and saves the raw results in C(<report_path>/<host>/benchmark/).
  - Then judges and records like M(ascend.vllm.stage). The action reads the inputs of the benchmark role itself.
  - Measurements that involve several hosts, or another host than the node, are steps of their own. Their observations
    are saved and judged with the others in O(step=measure).
extends_documentation_fragment:
  - ascend.vllm.plan_option
options:
  step:
    description:
      - C(begin) refuses inputs that cannot be measured and looks at the services. It has to come first.
      - C(ais_bench) runs AISBench against the instances or the balancer. Delegate the task to the host where it is to
        run.
      - C(balancer) measures, from the first host of the play, what is behind the balancer.
      - C(look) looks at the services again.
      - C(measure) measures the instances of the node, judges all that was measured, and records it.
    type: str
    choices: [begin, ais_bench, balancer, look, measure]
    default: measure
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
- name: Look at what is asked for and at the services
  ascend.vllm.benchmark:
    step: begin

- name: Measure the served model
  ascend.vllm.benchmark:
"""

RETURN = r"""
status:
  description: The status of the stage, the worst of its checks.
  type: str
  returned: with O(step=measure)
  sample: passed
path:
  description: The file of the result on the controller.
  type: str
  returned: with O(step=measure)
observed:
  description: The part of the observation that tasks of the role need.
  type: dict
  returned: always
  contains:
    wanted:
      description: The targets to measure, and whether the steps C(ais_bench) and C(balancer) have something to do.
      type: dict
      returned: success
"""
