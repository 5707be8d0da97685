# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe the containers and servers on a node without changing anything."""

from __future__ import annotations

import ssl
import time
from http.client import HTTPException
from typing import TYPE_CHECKING, NamedTuple, cast

from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, images, labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import http_request, tls
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import base_url, reachable
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import metrics, startup
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import MAX_RESPONSE_BYTES, REJECTED, Server
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import UNKNOWN
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._docker.containers import ContainerState
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import ModelsResponse, Response
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.metrics import Load

    class InstanceState(TypedDict):
        """The state of a planned instance."""

        name: str
        state: str  # READY, STARTING, FAILED or MISSING
        reason: str | None  # the reason why the instance is not ready, or None
        container: ContainerState | None
        health: Response | None  # the response to GET /health; None if no request was sent
        models: ModelsResponse | None
        completion: Response | None
        progress: str | None  # the progress of a starting instance
        kv_cache_tokens: int | None  # the KV cache of a ready instance, if its log still contains the number
        causes: list[Diagnosis]  # the causes of a failure
        log: list[str]  # the last lines of the log of a failed instance, with secrets masked

    class LoadError(TypedDict):
        """The reason why the load of a server is unknown."""

        error: str

    class DeployedContainer(ContainerState, total=False):
        """A container that this collection manages. These keys are absent if they were not queried."""

        image_digest: str | None
        load: Load | LoadError | None  # None if the server does not accept connections

    class ServingState(TypedDict):
        """The return values of serving_info."""

        docker_engine_error: str | None  # if there is an error, the other values are unknown
        image: str | None  # the id of the planned image on the node
        containers: list[DeployedContainer]
        instances: list[InstanceState]
        settled: bool  # whether no instance is starting
        now_s: int  # the time on the node in seconds since the epoch


READY = "ready"
STARTING = "starting"
FAILED = "failed"
MISSING = "missing"

DOCKER_TIMEOUT_S = 20
COMPLETION_TIMEOUT_S = 20.0
LOG_LINES = 2000
SHOWN_LINES = 20
CAUSES = 3
STATUS_TIMEOUT_S = 10
# The timeout of the completion request to an unhealthy container. It is shorter, because Docker's health check has
# already waited, and an engine that has recovered generates one token immediately.
UNHEALTHY_TIMEOUT_S = 5

# The common options of serving_info and serving_prerequisites_info. Documented in doc_fragments/_options.py.
OPTIONS = {
    "instances": {"type": "list", "elements": "dict", "required": True, "options": {
        "name": {"type": "str", "required": True}, "port": {"type": "int"}, "bind": {"type": "str", "required": True},
        "restarts": {"type": "int"}}},
    "image": {"type": "str"},
    "served_name": {"type": "str"},
    "api_key": {"type": "str", "default": "", "no_log": True},
    "ca": {"type": "str"},
    "server_name": {"type": "str"},
    "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
}


class Observer(NamedTuple):
    """Observes instances."""

    docker: DockerEngine
    #: The name of the model in requests.
    served_name: str | None
    api_key: str = ""
    #: The timeout in seconds of the completion request that a ready instance must complete.
    completion_timeout_s: float = COMPLETION_TIMEOUT_S
    #: The CA certificates for https (see `tls.client_context`), and the name in the certificates of the instances.
    ca: str | None = None
    server_name: str | None = None

    def observe(self, instance: Mapping[str, Any]) -> InstanceState:
        """Return the state of an instance.

        :param instance: ``name``, ``port`` (None without an API), ``bind``, and optionally ``restarts``, the number of
            restarts of the container at the previous observation. If it has increased, the instance has crashed.
        """
        found = containers.inspect(self.docker, instance["name"])
        observed: InstanceState = {
            "name": instance["name"], "state": MISSING, "reason": "there is no container with this name",
            "container": found, "health": None, "models": None, "completion": None, "progress": None,
            "kv_cache_tokens": None, "causes": [], "log": []}
        if found is None:
            return observed
        if found["status"] in containers.ENDED or (found["status"] == "created" and found["error"]):
            return self._failed(observed, found, found["error"] or containers.exit_reason(found))
        if found["status"] != "running":
            return {**observed, "state": STARTING, "reason": "the container is %s" % found["status"]}
        if instance["port"] is None:
            return {**observed, "state": READY, "reason": None, "progress": self._progress(found)}
        observed = self._query(observed, found, instance)
        if observed["state"] != STARTING:
            return observed
        known = instance.get("restarts")
        if known is not None and found["restarts"] > known:
            # The responses are those of a process that has exited.
            reason = "the container was restarted while it was starting"
            return self._failed({**observed, "health": None}, found, reason)
        if _is_unhealthy(found):
            reason = "%s, and Docker reports the container as unhealthy" % observed["reason"]
            return self._failed(observed, found, reason)
        return observed

    def _query(self, observed: InstanceState, found: ContainerState, instance: Mapping[str, Any]) -> InstanceState:
        """Query the endpoints in the order in which they become available. Return the state with the responses."""
        server = Server(base_url(reachable(instance["bind"]), instance["port"], found["tls"]), self.api_key,
                        STATUS_TIMEOUT_S, self.ca, self.server_name)
        health = server.health()
        observed = {**observed, "health": health}
        if health.get("error", "").startswith(REJECTED):
            return {**observed, "state": FAILED, "reason": health["error"]}
        if health["status"] != 200:
            return {**observed, "state": STARTING, "reason": "/health does not return 200",
                    "progress": self._progress(found)}
        models = server.models()
        observed = {**observed, "models": models}
        if models["status"] in (401, 403):
            return {**observed, "state": FAILED, "reason": "the server rejects the API key (%d)" % models["status"]}
        if models["status"] != 200 or self.served_name not in models["models"]:
            return self._failed(observed, found, "/v1/models does not list %s" % self.served_name)
        server.timeout = self.completion_timeout_s
        if _is_unhealthy(found):
            server.timeout = min(server.timeout, UNHEALTHY_TIMEOUT_S)
        completion = server.send_small(self.served_name)
        observed = {**observed, "completion": completion}
        if completion["status"] is None:
            failed = self._failed(observed, found, "the completion request timed out after %g s" % server.timeout)
            return {**failed, "state": STARTING}
        if completion["status"] != 200:
            return self._failed(observed, found, "the completion request failed")
        return {**observed, "state": READY, "reason": None,
                "kv_cache_tokens": startup.kv_cache_tokens(self._log(found, found["started_s"]))}

    def _failed(self, observed: InstanceState, found: ContainerState, reason: str) -> InstanceState:
        """Return the failed state with its causes. If the log since the last start has none, all of it is read."""
        for since_s in (found["started_s"], None):
            log = self._log(found, since_s)
            causes = diagnose("%s\n%s" % (found["error"] or "", log))[:CAUSES]
            if causes[0]["cause"] != UNKNOWN or causes[0]["evidence"]:
                break
        return {**observed, "state": FAILED, "reason": reason, "causes": causes, "log": log.splitlines()[-SHOWN_LINES:]}

    def _progress(self, found: ContainerState) -> str | None:
        return startup.progress(self._log(found, found["started_s"]))

    def _log(self, found: ContainerState, since_s: float | None) -> str:
        try:
            return containers.log(self.docker, found["id"], LOG_LINES, since_s, [self.api_key])
        except DockerError:
            return ""  # the log is optional


