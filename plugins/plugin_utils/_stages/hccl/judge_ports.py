# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judge the network port of each NPU from the output of hccn_tool."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from email.utils import parsedate
from typing import TYPE_CHECKING, Any, NamedTuple, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import switch_ports

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._ascend.hccn_tool import HccnAnswer, HccnConf
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.observation import HcclObservation, Peers

#: The results of hccn_tool for one NPU, ``{query: result}``.
Answers = Mapping[str, "HccnAnswer"]

# Checks of values that must be the same on all NPUs of the cluster.
ALIKE = ("speed", "duplex", "mtu", "fec", "tls")
_UNSUPPORTED = ("not supported", "unsupported", "not support")
# {query: part of an error message of the tool that another check reports}
_FINDINGS = {"ip": "no ip was preset", "gateway": "no gateway was preset", "optical": "ptical module is not present"}


class Outcome(NamedTuple):
    """The outcome of a check for one NPU. ``ok`` is None if the outcome could not be determined."""

    npu: int
    ok: bool | None
    expected: str | None
    actual: str | None
    message: str | None = None
    unsupported: bool = False


def judge_ports(observed: HcclObservation, votes: Mapping[str, Mapping[str, int]], inputs: Mapping[str, Any]
                ) -> Iterator[tuple[str, list[Outcome]]]:
    """Yield ``(check id, outcomes)`` for every check of the individual NPUs. ``votes`` come from `count_votes`."""
    npus = {int(npu): answers for npu, answers in observed["npus"].items()}

    def each(function: Callable[..., Outcome], *arguments: Any) -> list[Outcome]:
        return [function(npu, npus[npu], *arguments) for npu in sorted(npus)]

    yield "tool_answers", each(_tool)
    yield "conf", [_conf(npu, observed) for npu in sorted(npus)]
    yield "link", each(_status, "link", "UP")
    yield "net_health", each(_net_health)
    for check, query in (("address", "ip"), ("netmask", "ip"), ("gateway", "gateway")):
        yield check, each(_as_configured, check, query, observed["conf"])
    yield "netdetect", each(_netdetect)
    yield "lldp_neighbour", each(_lldp, switch_ports(observed))
    for check in ALIKE:
        yield check, each(_as_majority, check, votes[check])
    limits = inputs["hccl_optical_limits"]
    yield "optics_present", each(_optics_present)
    yield "optics_power", each(_optics, _power_faults, limits)
    yield "optics_snr", each(_optics, _snr_faults, limits)
    yield "optics_margin", each(_optics, _margin_faults, limits)
    yield "link_flaps", each(_flaps, inputs["hccl_link_flap_limit"])


def count_votes(peers: Peers) -> dict[str, Counter[str]]:
    """Return ``{check: {value: number of NPUs}}`` for the checks in ALIKE."""
    npus = [answers for observed in peers.values() for answers in observed["npus"].values()]
    values = {check: [_value(check, answers)[0] for answers in npus] for check in ALIKE}
    return {check: Counter(value for value in found if value is not None) for check, found in values.items()}


def _no_answer(npu: int, answers: Answers, query: str, expected: str | None) -> Outcome | None:
    """Return the outcome for a query that failed or was not sent, or None if the query succeeded."""
    answer = answers.get(query)
    if answer is None:
        return Outcome(npu, None, expected, None, "hccn_tool -%s was not run" % query)
    error = answer.get("error")
    if not error:
        return None
    message = "hccn_tool -%s: %s" % (query, error["message"])
    return Outcome(npu, None, expected, None, message, any(words in error["message"] for words in _UNSUPPORTED))


def _tool(npu: int, answers: Answers) -> Outcome:
    for query, answer in sorted(answers.items()):
        error = answer.get("error")
        if not error or error["kind"] == "skipped" or (query == "lldp" and error["kind"] == "empty"):
            continue
        if not any(words in error["message"] for words in (*_UNSUPPORTED, _FINDINGS.get(query, "\0"))):
            return Outcome(npu, False, "an answer to every query", "%s for -%s" % (error["kind"], query),
                           "hccn_tool -%s: %s" % (query, error["message"]))
    return Outcome(npu, True, "an answer to every query", "answered")


def _conf(npu: int, observed: HcclObservation) -> Outcome:
    conf, expected = observed["conf"], "readable, without duplicate keys"
    if conf is None:
        return Outcome(npu, False, expected, "unreadable", "hccn.conf cannot be read: %s" % observed["conf_error"])
    duplicates = [key for key in conf["duplicates"] if key.endswith("_%d" % npu)]
    return Outcome(npu, not duplicates, expected, "%s twice" % ", ".join(duplicates) if duplicates else "readable")


def _status(npu: int, answers: Answers, query: str, expected: str) -> Outcome:
    missing = _no_answer(npu, answers, query, expected)
    if missing:
        return missing
    status = answers[query]["status"]
    return Outcome(npu, status == expected, expected, status)


