# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vllm bench serve``: the command, the client container, and the key figures of the results.

Every option that affects the result is set, because the defaults of ``vllm bench serve`` differ between releases. For
example, the timeout of the ready check (600 s in 0.11, none in 0.23) and the temperature (0, later unset) changed. The
catalogue contains the options of each release.
"""

from __future__ import annotations

import posixpath
from collections.abc import Collection, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import FILLER_TOKEN
from ansible_collections.ascend.vllm.plugins.plugin_utils._pictures import black_image
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import SWITCH, VALUE, nearest
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import bind_mount, docker_mounts
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Figure
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import load, statistics, types

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.benchmark import ServiceContainer
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import ChatRequest
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance, Mount, OptionKind, Plan

# The path in the file system of the client container. The file is removed with the container.
RESULT = "/tmp/ascend-vllm-benchmark.json"
# The client does not load the model. It needs the tokenizer, the key, and the driver libraries that torch_npu loads.
CLIENT_MOUNTS = ("host", "weights", "secrets")
# Export the server's key under the name that vllm bench reads, so that it is neither in argv nor in `docker inspect`.
KEY_LAUNCHER = ["/bin/bash", "-c", '. "$0" || exit 1; export OPENAI_API_KEY="$VLLM_API_KEY"; exec "$@"',
                labels.SECRETS_TARGET]
# Write the CA certificates in an environment variable to a file, which OpenSSL reads instead of its default files.
CA_VARIABLE = "ASCEND_VLLM_CA"
CA_LAUNCHER = ["/bin/bash", "-c", 'export SSL_CERT_FILE=/tmp/ascend-vllm-ca.pem; printf %s "$' + CA_VARIABLE
               + '" > $SSL_CERT_FILE || exit 1; exec "$0" "$@"']
# aiohttp uses the proxy variables that an image or the Docker daemon may set, but the server is never behind a proxy.
CLIENT_ENVIRONMENT = {"NO_PROXY": "*", "no_proxy": "*", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
                      "VLLM_NO_USAGE_STATS": "1"}

# {variable of a sweep: (label, unit) of its result}
SWEEPS = {"request_rate": ("Highest request rate within the objective", "req/s"),
          "max_concurrency": ("Highest concurrency within the objective", "requests")}

BACKENDS = {"random": ("openai", "/v1/completions"), "random-mm": ("openai-chat", "/v1/chat/completions"),
            "custom": ("openai-chat", "/v1/chat/completions"), "textvqa": ("openai-chat", "/v1/chat/completions")}
# {variable of roles/benchmark/files/replay.py: input with this side of the pictures of a trace}
PICTURE = {"ASCEND_VLLM_PICTURE_WIDTH": "benchmark_image_width_px",
           "ASCEND_VLLM_PICTURE_HEIGHT": "benchmark_image_height_px"}
# The server applies the chat template to a custom prompt, so the client must not apply it, too. The name of the option
# that disables the template in the client depends on the release.
SKIP_TEMPLATE = ("skip-chat-template", "custom-skip-chat-template")
DATASET_TARGET = "/tmp/ascend-vllm-dataset.jsonl"


def check_inputs(inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per mistake in the inputs of ``vllm bench serve``, the objective and the sweep."""
    dataset, path = inputs["benchmark_dataset"], inputs["benchmark_dataset_path"]
    custom, textvqa = dataset == "custom", dataset == "textvqa"
    if (custom or textvqa) != bool(path) or (path and not path.startswith("/")) or (
            path and custom != path.endswith(".jsonl")):
        wanted = "the absolute path of a .jsonl file on the node" if custom else "the absolute path of the folder"
        yield "benchmark_dataset_path must be %s, because benchmark_dataset is %s, but is '%s'." % (
            wanted if custom or textvqa else "empty", dataset, path)
    if textvqa and inputs["benchmark_tools"] != ["ais_bench"]:
        yield "benchmark_dataset is textvqa, which only AISBench sends; set benchmark_tools to [ais_bench]."
    rate = str(inputs["benchmark_request_rate"])
    if not _positive(rate):
        yield "benchmark_request_rate must be a number of requests per second above 0, or inf, but is '%s'." % rate
    mistake = statistics.bad_slo(inputs["benchmark_slo"], inputs["benchmark_percentiles"])
    if mistake:
        yield mistake
    if inputs["benchmark_sweep"] == "none":
        return
    if not inputs["benchmark_sweep_minimum"] < inputs["benchmark_sweep_maximum"]:
        yield "benchmark_sweep_minimum (%s) must be below benchmark_sweep_maximum (%s)." % (
            inputs["benchmark_sweep_minimum"], inputs["benchmark_sweep_maximum"])
    if inputs["benchmark_sweep_compare_with"]:
        try:
            statistics.earlier_sweep(inputs)
        except BadInput as mistake:
            yield str(mistake)


