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
        description: The port of the API. An instance without one is ready when its container runs.
        type: int
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
    default: ascend.vllm.instance-hash
  image:
    description: The name of the image. Left out, none is looked for.
    type: str
  served_name:
    description: The name of the model in requests, where there are instances.
    type: str
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
    description: The device nodes that are looked for, and whose holders are.
    type: list
    elements: path
    default: []
  ports:
    description: The TCP ports whose holders are looked for.
    type: list
    elements: int
    default: []
  weights:
    description: The folder of the model, which is looked into.
    type: path
  addresses:
    description: Whether to return the addresses of the node.
    type: bool
    default: false
  load:
    description: Whether running containers that carry the label are asked for their requests, and images for digests.
    type: bool
    default: false
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
architecture:
  description: The processor architecture of the node, as the kernel names it.
  type: str
  returned: always
image_architecture:
  description: That of the image, or null when there is no image.
  type: str
  returned: always
weights:
  description: Whether the model is a C(folder), has its C(config), and how many C(shards) it has; null when not asked.
  type: dict
  returned: always
port_holders:
  description: Who holds one of O(ports), each with C(port), C(pid), C(process) and C(container) (a name or null).
  type: list
  elements: dict
  returned: always
device_holders:
  description: Who holds one of O(devices), each with C(device), C(pid), C(process) and C(container) (a name or null).
  type: list
  elements: dict
  returned: always
outgoing_ports:
  description: The ports that the kernel gives to outgoing connections, C(first) to C(last) but those C(reserved).
  type: dict
  returned: always
ours:
  description: Names of all containers on the node that carry the label.
  type: list
  elements: str
  returned: always
containers:
  description:
    - What each of these containers was started with, C(name), C(id), C(image), C(image_name), C(hash), C(status),
      C(restart_policy), C(started_s), C(devices), C(bind), C(port), C(served_name) and C(shutdown_timeout_s).
    - With O(load) also C(image_digest) and C(load), which is null where no connection is taken, and otherwise
      C(running), C(waiting) and C(kv_cache_usage), or an C(error).
  type: list
  elements: dict
  returned: always
now_s:
  description: Seconds since the epoch by the clock of the node.
  type: int
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
addresses:
  description: The IPv4 addresses of the node where they were asked for, each with C(interface) and C(address).
  type: list
  elements: dict
  returned: always
instances:
  description:
    - For each instance its C(name), C(state) (V(ready), V(starting), V(failed) or V(missing)), C(reason), C(container),
      C(health), C(models), C(completion) and C(progress).
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
import platform
import time
from http.client import HTTPConnection, HTTPException
from urllib.parse import quote

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, engine
from ansible_collections.ascend.vllm.plugins.module_utils._docker.images import KERNEL_NAMES
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, holders, network
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import metrics, startup
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import Server
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import UNKNOWN, diagnose
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files

READY = "ready"
STARTING = "starting"
FAILED = "failed"
MISSING = "missing"
LOG_LINES = 2000
SHOWN_LINES = 20
CAUSES = 3
STATUS_TIMEOUT_S = 10
ENGINE_TIMEOUT_S = 20
# Docker's health check has waited long enough; an engine that has come back answers one token at once.
UNHEALTHY_TIMEOUT_S = 5


class HealthServer(Server):
    """A server that is asked for its health, too."""

    def health(self):
        """Return the answer to ``GET /health``, whose body is empty."""
        answer, _body = self._exchange("/health", None, None)
        if answer["status"] is not None:
            answer.pop("error", None)
        return answer


def ask_load(container):
    """Return what a running container has to do: see ``lifecycle.requests_left``."""
    host = "127.0.0.1" if container["bind"] == "0.0.0.0" else container["bind"]
    connection = HTTPConnection(host, container["port"], timeout=STATUS_TIMEOUT_S)
    try:
        connection.request("GET", "/metrics")
        text = connection.getresponse().read().decode("utf-8", "replace")
    except ConnectionRefusedError:
        return None
    except (OSError, HTTPException) as error:
        return {"error": "/metrics: %s" % (str(error) or type(error).__name__)}
    finally:
        connection.close()
    return metrics.load(text) or {"error": "/metrics tells nothing of requests"}


