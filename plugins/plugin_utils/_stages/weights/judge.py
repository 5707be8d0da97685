# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Judges the weights of a model on a node: whole, unchanged, consistent in themselves, and fit for the plan."""

from __future__ import annotations

from collections import Counter

from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import QUANTIZATION_FILE
from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import fault_sentence
from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import reason_line

CHECKS = (
    Check("staged", CRITICAL, "The model was brought to the node",
          "Remove the cause that the message names and run again; what is already there is kept and resumed."),
    Check("present", CRITICAL, "The model's folder holds a model",
          "Set weights_source to where the model comes from, or copy it to weights_path."),
    Check("manifest", CRITICAL, "A manifest tells what the model has to be",
          "Run the role weights once; it takes the manifest from the hub, or makes it from the files."),
    Check("files", CRITICAL, "Every file of the manifest is there with its size",
          "Run the role weights again: it repairs the named files. With weights_source local, copy them again."),
    Check("sha256", CRITICAL, "Every file has the SHA-256 of the manifest",
          "Run the role weights again: it repairs the named files. With weights_source local, copy them again, or "
          "remove the manifest when another model is meant."),
    Check("digest", CRITICAL, "The model is the one that weights_digest pins",
          "Stage the pinned model, or set weights_digest to the digest of this one."),
    Check("self_contained", CRITICAL, "Every file lies in the model's folder, which is all that the container sees",
          "Copy the model with its links followed: cp -rL, or the hub's client with --local-dir."),
    Check("safetensors", CRITICAL, "The header of every shard parses and its tensors fill the file",
          "Stage the named file again; it was cut short or damaged at its source."),
    Check("index", CRITICAL, "The index and the shards agree",
          "Stage the model again from one source; files of two models are mixed."),
    Check("total_size", CRITICAL, "The tensors add up to the index's total_size",
          "Stage the model again from one source; compare its index with the source's."),
    Check("stray_shards", WARNING, "No shard lies beside those of the index",
          "Remove the named files: vLLM loads every *.safetensors file of the folder."),
    Check("config", CRITICAL, "The JSON files parse and the architecture is the plan's",
          "Stage the model that the catalogue names, or set plan_model to this one."),
    Check("quantization", CRITICAL, "quant_model_description.json is there exactly with --quantization ascend",
          "Set plan_model to the entry of the catalogue that fits the weights."),
    Check("quantization_names", CRITICAL, "The description names tensors as vLLM Ascend looks them up",
          "Quantize again with the transformers release that msModelSlim's recipe asks for (4.49.0)."),
    Check("quantization_types", CRITICAL, "Layers that are fused have one type",
          "Quantize again with one type for q, k, v and for gate, up of a layer."),
    Check("tokenizer", CRITICAL, "The release can load the tokenizer's class",
          "Save the tokenizer with transformers 4, or take tokenizer_config.json from the original model."),
    Check("shared_folder", CRITICAL, "The node sees the folder that the staging node fills",
          "Mount the shared file system at weights_path on this node, or set weights_distribution to each or fanout."),
    Check("same_on_all_nodes", CRITICAL, "All nodes hold the same model",
          "Stage all nodes from the same source and revision."),
)

# transformers 5 writes this class into what it saves; transformers 4 does not know it.
TRANSFORMERS_5_CLASS = "TokenizersBackend"


RETURNED = ()


def request(context):
    """What to ask of the node, see `judging.Judge`."""
    inputs = context.inputs
    return Request("ascend.vllm.weights_info", {
        "path": context.plan["model"]["path"],
        # A node that stages has hashed in full by now; reading all of it twice would prove nothing more. One that only
        # sees a shared folder has hashed nothing yet.
        "verify": inputs["weights_verify"] if inputs["weights_distribution"] == "shared" else "changed",
        "workers": inputs["weights_workers"],
    })


