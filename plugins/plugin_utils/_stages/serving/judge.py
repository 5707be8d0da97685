# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the serving stage. It checks whether the service can start, runs as planned, and responds."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils import _haproxy as haproxy
from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import is_loopback
from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import describe_holder
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import REJECTED
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import UNKNOWN
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import HCCL_DEFAULT_PORTS
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Group, Instance, Member, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.first_fault import describe, faults_in_order
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import first_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import judging
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context, Outcomes, Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group, replacement

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from ansible_collections.ascend.vllm.plugins.module_utils._docker.containers import ContainerState
    from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import NpuHolder
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import ModelsResponse, Response
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.prerequisites import ServingObservation
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import InstanceState, ServingState

    class LoopResult(TypedDict, total=False):
        """Keys that Ansible adds to the result of a loop item on an unreachable host."""

        unreachable: bool
        msg: str

    class BalancerServers(haproxy.NodeState, LoopResult):
        """The return values of ``ascend.vllm.balancer_server`` on one balancer."""

        #: Inventory name of the balancer.
        item: str

    class BalancerCompletion(haproxy.BalancerObservation, LoopResult):
        """The return values of ``ascend.vllm.balancer_info`` on one balancer that this host manages."""

        #: Inventory name of the balancer, and the service that it provides.
        item: tuple[str, Service]


class Service(TypedDict):
    """A URL of an instance or a balancer to which clients send requests."""

    name: str
    served_name: str
    url: str


class Balancing(TypedDict):
    """The servers of this node on all balancers, and the completions through the balancers that this host manages."""

    servers: list[BalancerServers]
    completions: list[BalancerCompletion]


class Waited(TypedDict):
    """The return values of ``ascend.vllm.serving_ready``."""

    changed: bool
    #: Duration in seconds.
    seconds: int
    failed_instances: list[InstanceState]
    ready: bool
    #: Only in a group.
    failed_members: NotRequired[list[group.FailedMember]]


class Measured(TypedDict, total=False):
    """The results of other tasks of the role after the start. Without a balancer, ``balancer`` is empty."""

    #: Before the start: the value of the label `SECRETS` of a container that has the planned API keys and certificate.
    secrets: str
    waited: Waited
    balancer: Balancing
    services: list[Service]


_LOG = "Read the container's log (docker logs); playbooks/diagnostics.yml collects and triages it."

# Remaining days of a certificate below which a warning is given.
CERTIFICATE_DAYS = 30

