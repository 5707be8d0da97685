# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of an upgrade and of a rollback, derived from the containers on a node.

Running containers are described by the options with which they were started, because the plan may have changed since
then. All containers are items of the return value ``containers`` of ``ascend.vllm.serving_info``.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypedDict

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import KEPT, PREVIOUS, base_name, is_instance
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import base_url
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance, Plan

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._docker.containers import ContainerState
    from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import HolderContainer
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import DeployedContainer, ServingState

#: The old and the new name of a container, in functional syntax because "from" is a keyword.
Rename = TypedDict("Rename", {"from": str, "to": str})


class Policy(TypedDict):
    """A container and the restart policy to set."""

    name: str
    restart_policy: str


class _Steps(TypedDict):
    #: Names of containers.
    remove: list[str]
    rename: list[Rename]


class UpgradeSteps(_Steps):
    """The steps of an upgrade before it starts new containers, and the policies to set after it has verified them."""

    policies: list[Policy]


class RollbackSteps(_Steps):
    """The steps of a rollback: stop, remove, rename and start."""

    #: Current names of the kept containers that a failed restore has renamed. They are kept again.
    stop: list[str]
    #: By the names from before the upgrade.
    start: list[Policy]


class RestoreSteps(TypedDict):
    """The steps that restore the containers that the last upgrade replaced, in this order."""

    rename: list[Rename]
    #: By the new names, with ``containers``.
    start: list[Policy]
    containers: list[DeployedContainer]
    #: The restart policies of all containers, and the names under which those that are no longer used are kept.
    policies: list[Policy]
    keep: list[Rename]


class RunningPlan(TypedDict, total=False):
    """The part of a plan that describes running containers. Without instances, ``image`` and ``model`` are missing."""

    #: Instances, with only the keys that are needed to wait for them and to judge them.
    instances: list[dict[str, Any]]
    #: ``{"reference": id of the image}``
    image: dict[str, str]
    #: ``{"served_name": name}``
    model: dict[str, str | None]


_LAUNCHER = "the launcher"


def deployment_name(plan: Plan) -> str:
    """Return the name of the deployment, which is the name of its first container."""
    return plan["instances"][0]["name"]


def is_ours(container: HolderContainer | None, plan: Plan) -> bool:
    """Return whether a container is an instance of this deployment, even one from another plan."""
    return container is not None and is_instance(base_name(container["name"]), deployment_name(plan))


def deployment(containers: Iterable[DeployedContainer], plan: Plan) -> list[DeployedContainer]:
    """Return the containers of this deployment, including previous containers that an upgrade has kept."""
    return [container for container in containers if is_instance(base_name(container["name"]), deployment_name(plan))]


def without_neighbors(names: Iterable[str], plan: Plan) -> list[str]:
    """Return the names of containers that do not belong to another deployment on the node of the plan."""
    others = list(plan["neighbors"].values())  # a template passes values that can be read only once
    return [name for name in names
            if not any(is_instance(base_name(name).removesuffix(KEPT), other) for other in others)]


def unplanned_containers(names: Iterable[str], plan: Plan, upgrading: bool = False) -> list[str]:
    """Return the names of containers that are instances of this deployment, but no longer planned.

    :param names: the names of all containers on the node with the label of this collection.
    :param upgrading: whether the previous containers are kept. Otherwise, they are left over from an interrupted
        upgrade, and are included.
    """
    planned = [instance["name"] for instance in plan["instances"]]
    return [name for name in names if name not in planned
            and is_instance(name if upgrading else base_name(name), planned[0])]


def replacement_reasons(observed: ServingState, plan: Plan, secrets: str | None = None,
                        live: bool = False, every: bool = False) -> list[str]:
    """Return a clause for each reason to replace the service. The list is empty if it runs as planned.

    :param secrets: the value of the label `SECRETS` of a container that has the planned API keys and certificate.
    :param live: whether to return only the reasons to replace or remove running containers.
    :param every: whether to also return the reasons to change or remove containers without replacing the service.
    """
    found = {container["name"]: container for container in deployment(observed["containers"], plan)
             if not live or container["status"] == "running"}
    planned = [instance["name"] for instance in plan["instances"]]
    reasons = [replacement_reason(found.get(instance["name"]), instance, observed["image"], secrets)
               for instance in plan["instances"] if not live or instance["name"] in found]
    if every:
        reasons += ["%s has another restart policy" % each["name"] for each in plan["instances"]
                    if each["name"] in found and found[each["name"]]["restart_policy"] != each["restart_policy"]]
        reasons += ["%s is left over" % name for name in unplanned_containers(found, plan)]
    return [*filter(None, reasons), *("%s is no longer planned" % name for name in found
                                      if name not in planned and (live or not name.endswith(PREVIOUS)))]