def _positive(text: str) -> bool:
    try:
        return float(text) > 0
    except ValueError:
        return False


def sweep(inputs: Mapping[str, Any]) -> statistics.Sweep:
    """Return the sweep that the inputs define."""
    integers = inputs["benchmark_sweep"] == "max_concurrency"
    minimum, maximum = inputs["benchmark_sweep_minimum"], inputs["benchmark_sweep_maximum"]
    return statistics.Sweep(
        round(minimum) if integers else float(minimum), round(maximum) if integers else float(maximum),
        inputs["benchmark_sweep_tolerance_percent"] / 100, integers, inputs["benchmark_sweep_runs"],
        bool(inputs["benchmark_slo"]))


def at_point(inputs: Mapping[str, Any], value: float) -> dict[str, Any]:
    """Return the inputs for one load of a sweep. If the sweep varies the concurrency, the request rate is unlimited."""
    point = {**inputs, "benchmark_" + inputs["benchmark_sweep"]: value}
    if inputs["benchmark_sweep"] == "max_concurrency":
        return {**point, "benchmark_request_rate": "inf", "benchmark_trace_speed": 1e9}
    if inputs["benchmark_dataset"] == load.TRACE:
        point["benchmark_trace_speed"] = value / load.trace_rate(inputs)
    return point


def complete(run: types.Outcome, measured: types.Measurement) -> bool:
    """Return whether all requests of a run were answered with the requested number of tokens."""
    metrics = run["metrics"]
    return (metrics.get("completed") == metrics.get("num_prompts") == measured["num_prompts"]
            and not metrics.get("failed") and metrics.get("total_output_tokens") == measured["output_tokens"])


def warm_up(plan: Plan, inputs: Mapping[str, Any]) -> list[ChatRequest]:
    """Return warm-up requests for ``ascend.vllm.chat_info`` that resemble those of the measurement."""
    images = inputs["benchmark_images_per_request"] if inputs["benchmark_dataset"] == "random-mm" else 0
    sizes = [(inputs["benchmark_random_input_len_tokens"], inputs["benchmark_random_output_len_tokens"], images)]
    if inputs["benchmark_dataset"] == load.TRACE:
        sizes = [(each.input_tokens, each.output_tokens, each.images) for each in load.requests(inputs)]
    found: list[ChatRequest] = []
    for number in range(inputs["benchmark_warmup_prompts"]):
        tokens, maximum, images = sizes[number % len(sizes)]
        body: dict[str, Any] = {"model": plan["model"]["served_name"], "max_tokens": maximum, "temperature": 0,
                                "ignore_eos": True}
        if images:
            image = {"type": "image_url", "image_url": {
                "url": black_image(inputs["benchmark_image_width_px"], inputs["benchmark_image_height_px"])}}
            text = {"type": "text", "text": "warm-up " * tokens}
            body["messages"] = [{"role": "user", "content": [text, *[image] * images]}]
        else:
            body["prompt"] = [FILLER_TOKEN] * tokens
        found.append({"id": "warm-up %d" % (number + 1), "body": body,
                      "endpoint": BACKENDS["random-mm" if images else "random"][1]})
    return found


def runs(name: str, target: str, inputs: Mapping[str, Any]) -> list[types.PlannedRun]:
    """Return the runs against a target. Each repeat has a different seed and therefore different prompts."""
    return [{"id": "%s-%d" % (name, repeat + 1), "repeat": repeat + 1, "seed": inputs["benchmark_seed"] + repeat,
             "target": target} for repeat in range(inputs["benchmark_repeats"])]


