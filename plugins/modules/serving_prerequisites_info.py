#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: serving_prerequisites_info
short_description: Return the state of the planned service and of its prerequisites on a node
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Returns the state of everything that the planned containers require, which is the model, the mount sources, the
    device nodes, the ports, the NPUs and the addresses. Also returns what M(ascend.vllm.serving_info) returns.
  - The module does not change anything.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._attributes.info
  - ascend.vllm._ca
  - ascend.vllm._docker
  - ascend.vllm._serving_state
options:
  instances:
    description: The instances of the plan.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: "The name of the container."}
      port: {type: int, description: "The port of the API. An instance without a port is ready if its container runs."}
      bind: {type: str, required: true, description: "The address that the API listens on."}
  mounts: {type: list, elements: dict, default: [], description: "The mounts whose sources are checked, each with
    C(source) and C(type) (V(file) or V(directory))."}
  devices: {type: list, elements: path, default: [], description: "The required device nodes. For each C(/dev/davinciN)
    among them, the processes and containers that use it are returned."}
  ports: {type: list, elements: int, default: [], description: "The TCP ports to check. The processes that use these
    ports are returned in RV(port_holders)."}
  weights: {type: path, description: "The folder of the model."}
  certificate_files:
    {type: list, elements: path, default: [], description: "The PEM files to check: a certificate and its private key."}
  addresses: {type: bool, default: false, description: "Whether to return the addresses of the node."}
seealso: [{module: ascend.vllm.serving_info}]
"""

EXAMPLES = r"""
- name: Check whether the service can be started
  ascend.vllm.serving_prerequisites_info:
    instances: [{name: vllm-ascend-qwen25-vl, port: 8888, bind: 0.0.0.0}]
    image: quay.io/ascend/vllm-ascend:v0.11.0rc1
    served_name: qwen25_vl
    weights: /data/Qwen2.5-VL-32B-Instruct-w8a8
    mounts: [{source: /usr/local/dcmi, type: directory}]
    devices: [/dev/davinci0, /dev/davinci1, /dev/davinci_manager]
    ports: [8888]
"""

RETURN = r"""
docker_engine_error: {type: str, returned: always, description: "The reason why the Docker engine did not respond, or
  null. If Docker did not respond, only the properties of the host are known."}
image: {type: str, returned: always, description: "The ID of O(image), or null if the node does not have the image."}
containers: {type: list, elements: dict, returned: always, description: "Every container on the node that this
  collection manages, as M(ascend.vllm.serving_info) returns it."}
now_s: {type: int, returned: always, description: "The time on the node, in seconds since the epoch."}
instances: {type: list, elements: dict, returned: always, description: "The states, see M(ascend.vllm.serving_info)."}
settled: {type: bool, returned: always, description: "Whether all instances have started or have failed to start."}
architecture: {type: str, returned: always, description: "The architecture of the node, as C(uname -m) prints it."}
image_architecture: {type: str, returned: always, description: "The architecture of the image, or null without it."}
weights:
  description: Null if O(weights) is not set. Otherwise, whether the folder of the model exists (C(folder)), whether it
    contains C(config.json) (C(config)), and the number of its shards (C(shards)).
  type: dict
  returned: always
wrong_sources: {type: list, elements: dict, returned: always, description: "The mounts whose source is missing or is not
  of the type C(type), each with C(source), C(expected) and C(found)."}
missing_devices: {type: list, elements: str, returned: always, description: "The missing device nodes of O(devices)."}
port_holders:
  description: The processes that use O(ports), each with C(port), C(pid), C(process) and C(container) (or null).
  type: list
  elements: dict
  returned: always
  sample:
    - port: 8888
      pid: 4711
      process: nginx
      container: {id: 4f2a, name: web, image_name: "nginx:1.27", labels: {}}
device_holders:
  description: The processes and containers that use the NPUs among O(devices), each with C(device) (the N of
    C(/dev/davinciN)), C(pid), C(process), C(memory_mb) and C(container) (or null). A running container that has the
    device node of an NPU is included even if none of its processes uses the NPU. For a container of this collection,
    the other NPUs that it uses are included, too.
  type: list
  elements: dict
  returned: always
outgoing_ports: {type: dict, returned: always, description: "The ports that the kernel uses for outgoing connections,
  which are the ports from C(first) to C(last) without the ports in C(reserved)."}
addresses: {type: list, elements: dict, returned: always, description: "With O(addresses), the IPv4 addresses of the
  node, each with C(interface) and C(address)."}
certificate_problem: {type: str, returned: always, description: "Why clients refuse O(certificate_files), or null."}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease, network
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import prerequisites, serving_state


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        **serving_state.OPTIONS,
        "mounts": {"type": "list", "elements": "dict", "default": []},
        "devices": {"type": "list", "elements": "path", "default": []},
        "ports": {"type": "list", "elements": "int", "default": []},
        "weights": {"type": "path"},
        "certificate_files": {"type": "list", "elements": "path", "default": []},
        "addresses": {"type": "bool", "default": False},
    })
    lease.hold(module)
    params = module.params
    host = network.host_network(hccn_query.run_bounded, serving_state.STATUS_TIMEOUT_S) if params["addresses"] else {
        "interfaces": [], "error": None}
    if host["error"]:
        module.fail_json(msg=host["error"])
    docker = DockerEngine(params["docker_socket"], serving_state.DOCKER_TIMEOUT_S)
    module.exit_json(changed=False, **prerequisites.observe(docker, params, host["interfaces"]))


if __name__ == "__main__":
    main()
