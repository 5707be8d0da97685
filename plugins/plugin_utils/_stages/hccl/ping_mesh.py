# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Schedule the pings between NPUs, and find the cause of failed pings.

The schedule is a round-robin tournament of the nodes (circle method). Every node can compute its own part from the list
of nodes, without a coordinator. When two nodes meet, NPU i of each node pings NPU (i + shift) of the other node, once
for each shift. Therefore each NPU pings one NPU and is pinged by one NPU at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypedDict

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.ping_loss import failed
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import few

#: An NPU: (host, number).
End = tuple[str, int]
#: Sending host and NPU, receiving host and NPU.
Pair = tuple[str, int, str, int]
#: ``{sending host: {sending NPU: {receiving host: [loss of NPU 0, of NPU 1, ...]}}}``. A loss is a percentage,
#: ``ping_loss.ERROR``, or None if the pair was not tested. Sending NPUs are strings.
Matrices = Mapping[str, Mapping[str, Mapping[str, Sequence[float | None]]]]
#: A possible cause of failed pings: (kind, the NPU, node or other object, direction). `_KINDS` lists the kinds.
Cause = tuple[str, Any, str]

BOTH, FROM, TO = "both directions", "only pings from it", "only pings to it"
# The maximum fraction of a cause's pairs that may still work. One such pair is always allowed.
EXCEPTIONS = 0.1
MAX_SUSPECTS = 8


class MeshSize(TypedDict):
    """The size of a ping mesh."""

    #: The number of consecutive rounds of pings.
    rounds: int
    #: The number of pings, each of three packets.
    pings: int
    #: The fraction of the ordered pairs of NPUs that is tested.
    coverage: float


class Suspect(TypedDict):
    """The most likely cause of some bad pings."""

    name: str
    #: BOTH, FROM or TO.
    direction: str
    #: The number of bad pairs and of tested pairs that the suspect affects.
    bad: int
    tested: int
    #: Names of other possible causes of the same bad pings.
    also: list[str]
    #: The NPUs that belong to the suspect.
    members: list[End]


# --- Schedule --------------------------------------------------------------------------------------------------------

def tournament_rounds(nodes: int) -> int:
    """Return the number of rounds that ``nodes`` nodes need until each has met every other node."""
    return nodes - 1 + nodes % 2 if nodes > 1 else 0


def opponent(index: int, tournament_round: int, nodes: int) -> int | None:
    """Return the index of the node that node ``index`` meets in a round, or None if node ``index`` pauses.

    Nodes and rounds are counted from 0. One seat is fixed, and the others rotate by one place per round. With an odd
    number of nodes, the fixed seat is empty.
    """
    seats = nodes - 1 + nodes % 2
    fixed = seats
    if index == fixed:
        # The node x that would meet itself: 2 x = round (mod seats). As seats is odd, x = round (seats + 1) / 2.
        return tournament_round * (seats + 1) // 2 % seats
    other = (tournament_round - index) % seats
    if other != index:
        return other
    return fixed if fixed < nodes else None


