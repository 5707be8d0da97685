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
  - Reads two measurements on the controller and prints them side by side. It judges nothing.
options:
  before:
    description: A C(benchmark.json), a baseline, or a raw result of C(vllm bench serve).
    type: path
    required: true
  after:
    description: The other one.
    type: path
    required: true
attributes:
  check_mode:
    support: full
    description: Nothing is written.
seealso:
  - module: ascend.vllm.benchmark
"""

EXAMPLES = r"""
- name: Compare with last week
  ascend.vllm.benchmark_compare:
    before: results-1120/atlas-01/benchmark.json
    after: results/atlas-01/benchmark.json
"""

RETURN = r"""
rows:
  description: >-
    C(metric), C(label), C(unit), C(before), C(after), C(ratio) of after to before, and whether after is C(better),
    null where both are equal.
  type: list
  elements: dict
  returned: always
"""
