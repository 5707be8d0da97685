#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: serving_info
short_description: Tell the state of the planned service on a node
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Looks at the container, the port, the API and the log of every instance, and at what a container of the plan needs.
  - With O(wait_s) it looks again until every instance has either answered a completion or failed.
  - Nothing is changed. A container that has ended and a server that does not answer are returned, not raised.
options:
  instances:
    description: The instances of the plan.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name of the container.
        type: str
        required: true
      port:
        description: The port of the API.
        type: int
        required: true
      bind:
        description: The address that the API listens on.
        type: str
        required: true
      restarts:
        description: Restarts of the container as last seen. More of them while it is starting are a crash.
        type: int
  label:
    description: The label that a container of ours carries.
    type: str
    required: true
  image:
    description: The name of the image.
    type: str
    required: true
  served_name:
    description: The name of the model in requests.
    type: str
    required: true
  api_key:
    description: The key of the service.
    type: str
    default: ""
  mounts:
    description: The mounts whose source is looked for, each with C(source) and C(type).
    type: list
    elements: dict
    default: []
  devices:
    description: The device nodes that are looked for.
    type: list
    elements: path
    default: []
  wait_s:
    description: Seconds to wait for every instance to be ready or to have failed.
    type: float
    default: 0
  interval_s:
    description: Seconds between two looks while waiting.
    type: float
    default: 5
  completion_timeout_s:
    description: Seconds that the completion may take that proves an instance ready.
    type: float
    default: 20
  docker_socket:
    description: The socket of the Docker engine.
    type: path
    default: /var/run/docker.sock
attributes:
  check_mode:
    support: full
    description: One look is taken and nothing is waited for.
"""

EXAMPLES = r"""
- name: See whether the service answers
  ascend.vllm.serving_info:
    instances:
      - {name: vllm-ascend-qwen25-vl, port: 8888, bind: 0.0.0.0}
    label: ascend.vllm.instance-hash
    image: quay.io/ascend/vllm-ascend:v0.11.0rc1
    served_name: qwen25_vl
"""

RETURN = r"""
engine_error:
  description: Why the Docker engine could not be asked, or null.
  type: str
  returned: always
image:
  description: The id of the image on the node, or null.
  type: str
  returned: always
ours:
  description: Names of all containers on the node that carry the label.
  type: list
  elements: str
  returned: always
wrong_sources:
  description: Mounts whose source is not there or of another type, with C(source), C(expected) and C(found).
  type: list
  elements: dict
  returned: always
missing_devices:
  description: Device nodes that are not there.
  type: list
  elements: str
  returned: always
instances:
  description:
    - For each instance its C(name), C(state) (V(ready), V(starting), V(failed) or V(missing)), C(reason), C(container),
      C(holder) of its port, C(health), C(models), C(completion) and C(progress).
    - A failed one has C(causes), named by its log, and C(log), the last lines of it.
  type: list
  elements: dict
  returned: always
settled:
  description: Whether no instance is still starting.
  type: bool
  returned: always
