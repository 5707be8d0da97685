# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe the state of every chip of this host with npu-smi."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import npu_smi

if TYPE_CHECKING:
    from typing import Any, Callable, Hashable, TypedDict

    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.kernel_log import KernelLog
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.version_files import VersionFile
    from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import Outcome, OutcomeSummary
    from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import NpuHolder

    # See `commands.run_all`.
    RunAll = Callable[[dict[Hashable, list[str]]], dict[Hashable, Outcome]]

    class Chip(npu_smi.ChipRow):
        """A row of the device table with the details of the chip. A detail that could not be read is None."""

        #: The N of ``/dev/davinciN``.
        device: int
        #: Only queried if the chip is not OK.
        error_codes: list[str] | None
        error_information: str | None
        ecc: dict[str, str] | None
        board: dict[str, str] | None

    class NpuSmi(npu_smi.Info):
        """The information that npu-smi shows. ``path`` is None if npu-smi was not found."""

        path: str | None
        chips: list[Chip]

    class NpuObservation(TypedDict):
        """The return values of ``ascend.vllm.npu_info``."""

        npu_smi: NpuSmi
        tools: list[OutcomeSummary]
        files: dict[str, VersionFile]
        device_nodes: list[dict[str, Any]]
        pci: list[dict[str, Any]]
        docker_engine: dict[str, Any]
        holders: list[NpuHolder]
        system: dict[str, Any]
        disks: list[dict[str, Any]]
        paths: list[dict[str, Any]]
        python: dict[str, Any]
        kernel_log: KernelLog
        #: ``started_at`` and ``finished_at``: when the module ran, in seconds since the epoch on the clock of the node.
        clock: dict[str, float]

# The tools that this observation runs. They open the devices, so their processes are not reported as holders.
OWN_TOOLS = ("npu-smi", "hccn_tool")
# The diagnostics file that contains the output of these tools.
RECORDING = "recording.json"


def query(run_all: RunAll, tool: str | None) -> tuple[NpuSmi, list[Outcome]]:
    """Query npu-smi for its table, and then in parallel for the details of every chip. ``tool`` is its path or None."""
    if tool is None:
        return cast("NpuSmi", dict(npu_smi.no_table("npu-smi was not found"), path=None)), []
    outcomes = run_all({"info": [tool, "info"]})
    table = _info(outcomes["info"])
    details = run_all(_detail_commands(tool, table["chips"]))
    found = dict(table, path=tool, chips=[_chip(row, details) for row in table["chips"]])
    return cast("NpuSmi", found), list(outcomes.values()) + list(details.values())


def _info(outcome: Outcome) -> npu_smi.InfoTable:
    """Return the table of npu-smi. If it cannot be read, the table has no rows, and ``error`` is set."""
    message = outcome.error and "npu-smi info: %s" % outcome.error
    if not message:
        try:
            return npu_smi.parse_info(outcome.output)
        except npu_smi.ParseError as error:
            message = "npu-smi info cannot be read: %s" % error
    return npu_smi.no_table(message)


def _detail_commands(tool: str, chips: list[npu_smi.ChipRow]) -> dict[Hashable, list[str]]:
    """Return ``{(type, npu[, chip]): argv}`` for ECC counters, boards, and error codes of chips that are not OK."""
    commands: dict[Hashable, list[str]] = {}
    for chip in chips:
        npu = str(chip["npu"])
        if chip["health"] != "OK":
            option = ["-c", str(chip["chip"])] if chip["chip"] is not None else []
            commands[("health", chip["npu"], chip["chip"])] = [tool, "info", "-t", "health", "-i", npu, *option]
        for kind in ("ecc", "board"):
            commands[(kind, chip["npu"])] = [tool, "info", "-t", kind, "-i", npu]
    return commands


def _chip(row: npu_smi.ChipRow, details: dict[Hashable, Outcome]) -> Chip:
    health = _block(details.get(("health", row["npu"], row["chip"])), None)
    return cast("Chip", dict(
        row,
        device=row["npu"] if row["phy_id"] is None else row["phy_id"],
        error_codes=_codes(health),
        error_information=(health or {}).get("Error Information"),
        ecc=_block(details[("ecc", row["npu"])], row["chip"]),
        board=_block(details[("board", row["npu"])], None)))


def _block(outcome: Outcome | None, chip: int | None) -> dict[str, str] | None:
    """Return the block of a chip in the output (the first block if ``chip`` is None), or None if there is no block."""
    if outcome is None or outcome.error:
        return None
    try:
        blocks = npu_smi.parse_blocks(outcome.output)
    except npu_smi.ParseError:
        return None
    if chip is not None:
        blocks = [block for block in blocks if block.get("Chip ID") in (None, str(chip))]
    return blocks[0] if blocks else None


def _codes(block: dict[str, str] | None) -> list[str] | None:
    if block is None or "Error Code" not in block:
        return None
    return [code for code in block["Error Code"].split() if code != "NA"]
