# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What stopping, replacing and showing a service has to decide. Pure. PRIVATE to the collection.

A *running* container is described by what it was started with, not by the plan: the plan may be a newer one.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import PREVIOUS, base_name, is_instance


def deployment(containers, name):
    """Those of our containers that belong to the deployment of this container name, also put aside ones."""
    return [container for container in containers if is_instance(base_name(container["name"]), name)]


def put_aside(containers, name):
    """Those of the deployment that an upgrade has put aside."""
    return [container for container in deployment(containers, name) if container["name"].endswith(PREVIOUS)]


def outdated(observed, plan):
    """Return why the service of the plan has to be replaced, a clause each; empty where all runs as planned.

    :param observed: what ``ascend.vllm.serving_info`` returned.
    """
    ours = deployment(observed["containers"], plan["instances"][0]["name"])
    running = {container["name"]: container for container in ours}
    planned = {instance["name"]: instance for instance in plan["instances"]}
    reasons = []
    for name, instance in planned.items():
        container = running.get(name)
        if container is None:
            reasons.append("%s is not there" % name)
        elif container["status"] != "running":
            reasons.append("%s is %s" % (name, container["status"]))
        elif container["hash"] != instance["hash"]:
            reasons.append("%s has plan %s instead of %s" % (name, container["hash"], instance["hash"]))
        elif container["image"] != observed["image"]:
            reasons.append("%s runs image %s instead of %s" % (name, container["image"], observed["image"]))
    return reasons + ["%s is no longer planned" % name for name in running
                      if name not in planned and not name.endswith(PREVIOUS)]


def aside(containers, name):
    """Return what makes room for a new service and keeps the last verified one.

    :param containers: of ``ascend.vllm.serving_info``.
    :returns: ``{"stop": [name], "remove": [name], "rename": [name]}``. A container that stands beside one already put
        aside was never verified (its upgrade was cut short), and is removed.
    """
    names = [container["name"] for container in deployment(containers, name)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    unverified = [each for each in current if each + PREVIOUS in names]
    return {"stop": [each for each in current if each not in unverified], "remove": unverified,
            "rename": [each for each in current if each not in unverified]}


def restoration(now, before, name):
    """Return how to come back to the containers that were there before an upgrade.

    :param now, before: containers of ``ascend.vllm.serving_info``.
    :returns: ``{"remove": [name], "rename": [name], "start": [name]}``; ``rename`` are names as they were.
    """
    names = [container["name"] for container in deployment(now, name)]
    kept = [base_name(each) for each in names if each.endswith(PREVIOUS)]
    was = [base_name(container["name"]) for container in deployment(before, name)]
    current = [each for each in names if not each.endswith(PREVIOUS)]
    start = [each for each in dict.fromkeys(was) if each in kept or each in current]
    return {"remove": [each for each in current if each in kept or each not in was], "rename": kept, "start": start}


def served(containers, names, address):
    """What differs in the plan of containers that another plan has started, as far as waiting for them needs it.

    :param names: their names as they were before they were put aside. :param address: of the node.
    :returns: ``{"instances", "image": {"reference"}, "model": {"served_name"}}``; without containers no instances.
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


