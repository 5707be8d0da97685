# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue matches its schema and does not contradict itself."""

from __future__ import annotations

import copy
import json
import re

import jsonschema
import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import (
    FLAG,
    SUPPORT,
    SWITCH,
    VALUE,
    base_release,
    bench_options,
    engine_options,
    merge,
    model_for,
    nearest,
    nearest_release,
    release_id,
    routes,
    serve_options,
    support,
    version_key,
    within,
)
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    BF16,
    CATALOGUE,
    ROOT,
    W8A8,
    group_plans,
    options,
    refusal,
    refusals,
    valid,
    valid_group,
)

SCHEMA = json.loads((ROOT / "roles" / "plan" / "files" / "catalogue" / "schema.json").read_text("utf-8"))
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
RELEASES = CATALOGUE["releases"]


def entries_of_releases(key):
    """Return ``[(release, name, entry)]`` for all entries in this section of the releases."""
    return [(release, name, each) for release, entry in RELEASES.items() for name, each in entry[key].items()]


def warning_messages(resolved):
    """Return ``{id: message}`` of the warnings of a plan."""
    return {found["id"]: found["message"] for found in resolved["warnings"]}


def test_schema_is_valid():
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_catalogue_matches_its_schema():
    assert [f"{error.json_path}: {error.message}" for error in VALIDATOR.iter_errors(CATALOGUE)] == []


def _set(path, value):
    def change(catalogue):
        *parents, last = path.split("/")
        for key in parents:
            catalogue = catalogue[key]
        catalogue[last] = value
    return change


def _drop(path):
    def change(catalogue):
        *parents, last = path.split("/")
        for key in parents:
            catalogue = catalogue[key]
        del catalogue[last]
    return change


@pytest.mark.parametrize(("change", "where"), [
    (_drop("models"), "$"),
    (_set("extra", {}), "$"),
    (_drop("releases/v0.11.0/cann"), "$.releases['v0.11.0']"),
    (_set("releases/v0.11.0/colour", "red"), "$.releases['v0.11.0']"),
    (_set("releases/v0.11.0/driver_minimum", "25"), "$.releases['v0.11.0'].driver_minimum"),
    (_set("releases/v0.11.0/image", {"repository": "vllm-ascend", "variants": []}),
     "$.releases['v0.11.0'].image.repository"),
    (_set("releases/0.11.0", {}), "$.releases"),
    (_set("releases/v0.11.0rc1/patches/mrotary_embedding/sha256", "fdc1"),
     "$.releases['v0.11.0rc1'].patches.mrotary_embedding"),
    (_set("hardware/atlas_800_a2/npus", 0), "$.hardware.atlas_800_a2.npus"),
    (_set("models/qwen2_5_vl_32b_instruct/directory", "a/b"), "$.models.qwen2_5_vl_32b_instruct.directory"),
    (_set("serve_options/port", {"switch": True, "flag": True}), "$.serve_options.port"),
    (_set("serve_options/max_model_len", {}), "$.serve_options"),
    (_set("bench_options/serve/port", {"since": "0.12"}), "$.bench_options.serve.port.since"),
    (_drop("bench_options/latency"), "$.bench_options"),
])
def test_schema_rejects_a_broken_catalogue(change, where):
    broken = copy.deepcopy(CATALOGUE)
    change(broken)
    assert where in [error.json_path for error in VALIDATOR.iter_errors(broken)]


def test_names_of_models_in_releases_are_those_of_the_catalogue():
    known = {*CATALOGUE["models"], *(each["architecture"] for each in CATALOGUE["models"].values())}
    for key in ("patches", "known_bugs"):
        assert {name for _release, _name, each in entries_of_releases(key) for name in each.get("models", ())} <= known


@pytest.mark.parametrize("model", CATALOGUE["models"])
def test_model_is_documented_for_a_release_of_the_catalogue(model):
    entry = CATALOGUE["models"][model]
    assert set(entry["releases"]) <= set(SUPPORT)
    assert "documented" in [support(entry, release) for release in RELEASES]


@pytest.mark.parametrize(("bounds", "version", "inside"), [
    ({}, "v0.11.0", True),
    ({"since": "v0.18.0"}, "v0.18.0", True),
    ({"since": "v0.18.0"}, "v0.18.0rc1", False),
    ({"until": "v0.18.0"}, "v0.18.0", False),
    ({"until": "v0.18.0"}, "v0.18.0rc2", True),
    ({"since": "v0.18.0", "until": "v0.18.1"}, "v0.18.0.post2", True),
    ({"since": "v0.9.0"}, "v0.11.0", True),
    ({"since": "v0.18.0"}, "nightly-releases-v0.18.0", True),
])
def test_version_is_compared_with_the_bounds_of_a_range(bounds, version, inside):
    assert within(bounds, version) is inside


