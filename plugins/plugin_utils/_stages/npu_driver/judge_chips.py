# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge what npu-smi shows, chip by chip, and who holds the planned NPUs. PRIVATE to this folder."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._host.holders import describe_holder

# What npu-smi says when the driver's library cannot work.
_TOOL_REMEDIES = {
    -8005: "The driver is not ready: reboot after an upgrade of driver or firmware, and run as root or as a member of "
           "the group HwHiAiUser.",
    -8020: "Another container holds the device: find it in docker ps, or mount the driver's folder there read-only.",
}


# The vendor's tool ------------------------------------------------------------------------------------------------


def _tool(checks, context):
    observed, inputs = context.observed, context.inputs
    error = observed["npu_smi"]["error"]
    hung = [call for call in observed["tools"] if call["timed_out"]]
    slow = [call for call in observed["tools"]
            if not call["timed_out"] and call["duration_s"] > inputs["npu_driver_tool_slow_s"]]
    if error and hung:
        checks.not_run("npu_smi", "npu-smi hangs, see tool_wedged")
    else:
        checks.expect("npu_smi", error is None, "a table of NPUs", error["message"] if error else "a table of NPUs",
                      remedy=_TOOL_REMEDIES.get(error["code"]) if error else None)
    if not observed["tools"]:
        for name in ("tool_wedged", "tool_slow"):
            checks.not_run(name, "npu-smi was not found")
        return
    for name, limit, calls in (("tool_wedged", "npu_driver_tool_wedged_s", hung),
                               ("tool_slow", "npu_driver_tool_slow_s", slow)):
        checks.expect(name, not calls, "an answer within %g s" % inputs[limit],
                      _durations(calls or observed["tools"]))


def _durations(calls):
    slowest = sorted(calls, key=lambda call: -call["duration_s"])
    more = " and %d more" % (len(slowest) - 3) if len(slowest) > 3 else ""
    return ", ".join("%s %.1f s" % (call["command"], call["duration_s"]) for call in slowest[:3]) + more


# Chips ------------------------------------------------------------------------------------------------------------


def _chips(checks, context):
    observed, limits, hardware = context.observed, context.inputs, context.plan["hardware"]
    chips = observed["npu_smi"]["chips"]
    if observed["npu_smi"]["error"]:
        checks.not_run("npu_count", "npu-smi shows no table")
    else:
        _count(checks, observed["npu_smi"], hardware["npu_devices"])
    least = hardware["hbm_mb"] * 0.95  # some drivers print what is left after their own use

    def per_chip(name, expected, value, holds, show=str):
        _per_chip(checks, name, chips, expected, value, holds, show)

    per_chip("npu_type", " or ".join(hardware["chip_names"]), lambda chip: chip["name"],
             lambda name: name in hardware["chip_names"])
    per_chip("hbm_total", "%d MB" % hardware["hbm_mb"], lambda chip: chip["hbm_total_mb"],
             lambda total: total >= least, "{} MB".format)
    per_chip("health", "OK", _health, lambda health: health[0] in ("OK", "Warning"), _health_text)
    per_chip("health_warning", "OK", _health, lambda health: health[0] != "Warning", _health_text)
    for name, limit in (("temperature", "npu_driver_temperature_limit_c"),
                        ("temperature_high", "npu_driver_temperature_warning_c")):
        per_chip(name, "below %g °C" % limits[limit], lambda chip: chip["temperature_c"],
                 lambda degrees, limit=limit: degrees < limits[limit], "{} °C".format)
    for name, limit in (("isolated_pages", "npu_driver_isolated_pages_limit"),
                        ("isolated_pages_warning", "npu_driver_isolated_pages_warning")):
        per_chip(name, "below %g pages" % limits[limit], _isolated_pages,
                 lambda pages, limit=limit: pages < limits[limit], "{} pages".format)
    per_chip("ecc_errors", "0 errors", lambda chip: _ecc(chip, "HBM Double Bit Error Count"),
             lambda errors: errors == 0, "{} errors".format)


def _count(checks, npu_smi, wanted):
    devices = {chip["device"] for chip in npu_smi["chips"]}
    missing = sorted(set(wanted) - devices)
    message = None
    if len(npu_smi["chips"]) != len(wanted):
        message = "%d of %d NPU chips answer%s%s" % (
            len(devices), len(wanted), "; missing: " + ", ".join(map(device_path, missing))
            if missing else "", "" if npu_smi["complete"] else "; npu-smi's table was cut")
    checks.expect("npu_count", len(npu_smi["chips"]) == len(wanted), len(wanted), len(npu_smi["chips"]),
                  message=message)


