# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Choose the rounds of all-reduces to run from the observations of all nodes."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, ping_mesh
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import host_interfaces
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import Choice, Interface
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import HcclObservation, Peers


class Rounds(TypedDict):
    """The rounds to run, which are the same for all nodes. `collective` defines their names."""

    rounds: list[str]
    #: ``{host: its interface for HCCL}``. Empty if there are no rounds.
    interfaces: dict[str, Interface]
    #: The reason why there is no round with all nodes, or None if there is such a round.
    obstacle: str | None
    #: Whether the round can be run later, when all nodes have the image.
    waits_for_image: bool


def run_rounds(peers: Peers, inputs: Mapping[str, Any], forks: int, check_mode: bool) -> Rounds:
    """Return the round with all nodes, or the reason why it cannot be run.

    The nodes wait for each other, so each of them needs a fork of Ansible.
    """
    choices = host_interfaces(peers, inputs["hccl_interface"])
    why = "%s measure an all-reduce in containers." % WOULD if check_mode else _obstacle(peers, inputs, forks, choices)
    return {"rounds": [] if why else [collective.ALL], "interfaces": {} if why else _known(choices), "obstacle": why,
            "waits_for_image": inputs["hccl_collective_policy"] != "never" and len(peers) > 1 and any(
                observed["image_present"] is False for observed in peers.values())}


def diagnosis_rounds(peers: Peers, inputs: Mapping[str, Any]) -> Rounds:
    """Return the rounds that locate the cause if the run over all nodes failed or was slow.

    In the first round, each node runs alone. In the others, the nodes run in disjoint pairs (`ping_mesh.opponent`).
    """
    found, rounds = collective.overall(peers), []
    interfaces = _known(host_interfaces(peers, inputs["hccl_interface"]))
    if found and len(interfaces) == len(peers):
        result, run = found
        baseline = next(iter(peers.values())).get("collective", {}).get("baseline")
        required = collective.required_bandwidth(result, len(peers), inputs, baseline)
        slow = required is not None and run["bandwidth"] is not None and run["bandwidth"] < required[0]
        if run["failed"] or slow:
            rounds = [collective.ALONE]
            # Two nodes are a single pair, which has already run as the round with all nodes.
            if len(peers) > 2:
                pairs = min(inputs["hccl_collective_pair_rounds"], ping_mesh.tournament_rounds(len(peers)))
                rounds += ["%s %d" % (collective.PAIR, number) for number in range(pairs)]
    return {"rounds": rounds, "interfaces": interfaces if rounds else {}, "obstacle": None, "waits_for_image": False}


def group(hosts: Collection[str], host: str, round_name: str) -> list[str]:
    """Return the nodes that run together in a round, including the host, by rank; an empty list if the host pauses."""
    names = sorted(hosts)
    if round_name == collective.ALL:
        return names
    if round_name == collective.ALONE:
        return [host]
    met = ping_mesh.opponent(names.index(host), int(round_name.split()[1]), len(names))
    return [] if met is None else sorted([host, names[met]])


def _known(choices: Mapping[str, Choice]) -> dict[str, Interface]:
    return {host: choice["interface"] for host, choice in choices.items() if choice["interface"]}


def _obstacle(peers: Peers, inputs: Mapping[str, Any], forks: int, choices: Mapping[str, Choice]) -> str | None:
    """Return the reason why an all-reduce over all nodes cannot be run now, or None."""
    if inputs["hccl_collective_policy"] == "never":
        return "hccl_collective_policy is never."
    if len(peers) < 2:
        return "There is only one node in this run; an all-reduce needs two."
    if forks < len(peers):
        return "The all-reduce runs on all %d nodes at a time, but the forks setting of Ansible is %d; raise forks." % (
            len(peers), forks)
    obstacles = (_obstacle_on(host, peers[host], choices[host]) for host in sorted(peers))
    return next(filter(None, obstacles), None)


def _obstacle_on(host: str, observed: HcclObservation, choice: Choice) -> str | None:
    processes = observed["processes"]
    if observed["image_present"] is None:
        return "Docker on %s does not report whether it has the image: %s." % (
            host, observed.get("image_error") or "the reason is unknown")
    if not observed["image_present"]:
        return "%s does not have the image yet; site.yml runs the all-reduce after the image stage." % host
    if processes is None:
        return "npu-smi on %s does not show whether the NPUs are free." % host
    if processes:
        return "NPU %s of %s is in use by %s (pid %s), which an all-reduce would disturb." % (
            processes[0]["npu"], host, processes[0]["name"], processes[0]["pid"])
    if choice["interface"] is None:
        return "The interface of %s for HCCL is unknown: %s." % (host, choice["reason"])
    return None