def test_text_without_a_version_has_no_sort_key():
    with pytest.raises(ValueError, match="main"):
        version_key("main")


@pytest.mark.parametrize(("text", "base"), [
    ("v0.23.0.post1", "v0.23.0"), ("nightly-releases-v0.18.0", "v0.18.0"), ("releases-v0.18.0", "v0.18.0"),
    ("v0.18.0rc1-nightly-20260401", "v0.18.0rc1"), ("v0.23.0.dev7", "v0.23.0"),
    ("v0.23.0", None), ("v0.23.0-a3", None), ("nightly-main", None), ("main", None), ("", None)])
def test_base_release_is_found_in_the_text(text, base):
    assert base_release(text) == base


@pytest.mark.parametrize(("text", "release"), [
    ("v0.11.0rc9", "v0.11.0rc3"), ("v0.13.1", "v0.13.0"), ("v0.9.0", "v0.11.0rc1"), ("v9.9.9", "v0.30.0"),
    ("v0.2.0", "v0.11.0rc1"), ("0.18.0rc7", "v0.18.0rc1"), ("latest", None)])
def test_nearest_release_compares_versions(text, release):
    assert nearest_release(text, RELEASES) == release


@pytest.mark.parametrize("model", CATALOGUE["models"])
def test_original_of_a_quantized_model_is_in_the_catalogue(model):
    quantize = CATALOGUE["models"][model]["sources"].get("quantize")
    assert quantize is None or quantize["from"] in CATALOGUE["models"]


def test_vllm_versions_are_in_order():
    keys = [version_key(version) for version in CATALOGUE["vllm_versions"]]
    assert keys == sorted(keys)


def test_options_are_added_before_they_are_removed_and_in_known_versions():
    known = CATALOGUE["vllm_versions"]
    tables = [CATALOGUE["serve_options"], CATALOGUE["routes"], *CATALOGUE["bench_options"].values()]
    for name, option in [pair for table in tables for pair in table.items()]:
        since, until = option.get("since", known[0]), option.get("until", "999.0.0")
        assert version_key(since) < version_key(until), name
        assert {since, until} <= {*known, "999.0.0"}, name


# Routes that vLLM serves without an API key, from its docs/usage/security.md and from bug reports.
@pytest.mark.parametrize(("path", "kind", "first"), [
    ("/invocations", "inference", "0.11.0"), ("/tokenize", "inference", "0.11.0"), ("/load", "information", "0.11.0"),
    ("/sleep", "control", "0.11.0"), ("/collective_rpc", "control", "0.11.0"), ("/pause", "control", "0.12.0"),
    ("/update_weights", "control", "0.15.0"), ("/generative_scoring", "inference", "0.20.2"),
    ("/metrics", "metrics", "0.11.0"), ("/health", "health", "0.11.0")])
def test_route_exists_from_the_version_that_added_it(path, kind, first):
    found = {version: routes(CATALOGUE, version).get(path) for version in CATALOGUE["vllm_versions"]}
    assert found == {version: kind if version_key(version) >= version_key(first) else None for version in found}


# Options that were added, removed or changed, from the release notes of vLLM and vLLM Ascend.
@pytest.mark.parametrize(("option", "vllm", "kind"), [
    ("async-scheduling", "0.11.0", SWITCH),
    ("enable-prefix-caching", "0.32.0", SWITCH),
    ("headless", "0.18.0", FLAG),
    ("max-num-batched-tokens", "0.30.0", VALUE),
    ("nnodes", "0.11.0", None),
    ("nnodes", "0.23.0", VALUE),
    ("disable-mm-preprocessor-cache", "0.11.0", FLAG),
    ("disable-mm-preprocessor-cache", "0.13.0", None),
    ("fail-on-environ-validation", "0.16.0", None),
    ("fail-on-environ-validation", "0.17.0", SWITCH),
    ("shutdown-timeout", "0.17.0", None),
    ("shutdown-timeout", "0.18.0", VALUE),
    ("swap-space", "0.17.0", VALUE),
    ("swap-space", "0.18.0", None),
])
def test_serve_option_has_the_expected_kind_in_this_version(option, vllm, kind):
    assert serve_options(CATALOGUE, vllm).get(option) == kind


def test_options_of_an_unknown_version_are_those_of_the_preceding_version():
    assert serve_options(CATALOGUE, "0.17.3") == serve_options(CATALOGUE, "0.17.0")
    assert serve_options(CATALOGUE, "0.17.3") != serve_options(CATALOGUE, "0.18.0")
    assert bench_options(CATALOGUE, "0.11.9", "serve") == bench_options(CATALOGUE, "0.11.0", "serve")


