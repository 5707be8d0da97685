# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the nodes of one group have to know of each other to start, run and end together. Pure.

PRIVATE to the collection.
"""

from __future__ import annotations

# How far a node is, as it tells the others: before the start, started, and what came of it.
PREPARED, STARTED, STARTING, READY, FAILED, LATE = "prepared", "started", "starting", "ready", "failed", "late"
ENDS = (FAILED, LATE)


def interface(instance, addresses):
    """Return (name, None) of the network interface of an instance of a group, or (None, why there is none).

    :param addresses: ``[{"interface", "address"}]`` of the node.
    """
    holding = [entry["interface"] for entry in addresses if entry["address"] == instance["address"]]
    wanted = instance["interface"]
    if holding and wanted in (None, holding[0]):
        return holding[0], None
    there = ", ".join("%(interface)s (%(address)s)" % entry for entry in addresses) or "none"
    if wanted is None:
        return None, "no interface has %s; there are %s" % (instance["address"], there)
    return None, "serving_interface is %s, which does not have %s; there are %s" % (wanted, instance["address"], there)


def out_of_date(plan, observed, secrets):
    """Return why the group has to be started again, as far as this node knows, or None.

    :param observed: what ``ascend.vllm.serving_info`` saw before anything was changed.
    :param secrets: the mark of the API key that the container should have been started with.
    """
    (instance,), (seen,) = plan["instances"], observed["instances"]
    container = seen["container"]
    if container is None:
        return "has no container"
    if container["hash"] != instance["hash"]:
        return "runs an older plan"
    if container["status"] != "running":
        return "has a container that is %s" % container["status"]
    if container["image"] != observed["image"]:
        return "runs another image of this name"
    if container["interface"] != interface(instance, observed["addresses"])[0]:
        return "uses the interface %s" % container["interface"]
    if instance["secrets_path"] and container["secrets"] != secrets:
        return "was started with another API key"
    return None


def others(group):
    """Return the names of the other members of a group."""
    return [member["host"] for member in group["members"] if member["host"] != group["host"]]


def own_state(seen, late):
    """Return (state, reason) that a member tells of itself.

    :param seen: what ``ascend.vllm.serving_info`` returned, None when the node cannot be reached any more.
    :param late: whether its time is over.
    """
    if not seen:
        return FAILED, "the node cannot be reached any more"
    if seen["docker_engine_error"]:
        return FAILED, seen["docker_engine_error"]
    (instance,) = seen["instances"]
    if instance["state"] == "ready":
        return READY, None
    if instance["state"] != "starting":
        return FAILED, instance["reason"]
    return LATE if late else STARTING, instance["reason"]


def verdict(group, notes, missing=(), over=False):
    """Return (whether the group is settled, ``[{"host", "state", "reason"}]`` of the members that ended it).

    It is settled when one has failed or run out of time, or when all are ready.

    :param notes: ``{host: {"state", "reason"}}``, the last that each member told.
    :param missing: the members that left the run before they were started; their notes are of an earlier one.
    :param over: whether nothing is waited for any more: who is not ready then is late.
    """
    gone = {"state": FAILED, "reason": "it left the run before it was started"}
    told = [dict(host=host, **{key: (gone if host in missing else notes[host])[key] for key in ("state", "reason")})
            for host in (member["host"] for member in group["members"])]
    ended = [member for member in told if member["state"] in ENDS]
    waiting = [member for member in told if member["state"] != READY]
    if over and not ended:
        ended = [dict(member, state=LATE, reason=member["reason"] or "it told nothing more") for member in waiting]
    return bool(ended) or not waiting, ended
