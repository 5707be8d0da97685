# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Merge the options of ``vllm serve`` by name, check that the release has them, and render them with full names."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings

# Options that another input controls. serving_args must not set them, because the two values could differ.
OWNED = {
    "model": "plan_model", "quantization": "plan_model", "host": "serving_bind", "port": "serving_port",
    "served-model-name": "serving_served_model_name", "tensor-parallel-size": "serving_tensor_parallel_size",
    "api-key": "serving_api_key", "hf-token": "weights_hub_token", "config": "serving_args",
    "ssl-certfile": "serving_tls_certificate", "ssl-keyfile": "serving_tls_key",
    "ssl-ca-certs": "serving_tls_ca", "ssl-cert-reqs": "serving_tls_ca",
    **dict.fromkeys((
        "pipeline-parallel-size", "data-parallel-size", "data-parallel-size-local", "data-parallel-address",
        "data-parallel-rpc-port", "data-parallel-start-rank", "data-parallel-backend", "distributed-executor-backend",
        "headless", "nnodes", "node-rank", "master-addr", "master-port"), "serving_topology"),
}

# Options that are repeated for each item of a list. Any other option is followed by all items of the list.
REPEATED = ("middleware",)

# A host that never exists (RFC 2606). If only this host is allowed, the server accepts only pictures within requests.
NO_DOMAIN = "none.invalid"

Arguments = dict[str, Any]


def merge_arguments(catalogue: types.Catalogue, release: types.Release, model: types.Model,
                    overrides: Mapping[str, Any], findings: Findings) -> Arguments:
    """Return ``{option: value}``, the options of the model with the overrides merged by name. Null removes an option.

    Refuse options that the vLLM version of the release does not have, and options that another input controls.

    :param overrides: the input serving_args.
    """
    known = lookup.serve_options(catalogue, release["vllm"])
    arguments = dict(model["arguments"])
    added: Arguments = {}
    for name, value in _normalized(overrides, findings).items():
        if name in OWNED:
            findings.refuse("serving_args.owned", "serving_args sets %s, which %s controls; set that variable instead.",
                            name, OWNED[name])
        elif name not in known:
            findings.refuse("serving_args.unknown", "%s", _unknown(name, catalogue, release, known))
        elif value is None:
            arguments.pop(name, None)
        else:
            (arguments if name in arguments else added)[name] = _typed(name, value, known[name], findings)
    arguments.update((name, added[name]) for name in sorted(added))
    return arguments


def option_names(overrides: Mapping[str, Any]) -> set[str]:
    """Return the options that the input serving_args names, in the spelling of vLLM."""
    return {_option(key) for key in overrides}


def render(catalogue: types.Catalogue, release: types.Release, arguments: Arguments) -> list[str]:
    """Return the options as arguments of a command line. Only options in REPEATED can occur more than once."""
    kinds = lookup.serve_options(catalogue, release["vllm"])
    words = []
    for name, value in arguments.items():
        kind = kinds[name]
        if kind == lookup.VALUE and name in REPEATED:
            words += [word for item in _words(value) for word in ("--" + name, item)]
        elif kind == lookup.VALUE:
            words += ["--" + name, *_words(value)]
        elif value:
            words.append("--" + name)
        elif kind == lookup.SWITCH:
            words.append("--no-" + name)
    return words


def set_weight_nz(arguments: Arguments, environment: dict[str, str], mode: str, release: types.Release,
                  findings: Findings) -> None:
    """Add serving_weight_nz to the arguments or to the environment, depending on where the release reads it.

    :param mode: the value of serving_weight_nz. An empty string keeps the default of the release.
    """
    rule = release["weight_nz"]
    if mode == "":
        return
    if mode not in [str(value) for value in rule["values"]]:
        findings.refuse("serving_weight_nz", "serving_weight_nz must be one of %s with release %s, but is %s.",
                        ", ".join(map(str, rule["values"])), release["id"], mode)
    elif "environment" in rule:
        environment[rule["environment"]] = mode
    else:
        config = dict(arguments.get("additional-config") or {})
        config[rule["additional_config"]] = int(mode)
        arguments["additional-config"] = config


def set_shutdown_timeout(catalogue: types.Catalogue, release: types.Release, arguments: Arguments,
                         overrides: Mapping[str, Any], seconds: int) -> None:
    """Set ``shutdown-timeout``, so that a stopped server finishes its requests, unless serving_args sets it.

    Releases whose vLLM does not have the option are skipped.
    """
    option = "shutdown-timeout"
    if option in lookup.serve_options(catalogue, release["vllm"]) and option not in option_names(overrides):
        arguments[option] = seconds


def set_draft(arguments: Arguments, model: types.Model, wanted: str, endpoint: str) -> None:
    """Add the folder of the draft model to the arguments. If the arguments do not use it, remove it from the model.

    :param wanted: the input weights_source. If this source lacks the draft model, the first one that has it is used.
    :param endpoint: the input weights_hub_endpoint. An HTTP server has the draft model next to the model.
    """
    config, draft = arguments.get("speculative-config"), model.get("draft")
    if not draft or not isinstance(config, dict) or config.get("method") != "eagle3" or "model" in config:
        model.pop("draft", None)
        return
    path, sources = "%s/%s" % (model["path"].rpartition("/")[0], draft["directory"]), dict(draft["sources"])
    source = wanted if wanted in ("local", "http", *sources) else next(iter(sources))
    if source == "http":
        endpoint = "%s/%s" % (endpoint.rstrip("/").rpartition("/")[0], draft["directory"])
    hub: Any = sources.get(source, {"repository": ""})
    model["draft"] = {**draft, "path": path, "source": source, "repository": hub["repository"],
                      "endpoint": endpoint if source == wanted else ""}
    arguments["speculative-config"] = {**config, "model": path}


