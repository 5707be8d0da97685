# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the output of npu-smi for each chip, and the processes that use planned NPUs."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import describe_holder
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context, other_deployment
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import few

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.observation import Chip, NpuObservation, NpuSmi
    from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import OutcomeSummary
    from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import NpuHolder

_T = TypeVar("_T")

# Remedies by the return code of the driver's library (dcmi).
_TOOL_REMEDIES = {
    -8005: "The driver is not ready: reboot after an upgrade of driver or firmware, and run as root or as a member of "
           "the group HwHiAiUser.",
    -8020: "Another container uses the device: stop it, or mount the driver's folder read-only in it.",
}


# npu-smi ----------------------------------------------------------------------------------------------------------


def _tool(checks: Checks, context: Context, observed: NpuObservation) -> None:
    inputs = context.inputs
    error = observed["npu_smi"]["error"]
    hung = [call for call in observed["tools"] if call["timed_out"]]
    slow = [call for call in observed["tools"]
            if not call["timed_out"] and call["duration_s"] > inputs["npu_driver_tool_slow_s"]]
    if error and hung:
        checks.not_run("npu_smi", "npu-smi hangs; see the check tool_hung.")
    else:
        code = error["code"] if error else None
        checks.expect("npu_smi", error is None, "a table of NPUs", error["message"] if error else "a table of NPUs",
                      remedy=None if code is None else _TOOL_REMEDIES.get(code))
    if not observed["tools"]:
        for name in ("tool_hung", "tool_slow"):
            checks.not_run(name, "npu-smi was not found.")
        return
    for name, limit, calls in (("tool_hung", "npu_driver_tool_timeout_s", hung),
                               ("tool_slow", "npu_driver_tool_slow_s", slow)):
        checks.expect(name, not calls, "an answer within %g s" % inputs[limit], _durations(calls or observed["tools"]))


def _durations(calls: Iterable[OutcomeSummary]) -> str:
    slowest = sorted(calls, key=lambda call: -call["duration_s"])
    return few(["%s %.1f s" % (call["command"], call["duration_s"]) for call in slowest], 3)


# Chips ------------------------------------------------------------------------------------------------------------


def _chips(checks: Checks, context: Context, observed: NpuObservation) -> None:
    npu_smi, inputs, hardware = observed["npu_smi"], context.inputs, context.plan["hardware"]
    if npu_smi["error"]:
        checks.not_run("npu_count", "npu-smi printed no table.")
    else:
        _count(checks, npu_smi, hardware["npu_devices"])
    chips = npu_smi["chips"]
    minimum_mb = hardware["hbm_mb"] * 0.95  # Some drivers subtract the memory that they use themselves.

    def below(name: str, limit: float, unit: str, value: Callable[[Chip], int | None]) -> None:
        _per_chip(checks, name, chips, "below %g %s" % (limit, unit), value, lambda actual: actual < limit,
                  ("{} " + unit).format)

    _per_chip(checks, "npu_type", chips, " or ".join(hardware["chip_names"]), lambda chip: chip["name"],
              lambda name: name in hardware["chip_names"], str)
    _per_chip(checks, "hbm_total", chips, "%d MB" % hardware["hbm_mb"], lambda chip: chip["hbm_total_mb"],
              lambda total: total >= minimum_mb, "{} MB".format)
    _per_chip(checks, "health", chips, "OK", _health, lambda health: health[0] in ("OK", "Warning"), _health_text)
    _per_chip(checks, "health_warning", chips, "OK", _health, lambda health: health[0] != "Warning", _health_text)
    below("temperature", inputs["npu_driver_temperature_limit_c"], "°C", lambda chip: chip["temperature_c"])
    below("temperature_high", inputs["npu_driver_temperature_warning_c"], "°C", lambda chip: chip["temperature_c"])
    below("isolated_pages", inputs["npu_driver_isolated_pages_limit"], "pages", _isolated_pages)
    below("isolated_pages_warning", inputs["npu_driver_isolated_pages_warning"], "pages", _isolated_pages)
    _per_chip(checks, "ecc_errors", chips, "0 errors", lambda chip: _ecc(chip, "HBM Double Bit Error Count"),
              lambda errors: errors == 0, "{} errors".format)


def _count(checks: Checks, npu_smi: NpuSmi, planned: Collection[int]) -> None:
    devices = {chip["device"] for chip in npu_smi["chips"]}
    missing = sorted(set(planned) - devices)
    message = None
    if len(npu_smi["chips"]) != len(planned):
        message = "%d of %d NPU chips answer%s%s" % (
            len(devices), len(planned), "; missing: " + ", ".join(map(device_path, missing))
            if missing else "", "" if npu_smi["complete"] else "; the table of npu-smi is truncated")
    checks.expect("npu_count", len(npu_smi["chips"]) == len(planned), len(planned), len(npu_smi["chips"]),
                  message=message)