def replacement_reason(container: ContainerState | None, instance: Instance, image: str | None,
                       secrets: str | None) -> str | None:
    """Return a clause for the reason to replace the container of an instance, or None. ``image`` is the planned id."""
    name = instance["name"]
    if container is None:
        return "%s does not exist" % name
    if container["status"] != "running":
        return "%s is %s" % (name, container["status"])
    if container["hash"] != instance["hash"]:
        return "%s has plan %s instead of %s (%s)" % (
            name, container["hash"], instance["hash"], _differences(container, instance))
    if container["image"] != image:
        return "%s runs image %s instead of %s" % (name, container["image"], image)
    if (instance["secrets_path"] or instance["tls"]) and container["secrets"] != secrets:
        return "%s was started with other API keys or another certificate" % name
    return None


def _differences(container: ContainerState, instance: Instance) -> str:
    """Return the options of the command of a container that differ from the plan."""
    found, planned = _options(container["command"]), _options(instance["launcher"] + instance["command"])
    return ", ".join(
        # Launchers are scripts, which are too long for a sentence.
        "it has another launcher" if name == _LAUNCHER
        else "%s is %s instead of %s" % (name, _value(found, name), _value(planned, name))
        for name in sorted({*found, *planned}) if found.get(name) != planned.get(name)) or (
            "other settings than the options of the command")


def _options(command: Iterable[str]) -> dict[str, str]:
    """Return ``{option: value}``. The words before ``serve`` are the launcher, those after it are the model."""
    found: dict[str, str] = {}
    name = _LAUNCHER
    for word in command:
        if word.startswith("--"):
            name, word = word, ""
        elif name == _LAUNCHER and word == "serve":
            name, word = "the model", ""
        found[name] = (found.get(name, "") + " " + word).strip()
    return found


def _value(options: Mapping[str, str], name: str) -> str:
    return options.get(name, "not set") or "set"


def _renames(pairs: Iterable[tuple[str, str]]) -> list[Rename]:
    return [{"from": old, "to": new} for old, new in pairs]


def _kept(names: Iterable[str], plan: Plan) -> dict[str, str]:
    """Return ``{name: name before it was replaced}`` of the containers of this deployment that an upgrade has kept."""
    kept = {name: name.removesuffix(KEPT) for name in names if name.endswith(KEPT)}
    return {name: base for name, base in kept.items() if is_instance(base, deployment_name(plan))}


def kept_steps(names: Iterable[str], plan: Plan, keep: bool) -> _Steps:
    """Return the steps that keep the replaced containers instead of those kept before, or that remove all of them."""
    names = list(names)
    kept = [*_kept(names, plan)]
    previous = [name for name in unplanned_containers(names, plan) if name.endswith(PREVIOUS)]
    return {"remove": kept if keep else kept + previous,
            "rename": _renames((name, base_name(name) + KEPT) for name in previous if keep)}


def restore_steps(containers: Iterable[DeployedContainer], plan: Plan) -> RestoreSteps:
    """Return the steps that restore the containers that the last upgrade kept, and keep the current ones.

    If a restore was interrupted after it had exchanged the names, its remaining steps are returned. If an upgrade was
    interrupted, no container can be restored.
    """
    found = {container["name"]: container for container in containers}
    current = [container["name"] for container in deployment(found.values(), plan)]
    # An instance that is older than its previous container was kept before.
    exchanged = [name for name in current if name + PREVIOUS in found
                 and found[name]["created_s"] < found[name + PREVIOUS]["created_s"]]
    interrupted = any(name + PREVIOUS in found for name in current if name not in exchanged)
    kept = {} if interrupted else {**_kept(found, plan), **{name: name for name in exchanged}}
    previous = [base_name(name) + PREVIOUS for name in current if name not in exchanged]
    policy = plan["instances"][0]["restart_policy"]
    return {
        "rename": _renames([*((base_name(name), name) for name in previous if name not in found),
                            *((name, base) for name, base in kept.items() if name != base)]),
        "start": [{"name": base, "restart_policy": "no"} for base in kept.values()],
        "containers": [{**found[name], "name": base} for name, base in kept.items()],
        # In this order, so that a reboot always starts some of them.
        "policies": [{"name": name, "restart_policy": each}
                     for names, each in ((kept.values(), policy), (previous, "no")) for name in names],
        "keep": _renames((name, base_name(name) + KEPT) for name in previous),
    }


