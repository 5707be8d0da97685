# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the NPU network: the network ports of a node, the cluster, the ping mesh and the all-reduce."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, TypedDict, cast

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import ping_loss
from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import collective, observation, ping_mesh
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge_ports as ports
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl.interfaces import Choice, host_interfaces
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context, Observation, Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import few

_CONF = "Set the correct value with hccn_tool -s, on the device and in /etc/hccn.conf."
_SAME = "Set the same value on every NPU of the cluster and on the switch ports."
_CABLE = "Clean and reseat module and fiber, then replace them one at a time. Check the switch port, too."
# The sources of several limits.
_OF_CONF = "Installation page of vLLM Ascend, multi-node communication: the NPUs have the addresses of hccn.conf."
_MAJORITY = "Comparison with the other NPUs of the cluster."
_LIMITS = "MindCluster, fd-tk: core/config/threshold_config.py (hccl_optical_limits)."

CHECKS = (
    Check("tool_answers", CRITICAL, "hccn_tool answers every query for every NPU",
          "Look for a hung driver (dmesg) and for other users of hccn_tool. A reboot of the node clears a hang.",
          "No limit is published: hccl_query_timeout_s."),
    Check("conf", CRITICAL, "/etc/hccn.conf is readable and has no duplicate keys",
          "Restore the file, or delete the wrong line of a key that is set twice. Without it the NPUs lose their "
          "addresses at the next reboot.",
          "tool_ext.c of github.com/hicann/driver: a line of these keys is replaced, only arp, ip_rule and "
          "ip_route are appended."),
    Check("link", CRITICAL, "The link of every NPU is up", _CABLE,
          "Installation page of vLLM Ascend, multi-node communication: every status is UP."),
    Check("net_health", CRITICAL, "Every NPU reaches its netdetect address",
          "Check the switch port, the VLAN and the netdetect address; 'Init' means that no address is set.",
          "Installation page of vLLM Ascend, multi-node communication: every result is Success."),
    Check("address", CRITICAL, "The address of every NPU is the one in /etc/hccn.conf", _CONF, _OF_CONF),
    Check("netmask", CRITICAL, "The netmask of every NPU is the one in /etc/hccn.conf", _CONF, _OF_CONF),
    Check("gateway", CRITICAL, "The gateway of every NPU is the one in /etc/hccn.conf", _CONF, _OF_CONF),
    Check("netdetect", CRITICAL, "Every NPU has a netdetect address that answers",
          "Set it with hccn_tool -i N -netdetect -s address A; usually A is the gateway.",
          "Installation page of vLLM Ascend, multi-node communication: a detection address is set."),
    Check("lldp_neighbour", WARNING, "Every NPU sees a switch port over LLDP", "Enable LLDP on the switch port."),
    Check("speed", CRITICAL, "Every NPU has the speed of the majority", _SAME, _MAJORITY),
    Check("duplex", CRITICAL, "Every NPU has the duplex mode of the majority", _SAME, _MAJORITY),
    Check("mtu", CRITICAL, "Every NPU has the MTU of the majority", _SAME, _MAJORITY),
    Check("fec", WARNING, "Every NPU has the FEC mode of the majority", _SAME),
    Check("tls", CRITICAL, "The TLS setting is the same on every NPU of the cluster",
          "Set the same value everywhere: hccn_tool -i N -tls -s enable 0 (or 1) for every NPU.",
          "HCCL connects only NPUs with the same setting (vllm-ascend issue 10224, pull request 5811)."),
    Check("optics_present", WARNING, "Every NPU has an optical module", _CABLE),
    Check("optics_power", CRITICAL, "Optical power and bias current are within the limits", _CABLE, _LIMITS),
    Check("optics_snr", CRITICAL, "The signal-to-noise ratio is within the limits", _CABLE, _LIMITS),
    Check("optics_margin", WARNING, "No optical value is close to a limit", _CABLE),
    Check("link_flaps", WARNING, "No link went down more than hccl_link_flap_limit times in 24 hours", _CABLE),
    Check("duplicate_address", CRITICAL, "No two NPUs of the cluster have the same address",
          "Assign another address to one of them, on the device and in /etc/hccn.conf.",
          "An IP address has one owner."),
    Check("rail_subnet", WARNING, "The NPUs of a rail are in the same subnet",
          "Align address and netmask within the rail. If the rail is routed on purpose, waive this check."),
    Check("rail_switch", WARNING, "Every NPU is connected to the switch of its rail",
          "Plug the cable into the switch of the rail."),
    Check("switch_port", CRITICAL, "No two NPUs see the same switch port",
          "Trace the two cables, and correct the names of the switch ports.",
          "A cable has one end at a switch."),
    Check("host_interface", CRITICAL, "The host interface for HCCL is known",
          "Set hccl_interface to the name of the interface.",
          "HCCL_IF_IP and HCCL_SOCKET_IFNAME in the multi-node tutorials of vLLM Ascend."),
    Check("host_reachable", CRITICAL, "The addresses of the other hosts are reachable",
          "Check the routes and firewalls between the HCCL interfaces of the hosts.",
          "Rendezvous of HCCL, Ray and data parallelism over TCP (multi-node tutorials of vLLM Ascend)."),
    Check("ping_mesh", CRITICAL, "Every NPU reaches every NPU of the other nodes",
          "Check the named suspect first: its link, address, gateway and switch port.",
          "Installation page of vLLM Ascend, multi-node communication: cross-node pings."),
    Check("ping_loss", WARNING, "No ping loses packets", "Check the error counters of the suspect (hccn_tool -stat)."),
    Check("ping_coverage", WARNING, "Every planned ping was sent",
          "Increase hccl_ping_limit_s, or find out why the pings are slow."),
    Check("collective_result", CRITICAL, "An all-reduce over all nodes returns the correct sum",
          "Check the named node first. The reason is the first error of the run.",
          "hccl_test compares each sum (check_result in the guide of hccl_test)."),
    Check("collective_bandwidth", CRITICAL, "The all-reduce reaches the required bus bandwidth",
          "Check the named node or pair of nodes first: speed, error counters, switch.",
          "No limit is published: the inventory or the saved baseline."),
)
# The severities above apply to nodes that serve one model together. If every instance runs on a single node, its NPUs
# communicate over links inside the node. Failed checks of the network between nodes are then only warnings, because the
# tutorial of vLLM Ascend calls them optional in this case, and the NPU ports of such nodes may not even have cables.
REQUIRED, AUTO = "required", "auto"
# Checks that need two nodes.
_CLUSTER = ("duplicate_address", "rail_subnet", "rail_switch", "switch_port", "host_interface", "host_reachable",
            "ping_mesh", "ping_loss", "ping_coverage", "collective_result", "collective_bandwidth")

