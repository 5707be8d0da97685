# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Observations of a real model folder are judged, with one injected fault at a time."""

from __future__ import annotations

import json
import os
import shutil
import struct
from dataclasses import replace

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights import files as weights
from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import open_existing
from ansible_collections.ascend.vllm.plugins.module_utils._weights.observation import observe
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.weights import judge as weights_judge
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.weights.judge import CHECKS, judge, request
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import (
    context as stage_context,
)

LONG_AGO = 1_600_000_000
SHARDS = {
    "quant_model_weight_w8a8-00001-of-00002.safetensors": [
        "model.layers.0.self_attn.q_proj.weight", "model.embed_tokens.weight"],
    "quant_model_weight_w8a8-00002-of-00002.safetensors": ["visual.blocks.0.attn.qkv.weight", "lm_head.weight"],
}
INDEX = "quant_model_weight_w8a8.safetensors.index.json"
DESCRIPTION = {
    "model_quant_type": "W8A8", "version": "1.0.0", "group_size": 0,
    "model.layers.0.self_attn.q_proj.weight": "W8A8",
    "model.layers.0.self_attn.k_proj.weight": "W8A8",
    "model.layers.0.self_attn.v_proj.weight": "W8A8",
    "model.layers.0.mlp.down_proj.weight": "FLOAT",
    "model.embed_tokens.weight": "FLOAT",
    "lm_head.weight": "FLOAT",
    "visual.blocks.0.attn.qkv.weight": "FLOAT",
}
CONFIG = {"architectures": ["Qwen2_5_VLForConditionalGeneration"], "vision_config": {}}


def shard(names):
    """Return a safetensors file with one BF16 tensor of two elements per name."""
    entries = {name: {"dtype": "BF16", "shape": [2], "data_offsets": [4 * i, 4 * i + 4]}
               for i, name in enumerate(names)}
    raw = json.dumps(entries).encode()
    return struct.pack("<Q", len(raw)) + raw + bytes(range(4 * len(names)))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    os.utime(path, (LONG_AGO, LONG_AGO))


def index(shards=None, total=16):
    return {"metadata": {"total_size": total},
            "weight_map": {name: path for path, names in (shards or SHARDS).items() for name in names}}


@pytest.fixture(autouse=True)
def state_folder(tmp_path, monkeypatch):
    monkeypatch.setattr(weights, "STATE_FOLDER", str(tmp_path / "state"))


@pytest.fixture
def model(tmp_path):
    folder = tmp_path / "model"
    folder.mkdir()
    for path, names in SHARDS.items():
        write(folder, path, shard(names))
    write(folder, INDEX, index())
    write(folder, "quant_model_description.json", DESCRIPTION)
    write(folder, "config.json", CONFIG)
    write(folder, "tokenizer_config.json", {"tokenizer_class": "Qwen2Tokenizer"})
    write_manifest(folder)
    return folder


def write_manifest(folder):
    """Write a manifest of the current content of the folder."""
    with open_existing(str(folder)) as opened:
        stats = weights.list_model(opened)
        sums = weights.digest_files(opened, stats, stats, digest_cache(folder)).sha256
    files = [{"path": path, "size": stats[path].st_size, "sha256": sums[path], "sha256_from": "hub"} for path in stats]
    weights.write_json(weights.model_paths(str(folder)).manifest,
                       weights.make_manifest("modelscope", "o/m", "master", files, "now"))


def digest(folder):
    return weights.read_json(weights.model_paths(str(folder)).manifest)["digest"]


def digest_cache(folder):
    return weights.DigestCache.of(str(folder), str(folder.parent / "cache"))


def context(folder, full=False, quantization="ascend", release=None, peers=None, extra=None, model=None, **inputs):
    observed = observe(str(folder), full, 2, digest_cache(folder))
    plan = {"model": {"path": str(folder), "quantization": quantization, "architecture": CONFIG["architectures"][0],
                      **(model or {})},
            "release": dict({"id": "v0.11.0rc1"}, **release or {})}
    observed.update(extra or {})
    survey = weights_judge.survey({**(peers or {}), "node1": observed}, {})["node1"] if peers is not None else None
    return stage_context(plan, observed, {"weights_digest": "", **inputs}, survey=survey)


def not_passed(checks):
    return [check["id"] for check in checks if check["status"] != "passed"]