"""

import os
import time
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils import engine_api, serving_state
from ansible_collections.ascend.vllm.plugins.module_utils.chat import Server
from ansible_collections.ascend.vllm.plugins.module_utils.log_triage import diagnose
from ansible_collections.ascend.vllm.plugins.module_utils.redact import redact

READY = "ready"
STARTING = "starting"
FAILED = "failed"
MISSING = "missing"
LOG_LINES = 2000
SHOWN_LINES = 20
CAUSES = 3
STATUS_TIMEOUT_S = 10


class HealthServer(Server):
    """A server that is asked for its health, too."""

    def health(self):
        """Return the answer to ``GET /health``, whose body is empty."""
        answer, _body = self._exchange("/health", None, None)
        if answer["status"] is not None:
            answer.pop("error", None)
        return answer


class Observer:
    """Looks at instances; ``get`` asks the Docker engine, ``read_log`` returns the log of a container."""

    def __init__(self, options, get, read_log):
        self.options = options
        self.get = get
        self.read_log = read_log

    def look(self, instance, holders):
        """Return the state of one instance."""
        inspected = self.get("/containers/%s/json" % quote(instance["name"], safe=""))
        found = serving_state.container(inspected, self.options["label"])
        seen = {"name": instance["name"], "container": found, "holder": holders.get(instance["port"]), "health": None,
                "models": None, "completion": None, "progress": None, "causes": [], "log": []}
        if seen["holder"]:
            seen["holder"]["ours"] = bool(found) and found["id"] in seen["holder"].pop("cgroup")
        if found is None:
            return dict(seen, state=MISSING, reason="there is no container of this name")
        if found["status"] in serving_state.ENDED:
            reason = "the container has ended with exit code %d%s" % (
                found["exit_code"], ", killed for want of memory" if found["oom_killed"] else "")
            return self._with_log(dict(seen, state=FAILED, reason=found["error"] or reason))
        if found["status"] != "running":
            return dict(seen, state=STARTING, reason="the container is %s" % found["status"])
        seen = self._ask(seen, instance)
        known = instance["restarts"]
        if seen["state"] == STARTING and known is not None and found["restarts"] > known:
            return self._with_log(dict(seen, state=FAILED, reason="the container was restarted while it was starting"))
        return seen

    def _ask(self, seen, instance):
        """Add what the API answers, in the order in which it comes up."""
        host = "127.0.0.1" if instance["bind"] == "0.0.0.0" else instance["bind"]
        server = HealthServer("http://%s:%d" % (host, instance["port"]), self.options["api_key"], STATUS_TIMEOUT_S)
        seen["health"] = server.health()
        if seen["health"]["status"] != 200:
            seen["progress"] = serving_state.progress(self.read_log(instance["name"]))
            return dict(seen, state=STARTING, reason="/health does not answer with 200")
        seen["models"] = server.models()
        if seen["models"]["status"] != 200 or self.options["served_name"] not in seen["models"]["models"]:
            return self._with_log(dict(seen, state=FAILED, reason="/v1/models does not name %s" % (
                self.options["served_name"])))
        server.timeout = self.options["completion_timeout_s"]
        seen["completion"] = server.ask({"endpoint": "/v1/completions", "body": {
            "model": self.options["served_name"], "prompt": "Hello", "max_tokens": 1, "temperature": 0}})
        if seen["completion"]["status"] is None:
            return self._with_log(dict(seen, state=STARTING, reason="a completion is not answered within %g s" % (
                server.timeout)))
        if seen["completion"]["status"] != 200:
            return self._with_log(dict(seen, state=FAILED, reason="a completion is refused"))
        return dict(seen, state=READY, reason=None)

    def _with_log(self, seen):
        log = redact(self.read_log(seen["name"]), [self.options["api_key"]])
        return dict(seen, causes=diagnose(log)[:CAUSES], log=log.splitlines()[-SHOWN_LINES:])


def wait(observer, options, once):
    """Look at every instance until none is starting or the time is over."""
    deadline = time.monotonic() + options["wait_s"]
    while True:
        holders = serving_state.holders({instance["port"] for instance in options["instances"]})
        seen = [observer.look(instance, holders) for instance in options["instances"]]
        settled = all(instance["state"] != STARTING for instance in seen)
        if settled or once or time.monotonic() >= deadline:
            return seen, settled
        time.sleep(options["interval_s"])


def observe(module):
    """Return everything but what the engine's failure leaves out."""
    options = module.params
    docker = module.get_bin_path("docker")

    def read_log(name):
        return "".join(module.run_command([docker, "logs", "--tail", str(LOG_LINES), name])[1:]) if docker else ""

    get = engine_api.getter(options["docker_socket"], 20)
    result = {"engine_error": None, "image": None, "ours": [], "instances": [], "settled": True,
              "wrong_sources": serving_state.wrong_sources(options["mounts"]),
              "missing_devices": [path for path in options["devices"] if not os.path.exists(path)]}
    try:
        image = get("/images/%s/json" % quote(options["image"], safe=""))
        labelled = get("/containers/json?all=1&filters=" + quote('{"label":["%s"]}' % options["label"]))
        result.update(image=image and image["Id"], ours=sorted(each["Names"][0].lstrip("/") for each in labelled))
        observer = Observer(options, get, read_log)
        result["instances"], result["settled"] = wait(observer, options, module.check_mode)
    except engine_api.EngineError as error:
        result["engine_error"] = str(error)
    return result


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "instances": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": {"type": "str", "required": True}, "port": {"type": "int", "required": True},
            "bind": {"type": "str", "required": True}, "restarts": {"type": "int"}}},
        "label": {"type": "str", "required": True},
        "image": {"type": "str", "required": True},
        "served_name": {"type": "str", "required": True},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "mounts": {"type": "list", "elements": "dict", "default": []},
        "devices": {"type": "list", "elements": "path", "default": []},
        "wait_s": {"type": "float", "default": 0},
        "interval_s": {"type": "float", "default": 5},
        "completion_timeout_s": {"type": "float", "default": 20},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    module.exit_json(changed=False, **observe(module))


if __name__ == "__main__":
    main()