def command(known: Mapping[str, OptionKind], plan: Plan, url: str, inputs: Mapping[str, Any],
            run: types.PlannedRun) -> list[str]:
    """Return the command line of ``vllm bench serve`` for a run against one URL.

    :param known: the options of the release's ``vllm bench serve``, see `catalogue.bench_options`.
    :raises BadInput: for an option in ``benchmark_args`` that the release does not have or that an input controls.
    """
    options = _options(plan, url, _as_vllm(inputs), run)
    missing = sorted(set(options) - set(known))
    if missing:
        raise BadInput("vllm bench serve of release %s has no option %s, which this measurement needs." % (
            plan["release"]["id"], ", ".join(missing)))
    # The role sends the warm-up requests itself, because not every release has num-warmups.
    if "num-warmups" in known:
        options["num-warmups"] = 0
    if inputs["benchmark_dataset"] == "custom":
        options.update({name: True for name in SKIP_TEMPLATE if name in known})
    for name, value in inputs["benchmark_args"].items():
        _check_argument(name, value, options, known, plan["release"]["id"])
        options[name] = value
    argv = ["vllm", "bench", "serve"]
    for name, value in options.items():
        if known[name] == VALUE:
            argv += ["--" + name, *(map(str, value) if isinstance(value, list) else [str(value)])]
        elif value or known[name] == SWITCH:
            argv.append("--%s%s" % ("" if value else "no-", name))
    return [*argv, "--metadata", "plan=%s" % plan["hash"], "target=" + run["target"], "run=" + run["id"]]