def test_complete_model_passes_all_checks(model):
    checks = judge(context(model, peers={"node2": {"manifest": {"digest": digest(model)}}}))
    assert not_passed(checks) == []
    conditional = {"staged", "digest", "shared_folder", "draft"}
    assert {check["id"] for check in checks} == {check.id for check in CHECKS} - conditional


@pytest.mark.parametrize(("damage", "message"), [
    (lambda _folder: None, None),
    (lambda folder: (folder / "config.json").unlink(), "config.json"),
    (lambda folder: next(folder.glob("*.safetensors")).write_bytes(b"cut"), "safetensors"),
    (lambda folder: weights.os.unlink(weights.model_paths(str(folder)).manifest), "there is no manifest"),
])
def test_draft_model_must_be_complete(model, tmp_path, damage, message):
    draft = tmp_path / "draft"
    shutil.copytree(model, draft)
    write_manifest(draft)
    damage(draft)
    observed = observe(str(draft), False, 2, digest_cache(draft))
    found = judge(context(model, model={"draft": {"path": str(draft)}}, extra={"draft": observed}))
    (check,) = [check for check in found if check["id"] == "draft"]
    assert check["status"] == ("failed" if message else "passed")
    assert (message or "the same") in check["actual"]


def test_draft_model_that_check_mode_would_stage_is_not_judged(model, tmp_path):
    (tmp_path / "draft").mkdir()
    observed = observe(str(tmp_path / "draft"), False, 2, digest_cache(tmp_path / "draft"))
    planned = context(model, model={"draft": {"path": "/data/draft"}}, extra={"draft": observed})
    (check,) = [check for check in judge(replace(planned, check_mode=True)) if check["id"] == "draft"]
    assert (check["status"], check["message"]) == (
        "not_run", "Without --check, the run would stage the draft model in /data/draft.")


def test_empty_folder_fails_only_one_check(tmp_path):
    (tmp_path / "model").mkdir()
    checks = judge(context(tmp_path / "model"))
    assert not_passed(checks) == ["present"]


def test_message_is_the_last_line_of_a_staging_error(tmp_path):
    (tmp_path / "model").mkdir()
    checks = judge(context(tmp_path / "model", extra={"failure": "progress\nNo space left on device\n"}))
    assert (checks[0]["id"], checks[0]["status"], checks[0]["message"]) == (
        "staged", "failed", "No space left on device")


FIRST, SECOND = sorted(SHARDS)


def flip(folder):
    content = bytearray((folder / FIRST).read_bytes())
    content[-1] ^= 1
    write(folder, FIRST, bytes(content))


@pytest.mark.parametrize(("fault", "expected"), [
    (lambda folder: (folder / SECOND).unlink(), ["files", "index", "total_size"]),
    (lambda folder: write(folder, FIRST, (folder / FIRST).read_bytes()[:-1]), ["files", "safetensors", "total_size"]),
    (lambda folder: write(folder, "config.json", dict(CONFIG, x=1)), ["files"]),
], ids=["missing", "truncated", "too long"])
def test_difference_from_the_manifest_is_found(model, fault, expected):
    fault(model)
    assert not_passed(judge(context(model))) == expected


def test_flipped_bit_is_found(model):
    flip(model)
    checks = judge(context(model, full=True))
    assert not_passed(checks) == ["sha256"]
    assert FIRST in [check["message"].split()[0] for check in checks if check["status"] == "failed"]


@pytest.mark.parametrize(("name", "content", "expected"), [
    (INDEX, index(total=15), ["total_size"]),
    (INDEX, {"metadata": {}, "weight_map": index()["weight_map"]}, ["total_size"]),
    (INDEX, {}, ["index", "total_size", "stray_shards"]),
    (INDEX, index({FIRST: SHARDS[FIRST], SECOND: SHARDS[SECOND][:1]}), ["index"]),
    (INDEX, index({FIRST: SHARDS[FIRST], SECOND: [*SHARDS[SECOND], "more"]}), ["index"]),
    (INDEX, index({FIRST: SHARDS[FIRST]}, 8), ["stray_shards"]),
    (INDEX, b"{", ["index", "total_size", "stray_shards", "config"]),
    ("config.json", {"architectures": ["LlamaForCausalLM"]}, ["config"]),
    ("config.json", b"[]", ["config"]),
    ("quant_model_description.json", {"model_quant_type": "W8A8"}, ["quantization"]),
    ("quant_model_description.json",
     dict(DESCRIPTION, **{"model.language_model.layers.0.x": "W8A8"}), ["quantization_names"]),
    ("quant_model_description.json",
     {key: kind for key, kind in DESCRIPTION.items() if not key.startswith("visual")}, ["quantization_names"]),
    ("quant_model_description.json",
     dict(DESCRIPTION, **{"model.layers.0.self_attn.k_proj.weight": "FLOAT"}), ["quantization_types"]),
    ("tokenizer_config.json", {}, ["tokenizer"]),
])
def test_model_that_is_inconsistent_or_not_planned_fails_its_checks(model, name, content, expected):
    write(model, name, content)
    write_manifest(model)
    assert not_passed(judge(context(model))) == expected


