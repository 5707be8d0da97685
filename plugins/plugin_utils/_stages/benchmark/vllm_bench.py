# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark runs and what its numbers say: commands, client containers, figures. Pure.

Every option that bears on the result is spelled in full, since the defaults of ``vllm bench serve`` differ between
releases: the ready check (600 s in 0.11, none in 0.23) and the temperature (0, then unset) among them. The catalogue
tells which options a release has.
"""

from __future__ import annotations

import base64
import posixpath
import struct
import zlib

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import FILLER_TOKEN
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import SWITCH, VALUE, nearest
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import bind_mount, docker_mounts
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import statistics as analysis

# In the client's own file system: it is read from there and goes with the container.
RESULT = "/tmp/ascend-vllm-benchmark.json"
# The client is no engine: it needs the tokenizer, the key, and the driver's libraries that torch_npu is linked with.
CLIENT_MOUNTS = ("host", "weights", "secrets")
# The server's key under the name that vllm bench reads, so that it stands in no argument and no `docker inspect`.
KEY_LAUNCHER = ["/bin/bash", "-c", '. "$0" || exit 1; export OPENAI_API_KEY="$VLLM_API_KEY"; exec "$@"',
                labels.SECRETS_TARGET]
# aiohttp in the client obeys proxy variables, which an image or a daemon may set; the server is never behind one.
CLIENT_ENVIRONMENT = {"NO_PROXY": "*", "no_proxy": "*", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
                      "VLLM_NO_USAGE_STATS": "1"}

# variable of a sweep: (label, unit) of what it finds
SWEEPS = {"request_rate": ("Highest request rate within the objective", "req/s"),
          "max_concurrency": ("Highest concurrency within the objective", "requests")}

BACKENDS = {"random": ("openai", "/v1/completions"), "random-mm": ("openai-chat", "/v1/chat/completions"),
            "custom": ("openai-chat", "/v1/chat/completions")}
# The server applies its chat template to a custom prompt; the client must not do so too. One name or the other.
SKIP_TEMPLATE = ("skip-chat-template", "custom-skip-chat-template")
DATASET_TARGET = "/tmp/ascend-vllm-dataset.jsonl"


def check_inputs(inputs):
    """Refuse what would only fail on the node. :raises BadInput: with one sentence."""
    if inputs["benchmark_dataset"] not in BACKENDS:
        raise BadInput("benchmark_dataset has to be one of %s, but is '%s'." % (
            ", ".join(sorted(BACKENDS)), inputs["benchmark_dataset"]))
    custom, path = inputs["benchmark_dataset"] == "custom", inputs["benchmark_dataset_path"]
    if custom != bool(path) or (path and not (path.startswith("/") and path.endswith(".jsonl"))):
        raise BadInput("benchmark_dataset_path has to be %s, but is '%s'." % (
            "the absolute path of a .jsonl file on the node, since benchmark_dataset is custom" if custom else
            "empty, since benchmark_dataset is %s" % inputs["benchmark_dataset"], path))
    for name in ("benchmark_num_prompts", "benchmark_repeats", "benchmark_random_input_len_tokens",
                 "benchmark_random_output_len_tokens"):
        if inputs[name] < 1:
            raise BadInput("%s has to be at least 1, but is %s." % (name, inputs[name]))
    rate = str(inputs["benchmark_request_rate"])
    if not _positive(rate):
        raise BadInput("benchmark_request_rate has to be a number of requests per second above 0, or inf, but is '%s'."
                       % rate)
    sentence = analysis.bad_slo(inputs["benchmark_slo"], inputs["benchmark_percentiles"])
    if sentence:
        raise BadInput(sentence)
    if inputs["benchmark_sweep"] != "none":
        _check_sweep(inputs)


def _positive(text):
    try:
        return float(text) > 0
    except ValueError:
        return False


def _check_sweep(inputs):
    if inputs["benchmark_sweep"] not in SWEEPS:
        raise BadInput("benchmark_sweep has to be none, %s, but is '%s'." % (
            " or ".join(sorted(SWEEPS)), inputs["benchmark_sweep"]))
    if not inputs["benchmark_slo"]:
        raise BadInput("benchmark_sweep is %s, but benchmark_slo is empty: a sweep looks for the highest load that "
                       "meets an objective." % inputs["benchmark_sweep"])
    if not 0 < inputs["benchmark_sweep_minimum"] < inputs["benchmark_sweep_maximum"]:
        raise BadInput("benchmark_sweep_minimum (%s) has to be above 0 and below benchmark_sweep_maximum (%s)." % (
            inputs["benchmark_sweep_minimum"], inputs["benchmark_sweep_maximum"]))


def sweep(inputs):
    """The search that the inputs ask for."""
    whole = inputs["benchmark_sweep"] == "max_concurrency"
    number = round if whole else float
    return analysis.Sweep(number(inputs["benchmark_sweep_minimum"]), number(inputs["benchmark_sweep_maximum"]),
                          inputs["benchmark_sweep_tolerance_percent"] / 100, whole)


def at_point(inputs, value):
    """The inputs of one point of a sweep; with a bound on concurrency all requests are ready at once."""
    point = dict(inputs, **{"benchmark_" + inputs["benchmark_sweep"]: value})
    return dict(point, benchmark_request_rate="inf") if inputs["benchmark_sweep"] == "max_concurrency" else point


def complete(run, inputs, wanted):
    """Whether every one of the wanted requests of a run was answered in full."""
    metrics = run["metrics"]
    return (metrics.get("completed") == metrics.get("num_prompts") == wanted and not metrics.get("failed")
            and metrics.get("total_output_tokens") == wanted * inputs["benchmark_random_output_len_tokens"])


def warm_up(plan, inputs):
    """Requests of the measured shape, for ``ascend.vllm.chat_info``, that are sent before anything is measured."""
    body = {"model": plan["model"]["served_name"], "max_tokens": inputs["benchmark_random_output_len_tokens"],
            "temperature": 0, "ignore_eos": True}
    endpoint = BACKENDS["random"][1]
    if inputs["benchmark_dataset"] == "random-mm":
        endpoint = BACKENDS["random-mm"][1]
        picture = {"type": "image_url", "image_url": {
            "url": plain_picture(inputs["benchmark_image_width_px"], inputs["benchmark_image_height_px"])}}
        text = {"type": "text", "text": "warm-up " * inputs["benchmark_random_input_len_tokens"]}
        body["messages"] = [{"role": "user", "content": [text] + [picture] * inputs["benchmark_images_per_request"]}]
    else:
        body["prompt"] = [FILLER_TOKEN] * inputs["benchmark_random_input_len_tokens"]
    return [{"id": "warm-up %d" % (number + 1), "endpoint": endpoint, "body": body}
            for number in range(inputs["benchmark_warmup_prompts"])]


def plain_picture(width, height):
    """A black PNG of that size in pixels, as a ``data:`` URI (PNG specification, ISO/IEC 15948)."""
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = zlib.compress(bytes((width + 1) * height))  # a filter byte and 8 bits of grey a pixel
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)) + chunk(
        b"IDAT", rows) + chunk(b"IEND", b"")
    return "data:image/png;base64," + base64.b64encode(png).decode("ascii")


def runs(name, inputs):
    """The runs against one target, ``{"id", "repeat", "seed"}``; each repeat draws other prompts."""
    return [{"id": "%s-%d" % (name, repeat + 1), "repeat": repeat + 1, "seed": inputs["benchmark_seed"] + repeat}
            for repeat in range(inputs["benchmark_repeats"])]


def command(known, plan, url, inputs, run):
    """The argument vector of ``vllm bench serve`` for one run against one address.

    :param known: ``{option: kind}`` of the release's ``vllm bench serve`` (``catalogue.bench_options``).
    :raises BadInput: for an option of ``benchmark_args`` that the release does not have or that an input decides.
    """
    options = _options(plan, url, inputs, run)
    missing = sorted(set(options) - set(known))
    if missing:
        raise BadInput("vllm bench serve of release %s has no option %s, which this measurement needs." % (
            plan["release"]["id"], ", ".join(missing)))
    # Requests of the warm-up are ours, so that they are counted; and they are the same with a release without its own.
    options.update({name: 0 for name in ("num-warmups",) if name in known})
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
    return [*argv, "--metadata", "plan=" + plan["hash"], "target=" + run["target"], "run=" + run["id"]]


def _options(plan, url, inputs, run):
    """``{option: value}`` of what the inputs decide."""
    backend, endpoint = BACKENDS[inputs["benchmark_dataset"]]
    options = {
        "save-result": True, "ignore-eos": True,
        "base-url": url, "backend": backend, "endpoint": endpoint,
        "model": plan["model"]["path"], "served-model-name": plan["model"]["served_name"],
        "tokenizer": plan["model"]["path"], "dataset-name": inputs["benchmark_dataset"],
        "num-prompts": inputs["benchmark_num_prompts"], "request-rate": inputs["benchmark_request_rate"],
        "burstiness": 1, "seed": run["seed"], "temperature": 0,
        "ready-check-timeout-sec": inputs["benchmark_ready_timeout_s"],
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "metric-percentiles": ",".join("%g" % percentile for percentile in inputs["benchmark_percentiles"]),
        "result-dir": posixpath.dirname(RESULT), "result-filename": posixpath.basename(RESULT),
    }
    if inputs["benchmark_max_concurrency"]:
        options["max-concurrency"] = inputs["benchmark_max_concurrency"]
    if inputs["benchmark_dataset"] == "custom":
        options.update({"dataset-path": DATASET_TARGET,
                        "custom-output-len": inputs["benchmark_random_output_len_tokens"]})
    else:
        options.update({
            "random-input-len": inputs["benchmark_random_input_len_tokens"],
            "random-output-len": inputs["benchmark_random_output_len_tokens"],
            "random-range-ratio": 0, "random-prefix-len": 0,
        })
    if inputs["benchmark_dataset"] == "random-mm":
        options.update({
            "random-mm-base-items-per-request": inputs["benchmark_images_per_request"],
            "random-mm-num-mm-items-range-ratio": 0,
            "random-mm-limit-mm-per-prompt": '{"image": %d, "video": 0}' % inputs["benchmark_images_per_request"],
            "random-mm-bucket-config": "{(%d, %d, 1): 1.0}" % (
                inputs["benchmark_image_height_px"], inputs["benchmark_image_width_px"]),
        })
    return options


def _check_argument(name, value, options, known, release):
    if name in options or name == "metadata":
        raise BadInput("benchmark_args sets %s, which another input of the role decides; leave it out." % name)
    if name not in known:
        near = nearest(name, known)
        raise BadInput("benchmark_args: vllm bench serve of release %s has no option %s%s." % (
            release, name, "; the nearest is " + near if near else ""))
    if (known[name] == VALUE) == isinstance(value, bool):
        raise BadInput("benchmark_args: %s %s, but is %r." % (
            name, "takes a value" if known[name] == VALUE else "is a switch, true or false", value))


def client(plan, instance, argv, inputs):
    """Arguments of ``community.docker.docker_container`` for a client without NPUs and without rights of its own.

    :param instance: the one whose mounts and key the client shares; what it measures is in its arguments.
    """
    mounts = [dict(mount, read_only=True) for mount in instance["mounts"] if mount["origin"] in CLIENT_MOUNTS]
    if inputs["benchmark_dataset_path"]:
        mounts.append(bind_mount(inputs["benchmark_dataset_path"], "file", DATASET_TARGET, origin="site"))
    return {
        "name": client_name(instance),
        "image": inputs["benchmark_client_image"] or plan["image"]["reference"],
        "pull": "never",
        "command": (KEY_LAUNCHER if instance["secrets_path"] else []) + argv,
        "command_handling": "correct",
        "state": "started",
        "recreate": True,
        "detach": True,
        "init": True,
        "restart_policy": "no",
        "network_mode": "host",
        "env": CLIENT_ENVIRONMENT,
        "labels": {labels.BENCHMARK_CLIENT: instance["name"]},
        "mounts": docker_mounts(mounts),
        "cap_drop": instance["cap_drop"],
        "security_opts": ["no-new-privileges"],
        "log_driver": "json-file",
        "log_options": {"max-size": "10m", "max-file": "1"},
    }


def client_name(instance):
    """One client at a time and instance; a left-over of an interrupted run is found by its name and replaced."""
    return instance["name"] + "-benchmark"


def identity(service):
    """What has to be the same before and after, for the numbers to belong to one server."""
    service = service or {}
    return {
        "container": service.get("id"),
        "image": service.get("image"),
        "started_at": service.get("started_at"),
        "restarts": service.get("restarts"),
        "instance_hash": (service.get("labels") or {}).get(labels.INSTANCE),
        "weights": service.get("weights"),
        "driver": service.get("driver"),
    }


def figures(measurements):
    """The figures of the report, ``[{"name", "value", "unit"}]``: medians over the repeats, and what a sweep found."""
    found = []
    for measured in measurements:
        named = "%s" if len(measurements) == 1 else "%%s (%s)" % measured["name"]
        for metric, (label, unit, _more_is_better) in analysis.METRICS.items():
            if metric in measured["summary"]:
                value = round(measured["summary"][metric]["median"], 3)
                found.append({"name": named % label, "value": value, "unit": unit})
        best = (measured["sweep"] or {}).get("best")
        if best is not None:
            label, unit = SWEEPS[measured["sweep"]["variable"]]
            found.append({"name": named % label, "value": best, "unit": unit})
    return found
