# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the weights stage. It checks whether the model is complete, unchanged, consistent, and as planned."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypedDict, cast

from ansible_collections.ascend.vllm.plugins.module_utils._weights.content import QUANTIZATION_FILE
from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import fault_sentence
from ansible_collections.ascend.vllm.plugins.plugin_utils._majority import majority
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, WARNING, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD, Context, Outcomes, Request
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import reason_line

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._weights import observation
    from ansible_collections.ascend.vllm.plugins.module_utils._weights.files import Manifest
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Observation

CHECKS = (
    Check("staged", CRITICAL, "The model was staged on the node",
          "Remove the cause that the message names and run again; files that were downloaded are kept."),
    Check("present", CRITICAL, "The folder of the model contains a model",
          "Set weights_source to the source of the model, or copy the model to weights_path."),
    Check("manifest", CRITICAL, "The model has a manifest of its files",
          "Run the weights role once; it gets the manifest from the hub, or computes it from the files."),
    Check("files", CRITICAL, "Every file of the manifest exists and has its size",
          "Run the weights role again: it repairs the named files. With weights_source local, copy them again."),
    Check("sha256", CRITICAL, "Every file has the SHA-256 of the manifest",
          "Run the weights role again: it repairs the named files. With weights_source local, copy them again, or "
          "remove the manifest if you have replaced the model."),
    Check("digest", CRITICAL, "The model is the one that weights_digest pins",
          "Stage the pinned model, or set weights_digest to the digest of this one."),
    Check("self_contained", CRITICAL, "Every file is in the folder of the model, which the container mounts",
          "Copy the model with its links followed: cp -rL, or the client of the hub with --local-dir."),
    Check("safetensors", CRITICAL, "The header of every shard is valid and its tensors fill the file",
          "Stage the named file again; it was truncated or damaged at its source."),
    Check("index", CRITICAL, "The index and the shards agree",
          "Stage the model again from one source; the folder has files of two models."),
    Check("total_size", CRITICAL, "The sizes of the tensors add up to the total_size of the index",
          "Stage the model again from one source; compare its index with that of the source."),
    Check("stray_shards", WARNING, "There are no shards besides those of the index",
          "Remove the named files: vLLM loads every *.safetensors file of the folder."),
    Check("config", CRITICAL, "The JSON files are valid and the architecture is as planned",
          "Stage the model that the catalogue names, or set plan_model to this one."),
    Check("quantization", CRITICAL, "quant_model_description.json exists if and only if --quantization is ascend",
          "Set plan_model to the entry of the catalogue that matches the weights."),
    Check("quantization_names", CRITICAL, "The quantization description has the tensor names that vLLM Ascend expects",
          "Quantize again with the transformers version that msModelSlim's recipe requires (4.49.0)."),
    Check("quantization_types", CRITICAL, "Layers that vLLM fuses have the same quantization type",
          "Quantize again with one type for q, k and v of a layer, and one for gate and up."),
    Check("tokenizer", CRITICAL, "The release can load the class of the tokenizer",
          "Save the tokenizer with transformers 4, or take tokenizer_config.json from the original model."),
    Check("draft", CRITICAL, "The draft model of speculative decoding is complete",
          "Run the weights role again; or set speculative-config to null in serving_args to serve without it."),
    Check("shared_folder", CRITICAL, "The node mounts the folder that the staging node writes to",
          "Mount the shared file system at weights_path on this node, or set weights_distribution to each or fanout."),
    Check("same_on_all_nodes", CRITICAL, "All nodes of the model have the same files",
          "Stage all nodes from the same source and revision."),
)

# The prefixes of tensor names on the hub, which older releases of vLLM Ascend do not map to their own.
_HUB_PREFIXES = ("model.language_model", "model.visual")

# The tokenizer_class that transformers 5 saves. transformers 4 does not have this class.
TRANSFORMERS_5_CLASS = "TokenizersBackend"


