# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_plan
short_description: Resolve the servers behind the balancer
version_added: 0.9.0
description:
  - Resolves the plans of all nodes in C(balancer_nodes) from the inventory, including nodes outside the play. Returns
    which of the balancers in C(balancer_hosts) this host manages.
  - A balancer in the play manages itself. A balancer outside the play is managed by the first host of the play that has
    not failed.
  - The action runs on the controller only. It fails if the nodes cannot be servers of one balancer. The error message
    has one sentence for each reason.
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes]
seealso: [{module: ascend.vllm.plan}, {module: ascend.vllm.balancer_info}]
"""

EXAMPLES = r"""
- name: Resolve the servers behind the balancer
  ascend.vllm.balancer_plan:
  register: __balancer_plan
"""

RETURN = r"""
hosts: {type: list, elements: str, returned: success, description: "The hosts of the balancers that send requests to the
  instances of this host. The list is empty if no instance of this host receives requests."}
managed: {type: list, elements: str, returned: success, description: "The hosts of balancers that this host manages."}
servers: {type: list, elements: dict, returned: success, description: "The instances behind the balancer, each with
  C(name), C(host), C(address), C(port), C(tls) and C(served_name). If RV(managed) is empty, only the instances of this
  host are returned."}
services: {type: list, elements: dict, returned: success, description: "The services of the balancers in RV(managed),
  each with C(name), C(url) and C(served_name)."}
ports: {type: list, elements: dict, returned: success, description: "Inputs that set ports, as C(name) and C(port)."}
control_paths: {type: list, elements: str, returned: success, description: "The routes of vLLM that control a server.
  The balancer refuses requests to these routes."}
"""
