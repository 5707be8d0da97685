# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the NPU network plane: every port for itself, the cluster's ports together, the mesh and the all-reduce."""

from __future__ import annotations

import ipaddress
from collections import Counter, defaultdict

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import ping_loss
from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import (
    CRITICAL,
    INFO,
    WARNING,
    Check,
    Checks,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, judge_ports, ping_mesh
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import interfaces as hccl_fabric
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Request

_CONF = "Write the right value to /etc/hccn.conf with hccn_tool (-s), on device and file alike."
_SAME = "Set the same value on every NPU of the cluster and on the switch ports."
_CABLE = "Clean and reseat module and fibre, then exchange them one at a time; look at the switch port too."

CHECKS = (
    Check("tool_answers", CRITICAL, "hccn_tool answers every query for every NPU",
          "Look for a hung driver (dmesg) and for other users of hccn_tool; a restart of the node ends a hang."),
    Check("conf", CRITICAL, "/etc/hccn.conf can be read and sets nothing twice",
          "Restore the file; without it the NPUs lose their addresses at the next restart."),
    Check("link", CRITICAL, "The link of every NPU is up", _CABLE),
    Check("net_health", CRITICAL, "Every NPU reaches the address that it watches",
          "Check switch port, VLAN and the netdetect address; 'Init' means that none is set."),
    Check("address", CRITICAL, "The address of every NPU is the one in /etc/hccn.conf", _CONF),
    Check("netmask", CRITICAL, "The netmask of every NPU is the one in /etc/hccn.conf", _CONF),
    Check("gateway", CRITICAL, "The gateway of every NPU is the one in /etc/hccn.conf", _CONF),
    Check("netdetect", CRITICAL, "Every NPU watches an address, and it answers",
          "Set it with hccn_tool -i N -netdetect -s address A; usually A is the gateway."),
    Check("lldp_neighbour", WARNING, "Every NPU sees a switch port over LLDP", "Turn LLDP on at the switch port."),
    Check("speed", CRITICAL, "Every NPU has the speed of most NPUs", _SAME),
    Check("duplex", CRITICAL, "Every NPU has the duplex mode of most NPUs", _SAME),
    Check("mtu", CRITICAL, "Every NPU has the MTU of most NPUs", _SAME),
    Check("fec", WARNING, "Every NPU has the FEC mode of most NPUs", _SAME),
    Check("tls", CRITICAL, "The TLS switch is the same on every NPU of the cluster",
          "Set it alike: hccn_tool -i N -tls -s enable 0 (or 1) for every NPU."),
    Check("optics_present", WARNING, "Every NPU has an optical module", _CABLE),
    Check("optics_power", CRITICAL, "Optical power and bias are within the limits", _CABLE),
    Check("optics_snr", CRITICAL, "The signal-to-noise ratio is within the limits", _CABLE),
    Check("optics_margin", WARNING, "Optical values keep a margin to the limits", _CABLE),
    Check("link_flaps", WARNING, "No link went down more than a few times in 24 hours", _CABLE),
    Check("duplicate_address", CRITICAL, "No two NPUs of the cluster have one address",
          "Give one of the two its own address, on the device and in /etc/hccn.conf."),
    Check("rail_subnet", WARNING, "NPUs of one rail are in one subnet",
          "Align address and netmask within the rail, unless the rail is routed on purpose (then waive this)."),
    Check("rail_switch", WARNING, "Every rail is on its switch", "Plug the cable into the rail's switch."),
    Check("switch_port", CRITICAL, "No two NPUs see one switch port", "Follow the two cables; correct the port names."),
    Check("host_interface", CRITICAL, "The host interface for HCCL is found without guessing",
          "Set hccl_interface to the name of the interface."),
    Check("host_reachable", CRITICAL, "The other hosts' addresses are reached",
          "Check route and firewall between the hosts' HCCL interfaces."),
    Check("ping_mesh", CRITICAL, "Every NPU is reached from every NPU of the other nodes",
          "Look at the named suspect first: its link, address, gateway and switch port."),
    Check("ping_loss", WARNING, "No ping loses packets",
          "Look at the error counters (hccn_tool -stat) of the suspect."),
    Check("ping_coverage", WARNING, "Every planned ping was sent",
          "Raise hccl_ping_limit_s, or mend what makes pings slow."),
    Check("collective_result", CRITICAL, "An all-reduce over all nodes gives the right sum",
          "Look at the named node first; the reason is the first error of the run."),
    Check("collective_bandwidth", CRITICAL, "The all-reduce reaches the expected bus bandwidth",
          "Look at the named node or pair first: speed, error counters, switch."),
)
# Of others with the same address or port so many are named.
_NAMED = 8
_CLUSTER = ("duplicate_address", "rail_subnet", "rail_switch", "switch_port", "host_interface", "host_reachable",
            "ping_mesh", "ping_loss", "ping_coverage", "collective_result", "collective_bandwidth")


RETURNED = ()


def request(context):
    """What to ask of the node, see `judging.Judge`."""
    if not context.inputs["hccl_enabled"]:
        return None
    hardware, inputs = context.plan["hardware"], context.inputs
    wants_image = inputs["hccl_collective_policy"] != "never"
    return Request("ascend.vllm.hccn_info", {
        "npus": hardware["npu_devices"],
        "timeout_s": inputs["hccl_query_timeout_s"],
        "image": (inputs["hccl_collective_image"] or context.plan["image"]["reference"]) if wants_image else "",
        "docker_socket": context.plan["docker_socket"],
    }, noted={"wanted_interface": inputs["hccl_interface"]})


def judge(context):
    """The checks of the stage hccl.

    :param context: ``observed`` is what ``ascend.vllm.hccn_info`` and
        ``ascend.vllm.hccl_mesh`` returned, with ``collective`` of the role; ``survey`` what `survey` says of the host.
    """
    checks = Checks(CHECKS)
    host, inputs, observed = context.host, context.inputs, context.observed
    if not inputs["hccl_enabled"]:
        return _not_asked(checks, [check.id for check in CHECKS], "hccl_enabled is false.")
    cluster = context.survey or survey({host: observed}, inputs)[host]
    for check, outcomes in judge_ports.judge_ports(observed, cluster["votes"], inputs):
        _state(checks, check, outcomes)
    if cluster["nodes"] < 2:
        return checks.as_list() + _not_asked(
            Checks(CHECKS), _CLUSTER, "There is only one node in this run; this needs two.")
    _judge_addresses(checks, host, observed, cluster)
    _judge_switches(checks, host, observed, cluster, inputs)
    _judge_hosts(checks, host, observed, cluster["interface"], inputs)
    unjudged = Checks(CHECKS)
    _judge_mesh(checks, unjudged, host, observed, cluster, inputs)
    _judge_collective(checks, unjudged, host, observed, cluster, inputs)
    return checks.as_list() + _as_info(unjudged)


def survey(peers, inputs):
    """Return ``{host: what the judge of that host has to know of all the others}``, in one pass over the cluster.

    Plain data, and for one host small: it does not grow with the number of nodes.

    :param peers: ``{host: observed}`` of every host that is still in the play.
    """
    votes, interfaces = judge_ports.count_votes(peers), hccl_fabric.host_interfaces(peers, inputs["hccl_interface"])
    holders, networks = defaultdict(list), defaultdict(Counter)
    rails, ports, switches, evidence = defaultdict(Counter), defaultdict(list), {}, set()
    for name, observed in sorted(peers.items()):
        for npu, address in hccl_fabric.npu_addresses(observed).items():
            holders[address].append((name, npu))
            networks[str(npu)][_network(observed, npu)] += 1
        for npu, (switch, port) in judge_ports.neighbours(observed).items():
            rails[str(npu)][switch] += 1
            ports[(switch, port)].append((name, npu))
            switches[(name, npu)] = switch
        evidence.update((name, npu) for npu in judge_ports.unhealthy(observed))
    matrices = {name: observed["ping"]["matrix"] for name, observed in peers.items() if observed.get("ping")}
    meshes = {check: _survey_mesh(matrices, bad, switches, evidence)
              for check, bad in (("ping_mesh", ping_loss.failed), ("ping_loss", ping_loss.lossy))}
    npus = max(len(observed["npus"]) for observed in peers.values())
    common = {
        "nodes": len(peers), "votes": votes,
        "mesh_size": ping_mesh.size(len(peers), npus, inputs["hccl_ping_full_mesh_max_nodes"],
                                    inputs["hccl_ping_same_rail_only"]),
        "networks": {npu: majority(counts) for npu, counts in networks.items()},
        "rails": {npu: majority(counts) for npu, counts in rails.items()},
        "collective": _survey_collective(peers),
    }

    def of(host, observed):
        addresses, seen = hccl_fabric.npu_addresses(observed), judge_ports.neighbours(observed)
        return dict(
            common, interface=interfaces[host],
            same_address={str(npu): _others(holders[address], host, npu) for npu, address in addresses.items()},
            same_port={str(npu): _others(ports[where], host, npu) for npu, where in seen.items()},
            mesh={check: found[host] for check, found in meshes.items() if host in found})
    return {host: of(host, observed) for host, observed in peers.items()}


def _others(ends, host, npu):
    """Return the other NPUs in words; of very many the first ones."""
    others = [_end(end) for end in ends if end != (host, npu)]
    return ", ".join(others[:_NAMED] + (["and %d more" % (len(others) - _NAMED)] if len(others) > _NAMED else []))


def _not_asked(checks, ids, why):
    for check in ids:
        checks.not_run(check, why)
    return _as_info(checks)


def _as_info(checks):
    """What nobody asked for, or what there is nothing to hold against, is listed as not run, and spoils no stage."""
    return [dict(check, severity=INFO, remedy=None) for check in checks.as_list()]


def _state(checks, check, outcomes):
    """State a check of every NPU: one entry for those that are well, one for those that share another outcome."""
    well, others = [], defaultdict(list)
    for one in outcomes:
        if one.ok:
            well.append(one)
        else:
            others[one._replace(npu=None)].append(one.npu)
    if well:
        checks.expect(check, True, _few(one.expected for one in well), _few(one.actual for one in well),
                      subject="npu " + _numbers(one.npu for one in well))
    for one, npus in others.items():
        subject = "npu " + _numbers(npus)
        if one.unsupported:
            checks.unsupported(check, one.message, subject)
        else:
            checks.expect(check, one.ok, one.expected, one.actual, subject, one.message)


def _few(values):
    different = list(dict.fromkeys(str(value) for value in values))
    return ", ".join(different[:3]) + (" ..." if len(different) > 3 else "")


def _numbers(npus):
    """Return 0-3, 5 for 0, 1, 2, 3, 5."""
    spans = []
    for npu in sorted(npus):
        if spans and spans[-1][1] == npu - 1:
            spans[-1][1] = npu
        else:
            spans.append([npu, npu])
    return ", ".join("%d" % first if first == last else "%d-%d" % (first, last) for first, last in spans)


# --- Addresses and switches across the cluster -----------------------------------------------------------------------

def _judge_addresses(checks, host, observed, cluster):
    outcomes, subnets = [], []
    for npu, address in sorted(hccl_fabric.npu_addresses(observed).items()):
        others = cluster["same_address"][str(npu)]
        outcomes.append(judge_ports.Outcome(
            npu, not others, "an address of its own", address,
            "%s npu %d and %s all have the address %s" % (host, npu, others, address) if others else None))
        network, usual = _network(observed, npu), cluster["networks"][str(npu)]
        subnets.append(judge_ports.Outcome(npu, network == usual, usual or "one subnet in the rail", network))
    _state(checks, "duplicate_address", outcomes)
    _state(checks, "rail_subnet", subnets)


def _network(observed, npu):
    answer = observed["npus"][str(npu)]["ip"]
    try:
        return str(ipaddress.ip_network("%s/%s" % (answer["address"], answer["netmask"]), strict=False))
    except ValueError:
        return "%s/%s" % (answer["address"], answer["netmask"])


def _end(end):
    return "%s npu %d" % end


def _judge_switches(checks, host, observed, cluster, inputs):
    own = judge_ports.neighbours(observed)
    if not own:
        checks.not_run("rail_switch", "No NPU of this node names a switch over LLDP.")
        checks.not_run("switch_port", "No NPU of this node names a switch port over LLDP.")
        return
    wanted = {str(rail): switch for rail, switch in (inputs["hccl_rail_switches"] or {}).items()}
    at_switch, at_port = [], []
    for npu, (switch, port) in sorted(own.items()):
        expected = wanted.get(str(npu)) or cluster["rails"][str(npu)]
        at_switch.append(judge_ports.Outcome(npu, switch == expected, expected or "one switch for the rail", switch))
        others = cluster["same_port"][str(npu)]
        message = "%s npu %d and %s all see the port %s of %s" % (host, npu, others, port, switch)
        at_port.append(judge_ports.Outcome(
            npu, not others, "a port of its own", "%s %s" % (switch, port), message if others else None))
    _state(checks, "rail_switch", at_switch)
    _state(checks, "switch_port", at_port)


# --- Host network ----------------------------------------------------------------------------------------------------

def _judge_hosts(checks, host, observed, found, inputs):
    known = found["name"] is not None
    wanted = observed.get("wanted_interface") or inputs["hccl_interface"]
    checks.expect("host_interface", known, wanted or "one interface",
                  "%s (%s)" % (found["name"], found["address"]) if known else ", ".join(found["candidates"]) or "none",
                  message=found["reason"] if known else "The host interface of %s is not clear: %s" % (
                      host, found["reason"]))
    reach = observed.get("reach")
    if not reach:
        checks.not_run("host_reachable", observed.get("ping_error") or "No address of another host is known.")
        return
    lost = {name: one for name, one in sorted(reach.items()) if not one["reached"]}
    for name, one in lost.items():
        checks.expect("host_reachable", False, "an answer from %s" % one["address"], one["error"], name,
                      "%s does not reach %s at %s: %s" % (host, name, one["address"], one["error"]))
    if not lost:
        checks.expect("host_reachable", True, "an answer from every host that it meets", "%d answered" % len(reach))


# --- Ping mesh -------------------------------------------------------------------------------------------------------

def _survey_mesh(matrices, bad, switches, evidence):
    """Return ``{host: {"pairs", "broken", "guilty", "victim_of", "unexplained"}}`` for one kind of bad ping."""
    found = {host: {"pairs": 0, "broken": 0} for host in matrices}
    for host, _npu, other, _other_npu, loss in ping_mesh.pairs_of(matrices):
        for end in (host, other) if host != other else (host,):
            one = found.setdefault(end, {"pairs": 0, "broken": 0})
            one["pairs"] += 1
            one["broken"] += bool(bad(loss))
    suspects, unexplained = [], 0
    if any(one["broken"] for one in found.values()):
        verdict = ping_mesh.verdict(matrices, bad, switches, evidence)
        suspects, unexplained = verdict["suspects"], verdict["unexplained"]
    for host, one in found.items():
        one["unexplained"] = unexplained
        one["victim_of"] = [suspect["name"] for suspect in suspects] if one["broken"] else []
        one["guilty"] = [
            dict(suspect, members=None, npus=sorted({npu for name, npu in suspect["members"] if name == host}))
            for suspect in suspects if one["broken"] and any(name == host for name, _npu in suspect["members"])]
    return found


def _judge_mesh(checks, unjudged, host, observed, cluster, inputs):
    own = observed.get("ping")
    if not inputs["hccl_ping_enabled"]:
        for check in ("ping_mesh", "ping_loss", "ping_coverage"):
            unjudged.not_run(check, "hccl_ping_enabled is false.")
        return
    if not own:
        why = observed.get("ping_error") or "The ping mesh was not run."
        checks.expect("ping_mesh", False, "a ping mesh", "none", message=why)
        checks.not_run("ping_loss", why)
        checks.not_run("ping_coverage", why)
        return
    for check, words in (("ping_mesh", "an answer"), ("ping_loss", "no loss")):
        _judge_pairs(checks, check, host, words, cluster["mesh"][check])
    cost = cluster["mesh_size"]
    checks.expect("ping_coverage", own["not_sent"] == 0, "every planned ping", "%d not sent" % own["not_sent"],
                  message="%d pings in %d rounds cover %.3g %% of all pairs of NPUs%s" % (
                      cost["pings"], cost["rounds"], 100 * cost["coverage"],
                      "; of this node %d were not sent in time and %d given up after others were lost" % (
                          own["not_sent"], own["given_up"]) if own["not_sent"] or own["given_up"] else ""))


def _judge_pairs(checks, check, host, words, found):
    """The suspects' hosts fail; a host whose pings only fell victim to another is told so, and passes."""
    if not found["pairs"]:
        checks.expect(check, None, words, "nothing", message="No NPU of %s could be paired with another one." % host)
        return
    actual = "%d of %d pairs bad" % (found["broken"], found["pairs"])
    if not found["broken"]:
        checks.expect(check, True, words, actual)
        return
    for one in found["guilty"]:
        checks.expect(check, False, words, "%d of %d pairs bad" % (one["bad"], one["tested"]),
                      "npu %d" % one["npus"][0] if len(one["npus"]) == 1 else None, _accuse(one))
    if found["unexplained"]:
        checks.expect(check, False, words, actual,
                      message="%d pairs of the mesh are bad without a pattern" % found["unexplained"])
    elif not found["guilty"]:
        checks.expect(check, True, words, actual, message="Only because of " + "; ".join(found["victim_of"]))


def _accuse(suspect):
    also = "; it may as well be " + " or ".join(suspect["also"]) if suspect["also"] else ""
    one_way = ", %s" % suspect["direction"] if suspect["direction"] != ping_mesh.BOTH else ""
    return "the suspect is %s%s: %d of %d pairs are bad%s" % (
        suspect["name"], one_way, suspect["bad"], suspect["tested"], also)


# --- Collective ------------------------------------------------------------------------------------------------------

def _survey_collective(peers):
    """Return ``{"result", "run", "blamed"}`` of the run over all nodes, or None."""
    result, run = collective.overall(peers)
    if result is None:
        return None
    return {"result": result, "run": dict(run, hosts=None), "blamed": collective.suspects(collective.runs_of(peers))}


def _judge_collective(checks, unjudged, host, observed, cluster, inputs):
    own = observed.get("collective") or {}
    if cluster["collective"] is None:
        why = own.get("obstacle") or "The all-reduce was not run."
        required = inputs["hccl_collective_policy"] == "always"
        for check in ("collective_result", "collective_bandwidth"):
            (checks if required else unjudged).not_run(check, why)
        return
    result, run = cluster["collective"]["result"], cluster["collective"]["run"]
    states = {row["check"] for row in result["rows"]}
    right = False if run["failed"] else True if states == {"success"} else None
    blamed = cluster["collective"]["blamed"] if right is False else []
    # A run that failed for another node's sake proves nothing for this one: not run, never passed.
    checks.expect("collective_result", right if _concerned(host, blamed) else None, "the right sum on every rank",
                  ", ".join(sorted(states)) or "no result",
                  message=_collective_text(run["reason"] or _program(result), blamed, right))
    speed = run["bandwidth"]
    floor, source = collective.threshold(result, cluster["nodes"], inputs["hccl_collective_bus_bandwidth_minimum_gbs"],
                                         own.get("baseline"), inputs["hccl_collective_baseline_tolerance"])
    if right is not True or speed is None:
        checks.not_run("collective_bandwidth", "There is no verified result to hold against a bandwidth.")
    elif floor is None:
        unjudged.not_run("collective_bandwidth", "Reported, not judged: %s; neither a minimum nor a baseline is set."
                         % _speeds(result))
    else:
        slow = speed < floor
        blamed = cluster["collective"]["blamed"] if slow else []
        checks.expect("collective_bandwidth", not slow if _concerned(host, blamed) else None,
                      "%.3g GB/s on the bus (%s)" % (floor, source), "%.3g GB/s" % speed,
                      message=_collective_text(_speeds(result), blamed, not slow))


def _program(result):
    """Return what did the all-reduce, and why it was not hccl_test where that might have been."""
    name = "hccl_test" if result["tool"] == collective.HCCL_TEST else "torch.distributed (%s)" % result["backend"]
    return "by %s over %s ranks%s" % (
        name, result["ranks"], "; hccl_test was not used: %s" % result["choice"] if result["choice"] else "")


def _concerned(host, blamed):
    """Whether this host has to answer for a failed run: it is named, or nobody is."""
    return not blamed or any(host in one["hosts"] for one in blamed)


def _speeds(result):
    rows = [row for row in result["rows"] if row["check"] == "success"]
    row = max(rows, key=lambda row: row["size_bytes"])
    bus = "%.3g" % row["bus_bandwidth_gbs"] if row["bus_bandwidth_gbs"] is not None else "unknown"
    return "%d bytes at %.3g GB/s algorithm and %s GB/s bus bandwidth" % (
        row["size_bytes"], row["alg_bandwidth_gbs"], bus)


def _collective_text(what, blamed, well):
    if well is None:
        return "not every size was verified"
    if not blamed:
        return what
    return "%s; the suspect is %s" % (what, "; ".join(
        "%s (%s)" % (" <-> ".join(one["hosts"]), one["why"]) for one in blamed))