BOTH = [["model.layers", "visual"], ["model.language_model", "model.visual"]]


@pytest.mark.parametrize(("prefixes", "names", "expected"), [
    ({"model.layers": "model.layers", "visual": "visual"}, BOTH, "passed"),
    ({"model.layers": "model.language_model.layers", "visual": "model.visual"}, BOTH, "passed"),
    ({"model.layers": "model.language_model.layers", "visual": "visual"}, BOTH, "failed"),
    ({"model.layers": "model.layers", "visual": "vision"}, BOTH, "failed"),
    ({"model.layers": "model.language_model.layers", "visual": "model.visual"}, None, "failed"),
    ({"model.layers": "model.language_model.layers", "visual": "vision"}, [["model.language_model"]], "passed"),
    ({"model.layers": "anything", "visual": "else"}, [], None),
])
def test_names_in_the_quantization_description_must_be_those_of_the_plan(model, prefixes, names, expected):
    renamed = {}
    for name, kind in DESCRIPTION.items():
        old = next((prefix for prefix in prefixes if name.startswith(prefix + ".")), None)
        renamed[prefixes[old] + name[len(old):] if old else name] = kind
    write(model, "quant_model_description.json", renamed)
    write_manifest(model)
    found = judge(context(model, model={} if names is None else {"quantization_names": names}))
    assert [check["status"] for check in found if check["id"] == "quantization_names"] == [expected] * bool(expected)


def test_single_shard_needs_no_index(model):
    (model / SECOND).unlink()
    (model / INDEX).unlink()
    write_manifest(model)
    assert not_passed(judge(context(model))) == []
    write(model, SECOND, shard(SHARDS[SECOND]))
    write_manifest(model)
    assert not_passed(judge(context(model))) == ["index"]


def test_model_without_shards_fails(model):
    for path in (FIRST, SECOND, INDEX):
        (model / path).unlink()
    write_manifest(model)
    assert not_passed(judge(context(model))) == ["safetensors"]


@pytest.mark.parametrize(("quantization", "described", "expected"), [
    ("ascend", False, ["quantization"]),
    (None, True, ["quantization"]),
    (None, False, []),
])
def test_quantization_description_must_match_the_plan(model, quantization, described, expected):
    if not described:
        (model / "quant_model_description.json").unlink()
        write_manifest(model)
    assert not_passed(judge(context(model, quantization=quantization))) == expected


@pytest.mark.parametrize(("transformers", "status"), [(4, "failed"), (5, "passed"), (None, "not_run")])
def test_tokenizer_of_transformers_5_requires_that_version(model, transformers, status):
    write(model, "tokenizer_config.json", {"tokenizer_class": "TokenizersBackend"})
    write_manifest(model)
    checks = judge(context(model, release={"transformers": transformers}))
    assert [check["status"] for check in checks if check["id"] == "tokenizer"] == [status]


def test_files_are_not_checked_without_a_manifest(model):
    os.unlink(weights.model_paths(str(model)).manifest)
    checks = judge(context(model))
    assert [(check["id"], check["status"]) for check in checks if check["status"] != "passed"] == [
        ("manifest", "failed"), ("files", "not_run"), ("sha256", "not_run")]


@pytest.mark.parametrize("marker_found", [True, False])
def test_marker_file_distinguishes_the_shared_folder_from_a_local_folder(model, marker_found):
    found = context(model, extra={"stager": "node2", "shared": marker_found})
    assert not_passed(judge(found)) == ([] if marker_found else ["shared_folder"])


@pytest.mark.parametrize(("stager", "peer", "expected"), [
    ("node2", "same", None),
    ("node2", "other", "failed"),
    ("node2", None, "not_run"),
    ("node1", None, None),
])
def test_inodes_distinguish_a_read_only_shared_folder_from_a_copy(model, stager, peer, expected):
    own = context(model).observed["identity"]
    peers = {"node2": {"identity": own if peer == "same" else "0", "manifest": None}} if peer else {}
    found = context(model, peers=peers, extra={"stager": stager, "shared": None})
    outcome = {check["id"]: check["status"] for check in judge(found) if check["status"] != "passed"}
    assert outcome == ({"shared_folder": expected} if expected else {})