def survey(observations, inputs):
    """Return ``{host: {"digests": {host: digest}, "identities": {host: identity of the folder}}}``."""
    digests = {host: (observed.get("manifest") or {}).get("digest") for host, observed in observations.items()}
    found = {"digests": {host: digest for host, digest in digests.items() if digest},
             "identities": {host: observed.get("identity") for host, observed in observations.items()}}
    return dict.fromkeys(observations, found)


def judge(context):
    """The checks of the stage weights.

    :param context: ``observed`` is what ``ascend.vllm.weights_info`` returned. With ``weights_distribution: shared``,
        ``measured`` has ``stager`` (the node that fills the folder) and ``shared`` (whether its mark was seen; None
        when it could leave none).
    """
    checks = Checks(CHECKS)
    plan, observed, inputs = context.plan, context.observed, context.inputs
    if context.failure:
        checks.expect("staged", False, "the whole model in %s" % plan["model"]["path"], "an error",
                      message=reason_line(context.failure))
    if context.measured.get("stager"):
        _shared(checks, context)
    if not checks.expect("present", bool(observed.get("files")), "a model in %s" % plan["model"]["path"],
                         "%d files" % len(observed.get("files") or ())):
        return checks.as_list()
    _whole(checks, observed, inputs)
    _shards(checks, observed)
    _config(checks, observed, plan)
    _quantization(checks, observed, plan)
    _tokenizer(checks, observed, plan)
    _same_on_all_nodes(checks, context)
    return checks.as_list()


def _shared(checks, context):
    stager, own = context.measured["stager"], context.observed.get("identity")
    identities = (context.survey or {"identities": {}})["identities"]
    wanted = "the folder of %s at %s" % (stager, context.plan["model"]["path"])
    same = context.measured.get("shared")
    if same is None and stager == context.host:
        same = True
    if same is None and stager in identities:
        # A copy has the same names, sizes and bytes, and may have the same time stamps, but not the same inodes.
        same = bool(own) and own == identities[stager]
    if same is None:
        checks.not_run("shared_folder", "What %s sees is not known." % stager)
    else:
        checks.expect("shared_folder", same, wanted, "the same" if same else "a folder of its own")


def _origin(manifest):
    """The manifest in words: its digest, and who stated the SHA-256 of its files."""
    if manifest is None:
        return "none"
    stated = sum(entry["sha256_from"] == "hub" for entry in manifest["files"])
    made = len(manifest["files"]) - stated
    where = " ".join(part for part in (manifest["source"], manifest["repository"], manifest["revision"]) if part)
    return "digest %s, %s" % (manifest["digest"], "; ".join(part for part in (
        "%d SHA-256 stated by %s" % (stated, where) if stated else "",
        "%d made at the first staging from %s" % (made, where) if made else "") if part))


def _whole(checks, observed, inputs):
    manifest = observed["manifest"]
    checks.expect("self_contained", not observed["outside"], "no links out of the folder",
                  "%d, the first is %s" % (len(observed["outside"]), observed["outside"][0])
                  if observed["outside"] else "none")
    if not checks.expect("manifest", manifest is not None, "a manifest in %s" % observed["manifest_path"],
                         _origin(manifest)):
        checks.not_run("files", "There is no manifest.")
        checks.not_run("sha256", "There is no manifest.")
    else:
        faults = observed["faults"]
        for check, kinds in (("files", ("missing", "size")), ("sha256", ("sha256",))):
            wrong = [fault for fault in faults if fault["fault"] in kinds]
            for fault in wrong:
                checks.expect(check, False, fault["expected"], fault["actual"], subject=fault["path"],
                              message=fault_sentence(fault))
            if not wrong:
                checks.expect(check, True, "%d files, %d bytes" % (len(manifest["files"]), manifest["bytes"]),
                              "the same")
    if inputs.get("weights_digest"):
        checks.expect("digest", observed["digest"] == inputs["weights_digest"].lower(), inputs["weights_digest"],
                      observed["digest"])