def _per_chip(checks, name, chips, expected, value, holds, show):
    """One entry for every chip that does not hold or does not tell; one for all of them if they all hold."""
    found = [(chip, value(chip)) for chip in chips]
    if not found:
        checks.not_run(name, "npu-smi shows no NPU")
    for chip, actual in found:
        if actual is None:
            checks.not_run(name, "npu-smi does not tell it", subject=_subject(chip, chips))
        elif not holds(actual):
            checks.expect(name, False, expected, show(actual), subject=_subject(chip, chips))
    if all(actual is not None and holds(actual) for _chip, actual in found) and found:
        checks.expect(name, True, expected, ", ".join(dict.fromkeys(show(actual) for _chip, actual in found)))


def _subject(chip, chips):
    several = sum(other["npu"] == chip["npu"] for other in chips) > 1
    return "npu %d chip %d" % (chip["npu"], chip["chip"]) if several else "npu %d" % chip["npu"]


def _health(chip):
    return chip["health"] and (chip["health"], chip["error_codes"], chip["error_information"])


def _health_text(health):
    state, codes, information = health
    if state == "OK":
        return state
    listed = ", ".join(codes) if codes else "no error code" if codes == [] else "error codes could not be read"
    return "%s: %s%s" % (state, listed, " (%s)" % " / ".join(information.split("\n")) if codes and information else "")


def _isolated_pages(chip):
    return _ecc(chip, "HBM Single Bit Isolated Pages Count", "HBM Double Bit Isolated Pages Count")


def _ecc(chip, *counters):
    """The sum of counters, or None if npu-smi does not print one of them."""
    printed = [(chip["ecc"] or {}).get(counter, "") for counter in counters]
    return sum(int(count) for count in printed) if all(count.isdigit() for count in printed) else None


# Who holds the planned NPUs -----------------------------------------------------------------------------------------


def _npus_free(checks, context):
    observed, plan, inputs = context.observed, context.plan, context.inputs
    planned = {number: instance["name"] for instance in plan["instances"] for number in instance["npus"]}
    names = set(planned.values())
    held, ours, foreign = set(), set(), False
    for holder in observed["holders"]:
        if holder["device"] not in planned or _allowed(holder, inputs["npu_driver_allowed_holders"]):
            continue
        held.add(holder["device"])
        container = holder["container"] or {}
        if _is_ours(container) and container["name"] in names:
            ours.add(container["name"])
            continue
        foreign = True
        checks.expect("npus_free", False, "free, or held by %s" % planned[holder["device"]], describe_holder(holder),
                      subject="npu %d" % holder["device"], message=_holder_message(holder, observed["docker_engine"]))
    if not foreign and observed["npu_smi"]["error"]:
        checks.not_run("npus_free", "npu-smi does not tell the processes on the NPUs")
    elif not foreign:
        checks.expect("npus_free", True, "free, or held by our own service",
                      "held by our own %s" % ", ".join(sorted(ours)) if ours else "free")
    _idle(checks, observed["npu_smi"], set(planned) - held, inputs)


def _is_ours(container):
    return any(label.startswith(labels.PREFIX) for label in container.get("labels", ()))


def _allowed(holder, allowed):
    return holder["process"] in allowed or (holder["container"] or {}).get("name") in allowed


def _holder_message(holder, engine):
    unknown = "; its container is not known, since the engine does not answer" if "error" in engine else ""
    stale = ", a service of ours that the plan does not have" if _is_ours(holder["container"] or {}) else ""
    return "%s is held by %s%s%s" % (device_path(holder["device"]), describe_holder(holder), stale, unknown)


def _idle(checks, npu_smi, free, inputs):
    """NPUs that nobody is seen on must be idle; those that are held have been judged by their holder."""
    chips = [chip for chip in npu_smi["chips"] if chip["device"] in free]
    aicore, hbm = inputs["npu_driver_idle_aicore_percent"], inputs["npu_driver_idle_hbm_mb"]
    if npu_smi["error"]:
        checks.not_run("npu_idle", "npu-smi shows no NPU")
    elif free:
        _per_chip(checks, "npu_idle", chips, "AICore at most %g %%, HBM at most %g MB" % (aicore, hbm), _use,
                  lambda use: use[0] <= aicore and use[1] <= hbm, lambda use: "AICore %d %%, HBM %d MB" % use)


def _use(chip):
    """(AICore in per cent, HBM in MB), or None if npu-smi does not tell both."""
    use = chip["aicore_percent"], chip["hbm_used_mb"]
    return None if None in use else use


PARTS = (_tool, _chips, _npus_free)