def _net_health(npu: int, answers: Answers) -> Outcome:
    outcome = _status(npu, answers, "net_health", "Success")
    if outcome.ok is not False:
        return outcome
    address = answers.get("netdetect", {}).get("address")
    return outcome._replace(message="net_health of npu %d is '%s', netdetect address: %s" % (
        npu, outcome.actual, address or "none"))


def _as_configured(npu: int, answers: Answers, check: str, query: str, conf: HccnConf | None) -> Outcome:
    """Compare the address, netmask or gateway of a device with its entry in /etc/hccn.conf."""
    entry = "%s_%d" % (check, npu)
    wanted = conf["devices"].get(str(npu), {}).get(check) if conf else None
    answer = answers.get(query, {})
    unset = _FINDINGS[query] in answer.get("error", {}).get("message", "")
    missing = None if unset else _no_answer(npu, answers, query, wanted)
    if missing:
        return missing
    actual = answer.get("netmask") if check == "netmask" else answer.get("address")
    version_6 = conf["devices"].get(str(npu), {}).get("IPv6address") if conf else None
    if version_6 and actual is None and wanted is None:
        return Outcome(npu, None, None, None, "npu %d has only an IPv6 address (%s in /etc/hccn.conf); this check and "
                       "the pings between NPUs need IPv4." % (npu, version_6), unsupported=True)
    if conf is None or entry in conf["duplicates"]:
        return Outcome(npu, None, None, actual, "There is no unique %s in /etc/hccn.conf to compare with." % entry)
    if check == "gateway" and actual is None and wanted is None:
        return Outcome(npu, None, None, None, "Neither the device nor /etc/hccn.conf has a gateway, so the NPU reaches "
                       "only its own subnet.", unsupported=True)
    written = "%s=%s" % (entry, wanted) if wanted else "nothing (no %s)" % entry
    message = "npu %d has the %s %s, but /etc/hccn.conf says %s" % (npu, check, actual or "none", written)
    same = actual is not None and actual == wanted
    return Outcome(npu, same, wanted, actual or "none", None if same else message)


def _netdetect(npu: int, answers: Answers) -> Outcome:
    expected = "an address that answers"
    missing = _no_answer(npu, answers, "netdetect", expected)
    if missing:
        return missing
    address = answers["netdetect"]["address"]
    if address in (None, "0.0.0.0"):
        return Outcome(npu, False, expected, "none", "npu %d has no netdetect address" % npu)
    health = answers.get("net_health", {}).get("status")
    if health != "Success":
        return Outcome(npu, None, expected, address,
                       "It is unknown whether %s answers, because net_health is: %s" % (address, health))
    return Outcome(npu, True, expected, address)


def _lldp(npu: int, answers: Answers, ports: Mapping[int, tuple[str, str]]) -> Outcome:
    expected = "a switch and its port"
    answer = answers.get("lldp", {})
    if answer.get("error", {}).get("kind") == "empty":
        return Outcome(npu, False, expected, "none")
    missing = _no_answer(npu, answers, "lldp", expected)
    if missing:
        return missing
    if npu in ports:
        return Outcome(npu, True, expected, "%s %s" % ports[npu])
    port = answer.get("ifname")
    return Outcome(npu, bool(port), expected, port or "no port")


def _value(check: str, answers: Answers) -> tuple[str | None, str]:
    """Return the value of a check in ALIKE (None if it is unknown), and the query that returns this value."""
    query = {"speed": "status", "duplex": "status"}.get(check, check)
    answer = answers.get(query, {})
    if check == "tls":
        enabled = answer.get("enabled")
        return None if enabled is None else "on" if enabled else "off", query
    if check == "fec":
        return answer.get("mode"), query
    fields = {key.lower(): value for key, value in answer.get("fields", {}).items()}
    value = fields.get(check)
    return None if value and value.startswith("Unknown") else value, query


def _as_majority(npu: int, answers: Answers, check: str, votes: Mapping[str, int]) -> Outcome:
    value, query = _value(check, answers)
    most = majority(votes)
    expected = most or "the same value on all NPUs"
    if value is None:
        return _no_answer(npu, answers, query, expected) or Outcome(
            npu, None, expected, None, "npu %d does not report its %s. Is its link up?" % (npu, check))
    if value == most:
        return Outcome(npu, True, expected, value)
    counts = ", ".join("%s on %d NPUs" % pair for pair in Counter(votes).most_common())
    return Outcome(npu, False, expected, value, "%s of npu %d is %s; in the cluster: %s" % (check, npu, value, counts))


# --- Optics ----------------------------------------------------------------------------------------------------------

#: The values that ``hccn_tool -optical`` prints for a module, such as ``{"present": True, "Tx Power0": 1.2}``.
Values = Mapping[str, Any]
Limits = Mapping[str, Any]