def _as_vllm(inputs: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the inputs as ``vllm bench serve`` gets them: for a trace, with a dataset and without a request rate.

    The launcher of `load` replaces the requests of this dataset and their times.
    """
    if inputs["benchmark_dataset"] != load.TRACE:
        return inputs
    pictures = any(each.images for each in load.requests(inputs))
    return {**inputs, "benchmark_dataset": "random-mm" if pictures else "random", "benchmark_request_rate": "inf"}


def _options(plan: Plan, url: str, inputs: Mapping[str, Any], run: types.PlannedRun) -> dict[str, Any]:
    """Return ``{option: value}`` of the options that inputs control."""
    backend, endpoint = BACKENDS[inputs["benchmark_dataset"]]
    options: dict[str, Any] = {
        "save-result": True, "ignore-eos": True,
        "base-url": url, "backend": backend, "endpoint": endpoint,
        "model": plan["model"]["path"], "served-model-name": plan["model"]["served_name"],
        "tokenizer": plan["model"]["path"], "dataset-name": inputs["benchmark_dataset"],
        "num-prompts": inputs["benchmark_num_prompts"], "request-rate": inputs["benchmark_request_rate"],
        "burstiness": inputs["benchmark_burstiness"], "seed": run["seed"], "temperature": 0,
        "ready-check-timeout-sec": inputs["benchmark_ready_timeout_s"],
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "metric-percentiles": ",".join("%g" % percentile for percentile in inputs["benchmark_percentiles"]),
        "result-dir": posixpath.dirname(RESULT), "result-filename": posixpath.basename(RESULT),
    }
    if inputs["benchmark_max_concurrency"]:
        options["max-concurrency"] = inputs["benchmark_max_concurrency"]
    tokens = inputs["benchmark_random_output_len_tokens"]
    if inputs["benchmark_dataset"] == "custom":
        options.update({"dataset-path": DATASET_TARGET, "custom-output-len": tokens})
    else:
        options.update({"random-input-len": inputs["benchmark_random_input_len_tokens"], "random-output-len": tokens,
                        "random-range-ratio": 0, "random-prefix-len": 0})
    if inputs["benchmark_dataset"] == "random-mm":
        options.update({
            "random-mm-base-items-per-request": inputs["benchmark_images_per_request"],
            "random-mm-num-mm-items-range-ratio": 0,
            "random-mm-limit-mm-per-prompt": '{"image": %d, "video": 0}' % inputs["benchmark_images_per_request"],
            "random-mm-bucket-config": "{(%d, %d, 1): 1.0}" % (
                inputs["benchmark_image_height_px"], inputs["benchmark_image_width_px"]),
        })
    return options


def _check_argument(name: str, value: object, options: Collection[str], known: Mapping[str, OptionKind],
                    release: str) -> None:
    if name in options or name == "metadata":
        raise BadInput("benchmark_args sets %s, which another input of the role controls; remove it." % name)
    if name not in known:
        near = nearest(name, known)
        raise BadInput("benchmark_args: vllm bench serve of release %s has no option %s%s" % (
            release, name, "; did you mean %s?" % near if near else "."))
    if (known[name] == VALUE) == isinstance(value, bool):
        raise BadInput("benchmark_args: %s %s, but is %r." % (
            name, "must have a value" if known[name] == VALUE else "is a switch and must be true or false", value))


def client(plan: Plan, instance: Instance, argv: list[str], inputs: Mapping[str, Any], with_key: bool = True,
           replays: bool = False) -> dict[str, Any]:
    """Return the arguments of ``community.docker.docker_container`` for an unprivileged client without NPUs.

    :param instance: the instance whose mounts and API key the client uses.
    :param replays: whether the client sends the requests of a trace, if there is one.
    """
    environment = {**CLIENT_ENVIRONMENT, **({CA_VARIABLE: plan["ca"]} if plan["ca"] else {})}
    if replays and inputs["benchmark_dataset"] == load.TRACE:
        words, variables = load.launcher(load.requests(inputs))
        argv = words + argv
        environment.update(variables, **{name: str(inputs[value]) for name, value in PICTURE.items()})
    mounts: list[Mount] = [{**mount, "read_only": True} for mount in instance["mounts"]
                           if mount["origin"] in CLIENT_MOUNTS]
    if inputs["benchmark_dataset_path"]:
        mounts.append(bind_mount(inputs["benchmark_dataset_path"], "file", DATASET_TARGET, origin="site"))
    return {
        "name": client_name(instance),
        "image": inputs["benchmark_client_image"] or plan["image"]["reference"],
        "pull": "never",
        "command": (CA_LAUNCHER if with_key and plan["ca"] else []) + (
            KEY_LAUNCHER if with_key and instance["secrets_path"] else []) + argv,
        "command_handling": "correct",
        "state": "started", "recreate": True, "detach": True, "init": True, "restart_policy": "no",
        "network_mode": "host",
        "env": environment,
        "labels": {labels.BENCHMARK_CLIENT: instance["name"], labels.RUN: run.RUN_ID},
        "mounts": docker_mounts(mounts),
        "cap_drop": ["ALL"], "security_opts": ["no-new-privileges"],
        "log_driver": "json-file", "log_options": {"max-size": "10m", "max-file": "1"},
    }


def client_name(instance: Instance) -> str:
    """Return the name of the client container."""
    return f"{instance['name']}-benchmark-{run.RUN_ID}"


def identity(service: ServiceContainer | None) -> types.Identity:
    """Return the identity of a service. All its values are None if there is no container."""
    found: Mapping[str, Any] = service or {}
    return {"container": found.get("id"), "image": found.get("image"), "started_at": found.get("started_at"),
            "restarts": found.get("restarts"), "instance_hash": found.get("labels", {}).get(labels.INSTANCE),
            "weights": found.get("weights"), "driver": found.get("driver")}


def figures(measurements: Collection[types.Measurement]) -> list[Figure]:
    """Return the figures of the report: the medians over the repeats, and the results of sweeps."""
    found: list[Figure] = []
    for measured in measurements:
        suffix = "" if len(measurements) == 1 else " (%s)" % measured["name"]
        found += [{"name": label + suffix, "value": round(measured["summary"][metric]["median"], 3), "unit": unit}
                  for metric, (label, unit, _more_is_better) in statistics.METRICS.items()
                  if metric in measured["summary"]]
        swept = measured["sweep"]
        if swept:
            label, unit = SWEEPS[swept["variable"]]
            best = swept["best"] if swept["objective"] else None
            found += [{"name": name + suffix, "value": value, "unit": unit}
                      for name, value in ((label, best), ("Knee of the curve", swept["knee"])) if value is not None]
    return found
