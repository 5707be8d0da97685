# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark
short_description: Measure the planned instances, judge the results and record them
version_added: 0.9.0
description:
  - Sends warm-up requests to every instance of the plan, measures the instance with C(vllm bench serve) in a container
    without NPUs, and writes the raw results to C(<report_path>/<host>/benchmark/).
  - Then judges and records the results in the same way as M(ascend.vllm.stage). The action reads the inputs of the role
    P(ascend.vllm.benchmark#role).
  - Measurements that involve several hosts, or a host other than the node, are separate steps. These steps store their
    observations, which O(step=judge) judges together with the measurements of the node.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes, ascend.vllm._options.plan]
options:
  step:
    description:
      - V(begin) validates the inputs and observes the services. This must be the first step.
      - V(ais_bench) measures the instances or the balancer with AISBench. Delegate this task to the host that runs
        AISBench.
      - V(balancer) measures the instances of all nodes through the balancer, from the first host of the play.
      - V(observe) observes the services again.
      - V(measure) measures the instances of the node.
      - V(judge) compares all measurements of the run with their baselines, judges them, and records the result.
    type: str
    choices: [begin, ais_bench, balancer, observe, measure, judge]
    default: judge
attributes:
  check_mode: {details: ["In check mode, nothing is measured and the checks are not run."]}
requirements: ["The collection community.docker on the controller, and Docker on the node"]
seealso: [{module: ascend.vllm.stage}, {module: ascend.vllm.benchmark_info}]
"""

EXAMPLES = r"""
- name: Validate the inputs and observe the services
  ascend.vllm.benchmark: {step: begin}

- name: Measure the served model
  ascend.vllm.benchmark: {step: measure}
"""

RETURN = r"""
status: {type: str, sample: passed, returned: with O(step=judge), description: "The status of the stage, which is the
  worst status of its checks."}
path: {type: str, returned: with O(step=judge), description: "The path of the result; null in check mode."}
observed:
  description: The part of the observation that the tasks of the role need.
  type: dict
  returned: always
  contains:
    wanted: {type: dict, returned: success, description: "The targets, and which steps are needed."}
"""
