# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the checks of a single NPU's network port find. PRIVATE to the judge of the stage hccl."""
from __future__ import annotations

import math
import re
from collections import Counter
from datetime import datetime, timedelta
from typing import NamedTuple

from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority

# Checks of a value that all NPUs of the cluster have to have in common.
ALIKE = ("speed", "duplex", "mtu", "fec", "tls")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_UNSUPPORTED = ("not supported", "unsupported", "not support")
# A tool error that is itself the finding of a check, not a tool that fails.
_FINDINGS = {"ip": "no ip was preset", "gateway": "no gateway was preset", "optical": "ptical module is not present"}


class Outcome(NamedTuple):
    """What one check found for one NPU; ``ok`` None when it could not be told."""

    npu: int
    ok: bool | None
    expected: str | None
    actual: str | None
    message: str | None = None
    unsupported: bool = False


def judge_ports(observed, votes, inputs):
    """Yield (check id, [Outcome]) for every check of single NPUs of one host.

    :param votes: `count_votes` over all hosts.
    :param inputs: the inputs of the role.
    """
    npus = {int(npu): answers for npu, answers in observed["npus"].items()}
    conf = observed["conf"]

    def each(function, *arguments):
        return [function(npu, npus[npu], *arguments) for npu in sorted(npus)]

    yield "tool_answers", each(_tool)
    yield "conf", [_conf(npu, observed) for npu in sorted(npus)]
    yield "link", each(_equals, "link", "status", "UP")
    yield "net_health", each(_net_health)
    for check, query in (("address", "ip"), ("netmask", "ip"), ("gateway", "gateway")):
        yield check, each(_as_configured, check, query, conf)
    yield "netdetect", each(_netdetect)
    yield "lldp_neighbour", each(_lldp)
    for check in ALIKE:
        yield check, each(_as_most, check, Counter(votes[check]))
    limits = inputs["hccl_optical_limits"]
    yield "optics_present", each(_optics_present)
    yield "optics_power", each(_optics, _power_faults, limits)
    yield "optics_snr", each(_optics, _snr_faults, limits)
    yield "optics_margin", each(_optics, _margin_faults, limits)
    yield "link_flaps", each(_flaps, inputs["hccl_link_flap_limit"])


def count_votes(peers):
    """Return ``{check: {value: number of NPUs}}`` of what has to be alike on all NPUs of ``{host: observed}``."""
    votes = {check: Counter() for check in ALIKE}
    for observed in peers.values():
        for answers in observed["npus"].values():
            for check, counts in votes.items():
                value = _value(check, answers)[0]
                if value is not None:
                    counts[value] += 1
    return votes


def neighbours(observed):
    """Return ``{npu: (switch, port)}`` of the NPUs that see one over LLDP; the switch by name, else by chassis."""
    found = {}
    for npu, answers in observed.get("npus", {}).items():
        answer = answers.get("lldp", {})
        tlvs = answer.get("tlvs", {})
        switch = tlvs.get("System Name TLV") or tlvs.get("Chassis ID TLV")
        port = answer.get("ifname") or tlvs.get("Port ID TLV")
        if switch and port:
            found[int(npu)] = (switch, port)
    return found


def unhealthy(observed):
    """Return the NPUs of a host that have no link, fail to reach what they watch, or have another address than set."""
    conf = (observed.get("conf") or {}).get("devices", {})
    return [int(npu) for npu, answers in observed.get("npus", {}).items()
            if answers.get("link", {}).get("status") != "UP"
            or answers.get("net_health", {}).get("status") != "Success"
            or answers.get("ip", {}).get("address") != conf.get(npu, {}).get("address")]


def _unanswered(npu, answers, query, expected):
    """Return an Outcome for a query that was not asked or not answered, or None when there is an answer."""
    answer = answers.get(query)
    if answer is None:
        return Outcome(npu, None, expected, None, "-%s was not asked" % query)
    error = answer.get("error")
    if not error:
        return None
    message = "hccn_tool -%s: %s" % (query, error["message"])
    return Outcome(npu, None, expected, None, message, any(words in error["message"] for words in _UNSUPPORTED))


def _tool(npu, answers):
    for query, answer in sorted(answers.items()):
        error = answer.get("error")
        if not error or (query == "lldp" and error["kind"] == "empty"):
            continue
        if _FINDINGS.get(query, "\0") in error["message"] or any(words in error["message"] for words in _UNSUPPORTED):
            continue
        if error["kind"] != "skipped":
            return Outcome(npu, False, "an answer to every query", "%s at -%s" % (error["kind"], query),
                           "hccn_tool -%s: %s" % (query, error["message"]))
    return Outcome(npu, True, "an answer to every query", "answered")