class Models(TypedDict):
    """The copies of one model on the nodes of the run that have this model in their plans."""

    #: ``{host: digest of its manifest}`` for the hosts that have a manifest.
    digests: dict[str, str]
    #: ``{host: identity of its folder}``, see `files.identify`.
    identities: dict[str, str | None]


RETURNED = ()


def check_inputs(context: Context) -> Iterator[str]:
    inputs, model = context.inputs, context.plan["model"]
    source, endpoint = inputs["weights_source"], inputs["weights_hub_endpoint"]
    if source == "http" and not endpoint:
        yield ("weights_source is http, but weights_hub_endpoint is empty; set it to the URL of the folder that "
               "contains the model.")
    if endpoint and not re.fullmatch(r"https?://[^@\s]+", endpoint):
        yield ("weights_hub_endpoint must be a URL that begins with http:// or https:// and has neither a user nor a "
               "password; set weights_hub_token for a private repository.")
    if model and source not in ("local", "http") and source not in model["sources"] and (
            source == "quantize" or not inputs["weights_repository"]):
        yield "weights_source is %s, but the catalogue has no such source of %s; choose one of %s." % (
            source, model["name"], ", ".join(["local", "http", *sorted(model["sources"])]))
    if inputs["weights_digest"] and not re.fullmatch(r"[0-9a-fA-F]{64}", inputs["weights_digest"]):
        yield "weights_digest must be 64 hexadecimal digits, but is '%s'." % inputs["weights_digest"]


def request(context: Context) -> Request | None:
    """Return the request that inspects the model on the node, or None if it is not staged because of check mode."""
    inputs = context.inputs
    if context.measured.get("pending"):
        return None
    return Request("ascend.vllm.weights_info", {
        "path": context.plan["model"]["path"],
        # A node that staged the model has already verified it. A node that only mounts a shared folder has not.
        "verify": inputs["weights_verify"] if inputs["weights_distribution"] == "shared" else "changed",
        "workers": inputs["weights_workers"],
        **({"draft": context.plan["model"]["draft"]["path"]} if "draft" in context.plan["model"] else {}),
    }, noted={"model": context.plan["model"]["id"]})


def survey(observations: Mapping[str, Observation], inputs: Mapping[str, Any]) -> dict[str, Models]:
    """Return ``{host: Models}``. The value is the same for all hosts that have the same model in their plans."""
    deployments: dict[Any, dict[str, Observation]] = {}
    for host, observed in observations.items():
        deployments.setdefault(observed.get("model"), {})[host] = observed
    found: dict[str, Models] = {}
    for members in deployments.values():
        models: Models = {
            "digests": {host: observed["manifest"]["digest"] for host, observed in members.items()
                        if observed.get("manifest")},
            "identities": {host: observed.get("identity") for host, observed in members.items()},
        }
        found.update((host, models) for host in members)
    return found


def judge(context: Context) -> Outcomes:
    """Judge the weights stage.

    With weights_distribution shared, ``context.measured`` contains ``stager`` (the node that writes to the folder) and
    ``shared`` (whether this node can see the stager's marker file, or None if the stager could not create the file).
    In check mode, ``pending`` is whether the node lacks the model, or "unknown".
    """
    checks = Checks(CHECKS)
    plan, observed, inputs = context.plan, cast("observation.WeightsObservation", context.observed), context.inputs
    if context.failure:
        checks.expect("staged", False, "the whole model in %s" % plan["model"]["path"], "an error",
                      message=reason_line(context.failure))
    if context.measured.get("pending"):
        checks.not_run("present", "%s stage the model in %s%s (weights_source %s, weights_distribution %s)." % (
            WOULD, plan["model"]["path"], "" if context.measured["pending"] is True else ", unless it is already there",
            inputs["weights_source"], inputs["weights_distribution"]))
        return checks.as_list()
    if context.measured.get("stager"):
        _shared(checks, context)
    if not checks.expect("present", bool(observed.get("files")), "a model in %s" % plan["model"]["path"],
                         "%d files" % len(observed.get("files") or ())):
        return checks.as_list()
    _files(checks, observed, inputs)
    _shards(checks, observed)
    _config(checks, observed, plan)
    _quantization(checks, observed, plan)
    _tokenizer(checks, observed, plan)
    if "draft" in plan["model"]:
        _draft(checks, context.observed["draft"], plan["model"]["draft"]["path"], context.check_mode)
    _same_on_all_nodes(checks, observed, context.survey)
    return checks.as_list()