RETURNED = ()


class HostMesh(TypedDict):
    """The pairs of the ping mesh that include an NPU of a host, for one kind of bad pings."""

    #: The number of tested pairs and of bad pairs.
    pairs: int
    broken: int
    #: The names of all suspects, and the suspects that have members on this host, without their members on other
    #: hosts. Empty if there are no bad pairs.
    suspects: list[str]
    own_suspects: list[ping_mesh.Suspect]
    #: The number of bad pairs in the whole mesh that no suspect explains.
    unexplained: int


class ClusterRun(collective.GroupRun):
    """The all-reduce over all nodes."""

    result: observation.Result
    suspects: list[collective.SuspectNodes]


class Cluster(TypedDict):
    """Facts for the judge of a host. Keys of ``networks``, ``rails``, ``same_address`` and ``same_port`` are NPUs."""

    nodes: int
    #: ``{check: {value: number of NPUs}}``.
    votes: Mapping[str, Mapping[str, int]]
    mesh_size: ping_mesh.MeshSize
    #: The subnet and the switch of most NPUs in the rail, or None if there is no majority.
    networks: dict[str, str | None]
    rails: dict[str, str | None]
    #: None if the all-reduce was not run.
    collective: ClusterRun | None
    #: The interface of this host.
    interface: Choice
    #: The other NPUs with the same address, and those with the same switch port, as text.
    same_address: dict[str, str]
    same_port: dict[str, str]
    #: ``{check: HostMesh}``; empty without pings.
    mesh: dict[str, HostMesh]


