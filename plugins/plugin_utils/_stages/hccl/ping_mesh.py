# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The ping mesh of the NPU network plane: who pings whom when, and who is to blame. PRIVATE to the collection.

The schedule is a round-robin tournament of the nodes (circle method), so every node can work out its own part from
the list of nodes and needs no coordinator. While two nodes meet, NPU i of each pings NPU (i + shift) of the other,
once for each shift: in every round each NPU sends to one NPU and receives from one NPU.
"""
from __future__ import annotations

from collections import defaultdict

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.ping_loss import failed

BOTH, FROM, TO = "both directions", "from it only", "to it only"
# An explanation may be wrong for this share of the pairs that it speaks of, and for one in any case.
EXCEPTIONS = 0.1
MAX_SUSPECTS = 8


# --- Schedule --------------------------------------------------------------------------------------------------------

def tournament_rounds(nodes):
    """Return how many rounds it takes until each of ``nodes`` nodes has met every other one."""
    return nodes - 1 + nodes % 2 if nodes > 1 else 0


def opponent(index, tournament_round, nodes):
    """Return the index of the node that node ``index`` meets in a round, or None for the one that sits out.

    Both numbers count from 0. One seat stays fixed and the others turn by one place a round; with an odd number of
    nodes the fixed seat is empty.
    """
    seats = nodes - 1 + nodes % 2
    fixed = seats
    if index == fixed:
        # The one that would meet itself: 2 x = round (mod seats); seats is odd, so its half is (seats + 1) / 2.
        return tournament_round * (seats + 1) // 2 % seats
    other = (tournament_round - index) % seats
    if other != index:
        return other
    return fixed if fixed < nodes else None


def chosen_rounds(nodes, full_mesh_max_nodes):
    """Return the tournament rounds to play: all, or as many as the largest full mesh has, spread evenly."""
    rounds, limit = tournament_rounds(nodes), max(1, full_mesh_max_nodes - 1)
    if nodes <= full_mesh_max_nodes or rounds <= limit:
        return list(range(rounds))
    return [index * rounds // limit for index in range(limit)]


def partners(hosts, host, full_mesh_max_nodes):
    """Return the names of the nodes that ``host`` meets, in order; None where it sits a round out.

    ``hosts`` is the same list for all nodes, in any order.
    """
    names = sorted(hosts)
    index = names.index(host)
    met = (opponent(index, played, len(names)) for played in chosen_rounds(len(names), full_mesh_max_nodes))
    return [None if other is None else names[other] for other in met]


def shifts(npus, same_rail_only=False):
    """Return the shifts of one meeting: all of them, or only 0, which keeps to the rails."""
    return [0] if same_rail_only else list(range(npus))


def size(nodes, npus, full_mesh_max_nodes, same_rail_only=False):
    """Return what a mesh costs: ``{"rounds", "pings", "pairs", "coverage"}``.

    ``rounds`` one after another, ``pings`` in all (each of three packets), ``pairs`` an NPU could send to,
    ``coverage`` the share of pairs that is tested (0..1).
    """
    played = chosen_rounds(nodes, full_mesh_max_nodes)
    shift_count = len(shifts(npus, same_rail_only))
    pairs = nodes * (nodes - 1) * npus * shift_count
    met = sum(1 for index in range(nodes) for one in played if opponent(index, one, nodes) is not None)
    pings = met * npus * shift_count
    return {"rounds": len(played) * shift_count, "pings": pings, "pairs": pairs,
            "coverage": float(pings) / pairs if pairs else 1.0}


# --- Verdict ---------------------------------------------------------------------------------------------------------

def pairs_of(matrices):
    """Yield ``(host, npu, host, npu, loss)`` for every tested ordered pair, sender first.

    :param matrices: ``{sending host: {sending NPU: {receiving host: [loss of NPU 0, of NPU 1, ...]}}}``; loss in
        percent, ERROR, or None where it was not tested. NPU numbers as str or int.
    """
    for host, rows in matrices.items():
        for npu, row in rows.items():
            for other, losses in row.items():
                for other_npu, loss in enumerate(losses):
                    if loss is not None:
                        yield host, int(npu), other, other_npu, loss


def verdict(matrices, bad=failed, switches=None, evidence=()):
    """Return ``{"tested", "bad", "suspects", "unexplained"}`` of a mesh.

    The suspects are found greedily: the explanation (one NPU, a node, a rail, a switch, what lies between two nodes
    ...) that holds for nearly all its pairs and covers most of the bad ones, then the next for what is left.

    :param bad: which losses count, ``failed`` or ``lossy``.
    :param switches: ``{(host, npu): name of the switch at its port}`` as LLDP tells.
    :param evidence: (host, npu) that other checks found faulty; they decide between equal explanations.
    :returns: each suspect as ``{"kind", "name", "direction", "bad", "tested", "also", "members"}``; ``also`` names
        explanations that fit as well, ``members`` the (host, npu) of the suspect, ``unexplained`` counts pairs.
    """
    tested, broken = 0, []
    for pair in pairs_of(matrices):
        tested += 1
        if bad(pair[4]):
            broken.append(pair[:4])
    result = {"tested": tested, "bad": len(broken), "suspects": [], "unexplained": 0}
    if not broken:
        return result
    candidates = _candidates(matrices, broken, switches or {})
    left = set(broken)
    while left and len(result["suspects"]) < MAX_SUSPECTS:
        best = _best(candidates, left, evidence)
        if best is None:
            break
        left -= candidates[best[0]].broken
        result["suspects"].append(_suspect(best, candidates))
    result["unexplained"] = len(left)
    return result


class _Candidate:
    """An explanation: the pairs it speaks of, counted, and the bad ones among them."""

    def __init__(self):
        self.tested = 0
        self.broken = set()
        self.members = set()


# The simplest explanation first; among explanations of one kind that fit equally none can be named.
_KINDS = ("npu", "node", "rail", "switch", "between nodes", "between groups", "between rails", "across rails",
          "between switches", "pair")


def _explanations(pair, switches, groups):
    """Yield (kind, name, direction) of everything that could make this pair fail."""
    host, npu, other, other_npu = pair
    if groups[host] != groups[other]:
        yield "between groups", _group_names(groups), BOTH
    yield "npu", (host, npu), FROM
    yield "npu", (other, other_npu), TO
    yield "node", host, FROM
    yield "node", other, TO
    yield "between nodes", (host, other), FROM
    yield "between nodes", tuple(sorted((host, other))), BOTH
    yield "pair", pair, FROM
    yield "pair", tuple(sorted(((host, npu), (other, other_npu)))), BOTH
    for end in ((host, npu), (other, other_npu)):
        yield "npu", end, BOTH
        yield "node", end[0], BOTH
    for rail in sorted({npu, other_npu}):
        yield "rail", rail, BOTH
    if npu != other_npu:
        yield "between rails", tuple(sorted((npu, other_npu))), BOTH
        yield "across rails", "all", BOTH
    names = {switches.get((host, npu)), switches.get((other, other_npu))} - {None}
    for name in names:
        yield "switch", name, BOTH
    if len(names) == 2:
        yield "between switches", tuple(sorted(names)), BOTH


def _candidates(matrices, broken, switches):
    candidates, groups = defaultdict(_Candidate), _groups(matrices)
    for pair in broken:
        for key in _explanations(pair, switches, groups):
            candidates[key].broken.add(pair)
            candidates[key].members.update(_members(key, pair))
    for pair in pairs_of(matrices):
        for key in _explanations(pair[:4], switches, groups):
            if key in candidates:
                candidates[key].tested += 1
    return {key: found for key, found in candidates.items() if _holds(len(found.broken), found.tested)}


def _holds(bad, tested):
    """Whether enough of the pairs are bad: nearly all, and at least three before one that works is an exception."""
    return bad == tested or (bad >= 3 and tested - bad <= max(1, EXCEPTIONS * tested))


def _members(key, pair):
    kind, name, _direction = key
    ends = (pair[:2], pair[2:])
    if kind == "npu":
        return [name]
    if kind == "node":
        return [end for end in ends if end[0] == name]
    if kind == "rail":
        return [end for end in ends if end[1] == name]
    return list(ends)


def _groups(matrices):
    """Return ``{host: group}``: hosts are in one group when pings that came back connect them, if over others."""
    group = {host: host for host in matrices}

    def root(host):
        while group.setdefault(host, host) != host:
            host = group[host]
        return host
    for host, _npu, other, _other_npu, loss in pairs_of(matrices):
        first, second = sorted((root(host), root(other)))
        if not failed(loss):
            group[second] = first
    return {host: root(host) for host in list(group)}


def _group_names(groups):
    members = defaultdict(list)
    for host, group in sorted(groups.items()):
        members[group].append(host)
    return " | ".join(", ".join(names[:4]) + (" and %d more" % (len(names) - 4) if len(names) > 4 else "")
                      for names in members.values())


def _best(candidates, left, evidence):
    """Return the keys of the explanations that cover most of what is left, the one to name first, or None."""
    most, top = 0, {}
    for key, found in candidates.items():
        gain = len(found.broken & left)
        if gain > most:
            most, top = gain, {}
        if gain and gain == most:
            top[key] = found
    if not top:
        return None

    def rank(key):
        # An explanation that speaks of no pair that works, then the simplest.
        return candidates[key].tested, _KINDS.index(key[0]), str(key[1:])
    simplest = min(top, key=rank)
    same = sorted((key for key, found in top.items() if found.broken & left == top[simplest].broken & left), key=rank)
    supported = [key for key in same if key[0] in ("npu", "node") and candidates[key].members & set(evidence)]
    kinds = [key[0] for key in same]
    # Of two nodes that do not hear each other neither can be named, only what lies between them.
    alone = supported if len(supported) == 1 else [key for key in same if kinds.count(key[0]) == 1]
    first = (alone or same)[0]
    return [first] + [key for key in same if key != first]


def _suspect(keys, candidates):
    found = candidates[keys[0]]
    kind, _name, direction = keys[0]
    return {"kind": kind, "name": _title(keys[0]), "direction": direction, "bad": len(found.broken),
            "tested": found.tested, "also": [_title(key) for key in keys[1:] if key[0] in ("npu", "node", "switch")],
            "members": sorted(found.members)}


def _title(key):
    kind, name, direction = key
    arrow = " -> " if direction == FROM else " <-> "
    if kind == "npu":
        return "%s npu %d" % name
    if kind == "pair":
        ends = (name[:2], name[2:]) if direction == FROM else name
        return arrow.join("%s npu %d" % end for end in ends)
    if kind == "between nodes":
        return arrow.join(name)
    if kind == "between rails":
        return "rail %d <-> rail %d" % name
    if kind == "between groups":
        return name
    if kind == "across rails":
        return "every rail <-> every other rail"
    if kind == "between switches":
        return "switch %s <-> switch %s" % name
    return "%s %s" % (kind, name) if kind != "node" else name