def _shared(checks: Checks, context: Context) -> None:
    stager, own = context.measured["stager"], context.observed.get("identity")
    identities = context.survey["identities"] if context.survey else {}
    same = context.measured.get("shared")
    if same is None and stager == context.host:
        same = True
    if same is None and stager in identities:
        # A copy has the same names, sizes and content, and may have the same timestamps, but not the same inodes.
        same = bool(own) and own == identities[stager]
    if same is None:
        checks.not_run("shared_folder", "The content of the folder on %s is unknown." % stager)
    else:
        checks.expect("shared_folder", same, "the folder of %s at %s" % (stager, context.plan["model"]["path"]),
                      "the same" if same else "another folder")


def _origin(manifest: Manifest | None) -> str:
    """Return the digest of the manifest and the origin of the SHA-256 of its files, as text."""
    if manifest is None:
        return "none"
    stated = sum(entry["sha256_from"] == "hub" for entry in manifest["files"])
    computed = len(manifest["files"]) - stated
    source = " ".join(part for part in (manifest["source"], manifest["repository"], manifest["revision"]) if part)
    return "digest %s, %s" % (manifest["digest"], "; ".join(part for part in (
        "%d SHA-256 from %s" % (stated, source) if stated else "",
        "%d computed when first staged from %s" % (computed, source) if computed else "") if part))


def _files(checks: Checks, observed: observation.WeightsObservation, inputs: Mapping[str, Any]) -> None:
    manifest = observed["manifest"]
    checks.expect("self_contained", not observed["outside"], "no links to files outside the folder",
                  "%d, the first is %s" % (len(observed["outside"]), observed["outside"][0])
                  if observed["outside"] else "none")
    checks.expect("manifest", manifest is not None, "a manifest in %s" % observed["manifest_path"], _origin(manifest))
    for check, kinds in (("files", ("missing", "size")), ("sha256", ("sha256",))):
        if manifest is None:
            checks.not_run(check, "There is no manifest.")
            continue
        wrong = [fault for fault in observed["faults"] if fault["fault"] in kinds]
        for fault in wrong:
            checks.expect(check, False, fault["expected"], fault["actual"], fault["path"], fault_sentence(fault))
        if not wrong:
            checks.expect(check, True, "%d files, %d bytes" % (len(manifest["files"]), manifest["bytes"]), "the same")
    if inputs.get("weights_digest"):
        checks.expect("digest", observed["digest"] == inputs["weights_digest"].lower(), inputs["weights_digest"],
                      observed["digest"])


def _shards(checks: Checks, observed: observation.WeightsObservation) -> None:
    shards, index = observed["shards"], observed["index"]
    if not shards:
        checks.expect("safetensors", False, "at least one *.safetensors file", "none")
    broken = {path: shard["error"] for path, shard in shards.items() if shard["error"]}
    for path, error in sorted(broken.items()):
        checks.expect("safetensors", False, "a complete safetensors file", error, path, f"{path} is damaged: {error}")
    if shards and not broken:
        checks.expect("safetensors", True, "%d complete shards" % len(shards), "the same")
    if len(shards) > 1 or index:
        faults = [fault for entry in index for fault in entry["faults"]]
        checks.expect("index", bool(index) and not faults, "one index that names the shard of every tensor",
                      "; ".join(faults) or "%d index files" % len(index), message="; ".join(faults) or None)
    for entry in index:
        if entry["total_size"] is None or entry["tensor_bytes"] is None:
            checks.not_run("total_size", "The index has no total_size." if entry["total_size"] is None
                           else "Not every shard could be read.", subject=entry["path"])
        else:
            checks.expect("total_size", entry["total_size"] == entry["tensor_bytes"], entry["total_size"],
                          entry["tensor_bytes"], subject=entry["path"])
    if index:
        stray = sorted(set(shards) - {shard for entry in index for shard in entry["shards"]})
        checks.expect("stray_shards", not stray, "none", ", ".join(stray) or "none")


