# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The collection's catalogue and the defaults of its roles, as the tests of the plan need them."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import resolve as plan

ROOT = Path(__file__).resolve().parents[5]


def _load(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


CATALOGUE = {}
for name in ("bench_options", "hardware", "models", "releases", "serve_options"):
    CATALOGUE.update(_load(f"roles/plan/files/catalogue/{name}.yml"))

DEFAULTS = {}
for role in ("plan", "image", "weights", "serving"):
    DEFAULTS.update(_load(f"roles/{role}/defaults/main.yml"))
DEFAULTS.update(serving_address="192.0.2.11", serving_group_address="192.0.2.11", serving_hosts=[])


def resolve(overlay=None, **inputs):
    """The plan of the defaults with some inputs changed, and an overlay merged into the catalogue."""
    return plan.resolve(lookup.merge(CATALOGUE, overlay or {}), dict(DEFAULTS, **inputs))


def valid(overlay=None, **inputs):
    """The same, of a plan that must not be refused."""
    resolved = resolve(overlay, **inputs)
    assert resolved["refusals"] == []
    return resolved


def refusals(overlay=None, **inputs):
    """The messages of a plan that must be refused."""
    messages = [refusal["message"] for refusal in resolve(overlay, **inputs)["refusals"]]
    assert messages
    return messages


def inputs_of(topology, hosts=("node1", "node2"), changes=None, **inputs):
    """{host: inputs} of nodes that serve together; changes are {host: inputs} of single ones."""
    return {host: {**DEFAULTS, "serving_topology": topology, "serving_hosts": list(hosts), **inputs,
                   "serving_address": f"192.0.2.{11 + number}", "serving_group_address": f"192.0.2.{11 + number}",
                   **(changes or {}).get(host, {})}
            for number, host in enumerate(hosts)}


def resolve_group(topology, overlay=None, **case):
    """{host: plan} of nodes that serve together; see inputs_of."""
    members = inputs_of(topology, **case)
    catalogue = lookup.merge(CATALOGUE, overlay or {})
    return {host: plan.resolve(catalogue, inputs, host, members) for host, inputs in members.items()}


def valid_group(topology, **case):
    """The same, of plans that must not be refused."""
    resolved = resolve_group(topology, **case)
    assert [found["refusals"] for found in resolved.values()] == [[] for _host in resolved]
    return resolved


def options(resolved, index=0):
    """{option: following words} of the command of an instance."""
    found = {}
    for word in resolved["instances"][index]["command"][3:]:
        if word.startswith("--"):
            assert word not in found, f"{word} is there twice"
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found
