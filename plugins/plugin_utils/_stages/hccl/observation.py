# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The observation of a node in the hccl stage: its type, and values that several files read from it.

PRIVATE to the stage.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_ping import PingMesh, Reach
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_query import HccnObservation

    class Row(TypedDict):
        """The measurement of one size. ``check`` is ``success``, ``failed``, or ``NULL`` if no sum was verified."""

        size_bytes: int
        time_us: float
        alg_bandwidth_gbs: float
        #: None where the program did not print it.
        bus_bandwidth_gbs: float | None
        check: str

    class Result(TypedDict):
        """The output of one node in a round."""

        #: Of hccl_test, only the first node prints rows.
        rows: list[Row]
        failed: bool
        #: Why it failed.
        reason: str | None
        #: Backend of torch.distributed, or ``hccl_test``.
        backend: str | None
        ranks: int | None
        #: ``hccl_test`` or ``probe``; None if neither was started.
        tool: str | None
        #: Why the probe was used instead of hccl_test.
        choice: str | None

    class Run(TypedDict):
        """A round of a node."""

        #: ``all``, ``alone``, or ``pair N``.
        round: str
        #: The nodes of the run; empty if this node pauses.
        hosts: list[str]
        #: None if this node pauses.
        result: Result | None

    class Collective(TypedDict, total=False):
        """The result of ``ascend.vllm.hccl_collective``."""

        runs: list[Run]
        #: Why there was no run over all nodes.
        obstacle: str | None
        #: Whether the run can be made up for once all nodes have the image.
        waits_for_image: bool
        #: Bus bandwidth in GB/s by `collective.baseline_key`.
        baseline: dict[str, float]

    class HcclObservation(HccnObservation, total=False):
        """The return values of ``ascend.vllm.hccn_info``, and what the other actions of the stage have added."""

        #: The input hccl_interface of the host.
        wanted_interface: str
        #: ``{"sent_at", "received_at"}`` of the observation in seconds since the epoch.
        round_trip: dict[str, float]
        #: The results of ``ascend.vllm.hccl_mesh``; None if ``ping_error`` has the reason why there are none.
        ping: PingMesh | None
        reach: dict[str, Reach] | None
        ping_error: str | None
        collective: Collective

    Peers = Mapping[str, HcclObservation]


def npu_addresses(observed: HcclObservation) -> dict[int, str]:
    """Return ``{NPU: address}`` of the NPUs of a node that have one."""
    addresses = {int(npu): answers.get("ip", {}).get("address") for npu, answers in observed["npus"].items()}
    return {npu: address for npu, address in addresses.items() if address}


def switch_ports(observed: HcclObservation) -> dict[int, tuple[str, str]]:
    """Return ``{NPU: (switch, port)}`` of the NPUs that see a switch port over LLDP.

    The switch is its system name, or its chassis ID if it sends no name.
    """
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
    """Return the NPUs without a link, with a failed net_health, or with another address than in /etc/hccn.conf."""
    devices = observed["conf"]["devices"] if observed["conf"] else {}
    return [int(npu) for npu, answers in observed["npus"].items()
            if answers.get("link", {}).get("status") != "UP"
            or answers.get("net_health", {}).get("status") != "Success"
            or answers.get("ip", {}).get("address") != devices.get(npu, {}).get("address")]