def _per_chip(checks: Checks, name: str, chips: Sequence[Chip], expected: str, value: Callable[[Chip], _T | None],
              passes: Callable[[_T], bool], show: Callable[[_T], str]) -> None:
    """Record an outcome for each chip that does not pass or has no value, or a single outcome if all chips pass."""
    if not chips:
        checks.not_run(name, "npu-smi shows no NPU.")
    passed = []
    for chip in chips:
        actual = value(chip)
        if actual is None:
            checks.not_run(name, "npu-smi does not print this value.", subject=_subject(chip, chips))
        elif passes(actual):
            passed.append(show(actual))
        else:
            checks.expect(name, False, expected, show(actual), subject=_subject(chip, chips))
    if chips and len(passed) == len(chips):
        checks.expect(name, True, expected, ", ".join(dict.fromkeys(passed)))


def _subject(chip: Chip, chips: Iterable[Chip]) -> str:
    several = sum(other["npu"] == chip["npu"] for other in chips) > 1
    return "npu %d chip %s" % (chip["npu"], chip["chip"]) if several else "npu %d" % chip["npu"]


#: (health, error codes or None if they could not be read, description of the codes)
_Health = tuple[str, "list[str] | None", "str | None"]


def _health(chip: Chip) -> _Health | None:
    return (chip["health"], chip["error_codes"], chip["error_information"]) if chip["health"] else None


def _health_text(health: _Health) -> str:
    state, codes, information = health
    if state == "OK":
        return state
    listed = ", ".join(codes) if codes else "no error code" if codes == [] else "error codes could not be read"
    return "%s: %s%s" % (state, listed, " (%s)" % " / ".join(information.split("\n")) if codes and information else "")


def _isolated_pages(chip: Chip) -> int | None:
    return _ecc(chip, "HBM Single Bit Isolated Pages Count", "HBM Double Bit Isolated Pages Count")


def _ecc(chip: Chip, *counters: str) -> int | None:
    """Return the sum of counters, or None if npu-smi does not print all of them."""
    printed = [(chip["ecc"] or {}).get(counter, "") for counter in counters]
    return sum(int(count) for count in printed) if all(count.isdigit() for count in printed) else None


# Users of the planned NPUs ----------------------------------------------------------------------------------------


def _npus_free(checks: Checks, context: Context, observed: NpuObservation) -> None:
    inputs = context.inputs
    planned = {number: instance["name"] for instance in context.plan["instances"] for number in instance["npus"]}
    held, services, foreign = set(), set(), False
    for holder in observed["holders"]:
        device, container = holder["device"], holder["container"]
        names = {holder["process"], container["name"] if container else None}
        if device is None or device not in planned or names & set(inputs["npu_driver_allowed_holders"]):
            continue
        held.add(device)
        if container and labels.own(container["labels"]) and container["name"] in planned.values():
            services.add(container["name"])
            continue
        foreign = True
        checks.expect("npus_free", False, "free, or used by %s" % planned[device], describe_holder(holder),
                      subject="npu %d" % device, message=_holder_message(device, holder, observed["docker_engine"]),
                      remedy=other_deployment(container, context.plan))
    if not foreign and observed["npu_smi"]["error"]:
        checks.not_run("npus_free", "npu-smi does not show the processes on the NPUs.")
    elif not foreign:
        checks.expect("npus_free", True, "free, or used by the planned service",
                      "used by %s" % ", ".join(sorted(services)) if services else "free")
    _idle(checks, observed["npu_smi"], set(planned) - held, inputs)


def _holder_message(device: int, holder: NpuHolder, docker_engine: Mapping[str, Any]) -> str:
    unknown = "; its container is unknown, because Docker does not respond" if "error" in docker_engine else ""
    container = holder["container"]
    unplanned = ", a service that is not in the plan" if container and labels.own(container["labels"]) else ""
    return "%s is used by %s%s%s" % (device_path(device), describe_holder(holder), unplanned, unknown)


def _idle(checks: Checks, npu_smi: NpuSmi, free: Collection[int], inputs: Mapping[str, Any]) -> None:
    """Judge the load of the planned NPUs that no known process uses."""
    chips = [chip for chip in npu_smi["chips"] if chip["device"] in free]
    aicore, hbm = inputs["npu_driver_idle_aicore_percent"], inputs["npu_driver_idle_hbm_mb"]
    if npu_smi["error"]:
        checks.not_run("npu_idle", "npu-smi shows no NPU.")
    elif free:
        _per_chip(checks, "npu_idle", chips, "AICore at most %g %%, HBM at most %g MB" % (aicore, hbm), _use,
                  lambda use: use[0] <= aicore and use[1] <= hbm, lambda use: "AICore %d %%, HBM %d MB" % use)


def _use(chip: Chip) -> tuple[int, int] | None:
    """Return the AICore load in percent and the used HBM in MB, or None if npu-smi omits either value."""
    aicore_percent, hbm_used_mb = chip["aicore_percent"], chip["hbm_used_mb"]
    return None if aicore_percent is None or hbm_used_mb is None else (aicore_percent, hbm_used_mb)


PARTS = (_tool, _chips, _npus_free)
