# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The documentation of plugins/action/serving_status.py, which does the work on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
module: serving_status
short_description: Show the state of the service on each node
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Queries the node with one call of M(ascend.vllm.serving_info), and returns one row for each instance. If O(show) is
    set, the action prints its rows as one table instead.
  - A row contains the states of the container and the server, the numbers of running and waiting requests, the KV cache
    usage, the NPUs, the uptime, the differences from the plan, and the image.
  - An unreachable node also has a row.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.action, ascend.vllm._plan_option]
options:
  show: {type: list, elements: list, description: "The rows of all hosts, as returned in RV(rows)."}
  balancers: {type: list, elements: dict, default: [], description: "The results of a loop over
    M(ascend.vllm.balancer_info)."}
"""

EXAMPLES = r"""
- name: Query the service
  ascend.vllm.serving_status:
  register: __serving_status
"""

RETURN = r"""
rows: {type: list, elements: list, returned: always, description: "The rows of the table, each as a list of its cells."}
lines: {type: list, elements: str, returned: with O(show), description: "The lines of the printed table."}
"""
