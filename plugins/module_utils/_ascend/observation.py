# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe the NPUs of this host: what npu-smi shows of every chip. PRIVATE to the collection.

Commands are run by an injected ``run_all({key: argv}) -> {key: Outcome}`` (see ``tools``). Nothing is judged here.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import npu_smi, version_files

ECHO = ("npu-smi", "hccn_tool")  # tools that open the devices while we look


def query(run_all, tool):
    """Ask npu-smi for its table and, side by side, for the details of every chip.

    :param tool: path of npu-smi, or None where there is none.
    :returns: (observation, outcomes). The observation is ``{"path": tool, "error": {"message", "code"}|None}`` with
        the keys of ``npu_smi.parse_info``; its chips also have ``device`` (N of /dev/davinciN), ``error_codes``
        ([str]|None), ``error_information`` (str|None), ``ecc`` and ``board`` ({printed key: printed value}|None).
        An answer that could not be read is None. ``outcomes`` are those of the commands.
    """
    observation = {"path": tool, "error": None, "tool_version": None, "driver_version": None, "complete": False,
                   "chips": [], "processes": []}
    if tool is None:
        return dict(observation, error={"message": "npu-smi was not found", "code": None}), []
    outcomes = run_all({"info": [tool, "info"]})
    observation.update(_info(outcomes["info"]))
    chips = observation["chips"]
    details = run_all(_detail_commands(tool, chips))
    for chip in chips:
        chip["device"] = chip["npu"] if chip["phy_id"] is None else chip["phy_id"]
        codes = _block(details.get(("health", chip["npu"], chip["chip"])), None)
        chip["error_codes"] = _codes(codes)
        chip["error_information"] = (codes or {}).get("Error Information")
        chip["ecc"] = _block(details[("ecc", chip["npu"])], chip["chip"])
        chip["board"] = _block(details[("board", chip["npu"])], None)
    return observation, list(outcomes.values()) + list(details.values())


def _info(outcome):
    """The keys of the table, or only ``error``."""
    if outcome.error:
        return {"error": {"message": "npu-smi info: %s" % outcome.error, "code": None}}
    try:
        parsed = npu_smi.parse_info(outcome.output)
    except npu_smi.ParseError as error:
        return {"error": {"message": "npu-smi info cannot be read: %s" % error, "code": None}}
    return parsed


def _detail_commands(tool, chips):
    """Error codes of chips that are not OK, ECC counters and board of every NPU: ``{(type, npu[, chip]): argv}``."""
    commands = {}
    for chip in chips:
        npu = str(chip["npu"])
        if chip["health"] != "OK":
            one = ["-c", str(chip["chip"])] if chip["chip"] is not None else []
            commands[("health", chip["npu"], chip["chip"])] = [tool, "info", "-t", "health", "-i", npu, *one]
        for kind in ("ecc", "board"):
            commands[(kind, chip["npu"])] = [tool, "info", "-t", kind, "-i", npu]
    return commands


def _block(outcome, chip):
    """The block of `chip` in an answer, or the only one if `chip` is None; None where there is none."""
    if outcome is None or outcome.error:
        return None
    try:
        blocks = npu_smi.parse_blocks(outcome.output)["blocks"]
    except npu_smi.ParseError:
        return None
    if chip is not None:
        blocks = [block for block in blocks if block.get("Chip ID") in (None, str(chip))]
    return blocks[0] if blocks else None


def _codes(block):
    if block is None or "Error Code" not in block:
        return None
    return [code for code in block["Error Code"].split() if code != "NA"]


def version_file(path):
    """A version or install file as ``version_files.parse`` gives it, or ``{"error": str}``."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return version_files.parse(stream.read())
    except (OSError, version_files.ParseError) as error:
        return {"error": str(error)}
