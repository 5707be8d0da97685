# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print docs/models.md from the catalogue (`make docs`)."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[1]
_AnsibleCollectionFinder(paths=[str(ROOT / "playbooks" / "collections")])._install()

PLAN = "ansible_collections.ascend.vllm.plugins.plugin_utils._plan."
ROLE_INPUTS = "ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs"
HARDWARE = {"A2": "atlas_800_a2", "A3": "atlas_800_a3"}
HEAD = """<!-- Generated from roles/plan/files/catalogue/models.yml by generate_models.py: do not edit. -->
# Models

Each model is a value of `plan_model`. A model that needs several nodes is planned with `serving_topology:
data_parallel`. Where a fact is missing, the entry says so.

**Memory.** The table shows the memory of each NPU of 64 GB in the newest documented release: the weights, what
`gpu-memory-utilization` leaves for the KV cache, and how many tokens that is. The weights of quantized models are
estimated. PyTorch reports 60.96 of the 64 GiB (vllm-ascend issues 19, 1617, 6611), and `gpu-memory-utilization` is a
share of that. 3 GiB are reserved for activations, graphs and communication buffers. Published logs show 2.76 GiB (issue
10122) and 0.39 GiB (pull request 8289). A token needs `2 * KV heads per NPU * head size * 2 bytes` in each layer, and
with MLA `(kv_lora_rank + qk_rope_head_dim) * 2 bytes`. These are the page sizes of vLLM
(`vllm/v1/kv_cache_interface.py`), which `tests/engine/test_kv_cache.py` compares with those of the real vLLM. Nothing
here was measured on an NPU by the authors of this collection.

**Results** were published by upstream for the product (A2, A3) that they name. A score with a tolerance is the default
gate of the accuracy stage on its product.

| model | modality | NPUs | nodes | weights per NPU | KV cache per NPU | tokens | sequences |
| --- | --- | --- | --- | --- | --- | --- | --- |"""


class Planner:
    """Plans of the models of the catalogue with the defaults of all other inputs."""

    def __init__(self):
        self.catalogue = import_module(PLAN + "catalogue_files").load_catalogue()
        self.lookup, self.resolve = import_module(PLAN + "catalogue"), import_module(PLAN + "resolve").resolve
        defaults = import_module(ROLE_INPUTS).role_defaults
        self.inputs = {name: value for role in ("plan", "image", "weights", "serving")
                       for name, value in defaults(role).items()}

    def releases(self, model, series):
        """Return the releases that support a model on a product."""
        return self.lookup.releases_of(self.catalogue, self.catalogue["hardware"][HARDWARE[series]], model)

    def documented(self, model, series):
        return [name for name in self.releases(model, series) if self.lookup.support(model, name) == "documented"]

    def plan(self, name, series):
        """Return the plan of a model with its newest documented release."""
        model = self.catalogue["models"][name]
        hosts = [f"node{number}" for number in range(model["minimum_nodes"])]
        members = {host: {**self.inputs, "plan_model": name, "plan_hardware": HARDWARE[series],
                          "plan_release": self.documented(model, series)[-1], "serving_hosts": hosts,
                          "serving_topology": "data_parallel" if len(hosts) > 1 else "replicas",
                          "serving_address": f"192.0.2.{number}", "serving_group_address": f"192.0.2.{number}"}
                   for number, host in enumerate(hosts, 1)}
        plan = self.resolve(self.catalogue, members["node0"], "node0", members)
        if plan["refusals"]:
            raise SystemExit(f"{name}: {plan['refusals']}")
        return plan


def main():
    planner = Planner()
    print(HEAD)
    for name, model in planner.catalogue["models"].items():
        plan = planner.plan(name, model["series"][0])
        memory, npus = plan["memory"], len(plan["instances"][0]["npus"])
        tokens = f"{memory['tokens']} | {memory['sequences']:g}" if "tokens" in memory else "not computed |"
        print(f"| [`{name}`](#{name}) | {model['modality']} | {npus} | {model['minimum_nodes']} | "
              f"{memory['weights_gib']:.1f} GiB | {memory['kv_cache_gib']:.1f} GiB | {tokens} |")
    for name, model in planner.catalogue["models"].items():
        print(f"\n## {name}\n")
        print("\n".join(describe(planner, name, model)))


def first_to_last(releases):
    """Return the first and the last of these releases as text, such as ``v0.18.0 to v0.30.0``."""
    return releases[0] if len(releases) == 1 else f"{releases[0]} to {releases[-1]}"


def describe(planner, name, model):
    """Yield the lines of a model."""
    yield f"{model['name']}, {model['architecture']}, at most {model['context_length']} tokens."
    yield ""
    for kind, hub in model["sources"].items():
        yield f"- weights: {kind}, " + (f"{hub['tool']} from `{hub['from']}`" if kind == "quantize" else
                                        f"`{hub['repository']}`")
    for kind, hub in model.get("draft", {"sources": {}})["sources"].items():
        yield f"- draft weights: {kind}, `{hub['repository']}`"
    estimated = ", estimated" if model["weights_bytes_estimated"] else ""
    yield f"- size: {model['weights_bytes'] / 1e9:.1f} GB{estimated}"
    for series in model["series"]:
        plan = planner.plan(name, series)
        npus = len(plan["instances"][0]["npus"])
        parts = [f"{npus} NPU{'s' if npus > 1 else ''}"]
        group = plan["group"]
        if group:
            parts.append(f"on each of {len(group['members'])} nodes, {group['size']} data parallel ranks of "
                         f"{group['tensor_parallel_size']} NPUs")
        others = [each for each in planner.releases(model, series) if each not in planner.documented(model, series)]
        documented = planner.documented(model, series)
        yield (f"- {series}: {' '.join(parts)}; documented for {first_to_last(documented)}"
               + (f"; undocumented for {first_to_last(others)}" if others else ""))
    for test in model["ci"]:
        bounds = "".join(f", {word} {test[word]}" for word in ("since", "until") if word in test)
        yield f"- in upstream's CI: {test['series']}{bounds} ({test['source']})"
    for score in model["references"]:
        gate = f" ± {score['tolerance']:g} (gate)" if "tolerance" in score else ""
        series = f" on {score['series']}" if "series" in score else ""
        yield f"- {score['dataset']}: {score['score']:g}{gate}{series} ({score['source']})"
    for result in model["throughput"]:
        shape = ", ".join(f"{result[key]} {words}" for key, words in (
            ("prompts", "requests"), ("input_tokens", "tokens in"), ("output_tokens", "tokens out"),
            ("concurrency", "concurrent"), ("request_rate", "requests per second")) if key in result)
        yield (f"- {result['output_tokens_per_s']:g} output tokens per second on {result['series']}"
               f"{' with ' + shape if shape else ''} ({result['source']})")
    if model["documentation"]:
        yield f"- pages: {', '.join(model['documentation'])}"
    if "kv_cache_unknown" in model:
        yield f"- the tokens are not computed: {model['kv_cache_unknown']}"
    for note in model["notes"]:
        yield f"- {note}"
    for topology, reason in {**model["unsupported"], **model["untested"]}.items():
        kind = "unsupported" if topology in model["unsupported"] else "untested"
        yield f"- {topology}: {kind}, {reason}"


if __name__ == "__main__":
    main()
