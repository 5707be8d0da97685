# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the service of a node: before the start whether it can run, then whether it runs as planned and answers."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils.plan import LABEL
from ansible_collections.ascend.vllm.plugins.module_utils.results import CRITICAL, WARNING, Check, Checks

_LOG = "Read the container's log (docker logs); playbooks/diagnostics.yml collects and triages it."

CHECKS = (
    Check("engine", CRITICAL, "The Docker engine answers", "Start Docker on the node (systemctl start docker)."),
    Check("image_present", CRITICAL, "The node has the image of the plan",
          "Bring the image to the node with playbooks/image.yml."),
    Check("mount_sources", CRITICAL, "What the container mounts is there and of the right type",
          "Install the driver, stage the weights with playbooks/weights.yml, or correct the path; Docker would make an "
          "empty folder in its place."),
    Check("devices", CRITICAL, "The NPU device nodes are there",
          "Load the driver (npu-smi info has to list the NPUs), or leave the NPU out with serving_npus."),
    Check("name_free", CRITICAL, "The container name is free or held by our own container",
          "Remove or rename the container that holds the name, or set serving_container_name."),
    Check("port_free", CRITICAL, "The port is free or held by our own container",
          "End the process that listens there, or set serving_port."),
    Check("up_to_date", CRITICAL, "The container runs what the plan says",
          "Run playbooks/serving.yml again; it replaces what is out of date."),
    Check("start", CRITICAL, "Patch, secrets and containers could be brought to the node",
          "Remove the cause that the message names, and run playbooks/serving.yml again."),
    Check("running", CRITICAL, "The container runs and has not crashed", _LOG),
    Check("health", CRITICAL, "/health answers with 200",
          "Give a slow start more time with serving_ready_timeout_s. " + _LOG),
    Check("served_name", CRITICAL, "/v1/models names the planned model",
          "Something else answers on this port, or serving_served_model_name was changed by hand: start it again."),
    Check("completion", CRITICAL, "A completion is answered", _LOG),
    Check("api_key", WARNING, "Clients have to send an API key",
          "Set serving_api_key from a vault, or listen on a protected address with serving_bind."),
    Check("plan_warnings", WARNING, "The plan has nothing to warn of",
          "Choose another release, or waive this check once it is known."),
)

# Of these the judge says by itself what there is to say.
_SAID_ELSEWHERE = ("serving_api_key",)
# What the triage of a log says when it does not know, or when the server had started well.
_NO_CAUSES = ("unknown", "startup_ok")
# Put there by the role itself, after the first look.
_OWN_MOUNTS = ("patch", "secrets")


def arguments(context):
    """Return the arguments of ``ascend.vllm.serving_info`` for the node of the plan."""
    plan, settings = context["plan"], context["settings"]
    mounts = {mount["source"]: mount["type"] for instance in plan["instances"] for mount in instance["mounts"]
              if mount["origin"] not in _OWN_MOUNTS}
    return {
        "instances": [{key: instance[key] for key in ("name", "port", "bind")} for instance in plan["instances"]],
        "label": LABEL,
        "image": plan["image"]["reference"],
        "served_name": plan["model"]["served_name"],
        "api_key": settings["api_key"],
        "mounts": [{"source": source, "type": kind} for source, kind in mounts.items()],
        "devices": sorted({device for instance in plan["instances"] for device in instance["devices"]}),
    }


def judge(context):
    """Return the checks of the stage.

    :param context: see ``ascend.vllm.stage``; ``observed`` is what ``ascend.vllm.serving_info`` returned, with
        ``before`` when nothing has been started yet, ``check_mode``, ``waited`` (what ``ascend.vllm.serving_ready``
        returned) and ``error`` when a task of the role failed.
    """
    checks = Checks(CHECKS)
    plan, observed = context["plan"], context["observed"]
    checks.expect("engine", not observed["engine_error"], "an answer", observed["engine_error"] or "it answers",
                  message=observed["engine_error"])
    if observed["engine_error"]:
        return checks.as_list()
    _prerequisites(checks, plan, observed)
    if observed.get("before"):
        return checks.as_list()
    if observed.get("error"):
        checks.expect("start", False, "every step done", "a step failed", message=observed["error"])
    for planned, seen in zip(plan["instances"], observed["instances"]):
        _instance(checks, planned, _at_its_worst(seen, observed.get("waited")), plan, observed)
    for planned in plan["instances"]:
        checks.expect("api_key", bool(planned["secrets_path"]) or planned["bind"].startswith("127."), "a key",
                      "a key" if planned["secrets_path"] else "none, listening on " + planned["bind"], planned["name"])
    warnings = [warning for warning in plan["warnings"] if warning["id"] not in _SAID_ELSEWHERE]
    for warning in warnings:
        checks.expect("plan_warnings", False, subject=warning["id"], message=warning["message"])
    if not warnings:
        checks.expect("plan_warnings", True, "none", "none")
    return checks.as_list()