def _config(checks: Checks, observed: observation.WeightsObservation, plan: Plan) -> None:
    wanted, config = plan["model"].get("architecture"), observed["config"]
    found = ", ".join(config["architectures"]) if config else "no config.json"
    matches = config is not None and (not wanted or wanted in config["architectures"])
    faults = observed["content_faults"]
    checks.expect("config", matches and not faults, wanted or "a config.json", found, message="; ".join(faults) or None)


def _quantization(checks: Checks, observed: observation.WeightsObservation, plan: Plan) -> None:
    wanted, found = plan["model"].get("quantization"), observed["quantization"]
    if wanted == "ascend":
        described = found is not None and bool(found["types"])
        checks.expect("quantization", described, "%s for --quantization ascend" % QUANTIZATION_FILE,
                      found["type"] or "an empty description" if found else "none")
        if found is None or not described:
            return
        vision = observed["config"] is not None and observed["config"]["vision"]
        names = plan["model"].get("quantization_names", [["model.layers", "visual"] if vision else ["model.layers"]])
        others = set(_HUB_PREFIXES).union(*names)
        fitting = [each for each in names if set(each) <= set(found["prefixes"])
                   and not (others - set(each)) & set(found["prefixes"])]
        if names:
            checks.expect("quantization_names", bool(fitting), " or ".join(
                " and ".join(prefix + ".*" for prefix in each) for each in names), ", ".join(sorted(found["prefixes"])))
        checks.expect("quantization_types", not found["mixed"], "one type per fused layer",
                      "; ".join(found["mixed"][:3]) or "one type per fused layer")
    else:
        checks.expect("quantization", found is None, "no %s, as the plan has no --quantization ascend"
                      % QUANTIZATION_FILE, "none" if found is None else "one of type %s" % found["type"])


def _tokenizer(checks: Checks, observed: observation.WeightsObservation, plan: Plan) -> None:
    found = observed["tokenizer_class"]
    if found != TRANSFORMERS_5_CLASS:
        checks.expect("tokenizer", bool(found), "a tokenizer_class of transformers 4", found or "none")
        return
    transformers = plan["release"].get("transformers")
    if transformers:
        checks.expect("tokenizer", transformers >= 5, "a tokenizer_class of transformers %d" % transformers, found)
    else:
        checks.not_run("tokenizer", "%s needs transformers 5, and the catalogue does not state the version in %s." % (
            found, plan["release"]["id"]))


def _draft(checks: Checks, observed: observation.ModelFolder, path: str, check_mode: bool) -> None:
    if check_mode and not observed["manifest"]:
        checks.not_run("draft", "%s stage the draft model in %s." % (WOULD, path))
        return
    problems = [fault_sentence(fault) for fault in observed["faults"]] + observed["content_faults"] + [
        "%s: %s" % (name, shard["error"]) for name, shard in observed["shards"].items() if shard["error"]]
    for name, part in (("manifest", observed["manifest"]), ("config.json", observed["config"]),
                       ("*.safetensors file", observed["shards"])):
        if not part:
            problems.append("there is no %s" % name)
    checks.expect("draft", not problems, "a model and its manifest in %s" % path, "; ".join(problems) or "the same")


def _same_on_all_nodes(checks: Checks, observed: observation.WeightsObservation, models: Models | None) -> None:
    # This check compares the manifests. Other checks compare each node with its manifest and fail on that node only.
    digests = models["digests"] if models else {}
    own = observed["manifest"]["digest"] if observed["manifest"] else None
    if own is None or len(digests) < 2:
        return
    others = sorted(host for host in digests if digests[host] != own)
    # With a tie, the check fails on every host.
    checks.expect("same_on_all_nodes", majority(Counter(digests.values())) == own, "the model of most nodes", own,
                  message="the model differs from that of %s" % ", ".join(others) if others else None)
