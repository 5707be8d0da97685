# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decides what stopping, upgrading and rolling back a service does to its containers. Pure. PRIVATE to the collection.

A *running* container is described by what it was started with, not by the plan: the plan may be a newer one. All
containers here are as ``ascend.vllm.serving_info`` returns them.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import PREVIOUS, base_name, is_instance


def deployment(containers, name):
    """Return those of our containers that belong to the deployment of this container name, previous ones included."""
    return [container for container in containers if is_instance(base_name(container["name"]), name)]


def previous_containers(containers, name):
    """Return those of the deployment that an upgrade has stopped and renamed."""
    return [container for container in deployment(containers, name) if container["name"].endswith(PREVIOUS)]


def unplanned_containers(names, plan):
    """Return the names of those of our containers that are instances of this deployment but no longer planned.

    Other deployments on the node have another serving_container_name and are left alone.

    :param names: of all containers on the node that carry our label.
    """
    planned = [instance["name"] for instance in plan["instances"]]
    return [name for name in names if is_instance(name, planned[0]) and name not in planned]


def replacement_reasons(observed, plan):
    """Return a clause for each reason to replace the running service; empty where everything runs as planned.

    :param observed: what ``ascend.vllm.serving_info`` returned.
    """
    ours = deployment(observed["containers"], plan["instances"][0]["name"])
    running = {container["name"]: container for container in ours}
    planned = {instance["name"]: instance for instance in plan["instances"]}
    reasons = []
    for name, instance in planned.items():
        container = running.get(name)
        if container is None:
            reasons.append("%s does not exist" % name)
        elif container["status"] != "running":
            reasons.append("%s is %s" % (name, container["status"]))
        elif container["hash"] != instance["hash"]:
            reasons.append("%s has plan %s instead of %s" % (name, container["hash"], instance["hash"]))
        elif container["image"] != observed["image"]:
            reasons.append("%s runs image %s instead of %s" % (name, container["image"], observed["image"]))
    return reasons + ["%s is no longer planned" % name for name in running
                      if name not in planned and not name.endswith(PREVIOUS)]


def upgrade_steps(containers, name):
    """Return which containers an upgrade removes and renames before it starts new ones.

    :returns: ``{"remove": [name], "rename": [name]}``. A container beside a previous one was never verified (its
        upgrade was interrupted) and is removed; the others are renamed, and so become the previous ones.
    """
    names = [container["name"] for container in deployment(containers, name)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    unverified = [each for each in current if each + PREVIOUS in names]
    return {"remove": unverified, "rename": [each for each in current if each not in unverified]}


def rollback_steps(now, before, name, planned_policy):
    """Return how to get back to the containers from before an upgrade, which may have failed at any point.

    :param now, before: containers. ``before`` has the restart policies from before the upgrade stopped them.
    :param planned_policy: restart policy for containers whose own one is lost, since they were stopped before.
    :returns: ``{"remove": [name], "rename": [name], "start": [{"name", "restart_policy"}]}``; ``rename`` and ``start``
        have the names from before the upgrade.
    """
    names = [container["name"] for container in deployment(now, name)]
    kept = [base_name(each) for each in names if each.endswith(PREVIOUS)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    policies = {}
    for container in deployment(before, name):
        base = base_name(container["name"])
        # Of a pair that an interrupted upgrade left, the previous one is started.
        if base not in policies or container["name"] != base:
            policies[base] = _restart_policy(container, planned_policy)
    return {
        "remove": [each for each in current if each in kept or each not in policies],
        "rename": kept,
        "start": [{"name": each, "restart_policy": policy} for each, policy in policies.items()
                  if each in kept or each in current],
    }


def _restart_policy(container, planned_policy):
    """Return the container's own restart policy; stopping a container (tasks/stop.yml) replaces it by ``no``."""
    stopped = container["status"] != "running" and container["restart_policy"] == "no"
    return planned_policy if stopped else container["restart_policy"]


def plan_of_running(containers, names, address):
    """Return the part of a plan that describes running containers, as far as waiting for them needs it.

    :param names: of the containers to describe, as they were before an upgrade renamed them.
    :param address: of the node.
    :returns: ``{"instances", "image": {"reference"}, "model": {"served_name"}}``, or ``{"instances": []}`` when none of
        them has a port.
    """
    found = [dict(container, name=base_name(container["name"])) for container in containers]
    found = [container for container in found if container["name"] in names and container["port"]]
    if not found:
        return {"instances": []}
    return {
        "instances": [dict({key: container[key] for key in ("name", "port", "bind", "hash")}, mounts=[], devices=[],
                           hccl_ports=None, serves=True, url="http://%s:%d" % (address, container["port"]))
                      for container in found],
        "image": {"reference": found[0]["image"]},
        "model": {"served_name": found[0]["served_name"]},
    }