CHECKS = (
    Check("docker_engine", CRITICAL, "The Docker engine responds",
          "Install the Docker engine and start it (systemctl start docker); run as root. Podman and iSulad are not "
          "supported."),
    Check("image_present", CRITICAL, "The node has the image of the plan",
          "Pull or load the image with playbooks/image.yml."),
    Check("image_architecture", CRITICAL, "The image is built for the processor of the node",
          "Pull or load the image for the node's architecture with playbooks/image.yml (image_tag, image_archive)."),
    Check("weights_present", CRITICAL, "The model is on the node", "Stage it with playbooks/weights.yml, or correct "
          "weights_path."),
    Check("mount_sources", CRITICAL, "The mount sources exist and have the right type",
          "Install the driver, or correct the path."),
    Check("devices", CRITICAL, "The device nodes of the NPUs exist",
          "Load the driver (npu-smi info must list the NPUs), or exclude the NPU with serving_npus."),
    Check("devices_free", CRITICAL, "No other process or container holds the planned NPUs",
          "Stop the process or container that the message names, or plan other NPUs with serving_npus."),
    Check("name_free", CRITICAL, "The container name is free, or held by our own container",
          "Remove or rename the container with this name, or set serving_container_name."),
    Check("port_free", CRITICAL, "The port is free, or held by our own container",
          "Stop the process that listens on it, or set serving_port."),
    Check("hccl_ports_free", CRITICAL, "The host ports of HCCL are free, or held by our own container",
          "Stop the process that listens on them, or set serving_hccl_port_base."),
    Check("ports_reserved", WARNING, "No planned port is in the kernel's range for outgoing connections",
          "Reserve the ports (sysctl net.ipv4.ip_local_reserved_ports), or plan others (serving_hccl_port_base)."),
    Check("certificate", CRITICAL, "Clients accept the certificate of the API",
          "Correct serving_tls_certificate and serving_tls_key. The certificate must be valid for serving_address, and "
          "be signed by a CA in serving_tls_ca."),
    Check("certificate_expiry", WARNING, "The certificate of each URL is valid for %d more days" % CERTIFICATE_DAYS,
          "Renew the certificate. Then run playbooks/upgrade.yml, which replaces one node at a time."),
    Check("interface", CRITICAL, "The node has the address by which the other nodes of its group reach it",
          "Set serving_group_address to an address of the node, and serving_interface if it has another interface."),
    Check("group", CRITICAL, "All nodes of the group can start, and become ready",
          "Remove the cause on the named node, and run playbooks/serving.yml for all nodes of the group."),
    Check("outage", CRITICAL, "No running container would be replaced without draining it",
          "Run playbooks/upgrade.yml, which drains and replaces one node at a time. To replace the containers of all "
          "nodes at the same time, set serving_allow_outage."),
    Check("up_to_date", CRITICAL, "The container was started from the current plan",
          "Replace the container with playbooks/upgrade.yml or, for a group of nodes, with playbooks/serving.yml."),
    Check("start", CRITICAL, "Patch, API key and containers could be set up",
          "Remove the cause in the message, and run playbooks/serving.yml again."),
    Check("running", CRITICAL, "The container runs and has not crashed", _LOG),
    Check("health", CRITICAL, "/health returns 200",
          "If the start is slow, increase serving_ready_timeout_s. " + _LOG),
    Check("key_accepted", CRITICAL, "The server accepts our API key",
          "The server was started with another key: run playbooks/serving.yml with the right serving_api_key."),
    Check("served_name", CRITICAL, "/v1/models lists the planned model",
          "Another server answers on this port, or the served name was changed manually: run playbooks/serving.yml."),
    Check("completion", CRITICAL, "A completion request succeeds", _LOG),
    Check("devices_held", CRITICAL, "The processes of the instance use exactly the planned NPUs",
          "Look for ASCEND_RT_VISIBLE_DEVICES in the image and in serving_mounts (npu-smi info shows the processes on "
          "each NPU). Remove it there, and run playbooks/upgrade.yml."),
    Check("engine_progress", CRITICAL, "Docker's health check finds that the engine makes progress",
          "Collect the state of the engine (playbooks/diagnostics.yml), then restart the container. With "
          "serving_restart_hung it is restarted automatically."),
    Check("balancer", CRITICAL, "A completion request through the balancer succeeds",
          "Read its journal on its host (journalctl -u ascend-vllm-balancer)."),
    Check("balancer_server", CRITICAL, "The balancer sends requests to the instance",
          "Check on the balancer's host that it can reach the port of the instance; playbooks/status.yml shows the "
          "result of the balancer's health check."),
    Check("balancer_watch", WARNING, "The watchdog for hung engines responds to the balancer",
          "Read the journal of the watchdog on the balancer's host (journalctl -u ascend-vllm-balancer-watch)."),
    Check("upgrade", CRITICAL, "An upgrade, or a restore of the kept containers, was verified",
          "Remove the cause in the message, and run playbooks/upgrade.yml again."),
    Check("api_key", WARNING, "Clients have to send an API key",
          "Set serving_api_key from a vault, or listen on a protected address with serving_bind."),
    Check("plaintext", WARNING, "The API key is not sent over a network without encryption",
          "Set serving_tls_certificate and serving_tls_key, and with a balancer balancer_tls_certificate and "
          "balancer_tls_key. On a network that only trusted hosts can read, waive this check."),
    Check("plan_warnings", WARNING, "The plan has no warnings",
          "Choose another release, or waive this check after reading the warnings."),
)