def chosen_rounds(nodes: int, full_mesh_max_nodes: int) -> list[int]:
    """Return the tournament rounds to run: all, or an even selection of as many as the largest full mesh has."""
    rounds, limit = tournament_rounds(nodes), max(1, full_mesh_max_nodes - 1)
    if nodes <= full_mesh_max_nodes or rounds <= limit:
        return list(range(rounds))
    return [index * rounds // limit for index in range(limit)]


def partners(hosts: Collection[str], host: str, full_mesh_max_nodes: int) -> list[str | None]:
    """Return the node that ``host`` meets in each round, None if it pauses. All nodes must pass the same hosts."""
    names = sorted(hosts)
    index = names.index(host)
    opponents = (opponent(index, number, len(names)) for number in chosen_rounds(len(names), full_mesh_max_nodes))
    return [None if other is None else names[other] for other in opponents]


def shifts(npus: int, same_rail_only: bool = False) -> list[int]:
    """Return the shifts for two nodes with ``npus`` NPUs each. With ``same_rail_only``, the only shift is 0."""
    return [0] if same_rail_only else list(range(npus))


def size(nodes: int, npus: int, full_mesh_max_nodes: int, same_rail_only: bool = False) -> MeshSize:
    """Return the size of the mesh for ``nodes`` nodes with ``npus`` NPUs each."""
    rounds, shift_count = len(chosen_rounds(nodes, full_mesh_max_nodes)), len(shifts(npus, same_rail_only))
    pairs = nodes * (nodes - 1) * npus * shift_count
    # With an odd number of nodes, one node pauses in each round.
    pings = rounds * (nodes - nodes % 2) * npus * shift_count
    return {"rounds": rounds * shift_count, "pings": pings, "coverage": pings / pairs if pairs else 1.0}


# --- Verdict ---------------------------------------------------------------------------------------------------------

def tested_pairs(matrices: Matrices) -> Iterator[tuple[Pair, float]]:
    """Yield ``(pair, loss)`` for every tested pair."""
    for host, rows in matrices.items():
        for npu, row in rows.items():
            for other, losses in row.items():
                for other_npu, loss in enumerate(losses):
                    if loss is not None:
                        yield (host, int(npu), other, other_npu), loss


def verdict(matrices: Matrices, bad: Callable[[float], bool] = failed, switches: Mapping[End, str] | None = None,
            evidence: Collection[End] = ()) -> tuple[list[Suspect], int]:
    """Return the most likely causes of the bad pings of a mesh, and the number of bad pairs that they do not explain.

    A cause is an NPU, a node, a rail, a switch, the connection between two nodes, or another object in `_KINDS`.
    A cause is possible if nearly all its pairs are bad. The search is greedy: it first chooses the possible cause that
    explains the most bad pairs, then repeats this for the remaining bad pairs.

    :param bad: whether a loss is bad, ``ping_loss.failed`` or ``ping_loss.lossy``.
    :param switches: ``{NPU: name of its switch}``.
    :param evidence: the NPUs that failed other checks, which decide between equally likely causes.
    """
    broken = [pair for pair, loss in tested_pairs(matrices) if bad(loss)]
    candidates = _candidates(matrices, broken, switches or {})
    unexplained = set(broken)
    suspects: list[Suspect] = []
    while unexplained and len(suspects) < MAX_SUSPECTS:
        best = _best(candidates, unexplained, evidence)
        if best is None:
            break
        unexplained -= candidates[best[0]].broken
        suspects.append(_suspect(best, candidates))
    return suspects, len(unexplained)


class _Candidate:
    """A possible cause: the number of tested pairs and the bad pairs that it affects, and its NPUs."""

    def __init__(self) -> None:
        self.tested = 0
        self.broken: set[Pair] = set()
        self.members: set[End] = set()


# Kinds of causes, the simplest first.
_KINDS = ("npu", "node", "rail", "switch", "between nodes", "between groups", "between rails", "across rails",
          "between switches", "pair")
# {kind: name of the cause in a message}. `_title` names the other kinds.
_TITLES = {"npu": "%s npu %d", "node": "%s", "rail": "rail %d", "switch": "switch %s", "between groups": "%s",
           "between rails": "rail %d <-> rail %d", "between switches": "switch %s <-> switch %s",
           "across rails": "%s"}


def _causes(pair: Pair, switches: Mapping[End, str], groups: Mapping[str, str]) -> Iterator[Cause]:
    """Yield all causes that would explain a bad ping of this pair."""
    host, npu, other, other_npu = pair
    if groups[host] != groups[other]:
        yield "between groups", _group_names(groups), BOTH
    for end, direction in (((host, npu), FROM), ((other, other_npu), TO)):
        for each in (direction, BOTH):
            yield "npu", end, each
            yield "node", end[0], each
    yield "between nodes", (host, other), FROM
    yield "between nodes", tuple(sorted((host, other))), BOTH
    yield "pair", pair, FROM
    yield "pair", tuple(sorted(((host, npu), (other, other_npu)))), BOTH
    for rail in sorted({npu, other_npu}):
        yield "rail", rail, BOTH
    if npu != other_npu:
        yield "between rails", tuple(sorted((npu, other_npu))), BOTH
        yield "across rails", "every rail <-> every other rail", BOTH
    names = {switches[end] for end in ((host, npu), (other, other_npu)) if end in switches}
    for name in names:
        yield "switch", name, BOTH
    if len(names) == 2:
        yield "between switches", tuple(sorted(names)), BOTH


def _candidates(matrices: Matrices, broken: Sequence[Pair], switches: Mapping[End, str]) -> dict[Cause, _Candidate]:
    """Return the causes for which nearly all pairs are bad."""
    candidates: dict[Cause, _Candidate] = defaultdict(_Candidate)
    groups = _groups(matrices)
    for pair in broken:
        for cause in _causes(pair, switches, groups):
            candidates[cause].broken.add(pair)
            candidates[cause].members.update(_members(cause, pair))
    for pair, _loss in tested_pairs(matrices):
        for cause in _causes(pair, switches, groups):
            if cause in candidates:
                candidates[cause].tested += 1
    return {cause: found for cause, found in candidates.items() if _nearly_all(len(found.broken), found.tested)}


def _nearly_all(bad: int, tested: int) -> bool:
    """Return whether nearly all pairs are bad. Working pairs are tolerated only if at least three pairs are bad."""
    return bad == tested or (bad >= 3 and tested - bad <= max(1, EXCEPTIONS * tested))


def _members(cause: Cause, pair: Pair) -> list[End]:
    kind, name, _direction = cause
    ends = [(pair[0], pair[1]), (pair[2], pair[3])]
    if kind == "npu":
        return [name]
    if kind == "node":
        return [end for end in ends if end[0] == name]
    if kind == "rail":
        return [end for end in ends if end[1] == name]
    return ends


def _groups(matrices: Matrices) -> dict[str, str]:
    """Return ``{host: group}``. Hosts are in the same group if they reach each other, directly or through others."""
    group = {host: host for host in matrices}

    def root(host: str) -> str:
        while group.setdefault(host, host) != host:
            host = group[host]
        return host

    for (host, _npu, other, _other_npu), loss in tested_pairs(matrices):
        first, second = sorted((root(host), root(other)))
        if not failed(loss):
            group[second] = first
    return {host: root(host) for host in list(group)}


def _group_names(groups: Mapping[str, str]) -> str:
    members = defaultdict(list)
    for host, group in sorted(groups.items()):
        members[group].append(host)
    return " | ".join(few(names, 4) for names in members.values())


def _best(candidates: Mapping[Cause, _Candidate], unexplained: set[Pair], evidence: Collection[End]
          ) -> list[Cause] | None:
    """Return the causes that explain the most unexplained bad pairs, with the most likely first, or None."""
    most = 0
    top: dict[Cause, _Candidate] = {}
    for cause, found in candidates.items():
        gain = len(found.broken & unexplained)
        if gain > most:
            most, top = gain, {}
        if gain and gain == most:
            top[cause] = found
    if not top:
        return None

    def rank(cause: Cause) -> tuple[int, int, str]:
        # Causes without exceptions have the smallest number of tested pairs. Among them, the simplest is preferred.
        return candidates[cause].tested, _KINDS.index(cause[0]), str(cause[1:])

    simplest = min(top, key=rank)
    explained = top[simplest].broken & unexplained
    same = sorted((cause for cause, found in top.items() if found.broken & unexplained == explained), key=rank)
    supported = [cause for cause in same if cause[0] in ("npu", "node") and candidates[cause].members & set(evidence)]
    kinds = [cause[0] for cause in same]
    # If two nodes do not reach each other, neither is the more likely cause, so their connection is preferred.
    alone = supported if len(supported) == 1 else [cause for cause in same if kinds.count(cause[0]) == 1]
    first = (alone or same)[0]
    return [first] + [cause for cause in same if cause != first]


def _suspect(causes: Sequence[Cause], candidates: Mapping[Cause, _Candidate]) -> Suspect:
    found = candidates[causes[0]]
    return {"name": _title(causes[0]), "direction": causes[0][2], "bad": len(found.broken), "tested": found.tested,
            "also": [_title(cause) for cause in causes[1:] if cause[0] in ("npu", "node", "switch")],
            "members": sorted(found.members)}


def _title(cause: Cause) -> str:
    kind, name, direction = cause
    arrow = " -> " if direction == FROM else " <-> "
    if kind == "pair":
        ends = (name[:2], name[2:]) if direction == FROM else name
        return arrow.join("%s npu %d" % end for end in ends)
    if kind == "between nodes":
        return arrow.join(name)
    return str(_TITLES[kind] % name)