def our_containers(get, label, with_load):
    """Return every container that carries the label, also those that do not run."""
    listed = get("/containers/json?all=1&filters=" + quote('{"label":["%s"]}' % label)) or ()
    inspected = [get("/containers/%s/json" % each["Id"]) for each in listed]
    found = sorted((containers.described(each, label) for each in inspected if each), key=lambda each: each["name"])
    for each in found if with_load else ():
        image = get("/images/%s/json" % each["image"]) or {}
        digests = [digest.rpartition("@")[2] for digest in image.get("RepoDigests") or ()]
        each["image_digest"] = digests[0] if digests else None
        each["load"] = ask_load(each) if each["status"] == "running" and each["port"] else None
    return found


class Observer:
    """Looks at instances; ``get`` asks the Docker engine, ``read_log(name, lines, since)`` returns a log."""

    def __init__(self, options, get, read_log):
        self.options = options
        self.get = get
        self.read_log = read_log

    def look(self, instance):
        """Return the state of one instance."""
        inspected = self.get("/containers/%s/json" % quote(instance["name"], safe=""))
        found = containers.container(inspected, self.options["label"])
        seen = {"name": instance["name"], "container": found, "health": None, "models": None, "completion": None,
                "progress": None, "causes": [], "log": []}
        if found is None:
            return dict(seen, state=MISSING, reason="there is no container of this name")
        if found["status"] in containers.ENDED or (found["status"] == "created" and found["error"]):
            return self._with_log(dict(seen, state=FAILED, reason=found["error"] or containers.ending(found)))
        if found["status"] != "running":
            return dict(seen, state=STARTING, reason="the container is %s" % found["status"])
        if instance["port"] is None:
            log = self.read_log(instance["name"], LOG_LINES, containers.started(found))
            return dict(seen, state=READY, reason=None, progress=startup.progress(log))
        seen = self._ask(seen, instance)
        if seen["state"] != STARTING:
            return seen
        known = instance["restarts"]
        if known is not None and found["restarts"] > known:
            # What it has answered or not is of a life that is over.
            return self._with_log(dict(seen, state=FAILED, health=None,
                                       reason="the container was restarted while it was starting"))
        if self._is_unhealthy(found):
            return self._with_log(dict(seen, state=FAILED, reason="%s, and Docker calls the container unhealthy" % (
                seen["reason"])))
        return seen

    @staticmethod
    def _is_unhealthy(found):
        return bool(found["health"]) and found["health"]["status"] == "unhealthy"

    def _ask(self, seen, instance):
        """Add what the API answers, in the order in which it comes up."""
        host = "127.0.0.1" if instance["bind"] == "0.0.0.0" else instance["bind"]
        server = HealthServer("http://%s:%d" % (host, instance["port"]), self.options["api_key"], STATUS_TIMEOUT_S)
        seen["health"] = server.health()
        if seen["health"]["status"] != 200:
            log = self.read_log(instance["name"], LOG_LINES, containers.started(seen["container"]))
            seen["progress"] = startup.progress(log)
            return dict(seen, state=STARTING, reason="/health does not answer with 200")
        seen["models"] = server.models()
        if seen["models"]["status"] in (401, 403):
            return dict(seen, state=FAILED, reason="the server refuses our API key (%d)" % seen["models"]["status"])
        if seen["models"]["status"] != 200 or self.options["served_name"] not in seen["models"]["models"]:
            return self._with_log(dict(seen, state=FAILED, reason="/v1/models does not name %s" % (
                self.options["served_name"])))
        server.timeout = self.options["completion_timeout_s"]
        if self._is_unhealthy(seen["container"]):
            server.timeout = min(server.timeout, UNHEALTHY_TIMEOUT_S)
        seen["completion"] = server.ask({"endpoint": "/v1/completions", "body": {
            "model": self.options["served_name"], "prompt": "Hello", "max_tokens": 1, "temperature": 0}})
        if seen["completion"]["status"] is None:
            return self._with_log(dict(seen, state=STARTING, reason="a completion is not answered within %g s" % (
                server.timeout)))
        if seen["completion"]["status"] != 200:
            return self._with_log(dict(seen, state=FAILED, reason="a completion is refused"))
        return dict(seen, state=READY, reason=None)

    def _with_log(self, seen):
        """Add the causes that the log names: that of the last life of the container, else what came before."""
        for since in (containers.started(seen["container"]), None):
            log = redact(self.read_log(seen["name"], LOG_LINES, since), [self.options["api_key"]])
            causes = diagnose("%s\n%s" % (seen["container"]["error"] or "", log))[:CAUSES]
            if causes[0]["cause"] != UNKNOWN:
                break
        return dict(seen, causes=causes, log=log.splitlines()[-SHOWN_LINES:])


