#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: serving_info
short_description: Return the state of the planned service on a node
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Observes the container, the API and the log of every instance, and all containers of this collection on the node.
  - With O(wait_s), the module repeats the observation until every instance has either completed a request or failed.
  - The module changes nothing. It does not fail if a container has exited or a server does not respond.
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
      restarts: {type: int, description: "The number of restarts of the container at the previous observation. If the
        number increases during the start, the instance has crashed."}
  load: {type: bool, default: false, description: "Whether to return the load of servers and the digests of images."}
  wait_s: {type: float, default: 0, description: "The maximum number of seconds to wait until every instance is ready or
    has failed. With V(0), the instances are observed once."}
  interval_s: {type: float, default: 5, description: "The number of seconds between observations with O(wait_s)."}
  completion_timeout_s: {type: float, default: 20, description: "The timeout in seconds of the completion request that
    an instance must complete to become ready."}
attributes:
  check_mode: {details: ["In check mode, O(wait_s) is ignored."]}
seealso: [{module: ascend.vllm.serving_prerequisites_info}]
"""

EXAMPLES = r"""
- name: Check whether the service responds
  ascend.vllm.serving_info:
    instances: [{name: vllm-ascend-qwen25-vl, port: 8888, bind: 0.0.0.0}]
    image: quay.io/ascend/vllm-ascend:v0.11.0rc1
    served_name: qwen25_vl
"""

RETURN = r"""
docker_engine_error: {type: str, returned: always, description: "The reason why the Docker engine did not respond, or
  null. If Docker did not respond, the other values are unknown."}
image: {type: str, returned: always, description: "The ID of O(image), or null if the node does not have the image."}
containers:
  description:
    - Every container of this collection on the node in any state, sorted by name. Previous containers that an upgrade
      has kept are included.
    - C(devices) contains the numbers N of C(/dev/davinciN). C(hash) is the hash of the instance that was planned when
      the container was created. C(bind), C(port), C(tls), C(served_name) and C(shutdown_timeout_s) are
      read from the options of C(vllm serve).
    - With O(load), a container also has C(image_digest) and C(load). C(load) is null if the server does not accept
      connections. Otherwise, it contains C(running), C(waiting), C(finished) and C(kv_cache_usage), or an C(error).
  type: list
  elements: dict
  returned: always
now_s: {type: int, returned: always, description: "The time on the node, in seconds since the epoch."}
instances:
  description: For each instance, its C(name), C(state) (V(ready), V(starting), V(failed) or V(missing)), C(reason),
    C(container) (as in RV(containers), or null), C(health), C(models), C(completion), C(progress) and
    C(kv_cache_tokens), the tokens in the KV cache of a ready instance, or null if its log does not contain them. A
    failed instance also has C(causes), which were found in its log, and C(log), which contains the last lines of it.
  type: list
  elements: dict
  returned: always
settled: {type: bool, returned: always, description: "Whether no instance is still starting."}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine
from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import serving_state


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        **serving_state.OPTIONS,
        "instances": {"type": "list", "elements": "dict", "required": True, "options": {
            **serving_state.INSTANCE_OPTIONS, "restarts": {"type": "int"}}},
        "load": {"type": "bool", "default": False},
        "wait_s": {"type": "float", "default": 0},
        "interval_s": {"type": "float", "default": 5},
        "completion_timeout_s": {"type": "float", "default": serving_state.COMPLETION_TIMEOUT_S},
    })
    lease.hold(module)
    params = module.params
    docker = DockerEngine(params["docker_socket"], serving_state.DOCKER_TIMEOUT_S)
    module.exit_json(changed=False, **serving_state.observe(
        docker, params, params["load"], 0 if module.check_mode else params["wait_s"], params["interval_s"],
        params["completion_timeout_s"]))


if __name__ == "__main__":
    main()
