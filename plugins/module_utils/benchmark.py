# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a benchmark runs and what its numbers say: commands, client containers, figures. Pure.

Every option that bears on the result is spelled in full, since the defaults of ``vllm bench serve`` differ between
releases: the ready check (600 s in 0.11, none in 0.33) and the temperature (0, then unset) among them.
"""

from __future__ import annotations

import posixpath

from ansible_collections.ascend.vllm.plugins.module_utils import benchmark_analysis as analysis
from ansible_collections.ascend.vllm.plugins.module_utils.chat import FILLER_TOKEN
from ansible_collections.ascend.vllm.plugins.module_utils.plan import LABEL
from ansible_collections.ascend.vllm.plugins.module_utils.plan_container import SECRETS_TARGET

# In the client's own file system: it is read from there and goes with the container.
RESULT = "/tmp/ascend-vllm-benchmark.json"
CLIENT_LABEL = "ascend.vllm.benchmark-client"
# The client is no engine: it needs the tokenizer, the key, and the driver's libraries that torch_npu is linked with.
CLIENT_MOUNTS = ("host", "weights", "secrets")
# The server's key under the name that vllm bench reads, so that it stands in no argument and no `docker inspect`.
KEY_LAUNCHER = ["/bin/bash", "-c", '. "$0" || exit 1; export OPENAI_API_KEY="$VLLM_API_KEY"; exec "$@"', SECRETS_TARGET]
# aiohttp in the client obeys proxy variables, which an image or a daemon may set; the server is never behind one.
CLIENT_ENVIRONMENT = {"NO_PROXY": "*", "no_proxy": "*", "HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1",
                      "VLLM_NO_USAGE_STATS": "1"}

# variable of a sweep: (label, unit) of what it finds
SWEEPS = {"request_rate": ("Highest request rate within the objective", "req/s"),
          "max_concurrency": ("Highest concurrency within the objective", "requests")}

BACKENDS = {"random": ("openai", "/v1/completions"), "random-mm": ("openai-chat", "/v1/chat/completions")}


class BadInput(ValueError):
    """An input of the role that cannot be run; the message names it."""


def check_settings(settings):
    """Refuse what would only fail on the node. :raises BadInput: with one sentence."""
    if settings["dataset"] not in BACKENDS:
        raise BadInput("benchmark_dataset has to be one of %s, but is '%s'." % (
            ", ".join(sorted(BACKENDS)), settings["dataset"]))
    for name in ("num_prompts", "repeats", "random_input_len_tokens", "random_output_len_tokens"):
        if int(settings[name]) < 1:
            raise BadInput("benchmark_%s has to be at least 1, but is %s." % (name, settings[name]))
    rate = str(settings["request_rate"])
    if not _positive(rate):
        raise BadInput("benchmark_request_rate has to be a number of requests per second above 0, or inf, but is '%s'."
                       % rate)
    sentence = analysis.bad_slo(settings["slo"], settings["percentiles"])
    if sentence:
        raise BadInput(sentence)
    if settings["sweep"] != "none":
        _check_sweep(settings)


def _positive(text):
    try:
        return float(text) > 0
    except ValueError:
        return False


def _check_sweep(settings):
    if settings["sweep"] not in SWEEPS:
        raise BadInput("benchmark_sweep has to be none, %s, but is '%s'." % (
            " or ".join(sorted(SWEEPS)), settings["sweep"]))
    if not settings["slo"]:
        raise BadInput("benchmark_sweep is %s, but benchmark_slo is empty: a sweep looks for the highest load that "
                       "meets an objective." % settings["sweep"])
    if not 0 < settings["sweep_minimum"] < settings["sweep_maximum"]:
        raise BadInput("benchmark_sweep_minimum (%s) has to be above 0 and below benchmark_sweep_maximum (%s)." % (
            settings["sweep_minimum"], settings["sweep_maximum"]))


def sweep(settings):
    """The search that the inputs ask for."""
    whole = settings["sweep"] == "max_concurrency"
    number = round if whole else float
    return analysis.Sweep(number(settings["sweep_minimum"]), number(settings["sweep_maximum"]),
                          settings["sweep_tolerance_percent"] / 100, whole)


def at_point(settings, value):
    """The inputs of one point of a sweep; with a bound on concurrency all requests are ready at once."""
    point = dict(settings, **{settings["sweep"]: value})
    return dict(point, request_rate="inf") if settings["sweep"] == "max_concurrency" else point


def complete(run, settings):
    """Whether every request of a run was answered in full."""
    metrics, wanted = run["metrics"], settings["num_prompts"]
    return (metrics.get("completed") == metrics.get("num_prompts") == wanted and not metrics.get("failed")
            and metrics.get("total_output_tokens") == wanted * settings["random_output_len_tokens"])


def warm_up(plan, settings):
    """Requests of the measured shape, for ``ascend.vllm.chat_info``, that are sent before anything is measured."""
    body = {"model": plan["model"]["served_name"], "prompt": [FILLER_TOKEN] * settings["random_input_len_tokens"],
            "max_tokens": settings["random_output_len_tokens"], "temperature": 0, "ignore_eos": True}
    return [{"id": "warm-up %d" % (number + 1), "endpoint": "/v1/completions", "body": body}
            for number in range(settings["warmup_prompts"])]


def runs(instance, settings):
    """The runs against one instance, ``{"id", "repeat", "seed"}``; each repeat draws other prompts."""
    return [{"id": "%s-serve-%d" % (instance["name"], repeat + 1), "repeat": repeat + 1,
             "seed": settings["seed"] + repeat} for repeat in range(settings["repeats"])]


def command(plan, instance, settings, run):
    """The argument vector of ``vllm bench serve`` for one run."""
    backend, endpoint = BACKENDS[settings["dataset"]]
    host, port = instance["url"].split("://", 1)[1].rsplit(":", 1)
    options = {
        "host": host, "port": port, "backend": backend, "endpoint": endpoint,
        "model": plan["model"]["path"], "served-model-name": plan["model"]["served_name"],
        "tokenizer": plan["model"]["path"],
        "dataset-name": settings["dataset"],
        "random-input-len": settings["random_input_len_tokens"],
        "random-output-len": settings["random_output_len_tokens"],
        "random-range-ratio": 0, "random-prefix-len": 0,
        "num-prompts": settings["num_prompts"], "request-rate": settings["request_rate"], "burstiness": 1,
        "seed": run["seed"], "temperature": 0,
        "ready-check-timeout-sec": settings["ready_timeout_s"],
        "percentile-metrics": "ttft,tpot,itl,e2el",
        "metric-percentiles": ",".join("%g" % percentile for percentile in settings["percentiles"]),
        "result-dir": posixpath.dirname(RESULT), "result-filename": posixpath.basename(RESULT),
    }
    if settings["max_concurrency"]:
        options["max-concurrency"] = settings["max_concurrency"]
    if settings["dataset"] == "random-mm":
        options.update({
            "random-mm-base-items-per-request": settings["images_per_request"],
            "random-mm-num-mm-items-range-ratio": 0,
            "random-mm-limit-mm-per-prompt": '{"image": %d, "video": 0}' % settings["images_per_request"],
            "random-mm-bucket-config": "{(%d, %d, 1): 1.0}" % (settings["image_height_px"], settings["image_width_px"]),
        })
    argv = ["vllm", "bench", "serve", "--save-result", "--ignore-eos"]
    for name, value in options.items():
        argv += ["--" + name, str(value)]
    return [*argv, "--metadata", "plan=" + plan["hash"], "instance=" + instance["name"], "run=" + run["id"]]


def client(plan, instance, argv, image=""):
    """Arguments of ``community.docker.docker_container`` for a client without NPUs and without rights of its own."""
    return {
        "name": client_name(instance),
        "image": image or plan["image"]["reference"],
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
        "labels": {CLIENT_LABEL: instance["name"]},
        "mounts": [{"type": "bind", "source": mount["source"], "target": mount["target"], "read_only": True}
                   for mount in instance["mounts"] if mount["origin"] in CLIENT_MOUNTS],
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
        "instance_hash": (service.get("labels") or {}).get(LABEL),
        "weights": service.get("weights"),
        "driver": service.get("driver"),
    }


def figures(instances):
    """The figures of the report, ``[{"name", "value", "unit"}]``: medians over the repeats, and what a sweep found."""
    found = []
    for instance in instances:
        named = "%s" if len(instances) == 1 else "%%s (%s)" % instance["name"]
        for metric, (label, unit, _more_is_better) in analysis.METRICS.items():
            if metric in instance["summary"]:
                value = round(instance["summary"][metric]["median"], 3)
                found.append({"name": named % label, "value": value, "unit": unit})
        best = (instance["sweep"] or {}).get("best")
        if best is not None:
            label, unit = SWEEPS[instance["sweep"]["variable"]]
            found.append({"name": named % label, "value": best, "unit": unit})
    return found