@pytest.mark.parametrize(("option", "vllm", "kind"), [
    ("custom-skip-chat-template", "0.11.0", FLAG),
    ("skip-chat-template", "0.11.0", None),
    ("skip-chat-template", "0.12.0", FLAG),
    ("num-warmups", "0.11.0", None),
    ("num-warmups", "0.23.0", VALUE),
    ("endpoint-type", "0.23.0", None),
    ("sonnet-input-len", "0.32.0", None),
])
def test_bench_option_has_the_expected_kind_in_this_version(option, vllm, kind):
    assert bench_options(CATALOGUE, vllm, "serve").get(option) == kind


def test_engine_options_exclude_those_of_the_api_server():
    engine = engine_options(CATALOGUE)
    assert {"quantization", "max-model-len", "tensor-parallel-size"} <= engine
    assert not {"host", "port", "api-key", "chat-template", "lora-modules"} & engine


@pytest.mark.parametrize(("base", "overlay", "merged"), [
    ({}, {"a": 1}, {"a": 1}),
    ({"a": {"b": 1, "c": 2}}, {"a": {"b": 3}}, {"a": {"b": 3, "c": 2}}),
    ({"a": [1, 2]}, {"a": [3]}, {"a": [3]}),
    ({"a": {"b": 1}}, {"a": None}, {}),
    ({"a": 1}, {"a": {"b": None, "c": 2}}, {"a": {"c": 2}}),
])
def test_overlay_is_merged_into_a_copy_of_the_base(base, overlay, merged):
    before = copy.deepcopy(base)
    assert merge(base, overlay) == merged
    assert base == before


def test_merge_can_extend_lists():
    base = {"a": [1, 2], "b": {"c": ["x"]}}
    overlay = {"a": [3, 2], "b": {"c": ["y"], "d": None}}
    assert merge(base, overlay, extend=True) == {"a": [1, 2, 3], "b": {"c": ["x", "y"], "d": None}}
    assert base == {"a": [1, 2], "b": {"c": ["x"]}}


@pytest.mark.parametrize(("release", "npus"), [("v0.10.0", 1), ("v0.11.0", 2), ("v0.12.0", 1)])
def test_override_of_a_model_applies_to_its_series_and_releases(release, npus):
    override = {"series": "a2", "since": "v0.11.0", "until": "v0.12.0"}
    entry = {"npus": 1, "overrides": [{**override, "npus": 2}, {**override, "series": "a3", "npus": 3}]}
    assert model_for(entry, {"series": "a2"}, release) == {**entry, "npus": npus}


@pytest.mark.parametrize(("text", "release"), [
    ("0.11.0rc1", "v0.11.0rc1"), ("v0.18.0", "v0.18.0"), ("", ""), ("main", "main")])
def test_image_tag_is_converted_to_a_release_id(text, release):
    assert release_id(text) == release


@pytest.mark.parametrize(("name", "known"), [
    ("max-num-seq", "max-num-seqs"), ("tensor-paralel-size", "tensor-parallel-size"), ("zzz", None)])
def test_nearest_option_is_found(name, known):
    assert nearest(name, CATALOGUE["serve_options"]) == known


@pytest.mark.parametrize("release", [name for name, entry in RELEASES.items()
                                     if entry["patches"]["mrotary_embedding"]["policy"] != "fixed"])
def test_patch_comments_out_one_line(release):
    """The pattern matches one line of a file such as utils.py, and the replacement keeps its indentation."""
    patch = RELEASES[release]["patches"]["mrotary_embedding"]
    source = 'OPS = {\n        "RotaryEmbedding": A,\n        "MRotaryEmbedding": AscendMRotaryEmbedding,\n}\n'
    patched, count = re.subn(patch["pattern"], patch["replacement"], source, flags=re.MULTILINE)
    assert count == 1
    assert patched == source.replace('        "MR', '        # "MR')
    assert re.subn(patch["pattern"], patch["replacement"], patched, flags=re.MULTILINE)[1] == 0


# --- The effect of each entry on the plan. `make coverage` counts the entries that these tests visit.


@pytest.mark.parametrize("hardware", CATALOGUE["hardware"])
@pytest.mark.parametrize("release", RELEASES)
def test_every_release_is_planned_for_all_hardware(release, hardware):
    entry, profile = RELEASES[release], CATALOGUE["hardware"][hardware]
    suffix = profile["image_suffix"]
    for model in (W8A8, BF16):
        for variant in ("", *entry["image"]["variants"]):
            resolved = valid(plan_release=release, plan_hardware=hardware, plan_model=model, image_variant=variant,
                             serving_tensor_parallel_size=8)
            (instance,) = resolved["instances"]
            assert resolved["image"]["tag"] == "-".join(part for part in (release, suffix, variant) if part)
            assert CATALOGUE["models"][model]["directory"] in instance["command"][2]
            assert entry["environment"].items() <= instance["environment"].items()
            assert resolved["npus"] == list(range(profile["npus"] * profile["chips_per_npu"]))