def _conf(npu, observed):
    conf, expected = observed["conf"], "entries, each once"
    if conf is None:
        return Outcome(npu, False, expected, "unreadable", "hccn.conf cannot be read: %s" % observed["conf_error"])
    twice = [key for key in conf["duplicates"] if key.endswith("_%d" % npu)]
    return Outcome(npu, not twice, expected, "%s twice" % ", ".join(twice) if twice else "readable")


def _equals(npu, answers, query, key, expected):
    return _unanswered(npu, answers, query, expected) or Outcome(
        npu, answers[query][key] == expected, expected, answers[query][key])


def _net_health(npu, answers):
    outcome = _equals(npu, answers, "net_health", "status", "Success")
    watched = answers.get("netdetect", {}).get("address")
    if outcome.ok is False:
        return outcome._replace(message="net_health of npu %d is '%s', watching %s" % (
            npu, outcome.actual, watched or "no address"))
    return outcome


def _as_configured(npu, answers, check, query, conf):
    """Compare a device's address, netmask or gateway with its entry in /etc/hccn.conf."""
    key = {"netmask": "netmask"}.get(check, "address")
    entry = "%s_%d" % (check, npu)
    wanted = (conf or {"devices": {}})["devices"].get(str(npu), {}).get(check)
    unset = answers.get(query, {}).get("error") and _FINDINGS[query] in answers[query]["error"]["message"]
    missing = None if unset else _unanswered(npu, answers, query, wanted)
    if missing:
        return missing
    actual = None if unset else answers[query].get(key)
    if conf is None or entry in conf["duplicates"]:
        return Outcome(npu, None, None, actual, "There is no one %s in /etc/hccn.conf to compare with." % entry)
    if check == "gateway" and actual is None and wanted is None:
        return Outcome(npu, None, None, None, "Neither the device nor /etc/hccn.conf has a gateway: other subnets are "
                       "out of reach.", unsupported=True)
    written = "%s=%s" % (entry, wanted) if wanted else "nothing (no %s)" % entry
    message = "npu %d has the %s %s, /etc/hccn.conf says %s" % (npu, check, actual or "none", written)
    same = actual is not None and actual == wanted
    return Outcome(npu, same, wanted, actual or "none", None if same else message)


def _netdetect(npu, answers):
    expected = "an address that answers"
    missing = _unanswered(npu, answers, "netdetect", expected)
    if missing:
        return missing
    address = answers["netdetect"]["address"]
    if address in (None, "0.0.0.0"):
        return Outcome(npu, False, expected, "none", "npu %d watches no address (netdetect is not set)" % npu)
    health = answers.get("net_health", {}).get("status")
    if health != "Success":
        return Outcome(npu, None, expected, address, "Whether %s answers is told by net_health: %s" % (address, health))
    return Outcome(npu, True, expected, address)


def _lldp(npu, answers):
    expected = "a switch and its port"
    answer = answers.get("lldp", {})
    if answer.get("error", {}).get("kind") == "empty":
        return Outcome(npu, False, expected, "none")
    missing = _unanswered(npu, answers, "lldp", expected)
    if missing:
        return missing
    seen = neighbours({"npus": {npu: answers}}).get(npu)
    port = answer.get("ifname")
    return Outcome(npu, bool(seen or port), expected, "%s %s" % seen if seen else port or "no port")


def _value(check, answers):
    """Return (value that has to be alike, query that gives it), value None when it is not known."""
    query = {"speed": "status", "duplex": "status"}.get(check, check)
    answer = answers.get(query, {})
    if check == "tls":
        return {True: "on", False: "off"}.get(answer.get("enabled")), query
    if check == "fec":
        return answer.get("mode"), query
    fields = {key.lower(): value for key, value in answer.get("fields", {}).items()}
    value = fields.get(check)
    return None if value and value.startswith("Unknown") else value, query


def _as_most(npu, answers, check, votes):
    value, query = _value(check, answers)
    most = majority(votes)
    expected = most or "one value on all NPUs"
    if value is None:
        why = "npu %d does not tell its %s; is its link up?" % (npu, check)
        return _unanswered(npu, answers, query, expected) or Outcome(npu, None, expected, None, why)
    if value == most:
        return Outcome(npu, True, expected, value)
    counts = ", ".join("%s on %d NPUs" % pair for pair in votes.most_common())
    return Outcome(npu, False, expected, value, "%s of npu %d is %s; in the cluster: %s" % (check, npu, value, counts))


# --- Optics ----------------------------------------------------------------------------------------------------------