def check_inputs(context: Context) -> Iterator[str]:
    minimum, sizes = (context.inputs["hccl_collective_" + name] for name in (
        "bus_bandwidth_minimum_gbs", "sizes_bytes"))
    if minimum and not re.fullmatch(r"[0-9]+(\.[0-9]+)?", str(minimum)):
        yield "hccl_collective_bus_bandwidth_minimum_gbs must be empty or a number in GB/s, but is '%s'." % minimum
    if not sizes:
        yield "hccl_collective_sizes_bytes is empty; set it to the sizes to reduce, or hccl_collective_policy to never."


def request(context: Context) -> Request | None:
    """Return the request that queries the network ports, or None if the stage is disabled."""
    if not context.inputs["hccl_enabled"]:
        return None
    inputs = context.inputs
    wants_image = inputs["hccl_collective_policy"] != "never"
    return Request("ascend.vllm.hccn_info", {
        "npus": context.plan["hardware"]["npu_devices"], "timeout_s": inputs["hccl_query_timeout_s"],
        "image": (inputs["hccl_collective_image"] or context.plan["image"]["reference"]) if wants_image else "",
        "docker_socket": context.plan["docker_socket"],
    }, noted={"wanted_interface": inputs["hccl_interface"]})


def judge(context: Context) -> list[contract.CheckOutcome]:
    """Judge a HcclObservation, with the result of `survey` for the host. Return the outcome of every check."""
    found, inputs = _judge(context), context.inputs
    # The group is None if every instance serves the model independently. A plan always has this key.
    required = inputs["hccl_network_policy"] == REQUIRED or (
        inputs["hccl_network_policy"] == AUTO and context.plan.get("group", {}) is not None)
    if required:
        return found
    runs = cast("observation.HcclObservation", context.observed).get("collective", {}).get("runs", [])
    fails_alone = any(run["round"] == collective.ALONE and run["result"] is not None and run["result"]["failed"]
                      for run in runs)
    return [each if _always_fails(each, fails_alone, inputs) else _as_warning(each) for each in found]


def _always_fails(check: contract.CheckOutcome, fails_alone: bool, inputs: Mapping[str, Any]) -> bool:
    """Return whether a failed check always fails the node, even if the network between nodes is optional.

    This is the case if the tool hangs in the driver, if the all-reduce also fails on the node alone, or if
    hccl_collective_policy requires the all-reduce.
    """
    if check["id"] == "tool_answers":
        return str(check["actual"]).startswith("timeout")
    return check["id"] in ("collective_result", "collective_bandwidth") and (
        fails_alone or inputs["hccl_collective_policy"] == "always")


def _as_warning(check: contract.CheckOutcome) -> contract.CheckOutcome:
    if check["severity"] != CRITICAL:
        return check
    status = contract.WARNED if check["status"] == contract.FAILED else check["status"]
    return {**check, "severity": WARNING, "status": status}


def _judge(context: Context) -> list[contract.CheckOutcome]:
    checks = Checks(CHECKS)
    host, inputs, observed = context.host, context.inputs, cast("observation.HcclObservation", context.observed)
    if not inputs["hccl_enabled"]:
        for check in CHECKS:
            checks.not_required(check.id, "hccl_enabled is false.")
        return checks.as_list()
    cluster: Cluster = context.survey or survey({host: context.observed}, inputs)[host]
    for name, outcomes in ports.judge_ports(observed, cluster["votes"], inputs):
        _add(checks, name, outcomes)
    if cluster["nodes"] < 2:
        for name in _CLUSTER:
            checks.not_required(name, "This check needs two nodes, but there is only one node in this run.")
        return checks.as_list()
    _judge_addresses(checks, host, observed, cluster)
    _judge_switches(checks, host, observed, cluster, inputs)
    _judge_hosts(checks, host, observed, cluster["interface"], inputs)
    _judge_mesh(checks, host, observed, cluster, inputs)
    _judge_collective(checks, host, observed, cluster, inputs)
    return checks.as_list()


