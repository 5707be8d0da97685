# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/benchmark_compare.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_compare
short_description: Compare two measurements of performance or accuracy
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Reads two measurements of performance, or two measurements of accuracy, on the controller, and prints them side by
    side with their difference and a verdict.
  - The task does not fail if the second measurement is worse. It fails if the measurements have no metric in common.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.action]
options:
  before: {type: path, required: true, description: "The path of the first measurement on the controller. The file is a
    C(benchmark.json), a baseline, a raw result of C(vllm bench serve), or an C(accuracy.json). The hosts of a results
    folder are compared as one run."}
  after: {type: path, required: true, description: "The path of the second measurement, of the same kind."}
  minimum_ratio:
    description: See O(ascend.vllm.benchmark#role:main:benchmark_minimum_ratio).
    type: float
    default: 0.95
  maximum_drop: {type: float, default: 1, description: "The maximum number of points by which a score may be lower."}
seealso: [{module: ascend.vllm.benchmark}, {module: ascend.vllm.accuracy}]
"""

EXAMPLES = r"""
- name: Compare with last week
  ascend.vllm.benchmark_compare:
    before: results-1120/atlas-01/benchmark.json
    after: results/atlas-01/benchmark.json

- name: Compare the quantized model with the original
  ascend.vllm.benchmark_compare:
    before: results-bf16/atlas-01/accuracy.json
    after: results/atlas-01/accuracy.json
"""

RETURN = r"""
rows:
  description: The compared metrics, with one row for each metric that both measurements contain.
  type: list
  elements: dict
  returned: always
  contains:
    metric: {type: str, sample: output_throughput, description: "The name of the metric."}
    before: {type: float, description: "The first value. A score is in points."}
    after: {type: float, description: "The second value. A score is in points."}
    label: {type: str, sample: Output token throughput, returned: for performance, description: "The name of the metric
      as it is printed."}
    unit: {type: str, sample: tok/s, returned: for performance, description: "The unit of the values."}
    ratio: {type: float, returned: for performance, description: "The second value divided by the first, or null."}
    better: {type: bool, returned: for performance, description: "Whether the second is better, or null if equal."}
    limit: {type: float, returned: with at least five repeats, description: "The limit of the second value."}
    worse: {type: bool, returned: with at least five repeats, description: "Whether the second is beyond the limit."}
    target: {type: str, returned: for performance, description: "The name of the target that was measured. The name is
      empty for a baseline and for a single result of C(vllm bench serve)."}
    dataset: {type: str, returned: for accuracy, description: "The name of the dataset."}
    delta: {type: float, returned: for accuracy, description: "The second score minus the first."}
    verdict: {type: str, returned: for accuracy, description: "V(passed), V(failed) or V(inconclusive): whether the
      share of right answers dropped by at most O(maximum_drop)."}
    paired: {type: dict, returned: for accuracy, description: "The comparison of the answers to each question, or null
      if a result does not contain them: C(questions), C(lost), C(gained), C(delta), its interval of 95 % from C(low) to
      C(high), and C(p) of the exact McNemar test."}
verdict: {type: str, returned: always, description: "V(passed), V(failed) or V(inconclusive). For performance, this is
  the verdict of the role P(ascend.vllm.benchmark#role) on the same two runs. For accuracy, a drop of more than
  O(maximum_drop) fails if the exact McNemar test shows that it is not chance."}
"""