def observe(docker: DockerEngine, params: Mapping[str, Any], load: bool = False, wait_s: float = 0,
            interval_s: float = 5, completion_timeout_s: float = COMPLETION_TIMEOUT_S) -> ServingState:
    """Return the state of the planned instances and of all containers of this collection on the node.

    :param params: the options in OPTIONS. For the instances, see `Observer.observe`.
    :param load: whether to query the load of running servers and the digests of images.
    :param wait_s: the maximum number of seconds to wait until no instance is starting.
    :param interval_s: the number of seconds between observations.
    """
    state: ServingState = {"docker_engine_error": None, "image": None, "containers": [], "instances": [],
                           "settled": True, "now_s": int(time.time())}
    observer = Observer(docker, params["served_name"], params["api_key"], completion_timeout_s, params["ca"],
                        params["server_name"])
    try:
        image = images.inspect(docker, params["image"]) if params["image"] else None
        state["image"] = image["id"] if image else None
        state["containers"] = deployed_containers(docker, load, params["ca"], params["server_name"])
        state["instances"], state["settled"] = wait(observer, params["instances"], wait_s, interval_s)
    except DockerError as error:
        state["docker_engine_error"] = str(error)
    return state


def wait(observer: Observer, instances: list[dict[str, Any]], wait_s: float,
         interval_s: float) -> tuple[list[InstanceState], bool]:
    """Wait until no instance is starting, at most ``wait_s`` seconds. Return (states, whether none is starting)."""
    deadline = time.monotonic() + wait_s
    while True:
        states = [observer.observe(instance) for instance in instances]
        settled = all(state["state"] != STARTING for state in states)
        if settled or time.monotonic() >= deadline:
            return states, settled
        for instance, state in zip(instances, states):
            if instance.get("restarts") is None and state["container"]:
                instance["restarts"] = state["container"]["restarts"]
        time.sleep(interval_s)


def deployed_containers(docker: DockerEngine, load: bool, ca: str | None = None,
                        server_name: str | None = None) -> list[DeployedContainer]:
    """Return all containers of this collection in any state, sorted by name. Raise DockerError on failure.

    :param load: whether to add ``image_digest`` and ``load``.
    """
    found = cast("list[DeployedContainer]", containers.find(docker, labels.INSTANCE, every_state=True))
    for each in found if load else ():
        image = images.inspect(docker, each["image"])
        digests = [digest.rpartition("@")[2] for digest in image["digests"]] if image else []
        each["image_digest"] = digests[0] if digests else None
        each["load"] = None
        if each["status"] == "running" and each["port"]:
            # The API key of the container is used, because the key in the inventory can be newer.
            each["load"] = request_load(base_url(reachable(each["bind"]), each["port"], each["tls"]),
                                        containers.api_key(docker, each["id"]), ca, server_name)
    return found


def request_load(url: str, api_key: str | None, ca: str | None = None,
                 server_name: str | None = None) -> Load | LoadError | None:
    """Return the load of a server, an ``error``, or None if the server does not accept connections."""
    try:
        with http_request.request(url + "/metrics", STATUS_TIMEOUT_S, MAX_RESPONSE_BYTES,
                                  headers={"Authorization": "Bearer " + api_key} if api_key else {}, ca=ca,
                                  server_name=server_name) as response:
            text = response.read().decode("utf-8", "replace")
            if response.status != 200:
                return {"error": "/metrics returns %d" % response.status}
    except ConnectionRefusedError:
        return None
    except ssl.SSLCertVerificationError as error:
        return {"error": "/metrics: %s%s" % (REJECTED, tls.rejection(error))}
    except (OSError, HTTPException, ValueError) as error:  # ValueError: http.client refuses the API key as a header
        return {"error": "/metrics: %s" % (mask_known(str(error), [api_key], 1) or type(error).__name__)}
    return metrics.load(text) or {"error": "/metrics does not contain the number of requests"}


def _is_unhealthy(found: ContainerState) -> bool:
    return found["health"] is not None and found["health"]["status"] == "unhealthy"
