# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Divide a node among its deployments, which are the hosts of the inventory with the same plan_node."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import is_instance
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import (
    HCCL_DEFAULT_NPU_PORTS,
    HCCL_DEFAULT_PORTS,
)


class Deployment(NamedTuple):
    """A deployment on a node that has several deployments."""

    host: str
    plan: types.Plan
    #: The address and the port to which Ansible connects.
    address: str


def share_out(free: Sequence[int], needed: Mapping[str, int], growing: Collection[str]) -> dict[str, list[int]]:
    """Return ``{host: NPUs}`` for the deployments whose serving_npus is auto.

    :param free: the NPUs of the node that no other deployment names, at least as many as are needed.
    :param needed: the number of NPUs that each deployment needs, for one instance if its serving_replicas is auto.
    :param growing: the deployments whose serving_replicas is auto; they share the remaining NPUs.
    """
    spare = (len(free) - sum(needed.values())) // max(1, len(growing))
    found, start = {}, 0
    for host, count in needed.items():
        end = start + (count + spare // count * count if host in growing and count else count)
        found[host], start = list(free[start:end]), end
    return found


def overlaps(node: str, first: Deployment, second: Deployment) -> Iterator[types.Finding]:
    """Yield a refusal for each reason why two deployments cannot be on the same node."""
    def refusal(problem: str, variable: str, other: str = "") -> types.Finding:
        """Return a refusal of a variable of the first deployment, and the same or another variable of the second."""
        return {"id": variable, "message": "%s and %s are on the same node (plan_node is %s), but %s; change %s of %s, "
                "or %s of %s." % (first.host, second.host, node, problem, variable, first.host, other or variable,
                                  second.host)}

    if first.address != second.address:
        yield refusal("Ansible connects to %s and to %s" % (first.address, second.address), "plan_node", "ansible_host")
    one, two = first.plan, second.plan
    if one["hardware"]["id"] != two["hardware"]["id"]:
        yield refusal("their hardware differs", "plan_hardware")
    if one["model"]["path"] == two["model"]["path"] and one["model"]["id"] != two["model"]["id"]:
        yield refusal("both have their model, which is not the same, in %s" % one["model"]["path"], "weights_path")
    outer, inner = sorted((one["state_path"], two["state_path"]), key=len)
    if (inner + "/").startswith(outer + "/"):
        yield refusal("both keep their state in %s" % inner, "serving_state_path")
    names = [[instance["name"] for instance in plan["instances"]] for plan in (one, two)]
    if any(is_instance(name, names[1][0]) for name in names[0]) or is_instance(names[1][0], names[0][0]):
        yield refusal("both would manage the container %s" % max(names[0][0], names[1][0], key=len),
                      "serving_container_name")
    refused = set()
    for kind, variable, (low, high) in _claims(one):
        for other_kind, other, (start, end) in _claims(two):
            if kind == other_kind and low <= end and start <= high and (variable, other) not in refused:
                refused.add((variable, other))
                shared = sorted({max(low, start), min(high, end)})
                yield refusal("both use %s %s" % (kind, "-".join(map(str, shared))), variable, other)


def _claims(plan: types.Plan) -> Iterator[tuple[str, str, types.Ports]]:
    """Yield ``(kind, variable, range)`` for the NPUs and the ports of a deployment."""
    for instance in plan["instances"]:
        ports = instance["hccl_ports"] or {"host": HCCL_DEFAULT_PORTS, "npu": HCCL_DEFAULT_NPU_PORTS}
        yield from (("NPU", "serving_npus", (npu, npu)) for npu in instance["npus"])
        yield from (("port", variable, (port, port)) for variable, port in (
            ("serving_port", instance["port"]), ("serving_group_port", instance.get("group_port"))) if port)
        yield "port", "serving_hccl_port_base", ports["host"]
        # Without serving_hccl_port_base, an instance uses HCCL's default ports on the host and on the NPUs.
        own = "serving_hccl_npu_port_base" if instance["hccl_ports"] else "serving_hccl_port_base"
        yield "HCCL port of the NPUs", own, ports["npu"]