# Warnings of the plan that other checks report.
_REPORTED_WARNINGS = ("serving_api_key", "serving_api_key.plaintext")
# Causes of the log triage that do not explain a failure.
_NO_CAUSES = (UNKNOWN, "startup_ok")
# Origins of mounts that are not checked here: the role itself creates some later, and the weights have their own check.
_UNCHECKED_MOUNTS = ("patch", "secrets", "middleware", "health", "plog", "weights")
_STEPS = ("up_to_date", "running", "health", "key_accepted", "served_name", "completion", "devices_held")
_STEPS_WITHOUT_API = ("up_to_date", "running", "devices_held")


#: Phases of the stage: before the start, after the rollback of an upgrade, and after a restore of the kept containers.
#: After the start, the phase is empty.
BEFORE, ROLLED_BACK, RESTORED = "before", "rolled_back", "restored"
RETURNED = ("image", "containers", "addresses")
check_inputs = None


def request(context: Context) -> Request:
    """Return the request for the prerequisites or, for the previous service, for its state."""
    if context.phase in (ROLLED_BACK, RESTORED):
        return Request("ascend.vllm.serving_info", state_arguments(context.plan, context.inputs))
    memory = context.plan["memory"]
    return Request("ascend.vllm.serving_prerequisites_info", prerequisites_arguments(context.plan, context.inputs),
                   noted={"planned_kv_cache_tokens": memory.get("tokens") if memory else None})


