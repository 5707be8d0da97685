# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Decide which node downloads a model from its source, and from which nodes the other nodes copy it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Held


def stager(hosts: Sequence[str], held: Mapping[str, Held], failed: Collection[str] = ()) -> str | None:
    """Return a node that has the model, otherwise a node that can get it from its source, otherwise None.

    Among the latter, a node that has some files of the model is preferred, and then the first one. A node in ``failed``
    could not get the model from its source, so it is chosen only if it has the model.
    """
    candidates = [host for host in hosts if host in held and (held[host]["holds"] or host not in failed)]
    return max(candidates, key=lambda host: (held[host]["holds"], bool(held[host]["files"]), -hosts.index(host)),
               default=None)


def upstreams(hosts: Sequence[str], holders: Collection[str]) -> dict[str, list[str]]:
    """Return ``{receiver: [host, …]}``, the nodes from which each node can copy the model, in order of preference.

    The receivers are divided into one chain per holder. If a node of a chain fails, the nodes behind it copy from the
    nodes in front of it, then from the other holders. If there are no holders, the result is empty.
    """
    seeds = [host for host in hosts if host in holders]
    receivers = [host for host in hosts if host not in holders]
    found = {}
    for at, seed in enumerate(seeds):
        chain = [seed, *receivers[at::len(seeds)]]
        other_seeds = seeds[at + 1:] + seeds[:at]
        for place in range(1, len(chain)):
            found[chain[place]] = chain[place - 1::-1] + other_seeds
    return found
