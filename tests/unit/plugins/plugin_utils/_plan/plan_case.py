# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers that resolve plans from the catalogue and the role defaults of the collection."""

from __future__ import annotations

from pathlib import Path

import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import merge
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import resolve

ROOT = Path(__file__).resolve().parents[5]


def _load(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


CATALOGUE = load_catalogue()

DEFAULTS = {}
for role in ("plan", "image", "weights", "serving"):
    DEFAULTS.update(_load(f"roles/{role}/defaults/main.yml"))
DEFAULTS.update(serving_address="192.0.2.11", serving_group_address="192.0.2.11", serving_hosts=[],
                serving_state_path="/var/lib/ascend-vllm")


W8A8, BF16 = "qwen2_5_vl_32b_instruct_w8a8", "qwen2_5_vl_32b_instruct"
SHARED = ["--async-scheduling", "--max-model-len", "30000", "--max-num-batched-tokens", "50000",
          "--max-num-seqs", "30", "--no-enable-prefix-caching", "--allowed-media-domains", "none.invalid"]
COMMAND_W8A8 = [
    "vllm", "serve", "/data/Qwen2.5-VL-32B-Instruct-w8a8", "--host", "0.0.0.0", "--port", "8888",
    "--served-model-name", "qwen25_vl", "--tensor-parallel-size", "2", "--quantization", "ascend", *SHARED]
COMMAND_BF16 = [
    "vllm", "serve", "/data/Qwen2.5-VL-32B-Instruct", "--host", "0.0.0.0", "--port", "8888",
    "--served-model-name", "qwen25_vl", "--tensor-parallel-size", "2", "--dtype", "bfloat16", *SHARED]


def plan_with(overlay=None, **inputs):
    """Return the plan for the role defaults, with changed inputs and a catalogue overlay."""
    return resolve(merge(CATALOGUE, overlay or {}), dict(DEFAULTS, **inputs))


def valid(overlay=None, **inputs):
    """Return the plan of `plan_with`, and assert that it is not refused."""
    resolved = plan_with(overlay, **inputs)
    assert resolved["refusals"] == []
    return resolved


def refusals(overlay=None, **inputs):
    """Return the messages of all refusals of a plan, at least one, and assert that each names the input in its id."""
    found = plan_with(overlay, **inputs)["refusals"]
    assert found
    assert [each for each in found if each["id"].partition(".")[0] not in each["message"]] == []
    return [each["message"] for each in found]


def refusal(overlay=None, **inputs):
    """Return the message of a plan's only refusal, and assert that it ends with a period."""
    (message,) = refusals(overlay, **inputs)
    assert message.endswith(".")
    return message


def inputs_of(topology, hosts=("node1", "node2"), changes=None, **inputs):
    """Return ``{host: inputs}`` of a group. ``changes`` is ``{host: inputs that only this host has}``."""
    return {host: {**DEFAULTS, "serving_topology": topology, "serving_hosts": list(hosts), **inputs,
                   "serving_address": f"192.0.2.{11 + number}", "serving_group_address": f"192.0.2.{11 + number}",
                   **(changes or {}).get(host, {})}
            for number, host in enumerate(hosts)}


def group_plans(topology, overlay=None, **case):
    """Return ``{host: plan}`` of a group, with the parameters of `inputs_of`."""
    members = inputs_of(topology, **case)
    catalogue = merge(CATALOGUE, overlay or {})
    return {host: resolve(catalogue, inputs, host, members) for host, inputs in members.items()}


def valid_group(topology, **case):
    """Return the plans of `group_plans`, and assert that none is refused."""
    resolved = group_plans(topology, **case)
    assert [found["refusals"] for found in resolved.values()] == [[] for _host in resolved]
    return resolved


def options(resolved, index=0):
    """Return ``{option: its values}`` from the command of an instance."""
    found = {}
    for word in resolved["instances"][index]["command"][3:]:
        if word.startswith("--"):
            assert word not in found, f"{word} is repeated"
            found[word] = []
        else:
            found[list(found)[-1]].append(word)
    return found