def _optics_present(npu: int, answers: Answers) -> Outcome:
    expected = "present"
    if answers.get("status", {}).get("fields", {}).get("Port") == "Direct Attach Copper":
        return Outcome(npu, None, expected, "copper cable", "A copper cable has no optical module.", unsupported=True)
    if _is_absent(answers):
        return Outcome(npu, False, expected, "not present")
    missing = _no_answer(npu, answers, "optical", expected)
    if missing:
        return missing
    present = answers["optical"]["present"]
    return Outcome(npu, present, expected, None if present is None else "present" if present else "not present")


def _is_absent(answers: Answers) -> bool:
    return _FINDINGS["optical"] in answers.get("optical", {}).get("error", {}).get("message", "")


def _optics(npu: int, answers: Answers, faults: Callable[[Values, Limits], list[str] | None], limits: Limits
            ) -> Outcome:
    """Judge an optical module. ``faults`` returns its values beyond the limits, or None if it reports none."""
    answer = answers.get("optical", {})
    if not answer.get("present"):
        missing = None if _is_absent(answers) else _no_answer(npu, answers, "optical", None)
        return missing or Outcome(npu, None, None, None, "No optical module is present.", unsupported=True)
    found = faults(cast(Values, answer), limits)
    if found is None:
        return Outcome(npu, None, None, None, "The module does not report these values.", unsupported=True)
    return Outcome(npu, not found, "within the limits", ", ".join(found) or "within the limits",
                   "npu %d: %s" % (npu, ", ".join(found)) if found else None)


def _lanes(values: Values, name: str) -> dict[str, float]:
    """Return ``{printed key: number}`` for the lanes for which the module reports the value ``name``."""
    return {key: value for key, value in values.items()
            if re.match(name + r"(?: Lane)?[0-9]*$", key) and isinstance(value, (int, float))}


def _beyond(lanes: Mapping[str, float], unit: str, low: float, high: float = math.inf) -> list[str]:
    limits = "at least %g" % low if high == math.inf else "%g to %g" % (low, high)
    return ["%s %g %s (%s)" % (key, value, unit, limits)
            for key, value in sorted(lanes.items()) if not low <= value <= high]


def _power_faults(values: Values, limits: Limits) -> list[str] | None:
    groups = [(_lanes(values, name), limits[limit], unit) for name, limit, unit in (
        ("Tx Power", "tx_power_mw", "mW"), ("Rx Power", "rx_power_mw", "mW"), ("Tx Bias", "tx_bias_ma", "mA"))]
    if not any(lanes for lanes, _limit, _unit in groups):
        return None
    return [fault for lanes, (low, high), unit in groups for fault in _beyond(lanes, unit, low, high)]


def _snr_faults(values: Values, limits: Limits) -> list[str] | None:
    lanes = _snr(values)
    return _beyond(lanes, "dB", limits["snr_db"]) if lanes else None


def _margin_faults(values: Values, limits: Limits) -> list[str] | None:
    received, snr = _lanes(values, "Rx Power"), _snr(values)
    if not received and not snr:
        return None
    faults = _beyond(received, "mW", limits["rx_power_warn_mw"]) + _beyond(snr, "dB", limits["snr_warn_db"])
    lit = [value for value in received.values() if value > 0]
    if len(lit) > 1:
        spread = 10 * math.log10(max(lit) / min(lit))
        if spread > limits["lane_spread_db"]:
            faults.append("Rx Power of the lanes differs by %.1f dB (at most %g)" % (spread, limits["lane_spread_db"]))
    return faults


def _snr(values: Values) -> dict[str, float]:
    return {**_lanes(values, "Media SNR"), **_lanes(values, "Host SNR")}


# --- Link history ----------------------------------------------------------------------------------------------------

def _moment(text: str | None) -> datetime | None:
    """Parse a time in the format of asctime, ``Sun Nov  2 01:02:03 2026``, independently of the locale."""
    parsed = parsedate(text or "")
    try:
        return datetime(*parsed[:6]) if parsed else None
    except ValueError:
        return None


def _flaps(npu: int, answers: Answers, limit: int) -> Outcome:
    expected = "at most %d in 24 hours" % limit
    missing = _no_answer(npu, answers, "link_stat", expected)
    if missing:
        return missing
    now = _moment(answers["link_stat"]["current_time"])
    downs = [_moment(event["time"]) for event in answers["link_stat"]["events"] if event["status"].endswith("DOWN")]
    if now is None or None in downs:
        return Outcome(npu, None, expected, None, "A time in the output of hccn_tool -link_stat cannot be read.")
    recent = sum(1 for moment in downs if moment and timedelta(0) <= now - moment <= timedelta(days=1))
    return Outcome(npu, recent <= limit, expected, "%d" % recent,
                   "link failures of npu %d in the last 24 hours: %d" % (npu, recent) if recent > limit else None)