def wait(observer, options, once):
    """Look at every instance until none is starting or the time is over."""
    deadline = time.monotonic() + options["wait_s"]
    while True:
        seen = [observer.look(instance) for instance in options["instances"]]
        settled = all(instance["state"] != STARTING for instance in seen)
        if settled or once or time.monotonic() >= deadline:
            return seen, settled
        for instance, found in zip(options["instances"], seen):
            if instance["restarts"] is None and found["container"]:
                instance["restarts"] = found["container"]["restarts"]
        time.sleep(options["interval_s"])


def node_holders(get, options):
    """Return who holds ports and devices of the plan, by container where it is one: (at ports, at devices)."""
    if not options["ports"] and not options["devices"]:
        return [], []
    running = containers.containers(get("/containers/json"), lambda name: get("/containers/%s/json" % name))
    at_ports, at_devices = holders.holders(set(options["ports"]), options["devices"])
    return (holders.named_ports(at_ports, running, options["ports"]),
            holders.named_devices(at_devices, running, options["devices"]))


def observe(module):
    """Return everything but what the engine's failure leaves out."""
    options = module.params
    get = engine.getter(options["docker_socket"], ENGINE_TIMEOUT_S)
    shown = ""
    if options["addresses"]:
        ip = module.get_bin_path("ip", required=True, opt_dirs=["/sbin", "/usr/sbin"])
        shown = module.run_command([ip, "-o", "-4", "address", "show"], check_rc=True)[1]
    result = {"engine_error": None, "image": None, "image_architecture": None, "architecture": platform.machine(),
              "ours": [], "containers": [], "instances": [], "settled": True, "port_holders": [], "device_holders": [],
              "now_s": int(time.time()),
              "outgoing_ports": network.outgoing_ports(),
              "weights": files.folder_summary(options["weights"]) if options["weights"] else None,
              "addresses": network.addresses(shown),
              "wrong_sources": facts.wrong_sources(options["mounts"]),
              "missing_devices": [path for path in options["devices"] if not os.path.exists(path)]}
    try:
        image = get("/images/%s/json" % quote(options["image"], safe="")) if options["image"] else None
        ours = our_containers(get, options["label"], options["load"])
        result.update(ours=[each["name"] for each in ours], containers=ours)
        if image:
            architecture = image["Architecture"]
            result.update(image=image["Id"], image_architecture=KERNEL_NAMES.get(architecture, architecture))
        result["port_holders"], result["device_holders"] = node_holders(get, options)
        observer = Observer(options, get, engine.log_reader(options["docker_socket"], ENGINE_TIMEOUT_S))
        result["instances"], result["settled"] = wait(observer, options, module.check_mode)
    except engine.EngineError as error:
        result["engine_error"] = str(error)
    return result


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "instances": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": {"type": "str", "required": True}, "port": {"type": "int"},
            "bind": {"type": "str", "required": True}, "restarts": {"type": "int"}}},
        "label": {"type": "str", "default": "ascend.vllm.instance-hash"},
        "image": {"type": "str"},
        "served_name": {"type": "str"},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "mounts": {"type": "list", "elements": "dict", "default": []},
        "devices": {"type": "list", "elements": "path", "default": []},
        "ports": {"type": "list", "elements": "int", "default": []},
        "weights": {"type": "path"},
        "load": {"type": "bool", "default": False},
        "addresses": {"type": "bool", "default": False},
        "wait_s": {"type": "float", "default": 0},
        "interval_s": {"type": "float", "default": 5},
        "completion_timeout_s": {"type": "float", "default": 20},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    module.exit_json(changed=False, **observe(module))


if __name__ == "__main__":
    main()
