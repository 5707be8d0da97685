#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: balancer_info
short_description: Return the state of the balancer on this host and of its servers
version_added: 0.9.0
description:
  - Queries the HAProxy process of the systemd unit C(ascend-vllm-balancer) for its servers. If O(url) is set, the
    module also requests a completion through the balancer.
  - The module does not fail if the balancer does not respond, and returns the reason in RV(error).
extends_documentation_fragment: [ascend.vllm._attributes.info, ascend.vllm._attributes, ascend.vllm._options.ca]
options:
  url: {type: str, description: "The URL of the balancer. By default, no completion is requested."}
  port: {type: int, description: "The port of the balancer. If this option is set, RV(holder) contains any other process
    that listens on the port."}
  served_name: {type: str, default: "", description: "The name of the model in the completion request."}
  api_key: {type: str, default: "", description: "The API key of the service; empty if it requires none."}
  certificate_files: {type: list, elements: path, default: [], description: "Two PEM files to check. The first contains
    a certificate, followed by the certificates of intermediate CAs, and the second contains its key. The module fails
    if clients that send requests to O(url) would not accept the certificate. If this option is set, no completion is
    requested."}
seealso: [{module: ascend.vllm.balancer_server}]
"""

EXAMPLES = r"""
- name: Get the servers of the balancer, and request a completion through it
  ascend.vllm.balancer_info:
    url: http://10.0.0.1:8080
    served_name: qwen25_vl
    api_key: "{{ vault_api_key }}"
  register: balancer

- name: Fail if any instance receives no requests from the balancer
  ansible.builtin.assert:
    that: balancer.servers | rejectattr('status', 'equalto', 'UP') | length == 0
"""

RETURN = r"""
error: {type: str, returned: success, description: "The reason why HAProxy did not respond, or null if it did."}
servers:
  description: The servers, in the order of the configuration.
  type: list
  elements: dict
  returned: success
  contains:
    name: {type: str, sample: node1:8888, description: "The name of the server."}
    host: {type: str, sample: node1, description: "The inventory name of the node."}
    status: {type: str, description: "The status of the server, which is V(UP), V(DRAIN), V(MAINT) or V(DOWN). With
      V(DRAIN), the server finishes the requests in progress and receives no new requests."}
    disabled: {type: bool, description: "Whether an operator has set the server to V(DRAIN) or V(MAINT). If the server
      is down, this cannot be read from RV(servers[].status)."}
    sessions: {type: int, description: "The number of requests in progress."}
    check: {type: str, sample: L7OK/200, description: "The result of the last health check."}
    watched: {type: bool, description: "Whether the watchdog responds, or null if HAProxy does not use it."}
    engine: {type: str, sample: up, description: "The last state of the engine that the watchdog reported."}
holder: {type: str, sample: process 111 (sshd), returned: success, description: "The process other than the balancer
  that listens on O(port), or null if there is no such process."}
completion: {type: dict, returned: success, description: "The response to the completion request, as described in
  RV(ascend.vllm.chat_info#module:servers[].answers). It is null if no completion was requested or HAProxy did not
  respond."}
"""

from urllib.parse import urlsplit

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.plugins.module_utils._host import holders
from ansible_collections.ascend.vllm.plugins.module_utils._host.tls import certificate_problem
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import client

SOCKET_TIMEOUT_S = 5
COMPLETION_TIMEOUT_S = 20


def holder(port: int) -> str | None:
    """Return the process other than the balancer that listens on a port, such as ``process 111 (sshd)``, or None."""
    found = holders.open_files([port])[0].get(port)
    if found is None or any(unit in found["cgroup"] for unit in haproxy.UNITS):
        return None
    return holders.describe_holder({"pid": found["pid"], "process": found["process"], "container": None})


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "url": {"type": "str"},
        "port": {"type": "int"},
        "served_name": {"type": "str", "default": ""},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "ca": {"type": "str"},
        "certificate_files": {"type": "list", "elements": "path", "default": []},
    })
    port, files, url, ca = (module.params[name] for name in ("port", "certificate_files", "url", "ca"))
    found: haproxy.BalancerObservation = {
        "error": None, "servers": [], "holder": holder(port) if port else None, "completion": None}
    problem = certificate_problem(files, ca, urlsplit(url).hostname or "") if files else None
    if problem:
        module.fail_json(msg="The certificate %s cannot be used for %s: %s. Correct balancer_tls_certificate and "
                             "balancer_tls_key. The balancer was not changed." % (files[0], url, problem))
    try:
        found["servers"] = haproxy.servers(haproxy.command_sender(haproxy.SOCKET, SOCKET_TIMEOUT_S))
        if url and not files:
            server = client.Server(url, module.params["api_key"], COMPLETION_TIMEOUT_S, ca)
            found["completion"] = server.send_small(module.params["served_name"])
    except haproxy.BalancerError as error:
        found["error"] = str(error)
    module.exit_json(changed=False, **found)


if __name__ == "__main__":
    main()