def survey(observations: Mapping[str, Observation], inputs: Mapping[str, Any]) -> dict[str, Cluster]:
    """Return ``{host: facts about the cluster}``. The size of the facts does not grow with the number of nodes."""
    peers = cast("observation.Peers", observations)
    interfaces = host_interfaces(peers, inputs["hccl_interface"])
    holders: dict[str, list[ping_mesh.End]] = defaultdict(list)
    networks: dict[str, Counter[str]] = defaultdict(Counter)
    rails: dict[str, Counter[str]] = defaultdict(Counter)
    at_port: dict[tuple[str, str], list[ping_mesh.End]] = defaultdict(list)
    switches: dict[ping_mesh.End, str] = {}
    evidence: set[ping_mesh.End] = set()
    for name, observed in sorted(peers.items()):
        for npu, address in observation.npu_addresses(observed).items():
            holders[address].append((name, npu))
            networks[str(npu)][_network(observed, npu)] += 1
        for npu, (switch, port) in observation.switch_ports(observed).items():
            rails[str(npu)][switch] += 1
            at_port[(switch, port)].append((name, npu))
            switches[(name, npu)] = switch
        evidence.update((name, npu) for npu in observation.unhealthy_npus(observed))
    pings = {name: observed.get("ping") for name, observed in peers.items()}
    matrices = {name: ping["matrix"] for name, ping in pings.items() if ping}
    meshes = {check: _survey_mesh(matrices, bad, switches, evidence)
              for check, bad in (("ping_mesh", ping_loss.failed), ("ping_loss", ping_loss.lossy))}
    npus = max(len(observed["npus"]) for observed in peers.values())
    votes = ports.count_votes(peers)
    mesh_size = ping_mesh.size(len(peers), npus, inputs["hccl_ping_full_mesh_max_nodes"],
                               inputs["hccl_ping_same_rail_only"])
    usual_networks = {npu: majority(counts) for npu, counts in networks.items()}
    usual_switches = {npu: majority(counts) for npu, counts in rails.items()}
    overall = collective.overall(peers)
    run: ClusterRun | None = None
    if overall:
        run = {**overall[1], "result": overall[0], "suspects": collective.suspects(collective.group_runs(peers))}
    return {host: {
        "nodes": len(peers), "votes": votes, "mesh_size": mesh_size, "networks": usual_networks,
        "rails": usual_switches, "collective": run, "interface": interfaces[host],
        "same_address": {str(npu): _others(holders[address], host, npu)
                         for npu, address in observation.npu_addresses(observed).items()},
        "same_port": {str(npu): _others(at_port[at], host, npu)
                      for npu, at in observation.switch_ports(observed).items()},
        "mesh": {check: found[host] for check, found in meshes.items() if host in found},
    } for host, observed in peers.items()}


def _others(ends: Sequence[ping_mesh.End], host: str, npu: int) -> str:
    """Return the other NPUs as text."""
    return few(["%s npu %d" % end for end in ends if end != (host, npu)])


def _add(checks: Checks, check: str, outcomes: Iterable[ports.Outcome]) -> None:
    """Record one entry of a check for all NPUs that passed, and one entry for each other outcome."""
    passed: list[ports.Outcome] = []
    others: dict[ports.Outcome, list[int]] = defaultdict(list)
    for outcome in outcomes:
        if outcome.ok:
            passed.append(outcome)
        else:
            others[outcome._replace(npu=-1)].append(outcome.npu)
    if passed:
        checks.expect(check, True, _few(outcome.expected for outcome in passed),
                      _few(outcome.actual for outcome in passed),
                      subject="npu " + _numbers(outcome.npu for outcome in passed))
    for outcome, npus in others.items():
        subject = "npu " + _numbers(npus)
        if outcome.unsupported:
            checks.unsupported(check, outcome.message or "", subject)
        else:
            checks.expect(check, outcome.ok, outcome.expected, outcome.actual, subject, outcome.message)


