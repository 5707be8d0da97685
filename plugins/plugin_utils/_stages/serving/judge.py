# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the service of a node: before the start whether it can run, then whether it runs as planned and answers."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._haproxy import UP, server_name
from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import describe_holder
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import UNKNOWN, diagnose
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import HCCL_DEFAULT_PORTS
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import (
    CRITICAL,
    FAILED,
    WARNING,
    Check,
    Checks,
    sentence,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group

_LOG = "Read the container's log (docker logs); playbooks/diagnostics.yml collects and triages it."

CHECKS = (
    Check("docker_engine", CRITICAL, "The Docker engine answers", "Start Docker on the node (systemctl start docker)."),
    Check("image_present", CRITICAL, "The node has the image of the plan",
          "Bring the image to the node with playbooks/image.yml."),
    Check("image_architecture", CRITICAL, "The image is for the processor of the node",
          "Bring the image of the node's architecture with playbooks/image.yml (image_tag, image_archive)."),
    Check("weights_present", CRITICAL, "The model is on the node", "Stage it with playbooks/weights.yml, or correct "
          "weights_path."),
    Check("mount_sources", CRITICAL, "What the container mounts is there and of the right type",
          "Install the driver or correct the path; Docker would make an empty folder in its place."),
    Check("devices", CRITICAL, "The NPU device nodes are there",
          "Load the driver (npu-smi info has to list the NPUs), or leave the NPU out with serving_npus."),
    Check("devices_free", CRITICAL, "Nobody else holds the planned NPUs",
          "Stop the process or container that the message names, or plan other NPUs with serving_npus."),
    Check("name_free", CRITICAL, "The container name is free or held by our own container",
          "Remove or rename the container that holds the name, or set serving_container_name."),
    Check("port_free", CRITICAL, "The port is free or held by our own container",
          "End the process that listens there, or set serving_port."),
    Check("hccl_ports_free", CRITICAL, "The host ports of HCCL are free or held by our own container",
          "End the process that listens there, or set serving_hccl_port_base."),
    Check("ports_reserved", WARNING, "No planned port is one that the kernel gives to outgoing connections",
          "Reserve them (sysctl net.ipv4.ip_local_reserved_ports), or plan others (serving_hccl_port_base)."),
    Check("interface", CRITICAL, "The node has the address that the nodes it serves with know it by",
          "Set serving_group_address to an address of the node, and serving_interface where it is not found alone."),
    Check("group", CRITICAL, "All nodes that serve together are there",
          "Remove the cause on the node that is named, and run playbooks/serving.yml for all of them."),
    Check("up_to_date", CRITICAL, "The container runs what the plan says",
          "Run playbooks/serving.yml again; it replaces what is out of date."),
    Check("start", CRITICAL, "Patch, secrets and containers could be brought to the node",
          "Remove the cause that the message names, and run playbooks/serving.yml again."),
    Check("running", CRITICAL, "The container runs and has not crashed", _LOG),
    Check("health", CRITICAL, "/health answers with 200",
          "Give a slow start more time with serving_ready_timeout_s. " + _LOG),
    Check("key_accepted", CRITICAL, "The server accepts our API key",
          "The server was started with another key: run playbooks/serving.yml with the right serving_api_key."),
    Check("served_name", CRITICAL, "/v1/models names the planned model",
          "Something else answers on this port, or serving_served_model_name was changed by hand: start it again."),
    Check("completion", CRITICAL, "A completion is answered", _LOG),
    Check("engine_progress", CRITICAL, "Docker's health check sees the engine go on",
          "Keep what the engine says (playbooks/diagnostics.yml), then restart the container; with "
          "serving_restart_hung it restarts by itself."),
    Check("balancer", CRITICAL, "A completion through the balancer is answered",
          "Read its journal on its host (journalctl -u ascend-vllm-balancer)."),
    Check("balancer_server", CRITICAL, "The balancer gives requests to the instance",
          "See from the balancer's host that the instance's port can be reached; playbooks/status.yml shows what the "
          "balancer's health check found."),
    Check("balancer_watch", WARNING, "The balancer is told when an engine hangs",
          "Read the journal of the watch on the balancer's host (journalctl -u ascend-vllm-balancer-watch)."),
    Check("upgrade", CRITICAL, "An upgrade was verified, or not asked for",
          "Remove the cause that the message names, and run playbooks/upgrade.yml again."),
    Check("api_key", WARNING, "Clients have to send an API key",
          "Set serving_api_key from a vault, or listen on a protected address with serving_bind."),
    Check("plan_warnings", WARNING, "The plan has nothing to warn of",
          "Choose another release, or waive this check once it is known."),
)

# Of these the judge says by itself what there is to say.
_SAID_ELSEWHERE = ("serving_api_key",)
# What the triage of a log says when it does not know, or when the server had started well.
_NO_CAUSES = (UNKNOWN, "startup_ok")
# Put there by the role itself after the first look, or looked into by a check of its own.
_OTHER_MOUNTS = ("patch", "secrets", "health", "weights")
_STEPS = ("up_to_date", "running", "health", "key_accepted", "served_name", "completion")


#: The phases of the stage: before anything is started, and after an upgrade was taken back; the other one is when the
#: service has been started.
BEFORE, ROLLED_BACK = "before", "rolled_back"
RETURNED = ("containers", "ours", "addresses")


def request(context):
    """What to ask of the node, see `judging.Judge`."""
    if context.phase == ROLLED_BACK:
        return Request("ascend.vllm.serving_info", state_arguments(context.plan, context.inputs))
    return Request("ascend.vllm.serving_prerequisites_info", prerequisites_arguments(context.plan, context.inputs))


def survey(observations, inputs):
    """Return ``{host: {host: observation}}``: the nodes of a group have to know whether each of them can start."""
    return {host: dict(observations) for host in observations}


def state_arguments(plan, inputs):
    """Return the arguments of ``ascend.vllm.serving_info`` for the node of the plan."""
    return {
        "instances": [{key: instance[key] for key in ("name", "port", "bind")} for instance in plan["instances"]],
        "image": plan["image"]["reference"],
        "served_name": plan["model"]["served_name"],
        "api_key": inputs["serving_api_key"],
        "docker_socket": plan["docker_socket"],
    }


def prerequisites_arguments(plan, inputs):
    """Return the arguments of ``ascend.vllm.serving_prerequisites_info`` for the node of the plan."""
    mounts = {mount["source"]: mount["type"] for instance in plan["instances"] for mount in instance["mounts"]
              if mount["origin"] not in _OTHER_MOUNTS}
    return {
        **state_arguments(plan, inputs),
        "mounts": [{"source": source, "type": kind} for source, kind in mounts.items()],
        "devices": sorted({device for instance in plan["instances"] for device in instance["devices"]}),
        "ports": sorted({port for instance in plan["instances"] for _use, ports in _ports(instance) for port in ports}),
        "weights": plan["model"]["path"],
        "addresses": plan["group"] is not None,
    }


def _ports(instance):
    """Yield (use, range of ports) of what an instance listens on at the host."""
    if instance["port"] is not None:
        yield "the API", range(instance["port"], instance["port"] + 1)
    if instance.get("group_port"):
        yield "the nodes that serve with it", range(instance["group_port"], instance["group_port"] + 1)
    first, last = instance["hccl_ports"]["host"] if instance["hccl_ports"] else HCCL_DEFAULT_PORTS
    yield "HCCL", range(first, last + 1)


def judge(context):
    """Return the checks of the stage.

    :param context: ``observed`` is what the module of `request` returned, a ServingObservation; a ServingState in the
        phase `ROLLED_BACK`, whose failure is that of the upgrade and whose plan has the previous instances. After the
        start ``measured`` has ``waited`` (what ``ascend.vllm.serving_ready`` returned) and ``balancer`` (what
        ``ascend.vllm.balancer_server`` and ``ascend.vllm.balancer_info`` returned in loops over the balancers).
    """
    checks = Checks(CHECKS)
    plan, observed = context.plan, context.observed
    error = observed["docker_engine_error"]
    checks.expect("docker_engine", not error, "an answer", error or "it answers", message=error)
    if error:
        return checks.as_list()
    if context.phase == ROLLED_BACK:
        _rolled_back(checks, context)
        return checks.as_list()
    _prerequisites(checks, plan, observed)
    if context.phase == BEFORE:
        if plan["group"]:
            _members(checks, context)
        return checks.as_list()
    if context.failure:
        checks.expect("start", False, "every step done", "a step failed", message=_triaged(context.failure))
    if plan["group"] and not _together(checks, context):
        return checks.as_list()
    for planned, seen in zip(plan["instances"], observed["instances"]):
        _instance(checks, planned, _at_its_worst(seen, context.measured.get("waited")), context)
    if context.measured.get("balancer"):
        _balancer(checks, plan, context.host, *context.measured["balancer"])
    for planned in serving_instances(plan):
        checks.expect("api_key", bool(planned["secrets_path"]) or planned["bind"].startswith("127."), "a key",
                      "a key" if planned["secrets_path"] else "none, listening on " + planned["bind"], planned["name"])
    warnings = [warning for warning in plan["warnings"] if warning["id"] not in _SAID_ELSEWHERE]
    for warning in warnings:
        checks.expect("plan_warnings", False, subject=warning["id"], message=warning["message"])
    if not warnings:
        checks.expect("plan_warnings", True, "none", "none")
    return checks.as_list()


def _triaged(error):
    """Return what a task said, with the cause that it names."""
    cause = diagnose(error)[0]
    return error if cause["cause"] in _NO_CAUSES else "%s; cause %s: %s" % (
        error.rstrip(". \n"), cause["cause"], cause["remedy"])


def _prerequisites(checks, plan, observed):
    """What has to hold before a container is touched, and still does afterwards."""
    checks.expect("image_present", bool(observed["image"]), plan["image"]["reference"],
                  observed["image"] or "no such image")
    fits = observed["image_architecture"] == observed["architecture"] if observed["image"] else None
    checks.expect("image_architecture", fits, observed["architecture"], observed["image_architecture"], message={
        False: "the image is for %s, the node is %s" % (observed["image_architecture"], observed["architecture"]),
        None: "There is no image."}.get(fits))
    weights = observed["weights"]
    checks.expect("weights_present", weights["config"] and weights["shards"] > 0, "config.json and weights",
                  "no such folder" if not weights["folder"] else "%s config.json, %d files of weights" % (
                      "a" if weights["config"] else "no", weights["shards"]), plan["model"]["path"])
    wrong = observed["wrong_sources"]
    for source in wrong:
        checks.expect("mount_sources", False, "a " + source["expected"], source["found"], source["source"])
    if not wrong:
        checks.expect("mount_sources", True, "all there", "all there")
    missing = observed["missing_devices"]
    checks.expect("devices", not missing, "all there", "missing: " + ", ".join(missing) if missing else "all there")
    _devices_free(checks, plan, observed)
    for seen in observed["instances"]:
        container = seen["container"]
        ours = container is None or container["hash"] is not None
        found = "free" if container is None else "ours" if ours else "another's"
        checks.expect("name_free", ours, "free or ours", found, seen["name"],
                      None if ours else "a container of this name is there that we did not start")
    _ports_free(checks, plan, observed)


def _is_ours(container, plan):
    """Return whether a container (or None) is an instance of this deployment, of this plan or of an earlier one."""
    return container is not None and labels.is_instance(container["name"], plan["instances"][0]["name"])


def _devices_free(checks, plan, observed):
    """NPUs are held by whoever has them open or was given them; the devices that all NPUs share are no one's."""
    npus = {npu: instance["name"] for instance in plan["instances"] for npu in instance["npus"]}
    foreign = [holder for holder in observed["device_holders"]
               if holder["device"] in npus and not _is_ours(holder["container"], plan)]
    for holder in foreign:
        path, who = device_path(holder["device"]), describe_holder(holder)
        checks.expect("devices_free", False, "free, or held by " + npus[holder["device"]], who, path,
                      "%s is held by %s" % (path, who))
    if not foreign:
        checks.expect("devices_free", True, "free or ours", "free or ours")


def _ports_free(checks, plan, observed):
    holders = {holder["port"]: holder for holder in observed["port_holders"]}
    outgoing = observed["outgoing_ports"]
    overlaps = []
    for planned in plan["instances"]:
        for use, ports in _ports(planned):
            check = "hccl_ports_free" if use == "HCCL" else "port_free"
            held = [holders[port] for port in ports if port in holders]
            foreign = next((holder for holder in held if not _is_ours(holder["container"], plan)), None)
            shown = foreign or (held[0] if held else None)
            checks.expect(check, foreign is None, "free or ours", describe_holder(shown) if shown else "free",
                          planned["name"],
                          foreign and "port %d is held by %s" % (foreign["port"], describe_holder(foreign)))
            given = [port for port in ports if outgoing and outgoing["first"] <= port <= outgoing["last"]
                     and not any(low <= port <= high for low, high in outgoing["reserved"])]
            if given:
                overlaps.append("%s of %s (%s)" % (use, planned["name"], "-".join(
                    str(port) for port in sorted({given[0], given[-1]}))))
    if outgoing is None:
        checks.not_run("ports_reserved", "The kernel does not tell which ports it gives to outgoing connections.")
        return
    checks.expect("ports_reserved", not overlaps, "none", ", ".join(overlaps) or "none", message=(
        "the kernel gives ports %d-%d to outgoing connections, and with them those for %s: one may be taken when the "
        "service starts" % (outgoing["first"], outgoing["last"], ", ".join(overlaps))) if overlaps else None)


def _members(checks, context):
    """Refuse a group of which a node cannot start: the others would wait for it in vain."""
    plan, observed, peers, why = context.plan, context.observed, context.survey or {}, None
    if context.forks < context.play_hosts:
        why = "Ansible works on %d hosts at once, but all %d of this run have to be watched together; raise forks" % (
            context.forks, context.play_hosts)
    for member in plan["group"]["members"]:
        if member["host"] == plan["group"]["host"]:
            (instance,) = plan["instances"]
            found, missing = group.interface(instance, observed["addresses"])
            checks.expect("interface", not missing, instance["address"], found, instance["name"], missing)
        else:
            why = why or _hindrance(plan, member, peers.get(member["host"]))
    checks.expect("group", why is None, "all of them", "all of them" if why is None else "not all", None, why)


def _hindrance(plan, member, observed):
    """Return why a member of the group cannot start, or None."""
    host = member["host"]
    if observed is None:
        return "%s is not there: it has left this run, or was never in it (--limit)" % host
    if observed["docker_engine_error"]:
        return "%s cannot start: %s" % (host, observed["docker_engine_error"])
    found = Checks(CHECKS)
    _prerequisites(found, plan, observed)
    _address, missing = group.interface(dict(member, interface=None), observed["addresses"])
    found.expect("interface", not missing, message=missing)
    failed = next((check for check in found.as_list() if check["status"] == FAILED), None)
    return failed and "%s cannot start: %s" % (host, sentence(dict(failed, remedy=None)).rstrip("."))


def _together(checks, context):
    """State whether the group came up; False where another node ended it, and this one is only a part of that."""
    plan = context.plan
    if context.check_mode or "waited" not in context.measured:
        checks.not_run("group", "In check mode nothing is started." if context.check_mode else
                       "The group was not waited for.")
        return True
    ended = context.measured["waited"]["ended"]
    said = "; ".join("%(host)s: %(reason)s" % member for member in ended)
    if any(member["state"] == group.FAILED for member in ended):
        said += "; the group was stopped"
    checks.expect("group", not ended, "all of them ready", said or "all of them ready", None, said or None)
    if not ended or plan["group"]["host"] in [member["host"] for member in ended]:
        return True
    for planned in plan["instances"]:
        _rest(checks, None, planned, "Another node ended the start of the group.")
    return False


def _at_its_worst(seen, waited):
    """Return the state in which waiting ended where that was a failure: a crash loop looks alive between crashes."""
    for failed in (waited or {}).get("failed_instances", ()):
        if failed["name"] == seen["name"] and seen["state"] != "ready":
            return failed
    return seen


def _instance(checks, planned, seen, context):
    """Judge one instance; what was not reached is not run."""
    plan, name, container = context.plan, planned["name"], seen["container"]
    if container is None or container["hash"] != planned["hash"]:
        found = "no container" if container is None else "an older plan (%s)" % container["hash"]
        why = "In check mode nothing is started." if context.check_mode else None
        checks.expect("up_to_date", None if why else False, planned["hash"], found, name, why)
        return _rest(checks, "up_to_date", planned, "The planned container does not run.")
    checks.expect("up_to_date", True, planned["hash"], container["hash"], name)

    healthy = seen["health"] is not None and seen["health"]["status"] == 200
    # One that has failed before it was healthy has crashed, also when it was seen between two crashes.
    alive = seen["state"] in ("ready", "starting") or healthy
    checks.expect("running", alive, "running", container["status"], name, None if alive else _why(seen))
    if not alive:
        return _rest(checks, "running", planned, "The container does not run.")
    if not planned["serves"]:
        return None
    _engine_progress(checks, planned, seen, plan)
    checks.expect("health", healthy, 200, _answer(seen["health"]), name,
                  None if healthy else _late(seen, context.measured))
    if not healthy:
        return _rest(checks, "health", planned, "/health does not answer with 200.")
    refused = seen["models"]["status"] in (401, 403)
    checks.expect("key_accepted", not refused, "the planned key" if planned["secrets_path"] else "no key",
                  "refused with %s" % seen["models"]["status"] if refused else "accepted", name,
                  seen["reason"] if refused else None)
    if refused:
        return _rest(checks, "key_accepted", planned, "The server refuses our API key.")
    named = seen["state"] == "ready" or seen["completion"] is not None
    checks.expect("served_name", named, plan["model"]["served_name"],
                  ", ".join(map(str, seen["models"]["models"])) or _answer(seen["models"]), name)
    if not named:
        return _rest(checks, "served_name", planned, "The model is not served under the planned name.")
    answered = seen["state"] == "ready"
    checks.expect("completion", answered, 200, _answer(seen["completion"]), name, None if answered else _why(seen))
    return None


def _engine_progress(checks, planned, seen, plan):
    """What Docker's health check has seen since the last look; an answered completion says more."""
    health = seen["container"].get("health")
    if plan["health_check"] is None:
        checks.unsupported("engine_progress", "There is no health check (serving_health_interval_s is 0).",
                           planned["name"])
        return
    if planned["health"] is None:  # it has no API to ask
        return
    if health is None:
        checks.not_run("engine_progress", "Docker does not tell of a health check.", planned["name"])
        return
    hangs = health["status"] == "unhealthy" and seen["state"] != "ready"
    checks.expect("engine_progress", not hangs, "healthy", health["status"], planned["name"],
                  "%d looks in a row failed, at last: %s" % (health["failures"], health["said"]) if hangs else None)


def _balancer(checks, plan, host, servers, fronts):
    """Judge whether each balancer uses each instance of the node, and whether those that this host manages answer."""
    for asked in servers["results"]:
        states = {server["name"]: server for server in asked.get("servers", ())}
        for planned in serving_instances(plan):
            name = server_name(host, planned["port"])
            server = states.get(name, {"status": "not known to it", "check": "", "watched": None, "engine": ""})
            error = asked["msg"] if asked.get("unreachable") else asked.get("error")
            subject, engine = "%s on %s" % (name, asked["item"]), server["engine"]
            found = " ".join(filter(None, (server["status"], server["check"], engine and "engine " + engine)))
            checks.expect("balancer_server", not error and server["status"] == UP, UP, error or found, subject)
            if server["watched"] is not None:
                checks.expect("balancer_watch", server["watched"], "an answer", engine, subject,
                              None if server["watched"] else "the watch for hung engines does not answer: %s" % engine)
            elif name in states:
                checks.unsupported("balancer_watch", "There is none (balancer_watch_interval_s is 0).", subject)
    for front in fronts["results"]:
        error = front["msg"] if front.get("unreachable") else front.get("error")
        answer = front.get("completion") or {"status": None}
        checks.expect("balancer", not error and answer["status"] == 200, 200,
                      error or _answer(answer), front["item"][1]["url"])


def _rolled_back(checks, context):
    """Say why an upgrade was taken back, and whether the previous service answers again."""
    why, seen = (context.failure or "no reason was given").rstrip("."), context.observed["instances"]
    failing = ["%s: %s" % (instance["name"], instance["reason"]) for instance in seen if instance["state"] != "ready"]
    if not seen:
        after = "there was no previous service to come back to"
    elif failing:
        after = "the previous service does not answer either (%s)" % "; ".join(failing)
    else:
        after = "the previous service (image %s) serves again" % seen[0]["container"]["image"][:19]
    checks.expect("upgrade", False, "the new service, verified", "it was taken back",
                  message="%s; the new one was not verified: %s" % (after, why))


def _rest(checks, last, planned, why):
    """The steps after the last one (None: all of them) are not run; an instance without an API has but two."""
    steps = _STEPS if planned["serves"] else _STEPS[:2]
    for step in steps[steps.index(last) + 1 if last else 0:]:
        checks.not_run(step, why, planned["name"])
    if planned["serves"] and last in (None, "up_to_date", "running"):
        checks.not_run("engine_progress", why, planned["name"])


def _why(seen):
    """Return the reason of a failure with the cause that the log names."""
    cause = next((cause for cause in seen["causes"] if cause["cause"] not in _NO_CAUSES), None)
    if cause:
        return "%s; cause %s: %s. %s" % (
            seen["reason"], cause["cause"], cause["evidence"].rstrip("."), cause["remedy"])
    return "%s; its last line: %s" % (seen["reason"], seen["log"][-1] if seen["log"] else "none")


def _late(seen, measured):
    waited = measured.get("waited") or {}
    return "after %s s the server is still starting%s" % (
        waited.get("seconds", 0), " (%s)" % seen["progress"] if seen["progress"] else "")


def _answer(answer):
    if answer is None:
        return "not asked"
    return answer["status"] if answer["status"] is not None else answer.get("error")