def test_link_to_a_file_outside_the_folder_is_found_and_not_read(model, tmp_path):
    (model / FIRST).replace(tmp_path / "blob")
    (model / FIRST).symlink_to("../blob")
    checks = judge(context(model))
    assert not_passed(checks) == ["self_contained", "sha256", "safetensors", "total_size"]
    assert "the first is " + FIRST in next(check["actual"] for check in checks if check["id"] == "self_contained")
    assert [check["message"] for check in checks if check["id"] == "sha256"] == [
        FIRST + " is a link to a file outside the folder, which is not read"]


def test_origin_of_the_digests_in_the_manifest_is_shown(model):
    manifest = weights.read_json(weights.model_paths(str(model)).manifest)
    manifest["files"][0]["sha256_from"] = "staging"
    weights.write_json(weights.model_paths(str(model)).manifest, manifest)
    actual = next(check["actual"] for check in judge(context(model)) if check["id"] == "manifest")
    assert "5 SHA-256 from modelscope o/m master; 1 computed when first staged" in actual


@pytest.mark.parametrize(("distribution", "verify", "expected"), [
    ("shared", "full", "full"), ("shared", "changed", "changed"), ("each", "full", "changed"),
    ("fanout", "full", "changed")])
def test_shared_folder_is_verified_as_requested(distribution, verify, expected):
    inputs = {"weights_distribution": distribution, "weights_verify": verify, "weights_workers": 8}
    requested = request(stage_context({"model": {"id": "m", "path": "/m"}}, inputs=inputs))
    assert requested.arguments["verify"] == expected


@pytest.mark.parametrize("matches", [True, False])
def test_model_must_have_the_pinned_digest(model, matches):
    checks = judge(context(model, weights_digest=digest(model).upper() if matches else "0" * 64))
    assert not_passed(checks) == ([] if matches else ["digest"])


def test_other_files_in_the_folder_are_ignored(model):
    write(model, "notes.txt", b"a note")
    checks = judge(context(model, weights_digest=digest(model)))
    assert not_passed(checks) == []


@pytest.mark.parametrize(("others", "expected"), [
    (["same", "same"], []),
    (["same", "other"], []),
    (["other"], ["same_on_all_nodes"]),
    (["other", "other"], ["same_on_all_nodes"]),
    ([None, "same"], []),
    ([None], []),
])
def test_node_whose_model_differs_from_most_nodes_fails(model, others, expected):
    own = digest(model)
    peers = {"node%d" % i: {"manifest": other and {"digest": own if other == "same" else other}}
             for i, other in enumerate(others, 2)}
    assert not_passed(judge(context(model, peers=peers))) == expected


def test_models_of_different_deployments_are_not_compared():
    observations = {name: {"model": kind, "manifest": {"digest": digest}, "identity": name} for name, kind, digest in (
        ("a", "vision", "1"), ("b", "text", "2"), ("c", "vision", "3"))}
    found = weights_judge.survey(observations, {})
    assert found["a"] == found["c"] == {"digests": {"a": "1", "c": "3"}, "identities": {"a": "a", "c": "c"}}
    assert found["b"] == {"digests": {"b": "2"}, "identities": {"b": "b"}}


def test_planned_and_found_architectures_are_shown(model):
    (check,) = [check for check in judge(context(model)) if check["id"] == "config"]
    assert (check["status"], check["expected"], check["actual"]) == (
        "passed", "Qwen2_5_VLForConditionalGeneration", CONFIG["architectures"][0])


@pytest.mark.parametrize(("pending", "unless"), [(True, ""), ("unknown", ", unless it is already there")])
def test_check_mode_names_the_model_that_would_be_staged(tmp_path, pending, unless):
    inputs = {"weights_source": "modelscope", "weights_distribution": "fanout"}
    checking = stage_context({"model": {"path": str(tmp_path)}}, {"pending": pending}, inputs)
    assert request(checking) is None
    (check,) = judge(checking)
    assert (check["id"], check["status"]) == ("present", "not_run")
    assert check["message"] == f"Without --check, the run would stage the model in {tmp_path}{unless} " \
                               "(weights_source modelscope, weights_distribution fanout)."