def survey(observations: Mapping[str, judging.Observation], inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return all observations for each host, because each node of a group must check whether the others can start."""
    return {host: dict(observations) for host in observations}


def state_arguments(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``ascend.vllm.serving_info`` for the node of the plan."""
    return {
        "instances": [{"name": instance["name"], "port": instance["port"], "bind": instance["bind"]}
                      for instance in plan["instances"]],
        "image": plan["image"]["reference"], "served_name": plan["model"]["served_name"],
        "api_key": first_key(inputs["serving_api_key"]), "docker_socket": plan["docker_socket"], **tls_arguments(plan),
    }


def tls_arguments(plan: Plan) -> dict[str, Any]:
    """Return the arguments of ``ascend.vllm.serving_info`` for certificates, which are valid for serving_address."""
    urls = [instance["url"] or "" for instance in serving_instances(plan)]
    return {"ca": plan["ca"], "server_name": urlsplit(urls[0]).hostname if urls else None}


def prerequisites_arguments(plan: Plan, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``ascend.vllm.serving_prerequisites_info`` for the node of the plan."""
    mounts = {mount["source"]: mount["type"] for instance in plan["instances"] for mount in instance["mounts"]
              if mount["origin"] not in _UNCHECKED_MOUNTS}
    return {
        **state_arguments(plan, inputs),
        "certificate_files": [mount["source"] for mount in plan["instances"][0]["mounts"] if mount["origin"] == "tls"],
        "mounts": [{"source": source, "type": kind} for source, kind in mounts.items()],
        "devices": sorted({device for instance in plan["instances"] for device in instance["devices"]}),
        "ports": sorted({port for instance in plan["instances"] for _use, ports in _ports(instance) for port in ports}),
        "weights": plan["model"]["path"], "addresses": plan["group"] is not None}


def _ports(instance: Instance) -> Iterator[tuple[str, range]]:
    """Yield ``(use, range)`` for the host ports of an instance."""
    for use, port in (("the API", instance["port"]), ("the other nodes of the group", instance.get("group_port"))):
        if port:
            yield use, range(port, port + 1)
    first, last = instance["hccl_ports"]["host"] if instance["hccl_ports"] else HCCL_DEFAULT_PORTS
    yield "HCCL", range(first, last + 1)


def judge(context: Context) -> Outcomes:
    """Judge the serving stage.

    :param context: ``measured`` is `Measured`, and ``observed`` is a `ServingObservation`. In the phases `ROLLED_BACK`
        and `RESTORED`, ``observed`` is a `ServingState`, and ``plan`` has the previous instances. In the phase
        `ROLLED_BACK`, ``failure`` is that of the upgrade.
    """
    checks = Checks(CHECKS)
    plan, observed = context.plan, cast("ServingObservation", context.observed)
    measured = cast(Measured, context.measured)
    error = observed["docker_engine_error"]
    checks.expect("docker_engine", not error, "a response", error or "a response", message=error)
    if error:
        return checks.as_list()
    if context.phase == ROLLED_BACK:
        _rolled_back(checks, observed, context.failure)
        return checks.as_list()
    if context.phase == RESTORED:
        for state in observed["instances"]:
            checks.expect("upgrade", state["state"] == "ready", "ready", state["state"], state["name"], state["reason"])
        return checks.as_list()
    _prerequisites(checks, plan, observed, context.check_mode)
    if plan["instances"][0]["tls"]:
        problem = observed["certificate_problem"]
        checks.expect("certificate", not problem, "accepted", problem or "accepted", message=problem)
    if context.phase == BEFORE:
        if plan["group"]:
            _members(checks, context, plan["group"], observed)
        if "secrets" in measured:
            reasons = replacement.replacement_reasons(observed, plan, measured["secrets"], live=True)
            checks.expect("outage", not reasons, "none", "; ".join(reasons) or "none")
        return checks.as_list()
    if context.failure:
        checks.expect("start", False, "every step succeeds", "a step failed", message=_triaged(context.failure))
    if plan["group"] and not _group(checks, context, plan["group"], measured.get("waited")):
        return checks.as_list()
    for planned, state in zip(plan["instances"], observed["instances"]):
        _instance(checks, planned, _worst_state(state, measured.get("waited")), context)
    if measured.get("balancer"):
        _balancer(checks, plan, context.host, measured["balancer"])
    for planned in serving_instances(plan):
        _exposure(checks, plan, planned)
    warnings = [warning for warning in plan["warnings"] if warning["id"] not in _REPORTED_WARNINGS]
    for warning in warnings:
        checks.expect("plan_warnings", False, subject=warning["id"], message=warning["message"])
    if not warnings:
        checks.expect("plan_warnings", True, "none", "none")
    return checks.as_list()


def _exposure(checks: Checks, plan: Plan, planned: Instance) -> None:
    """Judge whether unauthorized clients can use an instance or read its API key."""
    local, bind = is_loopback(planned["bind"]), "listening on " + planned["bind"]
    control = ", ".join(path for path, kind in plan["release"]["routes"].items() if kind == "control")
    checks.expect("api_key", bool(planned["secrets_path"]) or local, "a key",
                  "a key" if planned["secrets_path"] else "none, " + bind, planned["name"],
                  None if planned["secrets_path"] or local else
                  "there is no API key, so everyone who reaches %s can send requests to the model, read /metrics, and "
                  "control the server, depending on its options with %s" % (planned["url"], control))
    if planned["secrets_path"]:
        checks.expect("plaintext", local or planned["tls"], "TLS, or the loopback interface only",
                      "TLS" if planned["tls"] else "HTTP, " + bind, planned["name"])


def _triaged(error: str) -> str:
    """Return the message of a failed task, followed by the cause that the log triage finds in it."""
    cause = diagnose(error)[0]
    return error if cause["cause"] in _NO_CAUSES else "%s; cause %s: %s" % (
        error.rstrip(". \n"), cause["cause"], cause["remedy"])


def _prerequisites(checks: Checks, plan: Plan, observed: ServingObservation, check_mode: bool) -> None:
    """Judge the prerequisites of a start. In check mode, image and model may be missing, as no stage gets them."""
    absent = None if check_mode else False
    checks.expect("image_present", bool(observed["image"]) or absent, plan["image"]["reference"],
                  observed["image"] or "no such image")
    if observed["image"]:
        fits = observed["image_architecture"] == observed["architecture"]
        checks.expect("image_architecture", fits, observed["architecture"], observed["image_architecture"],
                      message=None if fits else "the image is for %s, the node is %s" % (
                          observed["image_architecture"], observed["architecture"]))
    else:
        checks.not_run("image_architecture", "There is no image.")
    weights = observed["weights"] or {"folder": False, "config": False, "shards": 0}
    checks.expect("weights_present", (weights["config"] and weights["shards"] > 0) or absent, "config.json and weights",
                  weights.get("error") or ("no such folder" if not weights["folder"] else
                                           "%s config.json, weight files: %d" % (
                                               "a" if weights["config"] else "no", weights["shards"])),
                  plan["model"]["path"])
    wrong = observed["wrong_sources"]
    for source in wrong:
        checks.expect("mount_sources", False, "a " + source["expected"], source["found"], source["source"])
    if not wrong:
        checks.expect("mount_sources", True, "all of them", "all of them")
    missing = observed["missing_devices"]
    checks.expect("devices", not missing, "all of them", "missing: " + ", ".join(missing) if missing else "all of them")
    _devices_free(checks, plan, observed)
    for state in observed["instances"]:
        container = state["container"]
        ours = container is None or container["hash"] is not None
        found = "free" if container is None else "ours" if ours else "not ours"
        checks.expect("name_free", ours, "free or ours", found, state["name"],
                      None if ours else "another container has this name")
    _ports_free(checks, plan, observed)


def _devices_free(checks: Checks, plan: Plan, observed: ServingObservation) -> None:
    """Judge the processes that use the planned NPUs. Device files that all NPUs share are not considered."""
    npus = {npu: instance["name"] for instance in plan["instances"] for npu in instance["npus"]}
    foreign = [(holder["device"], holder) for holder in observed["device_holders"]
               if holder["device"] in npus and not replacement.is_ours(holder["container"], plan)]
    for device, holder in foreign:
        path, found, container = device_path(device), describe_holder(holder), holder["container"]
        checks.expect("devices_free", False, "free, or held by " + npus[device], found, path,
                      "%s is held by %s" % (path, found), judging.other_deployment(container, plan))
    if not foreign:
        checks.expect("devices_free", True, "free or ours", "free or ours")


def _ports_free(checks: Checks, plan: Plan, observed: ServingObservation) -> None:
    holders = {holder["port"]: holder for holder in observed["port_holders"]}
    outgoing = observed["outgoing_ports"]
    overlaps = []
    for planned in plan["instances"]:
        for use, ports in _ports(planned):
            check = "hccl_ports_free" if use == "HCCL" else "port_free"
            held = [holders[port] for port in ports if port in holders]
            foreign = next((holder for holder in held if not replacement.is_ours(holder["container"], plan)), None)
            shown = foreign or (held[0] if held else None)
            checks.expect(
                check, foreign is None, "free or ours", describe_holder(shown) if shown else "free", planned["name"],
                "port %d is held by %s" % (foreign["port"], describe_holder(foreign)) if foreign else None)
            inside = [port for port in ports if outgoing and outgoing["first"] <= port <= outgoing["last"]
                      and not any(low <= port <= high for low, high in outgoing["reserved"])]
            if inside:
                overlaps.append("%s of %s (%s)" % (use, planned["name"], "-".join(
                    str(port) for port in sorted({inside[0], inside[-1]}))))
    if outgoing is None:
        checks.not_run("ports_reserved", "The kernel does not show its range for outgoing connections.")
        return
    checks.expect("ports_reserved", not overlaps, "none", ", ".join(overlaps) or "none", message=(
        "the kernel uses ports %d-%d for outgoing connections, including those for %s: one of them may be in use when "
        "the service starts" % (outgoing["first"], outgoing["last"], ", ".join(overlaps))) if overlaps else None)


def _members(checks: Checks, context: Context, own: Group, observed: ServingObservation) -> None:
    """Fail if one of the nodes of the group cannot start, because the other nodes would wait for it in vain."""
    plan, obstacle = context.plan, None
    peers: Mapping[str, ServingObservation] = context.survey or {}
    if context.forks < context.play_hosts:
        obstacle = "forks is %d, but all %d hosts of this run have to be watched at the same time; increase it" % (
            context.forks, context.play_hosts)
    for member in own["members"]:
        if member["host"] == own["host"]:
            (instance,) = plan["instances"]
            found, missing = group.interface(instance["address"], instance["interface"], observed["addresses"])
            checks.expect("interface", not missing, instance["address"], found, instance["name"], missing)
        else:
            obstacle = obstacle or _obstacle(plan, member, peers.get(member["host"]), context.check_mode)
    checks.expect("group", obstacle is None, "all of them", "all of them" if obstacle is None else "not all", None,
                  obstacle)


def _obstacle(plan: Plan, member: Member, observed: ServingObservation | None, check_mode: bool) -> str | None:
    """Return the reason why a member of the group cannot start, or None."""
    host = member["host"]
    if observed is None:
        return "%s is not in this run: it has failed before, or --limit excludes it" % host
    if observed["docker_engine_error"]:
        return "%s cannot start: %s" % (host, observed["docker_engine_error"])
    found = Checks(CHECKS)
    _prerequisites(found, plan, observed, check_mode)
    missing = group.interface(member["address"], None, observed["addresses"])[1]
    found.expect("interface", not missing, message=missing)
    for check in found.as_list():
        if check["status"] == contract.FAILED:
            return "%s cannot start: %s" % (host, contract.sentence({**check, "remedy": None}).rstrip("."))
    return None


def _group(checks: Checks, context: Context, own: Group, waited: Waited | None) -> bool:
    """Judge whether the group became ready. Return False if it failed only on other nodes."""
    if context.check_mode or waited is None:
        checks.not_run("group", "The group was not waited for.")
        return True
    failed = waited["failed_members"]
    message = "; ".join("%(host)s: %(reason)s" % member for member in failed)
    if any(member["state"] == group.FAILED for member in failed):
        message += "; the group was stopped"
    message = ". ".join(filter(None, [message, describe(faults_in_order([
        {"host": member["host"], "causes": member["causes"], "clock_offset_s": member["clock_offset_s"]}
        for member in failed if "causes" in member]))]))
    checks.expect("group", not failed, "all of them ready", message or "all of them ready", None, message or None)
    if not failed or own["host"] in [member["host"] for member in failed]:
        return True
    for planned in context.plan["instances"]:
        _not_reached(checks, None, planned, "The start of the group failed on another node.")
    return False


def _worst_state(state: InstanceState, waited: Waited | None) -> InstanceState:
    """Return the state with which the wait failed, or else the current state, which may be between two crashes."""
    for failed in waited["failed_instances"] if waited else ():
        if failed["name"] == state["name"] and state["state"] != "ready":
            return failed
    return state


def _instance(checks: Checks, planned: Instance, state: InstanceState, context: Context) -> None:
    """Judge one instance. Steps that the instance did not reach are recorded as not run."""
    plan, name, container = context.plan, planned["name"], state["container"]
    if container is None or container["hash"] != planned["hash"]:
        found = "no container" if container is None else "another plan (%s)" % container["hash"]
        would = "%s %s %s." % (judging.WOULD, "replace" if container else "start", name)
        checks.expect("up_to_date", None if context.check_mode else False, planned["hash"], found, name,
                      would if context.check_mode else None)
        _not_reached(checks, "up_to_date", planned, "The planned container does not run.")
        return
    checks.expect("up_to_date", True, planned["hash"], container["hash"], name)

    healthy = state["health"] is not None and state["health"]["status"] == 200
    rejected = (state["reason"] or "").startswith(REJECTED)
    # An instance that failed before it was healthy has crashed, even if its container is running again.
    alive = state["state"] in ("ready", "starting") or healthy or rejected
    checks.expect("running", alive, "running", container["status"], name, None if alive else _failure_reason(state))
    if not alive:
        _not_reached(checks, "running", planned, "The container does not run.")
        return
    if not planned["serves"]:
        _devices_held(checks, planned, context.observed["device_holders"])
        return
    if rejected:
        checks.expect("certificate", False, "accepted", state["reason"], name, state["reason"])
        _not_reached(checks, "running", planned, "The certificate of the server is not accepted.")
        return
    _certificate_expiry(checks, state["health"], name)
    _engine_progress(checks, planned, state, container, plan)
    models: ModelsResponse = state["models"] or {"status": None}
    refused, ready = models["status"] in (401, 403), state["state"] == "ready"
    # (check, whether it passes, expected, actual, message if it fails, reason why the later steps are not run)
    steps: tuple[tuple[str, bool, Any, Any, str | None, str], ...] = (
        ("health", healthy, 200, _shown(state["health"]), _timeout_reason(
            state, cast(Measured, context.measured).get("waited")), "/health does not return 200."),
        ("key_accepted", not refused, "the planned key" if planned["secrets_path"] else "no key",
         "refused with %s" % models["status"] if refused else "accepted", state["reason"],
         "The server rejects the API key."),
        ("served_name", ready or state["completion"] is not None, plan["model"]["served_name"],
         ", ".join(map(str, models.get("models", ()))) or _shown(models), None,
         "The model is not served under the planned name."),
        ("completion", ready, 200, _shown(state["completion"]), _failure_reason(state),
         "The completion request failed."))
    for check, passes, expected, actual, message, why in steps:
        checks.expect(check, passes, expected, actual, name, None if passes else message)
        if not passes:
            _not_reached(checks, check, planned, why)
            return
    _devices_held(checks, planned, context.observed["device_holders"])


def _devices_held(checks: Checks, planned: Instance, holders: Iterable[NpuHolder]) -> None:
    """Judge the NPUs that processes of the instance have open. A container alone does not show which NPUs are used."""
    name = planned["name"]
    held = sorted({holder["device"] for holder in holders if holder["container"] and holder["process"]
                   and holder["container"]["name"] == name and holder["device"] is not None})
    if not held:
        checks.unsupported("devices_held", "The node does not show which NPUs the processes of the instance use.", name)
        return
    checks.expect("devices_held", held == sorted(planned["npus"]), sorted(planned["npus"]), held, name)


def _certificate_expiry(checks: Checks, response: Response | None, subject: str) -> None:
    """Judge the certificate of a URL, if the response came over TLS."""
    days = response.get("certificate_days") if response else None
    if days is not None:
        checks.expect("certificate_expiry", days >= CERTIFICATE_DAYS, "%d days" % CERTIFICATE_DAYS,
                      "%.1f days" % days, subject)


def _engine_progress(checks: Checks, planned: Instance, state: InstanceState, container: ContainerState,
                     plan: Plan) -> None:
    """Judge the last result of Docker's health check. If the instance is ready, an unhealthy result is outdated."""
    health = container["health"]
    if plan["health_check"] is None:
        checks.unsupported("engine_progress", "There is no health check (serving_health_interval_s is 0).",
                           planned["name"])
        return
    if planned["health"] is None:  # The instance has no API to check.
        return
    if health is None:
        checks.not_run("engine_progress", "Docker does not report a health check.", planned["name"])
        return
    hung = health["status"] == "unhealthy" and state["state"] != "ready"
    checks.expect("engine_progress", not hung, "healthy", health["status"], planned["name"],
                  f"{health['failures']} consecutive health checks failed, the last one: {health['output']}"
                  if hung else None)


def _balancer(checks: Checks, plan: Plan, host: str, balancing: Balancing) -> None:
    """Judge whether the balancers use the instances of this node, and whether the balancers of this host respond."""
    for balancer in balancing["servers"]:
        servers = {server["name"]: server for server in balancer.get("servers", ())}
        error = balancer["msg"] if balancer.get("unreachable") else balancer.get("error")
        for planned in serving_instances(plan):
            name = haproxy.server_name(host, cast(int, planned["port"]))
            subject = "%s on %s" % (name, balancer["item"])
            if name in servers:
                _balancer_server(checks, servers[name], error, subject)
            else:
                checks.expect("balancer_server", False, haproxy.UP, error or "no such server", subject)
    for front in balancing["completions"]:
        error = front["msg"] if front.get("unreachable") else front.get("error")
        response: Response = front.get("completion") or {"status": None}
        url = front["item"][1]["url"]
        checks.expect("balancer", not error and response["status"] == 200, 200, error or _shown(response), url)
        _certificate_expiry(checks, response, url)
        if any(planned["secrets_path"] for planned in plan["instances"]):
            checks.expect("plaintext", url.startswith("https:"), "TLS", url, url)


def _balancer_server(checks: Checks, server: haproxy.BalancerServer, error: str | None, subject: str) -> None:
    engine = server["engine"]
    found = " ".join(filter(None, (server["status"], server["check"], engine and "engine " + engine)))
    checks.expect("balancer_server", not error and server["status"] == haproxy.UP, haproxy.UP, error or found, subject)
    if server["watched"] is None:
        checks.unsupported("balancer_watch", "There is no watchdog, because balancer_watch_interval_s is 0.", subject)
        return
    checks.expect("balancer_watch", server["watched"], "a response", engine, subject,
                  None if server["watched"] else "the watchdog for hung engines does not respond: %s" % engine)


def _rolled_back(checks: Checks, observed: ServingState, failure: str | None) -> None:
    """Report why an upgrade was rolled back, and whether the previous service is ready again."""
    reason, states = (failure or "no reason was given").rstrip("."), observed["instances"]
    failing = ["%s: %s" % (state["name"], state["reason"]) for state in states if state["state"] != "ready"]
    if not states:
        after = "there was no previous service"
    elif failing:
        after = "the previous service does not respond either (%s)" % "; ".join(failing)
    else:
        after = "the previous service (image %s) is serving again" % cast("ContainerState", states[0]["container"])[
            "image"][:19]
    checks.expect("upgrade", False, "the new service, verified", "a rollback",
                  message="%s; the new one was not verified: %s" % (after, reason))


def _not_reached(checks: Checks, last: str | None, planned: Instance, why: str) -> None:
    """Record the steps after ``last`` (or all if it is None) as not run. Without an API, there are fewer steps."""
    steps = _STEPS if planned["serves"] else _STEPS_WITHOUT_API
    for step in steps[steps.index(last) + 1 if last else 0:]:
        checks.not_run(step, why, planned["name"])
    if planned["serves"] and last in (None, "up_to_date", "running"):
        checks.not_run("engine_progress", why, planned["name"])


def _failure_reason(state: InstanceState) -> str:
    """Return the reason for a failure, with the cause in the log, or else the last line of the log."""
    cause = next((cause for cause in state["causes"] if cause["cause"] not in _NO_CAUSES or (
        cause["cause"] == UNKNOWN and cause["evidence"])), None)
    if cause:
        return "%s; cause %s: %s. %s" % (
            state["reason"], cause["cause"], (cause["evidence"] or "").rstrip("."), cause["remedy"])
    return "%s; its last line: %s" % (state["reason"], state["log"][-1] if state["log"] else "none")


def _timeout_reason(state: InstanceState, waited: Waited | None) -> str:
    return "after %s s the server is still starting%s" % (
        waited["seconds"] if waited else 0, " (%s)" % state["progress"] if state["progress"] else "")


def _shown(response: Response | ModelsResponse | None) -> Any:
    """Return the status of a response, or its error."""
    if response is None:
        return "not sent"
    return response["status"] if response["status"] is not None else response.get("error")