def restrict_media(arguments: Arguments, overrides: Mapping[str, Any], findings: Findings) -> None:
    """Prevent the server from fetching pictures from any host that a client names, unless serving_args allows the host.

    Without the option, vLLM fetches from every host, including internal services of the network.
    """
    option = "allowed-media-domains"
    if option not in option_names(overrides):
        arguments[option] = [NO_DOMAIN]
    elif not arguments.get(option):
        arguments.pop(option, None)
        findings.warn("serving_args.media", "serving_args sets no allowed-media-domains, so the server fetches "
                      "pictures from any host that a client names, internal ones included; list the hosts that it may "
                      "fetch from.")


def check_arguments(catalogue: types.Catalogue, arguments: Arguments, release: types.Release, model: types.Model,
                    findings: Findings) -> None:
    """Refuse values that vLLM rejects only after minutes of loading. Warn about values that it silently ignores."""
    config = arguments.get("additional-config")
    if config is not None and not isinstance(config, dict):
        findings.refuse("serving_args.additional-config", "serving_args: additional-config must be a mapping, but is "
                        "%r.", config)
    keys, ignored = catalogue["additional_config_keys"], release["additional_config_ignored"]
    for key in sorted(config) if isinstance(config, dict) else ():
        if key in ignored or key not in keys or not lookup.within(keys[key], release["id"]):
            close = lookup.nearest(key, [each for each in keys if lookup.within(keys[each], release["id"])])
            reason = ignored.get(key) or ("other releases have it" if key in keys else "no release has it" + (
                ", and the nearest key is %s" % close if close else ""))
            findings.warn("serving_args.ignored", "serving_args: release %s ignores the key %s of additional-config: "
                          "%s.", release["id"], key, reason)

    batched, seqs = _number("max-num-batched-tokens", arguments, findings), _number("max-num-seqs", arguments, findings)
    length = _number("max-model-len", arguments, findings)
    if batched and seqs and batched < seqs:
        findings.refuse("serving_args.batched_tokens", "serving_args: max-num-batched-tokens (%d) must be at least "
                        "max-num-seqs (%d).", batched, seqs)
    if batched and length and batched < length and arguments.get("enable-chunked-prefill") is False:
        findings.refuse("serving_args.batched_tokens", "serving_args: without chunked prefill max-num-batched-tokens "
                        "(%d) must be at least max-model-len (%d).", batched, length)
    if length and length > model["context_length"]:
        findings.refuse("serving_args.max_model_len", "serving_args: max-model-len is %d, but the context of %s is "
                        "limited to %d tokens; lower it.", length, model["name"], model["context_length"])


def _normalized(overrides: Mapping[str, Any], findings: Findings) -> Arguments:
    """Return the overrides by option name, with dashes. Refuse an option that appears in two spellings."""
    values: Arguments = {}
    keys: dict[str, str] = {}
    for key, value in overrides.items():
        name = _option(key)
        if name in values:
            findings.refuse("serving_args.doubled", "serving_args contains one option twice, as %s and as %s; keep "
                            "only %s.", keys[name], key, name)
        values[name], keys[name] = value, key
    return values


def _option(key: object) -> str:
    return str(key).lstrip("-").replace("_", "-")


def _unknown(name: str, catalogue: types.Catalogue, release: types.Release,
             known: Mapping[str, types.OptionKind]) -> str:
    """Return the message that refuses an option that the release does not have."""
    start = "serving_args: vllm serve of release %s (vLLM %s) has no option %s" % (release["id"], release["vllm"], name)
    if name.startswith("no-") and known.get(name[3:]) == lookup.SWITCH:
        return "%s; write %s: false." % (start, name[3:])
    option = catalogue["serve_options"].get(name)
    if option:
        since, until = option.get("since"), option.get("until")
        if since and lookup.version_key(release["vllm"]) < lookup.version_key(since):
            return "%s; it was added in vLLM %s, so remove it." % (start, since)
        return "%s; it was dropped in vLLM %s, so remove it." % (start, until)
    close = lookup.nearest(name, known)
    return start + ("; the nearest is %s." % close if close else "; remove it.")


def _typed(name: str, value: Any, kind: types.OptionKind, findings: Findings) -> Any:
    """Return the value of an option, or refuse it if its type is wrong. A templated Boolean may be a string."""
    if kind == lookup.VALUE:
        if isinstance(value, bool):
            findings.refuse(
                "serving_args.type", "serving_args: %s must have a value, but is %s.", name, str(value).lower())
        return _parsed_config(value) if name == "additional-config" else value
    if str(value).lower() not in ("true", "false"):
        findings.refuse("serving_args.type", "serving_args: %s is a switch and must be true or false, but is %r.", name,
                        value)
    return str(value).lower() == "true"


def _parsed_config(value: Any) -> Any:
    """Return additional-config as a mapping if it is a JSON string, so that serving_weight_nz can be added to it."""
    try:
        return json.loads(value) if isinstance(value, str) else value
    except ValueError:
        return value


def _number(name: str, arguments: Arguments, findings: Findings) -> int | None:
    """Return the value of an option that must be a positive integer, or None if it is missing or refused."""
    value = arguments.get(name)
    if value is None or isinstance(value, bool):  # `_typed` has refused a Boolean.
        return None
    if not str(value).isdigit() or int(value) == 0:
        findings.refuse("serving_args.type", "serving_args: %s must be an integer above 0, but is %r.", name, value)
        return None
    return int(value)


def _words(value: Any) -> Iterable[str]:
    """Return the value of an option as words of a command line. A mapping is one word of JSON."""
    if isinstance(value, dict):
        return [json.dumps(value, sort_keys=True, separators=(",", ":"))]
    return [str(item) for item in value] if isinstance(value, list) else [str(value)]