def upgrade_steps(containers: Iterable[DeployedContainer], plan: Plan) -> UpgradeSteps:
    """Return which containers an upgrade removes and renames before it starts new containers.

    If a previous container with the same base name exists, an earlier upgrade was interrupted. The current container
    was then never verified, so it is removed. All other containers are kept under the names of previous containers,
    which a reboot starts until the new containers are verified.
    """
    names = [container["name"] for container in deployment(containers, plan)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    unverified = [each for each in current if each + PREVIOUS in names]
    renames = _renames((each, each + PREVIOUS) for each in current if each not in unverified)
    previous = [each for each in names if each.endswith(PREVIOUS)] + [each["to"] for each in renames]
    policies = {each["name"]: each["restart_policy"] for each in plan["instances"]}
    policies.update(dict.fromkeys(previous, "no"))  # after the new ones, so that a reboot always starts some of them
    return {"remove": unverified, "rename": renames,
            "policies": [{"name": name, "restart_policy": policy} for name, policy in policies.items()]}


def rollback_steps(now: Iterable[DeployedContainer], before: Iterable[DeployedContainer], plan: Plan) -> RollbackSteps:
    """Return the steps that restore the containers from before an upgrade or a restore, which may have failed anywhere.

    Containers are recognized by their ids, because an upgrade renames them.

    :param now: the current containers.
    :param before: the containers before the upgrade stopped them, with their restart policies. A container that was
        stopped earlier has lost its restart policy and gets the planned one.
    """
    now, before = list(now), list(before)
    names = {container["id"]: container["name"] for container in now}
    verified: dict[str, DeployedContainer] = {}
    for container in deployment(before, plan):
        base = base_name(container["name"])
        # If an interrupted upgrade left two containers, the previous container is started.
        if container["id"] in names and (base not in verified or container["name"] != base):
            verified[base] = container
    previous = {base: names[container["id"]] for base, container in verified.items()}
    kept = _kept((container["name"] for container in before), plan)
    # A failed restore may have renamed the kept containers to the names of the instances, and may have started them.
    returned = {names[container["id"]]: container["name"] for container in before
                if container["name"] in kept and names.get(container["id"], container["name"]) != container["name"]}
    return {
        "stop": [*returned],
        "remove": [container["name"] for container in deployment(now, plan)
                   if container["name"] not in {*previous.values(), *returned}],
        # The names of kept containers are cleared first, and those of the instances last.
        "rename": _renames([*((name, base + PREVIOUS) for base, name in previous.items() if name.endswith(KEPT)),
                            *returned.items(),
                            *((base + PREVIOUS, base) for base, name in previous.items() if name != base)]),
        "start": [{"name": base, "restart_policy": _restart_policy(container, plan)}
                  for base, container in verified.items()],
    }


def _restart_policy(container: DeployedContainer, plan: Plan) -> str:
    """Return the original restart policy of a container; tasks/stop.yml sets it to ``no`` when it stops a container."""
    stopped = container["status"] != "running" and container["restart_policy"] == "no"
    return plan["instances"][0]["restart_policy"] if stopped else container["restart_policy"]


def plan_of_running(containers: Sequence[DeployedContainer], names: Collection[str], address: str) -> RunningPlan:
    """Return the part of a plan that describes running containers, with the keys that are needed to wait for them.

    :param names: the names of the containers before an upgrade renamed them.
    :param address: the address of the node.
    :returns: the part of the plan. If no container has a port, it contains only an empty list of ``instances``.
    """
    found = [(base_name(container["name"]), container) for container in containers]
    found = [(name, container) for name, container in found if name in names and container["port"]]
    if not found:
        return {"instances": []}
    return {
        "instances": [{"name": name, "port": container["port"], "bind": container["bind"], "hash": container["hash"],
                       "mounts": [], "devices": [], "hccl_ports": None, "serves": True, "tls": container["tls"],
                       "url": base_url(address, container["port"] or 0, container["tls"])}
                      for name, container in found],
        "image": {"reference": found[0][1]["image"]},
        "model": {"served_name": found[0][1]["served_name"]},
    }