def _optics_present(npu, answers):
    expected = "present"
    copper = answers.get("status", {}).get("fields", {}).get("Port") == "Direct Attach Copper"
    error = answers.get("optical", {}).get("error")
    if copper:
        return Outcome(npu, None, expected, "copper cable", "A copper cable has no optical module.", unsupported=True)
    if error and _FINDINGS["optical"] in error["message"]:
        return Outcome(npu, False, expected, "not present")
    missing = _unanswered(npu, answers, "optical", expected)
    if missing:
        return missing
    present = answers["optical"]["present"]
    return Outcome(npu, present, expected, {True: "present", False: "not present"}.get(present))


def _optics(npu, answers, faults, limits):
    """Judge the values of a module that is there by ``faults(values, limits)``: sentences, or None without values."""
    answer = answers.get("optical", {})
    if not answer.get("present"):
        absent = _FINDINGS["optical"] in answer.get("error", {}).get("message", "")
        missing = None if absent else _unanswered(npu, answers, "optical", None)
        return missing or Outcome(npu, None, None, None, "No optical module is present.", unsupported=True)
    found = faults(answer, limits)
    if found is None:
        return Outcome(npu, None, None, None, "The module does not tell.", unsupported=True)
    return Outcome(npu, not found, "within the limits", ", ".join(found) or "within the limits",
                   "npu %d: %s" % (npu, ", ".join(found)) if found else None)


def _lanes(values, name):
    """Return ``{printed key: number}`` of the lanes of one value that the module tells."""
    return {key: value for key, value in values.items()
            if re.match(name + r"(?: Lane)?[0-9]*$", key) and isinstance(value, (int, float))}


def _beyond(lanes, low, high, unit):
    return ["%s %g %s (%g to %g)" % (key, value, unit, low, high)
            for key, value in sorted(lanes.items()) if not low <= value <= high]


def _below(lanes, low, unit):
    return ["%s %g %s (at least %g)" % (key, value, unit, low) for key, value in sorted(lanes.items()) if value < low]


def _power_faults(values, limits):
    groups = [(_lanes(values, name), limits[limit], unit) for name, limit, unit in (
        ("Tx Power", "tx_power_mw", "mW"), ("Rx Power", "rx_power_mw", "mW"), ("Tx Bias", "tx_bias_ma", "mA"))]
    if not any(lanes for lanes, _limit, _unit in groups):
        return None
    return [fault for lanes, (low, high), unit in groups for fault in _beyond(lanes, low, high, unit)]


def _snr_faults(values, limits):
    lanes = dict(_lanes(values, "Media SNR"), **_lanes(values, "Host SNR"))
    return _below(lanes, limits["snr_db"], "dB") if lanes else None


def _margin_faults(values, limits):
    received = _lanes(values, "Rx Power")
    signal = dict(_lanes(values, "Media SNR"), **_lanes(values, "Host SNR"))
    if not received and not signal:
        return None
    faults = _below(received, limits["rx_power_warn_mw"], "mW") + _below(signal, limits["snr_warn_db"], "dB")
    lit = [value for value in received.values() if value > 0]
    if len(lit) > 1:
        spread = 10 * math.log10(max(lit) / min(lit))
        if spread > limits["lane_spread_db"]:
            faults.append("Rx Power of the lanes differs by %.1f dB (at most %g)" % (spread, limits["lane_spread_db"]))
    return faults


# --- Link history ----------------------------------------------------------------------------------------------------

def _moment(text):
    """Return the datetime of asctime's ``Sun Nov  2 01:02:03 2026``, or None. (strptime would follow the locale.)"""
    match = re.match(r"\w{3} (\w{3}) +(\d{1,2}) (\d\d):(\d\d):(\d\d) (\d{4})$", text or "", re.ASCII)
    if not match or match.group(1) not in _MONTHS:
        return None
    day, hour, minute, second, year = (int(part) for part in match.groups()[1:])
    try:
        return datetime(year, 1 + _MONTHS.index(match.group(1)), day, hour, minute, second)
    except ValueError:
        return None


def _flaps(npu, answers, limit):
    expected = "at most %d in 24 hours" % limit
    missing = _unanswered(npu, answers, "link_stat", expected)
    if missing:
        return missing
    now = _moment(answers["link_stat"]["current_time"])
    downs = [_moment(event["time"]) for event in answers["link_stat"]["events"] if event["status"].endswith("DOWN")]
    if now is None or None in downs:
        return Outcome(npu, None, expected, None, "A time of -link_stat cannot be read.")
    recent = sum(1 for moment in downs if timedelta(0) <= now - moment <= timedelta(days=1))
    return Outcome(npu, recent <= limit, expected, "%d" % recent,
                   "the link of npu %d went down %d times in 24 hours" % (npu, recent) if recent > limit else None)