def _few(values: Iterable[str | None]) -> str:
    return few(list(dict.fromkeys(map(str, values))), 3)


def _numbers(npus: Iterable[int]) -> str:
    """Return ``0-3, 5`` for 0, 1, 2, 3, 5."""
    spans: list[list[int]] = []
    for npu in sorted(npus):
        if spans and spans[-1][1] == npu - 1:
            spans[-1][1] = npu
        else:
            spans.append([npu, npu])
    return ", ".join("%d" % first if first == last else "%d-%d" % (first, last) for first, last in spans)


# --- Addresses and switches of the cluster ---------------------------------------------------------------------------

def _judge_addresses(checks: Checks, host: str, observed: observation.HcclObservation, cluster: Cluster) -> None:
    outcomes, subnets = [], []
    for npu, address in sorted(observation.npu_addresses(observed).items()):
        others = cluster["same_address"][str(npu)]
        outcomes.append(ports.Outcome(
            npu, not others, "a unique address", address,
            "%s npu %d has the same address as %s: %s" % (host, npu, others, address) if others else None))
        network, usual = _network(observed, npu), cluster["networks"][str(npu)]
        subnets.append(ports.Outcome(npu, network == usual, usual or "one subnet in the rail", network))
    _add(checks, "duplicate_address", outcomes)
    _add(checks, "rail_subnet", subnets)


def _network(observed: observation.HcclObservation, npu: int) -> str:
    answer = observed["npus"][str(npu)]["ip"]
    try:
        return str(ipaddress.ip_network("%s/%s" % (answer["address"], answer["netmask"]), strict=False))
    except ValueError:
        return "%s/%s" % (answer["address"], answer["netmask"])


def _judge_switches(checks: Checks, host: str, observed: observation.HcclObservation, cluster: Cluster,
                    inputs: Mapping[str, Any]) -> None:
    own = observation.switch_ports(observed)
    if not own:
        checks.not_run("rail_switch", "No NPU of this node sees the name of a switch over LLDP.")
        checks.not_run("switch_port", "No NPU of this node sees a switch port over LLDP.")
        return
    wanted = {str(rail): switch for rail, switch in (inputs["hccl_rail_switches"] or {}).items()}
    at_switch, at_port = [], []
    for npu, (switch, port) in sorted(own.items()):
        expected = wanted.get(str(npu)) or cluster["rails"][str(npu)]
        at_switch.append(ports.Outcome(npu, switch == expected, expected or "one switch for the rail", switch))
        others = cluster["same_port"][str(npu)]
        message = "%s npu %d sees the same port as %s: %s of %s" % (host, npu, others, port, switch)
        at_port.append(ports.Outcome(
            npu, not others, "a separate port", "%s %s" % (switch, port), message if others else None))
    _add(checks, "rail_switch", at_switch)
    _add(checks, "switch_port", at_port)


# --- Host network ----------------------------------------------------------------------------------------------------

def _judge_hosts(checks: Checks, host: str, observed: observation.HcclObservation, choice: Choice,
                 inputs: Mapping[str, Any]) -> None:
    interface = choice["interface"]
    wanted = observed.get("wanted_interface") or inputs["hccl_interface"] or "one interface"
    if interface:
        checks.expect("host_interface", True, wanted, "%s (%s)" % (interface["name"], interface["address"]),
                      message=choice["reason"])
    else:
        checks.expect("host_interface", False, wanted, ", ".join(choice["candidates"]) or "none",
                      message="The interface of %s for HCCL is unknown: %s" % (host, choice["reason"]))
    reach = observed.get("reach")
    if not reach:
        checks.not_run("host_reachable", observed.get("ping_error") or "No address of another host is known.")
        return
    lost = {name: target for name, target in sorted(reach.items()) if not target["reached"]}
    for name, target in lost.items():
        checks.expect("host_reachable", False, "an answer from %s" % target["address"], target["error"], name,
                      "%s does not reach %s at %s: %s" % (host, name, target["address"], target["error"]))
    if not lost:
        checks.expect("host_reachable", True, "an answer from every paired host", "%d answered" % len(reach))


