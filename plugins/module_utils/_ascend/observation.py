# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observe the NPUs of this host: what npu-smi tells, chip by chip, and who holds them. PRIVATE to the collection.

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


def holders(chips, processes, opened, containers, cgroup):
    """Who holds which NPU.

    :param chips: of `query`; tell which device an NPU's chip is.
    :param processes: of npu-smi's process table.
    :param opened: of ``host.open_devices``.
    :param containers: of ``engine_api.describe``.
    :param cgroup: ``cgroup(pid) -> str``, the control groups of a process.
    :returns: ``[{"device": int, "pid": int|None, "process": str|None, "memory_mb": int|None, "container":
        {"id", "name", "image", "labels"}|None}]``. A container that was given the device but has no process on it
        holds it too, with its first process's pid.
    """
    devices = {(chip["npu"], chip["chip"]): chip["device"] for chip in chips}
    found = {}
    for process in processes:
        device = devices.get((process["npu"], process["chip"]))
        found[(device, process["pid"])] = {
            "device": device, "pid": process["pid"], "process": process["name"], "memory_mb": process["memory_mb"]}
    for each in opened:
        found.setdefault((each["device"], each["pid"]), dict(each, memory_mb=None))
    for each in found.values():
        each["container"] = _container_of(each["pid"], containers, cgroup)
    for container in containers:
        for device in container["devices"]:
            shown = any(each["device"] == device and each["container"] and each["container"]["id"] == container["id"]
                        for each in found.values())
            if not shown:
                found[(device, container["id"])] = {
                    "device": device, "pid": container["pid"], "process": None, "memory_mb": None,
                    "container": _label(container)}
    return sorted(found.values(), key=lambda each: (each["device"] is None, each["device"] or 0, each["pid"] or 0))


def _container_of(pid, containers, cgroup):
    groups = cgroup(pid) if containers and pid is not None else ""
    return next((_label(container) for container in containers if container["id"] in groups), None)


def _label(container):
    return {key: container[key] for key in ("id", "name", "image", "labels")}


def version_file(path):
    """A version or install file as ``version_files.parse`` gives it, or ``{"error": str}``."""
    try:
        with open(path, encoding="utf-8", errors="replace") as stream:
            return version_files.parse(stream.read())
    except (OSError, version_files.ParseError) as error:
        return {"error": str(error)}
