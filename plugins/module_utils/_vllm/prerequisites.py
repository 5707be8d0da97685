# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe what the planned containers need on a node, without changing anything."""

from __future__ import annotations

import os
import platform
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_number
from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, images, labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands, facts, holders, network, tls
from ansible_collections.ascend.vllm.plugins.module_utils._vllm import serving_state
from ansible_collections.ascend.vllm.plugins.module_utils._weights import files

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import Any

    class ServingObservation(serving_state.ServingState):
        """The return values of serving_prerequisites_info: the state of the service, and its prerequisites."""

        architecture: str  # the processor architecture of the node, as `uname -m` prints it
        image_architecture: str | None  # None if the node does not have the image
        weights: files.FolderSummary | None
        wrong_sources: list[facts.WrongSource]
        missing_devices: list[str]
        port_holders: list[holders.PortHolder]
        # The holders of the planned NPUs: one process of each container, and all processes outside of containers. Also
        # the containers of this collection that hold other NPUs.
        device_holders: list[holders.NpuHolder]
        outgoing_ports: network.OutgoingPorts | None
        addresses: list[network.Address]
        certificate_problem: str | None  # see tls.certificate_problem; None without TLS


def observe(docker: DockerEngine, params: Mapping[str, Any],
            interfaces: Iterable[dict[str, Any]] = ()) -> ServingObservation:
    """Return the state of the planned instances and the prerequisites of their containers.

    :param params: the options of the module serving_prerequisites_info.
    :param interfaces: the interfaces whose addresses are returned, as `network.host_network` returns them.
    """
    weights = params["weights"]
    hung = commands.hung_paths([mount["source"] for mount in params["mounts"]] + ([weights] if weights else []))
    found: ServingObservation = {
        **serving_state.observe(docker, params),
        "architecture": platform.machine(),
        "image_architecture": None,
        "weights": None if not weights else (
            {"folder": False, "config": False, "shards": 0, "error": hung[weights]} if weights in hung
            else files.folder_summary(weights)),
        "wrong_sources": facts.wrong_sources(params["mounts"], hung),
        "missing_devices": [path for path in params["devices"] if not os.path.exists(path)],
        "port_holders": [],
        "device_holders": [],
        "outgoing_ports": network.outgoing_ports(),
        "addresses": [{"interface": each["name"], "address": one["address"]}
                      for each in interfaces for one in each["addresses"]],
        "certificate_problem": None if not params["certificate_files"] else tls.certificate_problem(
            params["certificate_files"], params["ca"], params["server_name"]),
    }
    if found["docker_engine_error"]:
        return found
    try:
        image = images.inspect(docker, params["image"]) if params["image"] else None
        found["image_architecture"] = image["architecture"] if image else None
        found["port_holders"], found["device_holders"] = _holders(docker, params["ports"], params["devices"])
    except DockerError as error:
        found["docker_engine_error"] = str(error)
    return found


def _holders(docker: DockerEngine, ports: list[int],
             devices: list[str]) -> tuple[list[holders.PortHolder], list[holders.NpuHolder]]:
    """Return the holders of the ports, and the holders of the NPUs as in `ServingObservation`."""
    running = containers.find(docker)
    npus = {number for number in map(device_number, devices) if number is not None}
    at_ports, at_npus = holders.open_files(ports, npus=bool(npus))
    held: dict[tuple[int | None, Any], holders.NpuHolder] = {}
    for holder in holders.npu_holders(at_npus, running):
        # Only the first process of each container is returned.
        container = holder["container"]
        if holder["device"] in npus or (container and labels.INSTANCE in container["labels"]):
            held.setdefault((holder["device"], container["id"] if container else holder["pid"]), holder)
    return holders.port_holders(at_ports, running, ports), list(held.values())
