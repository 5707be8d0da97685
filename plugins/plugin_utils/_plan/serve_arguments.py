# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The arguments of ``vllm serve``: merged by name, known to the release, spelled in full.

PRIVATE to the plan.
"""

from __future__ import annotations

import json

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup

# Options that another variable decides: set twice they could contradict each other.
OWNED = {
    "model": "plan_model",
    "quantization": "plan_model",
    "host": "serving_bind",
    "port": "serving_port",
    "served-model-name": "serving_served_model_name",
    "tensor-parallel-size": "serving_tensor_parallel_size",
    "api-key": "serving_api_key",
    "hf-token": "weights_hub_token",
    "config": "serving_args",
    "pipeline-parallel-size": "serving_topology",
    "data-parallel-size": "serving_topology",
    "data-parallel-size-local": "serving_topology",
    "data-parallel-address": "serving_topology",
    "data-parallel-rpc-port": "serving_topology",
    "data-parallel-start-rank": "serving_topology",
    "data-parallel-backend": "serving_topology",
    "distributed-executor-backend": "serving_topology",
    "headless": "serving_topology",
    "nnodes": "serving_topology",
    "node-rank": "serving_topology",
    "master-addr": "serving_topology",
    "master-port": "serving_topology",
}


def merge(catalogue, release, model, overrides, findings):
    """Return ``{option: value}``: the model's arguments with the overrides merged by name, null removing one.

    ``overrides`` is the input serving_args. Options that vLLM of the release does not have are refused.
    """
    known = lookup.serve_options(catalogue, release["vllm"])
    arguments = dict(model["arguments"])
    added = {}
    for name, value in _normalised(overrides, findings).items():
        if name in OWNED:
            findings.refuse(
                "serving_args.owned",
                "serving_args sets %s, which %s decides; set that variable instead.", name, OWNED[name])
        elif name not in known:
            findings.refuse("serving_args.unknown", _unknown(name, catalogue, release, known))
        elif value is None:
            arguments.pop(name, None)
        else:
            (arguments if name in arguments else added)[name] = _typed(name, value, known[name], findings)
    arguments.update((name, added[name]) for name in sorted(added))
    return arguments


def names(overrides):
    """Return the options that the input serving_args names, spelled as vLLM does."""
    return {_option(key) for key in overrides}


def render(catalogue, release, arguments):
    """Return the options as a list of words, dashes only, nothing abbreviated, each option once."""
    kinds = lookup.serve_options(catalogue, release["vllm"])
    words = []
    for name, value in arguments.items():
        kind = kinds[name]
        if kind == lookup.VALUE:
            words.append("--" + name)
            words.extend(_words(value))
        elif value:
            words.append("--" + name)
        elif kind == lookup.SWITCH:
            words.append("--no-" + name)
    return words


def set_weight_nz(arguments, environment, mode, release, findings):
    """Write serving_weight_nz ("" leaves the release's default) where this release reads it from."""
    rule = release["weight_nz"]
    if mode == "":
        return
    if mode not in [str(value) for value in rule["values"]]:
        findings.refuse(
            "serving_weight_nz",
            "serving_weight_nz must be one of %s with release %s, but is %s.",
            ", ".join(map(str, rule["values"])), release["id"], mode)
    elif "environment" in rule:
        environment[rule["environment"]] = mode
    else:
        config = dict(arguments.get("additional-config") or {})
        config[rule["additional_config"]] = int(mode)
        arguments["additional-config"] = config


def set_shutdown_timeout(catalogue, release, arguments, overrides, seconds):
    """Let a server that is stopped finish its requests, where the release can and serving_args say nothing of it."""
    said = {str(name).lstrip("-").replace("_", "-") for name in overrides}
    if "shutdown-timeout" in lookup.serve_options(catalogue, release["vllm"]) and "shutdown-timeout" not in said:
        arguments["shutdown-timeout"] = seconds


def check(arguments, release, model, findings):
    """Refuse values that vLLM would refuse after minutes of loading, and warn of those that it silently ignores."""
    config = arguments.get("additional-config")
    if config is not None and not isinstance(config, dict):
        findings.refuse(
            "serving_args.additional-config",
            "serving_args: additional-config must be a mapping, but is %r.", config)
    for key in sorted(set(config or ()) & set(release["additional_config_ignored"])):
        findings.warn(
            "serving_args.ignored",
            "serving_args: release %s ignores additional-config key %s: %s.",
            release["id"], key, release["additional_config_ignored"][key])

    batched, seqs = _number("max-num-batched-tokens", arguments, findings), _number("max-num-seqs", arguments, findings)
    length = _number("max-model-len", arguments, findings)
    if batched and seqs and batched < seqs:
        findings.refuse(
            "serving_args.batched_tokens",
            "serving_args: max-num-batched-tokens (%d) must be at least max-num-seqs (%d).", batched, seqs)
    if batched and length and batched < length and arguments.get("enable-chunked-prefill") is False:
        findings.refuse(
            "serving_args.batched_tokens",
            "serving_args: without chunked prefill max-num-batched-tokens (%d) must be at least max-model-len (%d).",
            batched, length)
    if length and length > model["context_length"]:
        findings.refuse(
            "serving_args.max_model_len",
            "serving_args: max-model-len is %d, but %s has a context of %d tokens; lower it.",
            length, model["name"], model["context_length"])


def _normalised(overrides, findings):
    """Return the overrides under full names with dashes; a name given twice in different spellings is refused."""
    values, keys = {}, {}
    for key, value in overrides.items():
        name = _option(key)
        if name in values:
            findings.refuse(
                "serving_args.doubled",
                "serving_args names one option twice, as %s and as %s; keep %s.", keys[name], key, name)
        values[name], keys[name] = value, key
    return values


def _option(key):
    return str(key).lstrip("-").replace("_", "-")


def _unknown(name, catalogue, release, known):
    """Return the refusal of an option that this release does not have."""
    start = "serving_args: vllm serve of release %s (vLLM %s) has no option %s" % (release["id"], release["vllm"], name)
    if name.startswith("no-") and known.get(name[3:]) == lookup.SWITCH:
        return "%s; write %s: false." % (start, name[3:])
    option = catalogue["serve_options"].get(name, {})
    if option:
        since, until = option.get("since"), option.get("until")
        too_early = since and lookup.version_key(release["vllm"]) < lookup.version_key(since)
        return "%s; it %s, so take it out." % (
            start, "came with vLLM " + since if too_early else "went with vLLM " + until)
    close = lookup.nearest(name, known)
    return start + ("; the nearest is %s." % close if close else "; take it out.")


def _typed(name, value, kind, findings):
    """Return the value of the option, refused where its type does not fit; templated truth values may be strings."""
    if kind == lookup.VALUE:
        if isinstance(value, bool):
            findings.refuse("serving_args.type", "serving_args: %s takes a value, but is %s.", name, str(value).lower())
        return _parsed_config(value) if name == "additional-config" else value
    if str(value).lower() not in ("true", "false"):
        findings.refuse(
            "serving_args.type",
            "serving_args: %s is a switch and must be true or false, but is %r.", name, value)
    return str(value).lower() == "true"


def _parsed_config(value):
    """Return a mapping for additional-config given as JSON text, so that serving_weight_nz can join it."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _number(name, arguments, findings):
    value = arguments.get(name)
    if value is None:
        return None
    if isinstance(value, bool):
        return None  # refused by its type already
    if not str(value).isdigit() or int(value) == 0:
        findings.refuse("serving_args.type", "serving_args: %s must be a whole number above 0, but is %r.", name, value)
        return None
    return int(value)


def _words(value):
    if isinstance(value, dict):
        return [json.dumps(value, sort_keys=True, separators=(",", ":"))]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
