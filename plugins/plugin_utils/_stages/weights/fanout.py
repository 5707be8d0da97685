# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Who brings a model to the cluster, and who takes it from whom. Pure: every node works out the same answer."""

from __future__ import annotations


def stager(hosts, held, failed=()):
    """The node that gets the model from its source when none has it whole: the one that comes nearest.

    :param hosts: the nodes in order. :param held: ``{host: {"holds": bool, "files": int}}`` of those that answered.
    :param failed: nodes that tried and, unless they hold it by now, could not.
    :returns: a node that holds the model, else one that has files of it, else the first; None without nodes.
    """
    answered = [host for host in hosts if host in held and (held[host]["holds"] or host not in failed)]
    return max(answered, key=lambda host: (held[host]["holds"], bool(held[host]["files"]), -hosts.index(host)),
               default=None)


def upstreams(hosts, holders):
    """From whom each node takes the model, the nearest first.

    The receivers form one chain behind every holder; a node whose chain is broken turns to the nodes before the break
    and then to the other holders.

    :param hosts: the nodes in order. :param holders: those of them that hold the whole model.
    :returns: ``{receiver: [host, …]}``; empty when nobody holds it.
    """
    seeds = [host for host in hosts if host in holders]
    receivers = [host for host in hosts if host not in holders]
    found = {}
    for at, seed in enumerate(seeds):
        chain = [seed, *receivers[at::len(seeds)]]
        others = seeds[at + 1:] + seeds[:at]
        for place in range(1, len(chain)):
            found[chain[place]] = chain[place - 1::-1] + others
    return found