# --- Ping mesh -------------------------------------------------------------------------------------------------------

def _survey_mesh(matrices: ping_mesh.Matrices, bad: Callable[[float], bool], switches: Mapping[ping_mesh.End, str],
                 evidence: Collection[ping_mesh.End]) -> dict[str, HostMesh]:
    """Return ``{host: HostMesh}`` for one kind of bad pings."""
    pairs: Counter[str] = Counter(dict.fromkeys(matrices, 0))
    broken: Counter[str] = Counter()
    for (host, _npu, other, _other_npu), loss in ping_mesh.tested_pairs(matrices):
        for end in (host, other) if host != other else (host,):
            pairs[end] += 1
            broken[end] += bad(loss)
    suspects, unexplained = ping_mesh.verdict(matrices, bad, switches, evidence) if any(broken.values()) else ([], 0)
    return {host: {
        "pairs": pairs[host], "broken": broken[host], "unexplained": unexplained,
        "suspects": [suspect["name"] for suspect in suspects] if broken[host] else [],
        "own_suspects": _own_suspects(host, suspects) if broken[host] else [],
    } for host in pairs}


def _own_suspects(host: str, suspects: Iterable[ping_mesh.Suspect]) -> list[ping_mesh.Suspect]:
    found: list[ping_mesh.Suspect] = [
        {**suspect, "members": [end for end in suspect["members"] if end[0] == host]} for suspect in suspects]
    return [suspect for suspect in found if suspect["members"]]


def _judge_mesh(checks: Checks, host: str, observed: observation.HcclObservation, cluster: Cluster,
                inputs: Mapping[str, Any]) -> None:
    ping = observed.get("ping")
    if not inputs["hccl_ping_enabled"]:
        for check in ("ping_mesh", "ping_loss", "ping_coverage"):
            checks.not_required(check, "hccl_ping_enabled is false.")
        return
    if not ping:
        reason = observed.get("ping_error") or "The pings were not sent."
        checks.expect("ping_mesh", False, "a ping mesh", "none", message=reason)
        checks.not_run("ping_loss", reason)
        checks.not_run("ping_coverage", reason)
        return
    for check, expected in (("ping_mesh", "an answer"), ("ping_loss", "no loss")):
        _judge_pairs(checks, check, host, expected, cluster["mesh"][check])
    size = cluster["mesh_size"]
    message = f"{size['pings']} pings in {size['rounds']} rounds cover {100 * size['coverage']:.3g} % of all NPU pairs"
    if ping["not_sent"] or ping["given_up"]:
        message += "; this node did not send %d in time and skipped %d after consecutive losses" % (
            ping["not_sent"], ping["given_up"])
    checks.expect("ping_coverage", ping["not_sent"] == 0, "every planned ping", "%d not sent" % ping["not_sent"],
                  message=message)


def _judge_pairs(checks: Checks, check: str, host: str, expected: str, mesh: HostMesh) -> None:
    """Judge the pairs of a host. If suspects on other hosts explain all bad pairs, the host passes with a message."""
    if not mesh["pairs"]:
        checks.expect(check, None, expected, "nothing", message="No NPU of %s could be paired." % host)
        return
    actual = "%d of %d pairs bad" % (mesh["broken"], mesh["pairs"])
    if not mesh["broken"]:
        checks.expect(check, True, expected, actual)
        return
    for suspect in mesh["own_suspects"]:
        members = suspect["members"]
        checks.expect(check, False, expected, "%d of %d pairs bad" % (suspect["bad"], suspect["tested"]),
                      "npu %d" % members[0][1] if len(members) == 1 else None, _describe(suspect))
    if mesh["unexplained"]:
        checks.expect(check, False, expected, actual,
                      message="bad pairs without a pattern in the whole mesh: %d" % mesh["unexplained"])
    elif not mesh["own_suspects"]:
        checks.expect(check, True, expected, actual, message="All bad pairs involve " + "; ".join(mesh["suspects"]))