def _prerequisites(checks, plan, observed):
    """What has to hold before a container is touched, and still does afterwards."""
    checks.expect("image_present", bool(observed["image"]), plan["image"]["reference"],
                  observed["image"] or "no such image")
    wrong = observed["wrong_sources"]
    for source in wrong:
        checks.expect("mount_sources", False, "a " + source["expected"], source["found"], source["source"])
    if not wrong:
        checks.expect("mount_sources", True, "all there", "all there")
    missing = observed["missing_devices"]
    checks.expect("devices", not missing, "all there", "missing: " + ", ".join(missing) if missing else "all there")
    for seen in observed["instances"]:
        container, holder = seen["container"], seen["holder"]
        ours = container is None or container["hash"] is not None
        found = "free" if container is None else "ours" if ours else "another's"
        checks.expect("name_free", ours, "free or ours", found, seen["name"],
                      None if ours else "a container of this name is there that we did not start")
        free = holder is None or holder["ours"]
        checks.expect("port_free", free, "free or ours", _holder(holder), seen["name"])


def _holder(holder):
    if holder is None:
        return "free"
    if holder["ours"]:
        return "ours"
    return "process %s (%s)" % (holder["pid"], holder["process"]) if holder["pid"] else "a process not of this host"


def _at_its_worst(seen, waited):
    """Return the state in which waiting ended where that was a failure: a crash loop looks alive between crashes."""
    for failed in (waited or {}).get("failed_instances", ()):
        if failed["name"] == seen["name"] and seen["state"] != "ready":
            return failed
    return seen


def _instance(checks, planned, seen, plan, observed):
    """Judge one instance; what was not reached is not run."""
    name, container = planned["name"], seen["container"]
    steps = ["up_to_date", "running", "health", "served_name", "completion"]
    if container is None or container["hash"] != planned["hash"]:
        found = "no container" if container is None else "an older plan (%s)" % container["hash"]
        why = "In check mode nothing is started." if observed.get("check_mode") else None
        checks.expect("up_to_date", None if why else False, planned["hash"], found, name, why)
        return _rest(checks, steps[1:], name, "The planned container does not run.")
    checks.expect("up_to_date", True, planned["hash"], container["hash"], name)

    alive = seen["state"] in ("ready", "starting") or seen["health"] is not None
    checks.expect("running", alive, "running", container["status"], name, None if alive else _why(seen))
    if not alive:
        return _rest(checks, steps[2:], name, "The container does not run.")
    healthy = seen["health"] is not None and seen["health"]["status"] == 200
    checks.expect("health", healthy, 200, _answer(seen["health"]), name, None if healthy else _late(seen, observed))
    if not healthy:
        return _rest(checks, steps[3:], name, "/health does not answer with 200.")
    named = seen["state"] == "ready" or seen["completion"] is not None
    checks.expect("served_name", named, plan["model"]["served_name"],
                  ", ".join(map(str, seen["models"]["models"])) or _answer(seen["models"]), name)
    if not named:
        return _rest(checks, steps[4:], name, "The model is not served under the planned name.")
    answered = seen["state"] == "ready"
    checks.expect("completion", answered, 200, _answer(seen["completion"]), name, None if answered else _why(seen))
    return None


def _rest(checks, steps, name, why):
    for step in steps:
        checks.not_run(step, why, name)


def _why(seen):
    """Return the reason of a failure with the cause that the log names."""
    cause = next((cause for cause in seen["causes"] if cause["cause"] not in _NO_CAUSES), None)
    if cause:
        return "%s; cause %s: %s. %s" % (seen["reason"], cause["cause"], cause["evidence"], cause["remedy"])
    return "%s; its last line: %s" % (seen["reason"], seen["log"][-1] if seen["log"] else "none")


def _late(seen, observed):
    waited = observed.get("waited") or {}
    return "after %s s the server is still starting%s" % (
        waited.get("seconds", 0), " (%s)" % seen["progress"] if seen["progress"] else "")


def _answer(answer):
    if answer is None:
        return "not asked"
    return answer["status"] if answer["status"] is not None else answer.get("error")