@pytest.mark.parametrize(("release", "name", "bug"), entries_of_releases("known_bugs"))
def test_every_known_bug_causes_a_warning_or_is_mitigated(release, name, bug):
    architectures = bug.get("architectures", RELEASES[release]["architectures"])
    concerned = bug.get("models", [W8A8])
    model = next(name for name, entry in CATALOGUE["models"].items() if {name, entry["architecture"]} & {*concerned})
    for architecture in RELEASES[release]["architectures"]:
        case = {"plan_release": release, "plan_architecture": architecture, "plan_model": model}
        resolved = group_plans("data_parallel", **case)["node1"] if (
            CATALOGUE["models"][model]["minimum_nodes"] > 1) else valid(**case)
        message = warning_messages(resolved).get(f"known_bug.{name}")
        if architecture in architectures and "mitigated_by" not in bug:
            assert message == f"{bug['summary'].rstrip('.')} ({bug['source']})."
        else:
            assert message is None
        if "mitigated_by" in bug:
            assert bug["mitigated_by"].split()[-1] in {
                resolved["patch"]["id"] if resolved["patch"] else None, *resolved["instances"][0]["environment"]}


@pytest.mark.parametrize(("release", "conflict", "topology"), [
    (release, conflict, topology) for release, entry in RELEASES.items() for conflict in entry["conflicts"]
    for topology in conflict["topologies"]])
def test_every_conflicting_option_is_removed_from_the_defaults_and_refused_in_serving_args(release, conflict, topology):
    option, value = conflict["option"], conflict["value"]
    for resolved in group_plans(topology, plan_release=release).values():
        assert resolved["model"]["arguments"].get(option) != value
    requested = value if value is True else json.dumps({"cudagraph_mode": value})
    for resolved in group_plans(topology, plan_release=release, serving_args={option: requested}).values():
        found = [each["message"] for each in resolved["refusals"] if conflict["reason"] in each["message"]]
        assert bool(found) != conflict.get("left_to_vllm", False)
        if conflict.get("left_to_vllm"):
            assert resolved["model"]["arguments"][option] is True


@pytest.mark.parametrize(("release", "name", "patch"), entries_of_releases("patches"))
def test_every_patch_is_applied_according_to_its_policy(release, name, patch):
    automatic = valid(plan_release=release, plan_architecture="aarch64")["patch"]
    assert (automatic["id"] if automatic else None) == (name if patch["policy"] == "required" else None)
    if patch["policy"] == "fixed":
        assert patch["reason"] in refusal(plan_release=release, serving_patches=[name])
        return
    resolved = valid(plan_release=release, plan_architecture="aarch64", serving_patches=[name])
    (mount,) = [mount for mount in resolved["instances"][0]["mounts"] if mount["origin"] == "patch"]
    assert (mount["source"], mount["target"]) == (resolved["patch"]["host_path"], patch["target"])
    for architecture in {"aarch64", "x86_64"} - set(patch["architectures"]):
        assert f"needs on {', '.join(patch['architectures'])} only" in refusal(
            plan_release=release, plan_architecture=architecture, serving_patches=[name])


@pytest.mark.parametrize(("release", "name", "reason"), entries_of_releases("environment_unwanted"))
def test_every_unwanted_variable_causes_a_warning(release, name, reason):
    resolved = valid(plan_release=release, serving_env={name: "1"})
    assert reason in warning_messages(resolved)["serving_env.unwanted"]
    assert resolved["instances"][0]["environment"][name] == "1"


@pytest.mark.parametrize(("release", "name", "reason"), entries_of_releases("additional_config_ignored"))
def test_every_ignored_key_causes_a_warning(release, name, reason):
    resolved = valid(plan_release=release, serving_args={"additional-config": {name: True}})
    assert reason in warning_messages(resolved)["serving_args.ignored"]
    assert name in options(resolved)["--additional-config"][0]


@pytest.mark.parametrize("model", CATALOGUE["models"])
def test_unsupported_topologies_are_refused_and_untested_ones_cause_a_warning(model):
    entry = CATALOGUE["models"][model]
    for topology, reason in entry["unsupported"].items():
        assert any(reason in message for message in refusals(plan_model=model, serving_topology=topology))
    for topology, reason in entry["untested"].items():
        for resolved in valid_group(topology, plan_model=model, plan_release="v0.30.0").values():
            assert reason in warning_messages(resolved)["serving_topology"]