def _describe(suspect: ping_mesh.Suspect) -> str:
    also = "; it may also be " + " or ".join(suspect["also"]) if suspect["also"] else ""
    one_way = ", %s" % suspect["direction"] if suspect["direction"] != ping_mesh.BOTH else ""
    return "the suspect is %s%s: %d of %d pairs are bad%s" % (
        suspect["name"], one_way, suspect["bad"], suspect["tested"], also)


# --- Collective ------------------------------------------------------------------------------------------------------


def _judge_collective(checks: Checks, host: str, observed: observation.HcclObservation, cluster: Cluster,
                      inputs: Mapping[str, Any]) -> None:
    own, run = observed.get("collective", {}), cluster["collective"]
    if run is None:
        reason = own.get("obstacle") or "The all-reduce was not run."
        record = checks.not_run if inputs["hccl_collective_policy"] == "always" else checks.not_required
        for check in ("collective_result", "collective_bandwidth"):
            record(check, reason)
        return
    result, speed = run["result"], run["bandwidth"]
    states = {row["check"] for row in result["rows"]}
    correct = False if run["failed"] else True if states == {"success"} else None
    suspects = run["suspects"] if correct is False else []
    # A run that failed because of another node shows nothing about this node, so the check counts as not run.
    checks.expect("collective_result", correct if _is_concerned(host, suspects) else None,
                  "the correct sum on every rank", ", ".join(sorted(states)) or "no result",
                  message="not every size was verified" if correct is None else
                  _with_suspects(run["reason"] or _program(result), suspects))
    if not correct or speed is None:
        checks.not_run("collective_bandwidth", "There is no verified result.")
        return
    minimum = collective.required_bandwidth(result, cluster["nodes"], inputs, own.get("baseline"))
    if minimum is None:
        checks.not_required("collective_bandwidth", "Reported, not judged: %s; there is no minimum and no baseline."
                            % _bandwidths(result))
        return
    slow = speed < minimum[0]
    suspects = run["suspects"] if slow else []
    checks.expect("collective_bandwidth", not slow if _is_concerned(host, suspects) else None,
                  "%.3g GB/s on the bus (%s)" % minimum, "%.3g GB/s" % speed,
                  message=_with_suspects(_bandwidths(result), suspects))


def _program(result: observation.Result) -> str:
    """Return the program of the all-reduce, and the reason if hccl_test could have been used but was not."""
    name = "hccl_test" if result["tool"] == collective.HCCL_TEST else "torch.distributed (%s)" % result["backend"]
    return "by %s over %s ranks%s" % (
        name, result["ranks"], "; hccl_test was not used: %s" % result["choice"] if result["choice"] else "")


def _is_concerned(host: str, suspects: Sequence[collective.SuspectNodes]) -> bool:
    """Return whether a failed run is a failure of this host, because the host is a suspect or there is no suspect."""
    return not suspects or any(host in suspect["hosts"] for suspect in suspects)


def _bandwidths(result: observation.Result) -> str:
    row = max((row for row in result["rows"] if row["check"] == "success"), key=lambda row: row["size_bytes"])
    bus = "%.3g" % row["bus_bandwidth_gbs"] if row["bus_bandwidth_gbs"] is not None else "unknown"
    return f"{row['size_bytes']} bytes at {row['alg_bandwidth_gbs']:.3g} GB/s algorithm and {bus} GB/s bus bandwidth"


def _with_suspects(text: str, suspects: Sequence[collective.SuspectNodes]) -> str:
    if not suspects:
        return text
    return "%s; the suspect is %s" % (text, "; ".join(
        "%s (%s)" % (" <-> ".join(suspect["hosts"]), suspect["reason"]) for suspect in suspects))
