# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The type of a node's observation in the hccl stage, and functions that read values from it."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_ping import PingMesh, Reach
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_query import HccnObservation
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.hccl_output import HcclTestRow

    class Row(HcclTestRow):
        """The measurement of one size."""

        #: None if the program did not print it.
        bus_bandwidth_gbs: float | None

    class Result(TypedDict):
        """The output of one node in a round."""

        #: With hccl_test, only the first node prints rows.
        rows: list[Row]
        failed: bool
        #: The reason for the failure.
        reason: str | None
        #: Backend of torch.distributed, or ``hccl_test``.
        backend: str | None
        ranks: int | None
        #: ``hccl_test`` or ``probe``, or None if neither was started.
        tool: str | None
        #: The reason why the probe was used instead of hccl_test.
        choice: str | None

    class Run(TypedDict):
        """A node's run in a round."""

        #: ``all``, ``alone``, or ``pair N``.
        round: str
        #: The nodes of the run. Empty if this node pauses.
        hosts: list[str]
        #: None if this node pauses.
        result: Result | None

    class Collective(TypedDict, total=False):
        """The result of ``ascend.vllm.hccl_collective``."""

        runs: list[Run]
        #: The reason why there was no run with all nodes.
        obstacle: str | None
        #: Whether the run can be repeated later, when all nodes have the image.
        waits_for_image: bool
        #: ``{`collective.baseline_key`: bus bandwidth in GB/s}``.
        baseline: dict[str, float]

    class HcclObservation(HccnObservation, total=False):
        """The return values of ``ascend.vllm.hccn_info``, and the results of the other actions of the stage."""

        #: The input hccl_interface of the host.
        wanted_interface: str
        #: Start and end of the observation, ``{"sent_at", "received_at"}``, in seconds since the epoch.
        round_trip: dict[str, float]
        #: The results of ``ascend.vllm.hccl_mesh``. If they are None, ``ping_error`` contains the reason.
        ping: PingMesh | None
        reach: dict[str, Reach] | None
        ping_error: str | None
        collective: Collective

    Peers = Mapping[str, HcclObservation]


def npu_addresses(observed: HcclObservation) -> dict[int, str]:
    """Return ``{NPU: address}`` for the NPUs of a node that have an address."""
    addresses = {int(npu): answers.get("ip", {}).get("address") for npu, answers in observed["npus"].items()}
    return {npu: address for npu, address in addresses.items() if address}


def switch_ports(observed: HcclObservation) -> dict[int, tuple[str, str]]:
    """Return ``{NPU: (name of the switch or else its chassis ID, port)}`` for the NPUs that see a switch over LLDP."""
    found = {}
    for npu, answers in observed["npus"].items():
        answer = answers.get("lldp", {})
        tlvs = answer.get("tlvs", {})
        switch = tlvs.get("System Name TLV") or tlvs.get("Chassis ID TLV")
        port = answer.get("ifname") or tlvs.get("Port ID TLV")
        if switch and port:
            found[int(npu)] = (switch, port)
    return found


def unhealthy_npus(observed: HcclObservation) -> list[int]:
    """Return the NPUs whose link is down, whose net_health failed, or whose address differs from /etc/hccn.conf."""
    devices = observed["conf"]["devices"] if observed["conf"] else {}
    return [int(npu) for npu, answers in observed["npus"].items()
            if answers.get("link", {}).get("status") != "UP"
            or answers.get("net_health", {}).get("status") != "Success"
            or answers.get("ip", {}).get("address") != devices.get(npu, {}).get("address")]