def _shards(checks, observed):
    shards, index = observed["shards"], observed["index"]
    if not shards:
        checks.expect("safetensors", False, "at least one *.safetensors file", "none")
    broken = {path: shard["error"] for path, shard in shards.items() if shard["error"]}
    for path in sorted(broken):
        checks.expect("safetensors", False, "a whole safetensors file", broken[path], subject=path,
                      message="%s is damaged: %s" % (path, broken[path]))
    if shards and not broken:
        checks.expect("safetensors", True, "%d whole shards" % len(shards), "the same")
    if len(shards) > 1 or index:
        faults = [fault for entry in index for fault in entry["faults"]]
        checks.expect("index", bool(index) and not faults, "one index that places every tensor",
                      "; ".join(faults) or "%d index files" % len(index), message="; ".join(faults) or None)
    for entry in index:
        if entry["total_size"] is None or entry["tensor_bytes"] is None:
            checks.not_run("total_size", "The index states no total_size." if entry["total_size"] is None
                           else "Not every shard could be read.", subject=entry["path"])
        else:
            checks.expect("total_size", entry["total_size"] == entry["tensor_bytes"], entry["total_size"],
                          entry["tensor_bytes"], subject=entry["path"])
    stray = sorted(set(shards) - {shard for entry in index for shard in entry["shards"]}) if index else []
    if index:
        checks.expect("stray_shards", not stray, "none", ", ".join(stray) or "none")


def _config(checks, observed, plan):
    wanted, config = plan["model"].get("architecture"), observed["config"]
    found = ", ".join(config["architectures"]) if config else "no config.json"
    fits = config is not None and (not wanted or wanted in config["architectures"])
    faults = observed["content_faults"]
    checks.expect("config", fits and not faults, wanted or "a config.json", found, message="; ".join(faults) or None)


def _quantization(checks, observed, plan):
    wanted, found = plan["model"].get("quantization"), observed["quantization"]
    if wanted == "ascend":
        holds = found is not None and bool(found["types"])
        checks.expect("quantization", holds, "%s for --quantization ascend" % QUANTIZATION_FILE,
                      found["type"] or "an empty description" if found else "none")
        if not holds:
            return
        foreign = sorted(prefix for prefix in found["prefixes"]
                         if prefix.startswith(("model.language_model", "model.visual")))
        lacking = [prefix for prefix in ("model.layers", "visual") if prefix not in found["prefixes"]
                   and (prefix != "visual" or (observed["config"] or {}).get("vision"))]
        checks.expect("quantization_names", not foreign and not lacking, "model.layers.* and visual.*",
                      ", ".join(sorted(found["prefixes"])))
        checks.expect("quantization_types", not found["mixed"], "one type per fused layer",
                      "; ".join(found["mixed"][:3]) or "one type per fused layer")
    else:
        checks.expect("quantization", found is None, "no %s, as the plan has no --quantization ascend"
                      % QUANTIZATION_FILE, "none" if found is None else "one of type %s" % found["type"])


def _tokenizer(checks, observed, plan):
    found = observed["tokenizer_class"]
    if found != TRANSFORMERS_5_CLASS:
        checks.expect("tokenizer", bool(found), "a tokenizer_class of transformers 4", found or "none")
        return
    transformers = plan["release"].get("transformers")
    if transformers:
        checks.expect("tokenizer", transformers >= 5, "a tokenizer_class of transformers %d" % transformers, found)
    else:
        checks.not_run("tokenizer", "%s needs transformers 5, and the catalogue does not tell what %s has." % (
            found, plan["release"]["id"]))


def _same_on_all_nodes(checks, context):
    # Of the manifests: that a node holds what its manifest says, other checks prove, and tell of that node alone.
    digests = (context.survey or {"digests": {}})["digests"]
    own = (context.observed["manifest"] or {}).get("digest")
    if own is None or len(digests) < 2:
        return
    others = sorted(host for host in digests if digests[host] != own)
    # A tie fails on every host.
    checks.expect("same_on_all_nodes", majority(Counter(digests.values())) == own, "the model of most nodes", own,
                  message="the model is another than that of %s" % ", ".join(others) if others else None)
