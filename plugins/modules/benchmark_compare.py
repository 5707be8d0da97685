# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/benchmark_compare.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: benchmark_compare
short_description: Compare two measurements
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Reads two measurements of performance or two of accuracy on the controller and prints them side by side, with the
    difference and what it means. It fails nothing.
options:
  before:
    description: A C(benchmark.json), a baseline, a raw result of C(vllm bench serve), or an C(accuracy.json).
    type: path
    required: true
  after:
    description: The other one.
    type: path
    required: true
  minimum_ratio:
    description: Share of the first output throughput below which the second is called a regression.
    type: float
    default: 0.97
  maximum_drop:
    description: Points that the second score may be below the first.
    type: float
    default: 1
attributes:
  check_mode:
    support: full
    description: Nothing is written.
seealso:
  - module: ascend.vllm.benchmark
  - module: ascend.vllm.accuracy
"""

EXAMPLES = r"""
- name: Compare with last week
  ascend.vllm.benchmark_compare:
    before: results-1120/atlas-01/benchmark.json
    after: results/atlas-01/benchmark.json

- name: Compare the quantised model with the original
  ascend.vllm.benchmark_compare:
    before: results-bf16/atlas-01/accuracy.json
    after: results/atlas-01/accuracy.json
"""

RETURN = r"""
rows:
  description: >-
    Of performance C(metric), C(label), C(unit), C(before), C(after), C(ratio) of after to before, whether after is
    C(better), null where both are equal, and C(target) where several were measured; of accuracy C(dataset), C(metric),
    C(before), C(after), C(delta), and whether the drop is C(within) the limit.
  type: list
  elements: dict
  returned: always
holds:
  description: Whether no output throughput is a regression, or no score has dropped by too much.
  type: bool
  returned: always
"""
