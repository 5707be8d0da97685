# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vllm bench latency`` and ``throughput``: they load the model themselves, so they need NPUs of their own. Pure."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options, engine_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import docker_mounts, hccl_environment
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import vllm_bench

KINDS = ("latency", "throughput")
# Beside the ports that the plan gives away, so that a service may run on the other NPUs meanwhile.
HCCL_PORTS = {"host": (62000, 62015), "npu": (18000, 18015)}


def check_inputs(inputs):
    """Refuse what cannot be run. :raises BadInput: with one sentence."""
    unknown = sorted(set(inputs["benchmark_offline"]) - set(KINDS))
    if unknown:
        raise BadInput("benchmark_offline has to hold %s, but holds %s." % (
            " and ".join(KINDS), ", ".join(unknown)))
    if inputs["benchmark_offline_guard_s"] < 1:
        raise BadInput("benchmark_offline_guard_s has to be at least 1, but is %s." % (
            inputs["benchmark_offline_guard_s"]))


def devices(plan, instance, inputs):
    """The NPUs for a run: those of ``serving_npus`` that no planned instance has; or the instance's own, which then has
    to be stopped for it.

    :returns: ``(device paths, whether the instance has to be stopped)``.
    :raises BadInput: when no NPUs are free and the service may not be stopped.
    """
    if plan["group"]:
        raise BadInput(
            "benchmark_offline runs one engine on one node, but serving_topology is %s; leave it out." % (
                plan["group"]["topology"]))
    used = {device for each in plan["instances"] for device in each["devices"]}
    free = [path for path in map(device_path, plan["npus"]) if path not in used]
    if len(free) >= len(instance["npus"]):
        return [*free[:len(instance["npus"])], *plan["hardware"]["shared_devices"]], False
    if inputs["benchmark_offline_stop_service"]:
        return instance["devices"], True
    raise BadInput(
        "benchmark_offline needs %d NPUs, but the plan leaves %d; plan fewer instances, or set "
        "benchmark_offline_stop_service to true: it stops %s for the run and starts it again." % (
            len(instance["npus"]), len(free), instance["name"]))


def command(catalogue, plan, instance, inputs, kind):
    """The argument vector: the engine as it serves, and the load.

    :raises BadInput: when the release has no such measurement.
    """
    load = {"input-len": inputs["benchmark_random_input_len_tokens"],
            "output-len": inputs["benchmark_random_output_len_tokens"], "output-json": vllm_bench.RESULT}
    if kind == "latency":
        load.update({"batch-size": inputs["benchmark_offline_batch_size"],
                     "num-iters": inputs["benchmark_offline_iterations"],
                     "num-iters-warmup": inputs["benchmark_offline_warmup_iterations"]})
    else:
        load.update({"dataset-name": "random", "num-prompts": inputs["benchmark_num_prompts"], "random-range-ratio": 0,
                     "prefix-len": 0})
    known = bench_options(catalogue, plan["release"]["vllm"], kind)
    missing = sorted(set(load) - set(known))
    if missing:
        raise BadInput("vllm bench %s of release %s has no option %s, which this measurement needs." % (
            kind, plan["release"]["id"], ", ".join(missing)))
    # Where there are both names, the default of these wins over what the others were given.
    load.update({"random-" + name: load[name] for name in ("input-len", "output-len", "prefix-len")
                 if name in load and "random-" + name in known})
    argv = ["vllm", "bench", kind, "--model", plan["model"]["path"]]
    argv += _engine_arguments(catalogue, instance["command"][3:])
    return [*argv, "--seed", str(inputs["benchmark_seed"]), *(word for name, value in load.items()
                                                      for word in ("--" + name, str(value)))]


def _engine_arguments(catalogue, options):
    """The options of ``vllm serve`` that an engine takes too, each with its value."""
    engine = engine_options(catalogue)
    kept, keeps = [], True
    for word in options:
        if word.startswith("--"):
            keeps = word[2:] in engine or (word.startswith("--no-") and word[5:] in engine)
        if keeps:
            kept.append(word)
    return kept


def client(plan, instance, paths, argv, inputs):
    """Arguments of ``community.docker.docker_container``: the instance's own container, but for what it runs."""
    return dict(
        vllm_bench.client(plan, dict(instance, secrets_path=None), argv, inputs),
        devices=["%s:%s:rwm" % (path, path) for path in paths],
        shm_size=instance["shm_size"],
        env=dict(instance["environment"], **hccl_environment(HCCL_PORTS)),
        mounts=docker_mounts(mount for mount in instance["mounts"] if mount["origin"] != "secrets"),
    )


def figures(runs):
    """The figures of the report, ``[{"name", "value", "unit"}]``."""
    found = []
    for run in runs:
        for metric, label, unit in (("avg_latency", "Latency of a batch, mean", "s"),
                                    ("percentiles.99", "Latency of a batch, p99", "s"),
                                    ("requests_per_second", "Offline request throughput", "req/s"),
                                    ("tokens_per_second", "Offline token throughput", "tok/s")):
            if metric in run["metrics"]:
                found.append({"name": label, "value": round(run["metrics"][metric], 3), "unit": unit})
    return found
