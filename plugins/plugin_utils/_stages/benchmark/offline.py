# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""``vllm bench latency`` and ``throughput``, which load the model and therefore need NPUs that no service uses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import container
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options, engine_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Catalogue, HcclPorts, Instance, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Figure
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import vllm_bench
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.types import Outcome

# An instance may be running on other NPUs at the same time, so these are ports that no plan uses.
HCCL_PORTS: HcclPorts = {"host": (62000, 62015), "npu": (18000, 18015)}
# (metric, label in the report, unit)
_FIGURES = (("avg_latency", "Batch latency, mean", "s"), ("percentiles.99", "Batch latency, p99", "s"),
            ("requests_per_second", "Offline request throughput", "req/s"),
            ("tokens_per_second", "Offline token throughput", "tok/s"))


def devices(plan: Plan, instance: Instance, inputs: Mapping[str, Any]) -> tuple[list[str], bool]:
    """Return the device paths for an offline run, and whether the service must be stopped for it.

    The run uses the NPUs of serving_npus that no planned instance uses or, if these are too few, those of the instance.

    :raises BadInput: if there are too few free NPUs and the inputs do not allow the role to stop the service.
    """
    if plan["group"]:
        raise BadInput("benchmark_offline measures one engine on one node, but serving_topology is "
                       f"{plan['group']['topology']}; make it empty.")
    used = {device for each in plan["instances"] for device in each["devices"]}
    free = [path for path in map(device_path, plan["npus"]) if path not in used]
    if len(free) >= len(instance["npus"]):
        return [*free[:len(instance["npus"])], *plan["hardware"]["shared_devices"]], False
    if inputs["benchmark_offline_stop_service"]:
        return instance["devices"], True
    raise BadInput(f"benchmark_offline needs {len(instance['npus'])} NPUs, but only {len(free)} are free; plan fewer "
                   "instances, or set benchmark_offline_stop_service to true, which stops "
                   f"{instance['name']} for the run and starts it again.")


def command(catalogue: Catalogue, plan: Plan, instance: Instance, inputs: Mapping[str, Any], kind: str) -> list[str]:
    """Return the command line of ``vllm bench <kind>`` for an instance. Raise BadInput if the release cannot run it."""
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
    # If a release has both names of an option, the default of the longer one overrides the value of the shorter one.
    load.update({"random-" + name: load[name] for name in ("input-len", "output-len", "prefix-len")
                 if name in load and "random-" + name in known})
    argv = ["vllm", "bench", kind, "--model", plan["model"]["path"]]
    argv += _engine_arguments(catalogue, instance["command"][3:])
    argv += ["--seed", str(inputs["benchmark_seed"])]
    return [*argv, *(word for name, value in load.items() for word in ("--" + name, str(value)))]


def _engine_arguments(catalogue: Catalogue, options: Iterable[str]) -> list[str]:
    """Return those words of the options of ``vllm serve`` that are engine options or their values."""
    engine = engine_options(catalogue)
    found, of_engine = [], True
    for word in options:
        if word.startswith("--"):
            of_engine = word[2:] in engine or (word.startswith("--no-") and word[5:] in engine)
        if of_engine:
            found.append(word)
    return found


def client(plan: Plan, instance: Instance, paths: Sequence[str], argv: list[str],
           inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of ``community.docker.docker_container`` for a client with NPUs and without an API key."""
    # The client is never privileged, so it has only the NPUs of `paths`.
    environment = {name: value for name, value in instance["environment"].items() if name not in container.VISIBLE_NPUS}
    return {
        **vllm_bench.client(plan, instance, argv, inputs, with_key=False),
        "devices": ["%s:%s:rwm" % (path, path) for path in paths],
        **{key: instance[key] for key in ("shm_size", "cap_drop", "security_opts")},
        "env": {**environment, **container.hccl_environment(HCCL_PORTS)},
        "mounts": container.docker_mounts(
            mount for mount in instance["mounts"] if mount["origin"] not in ("secrets", "tls", "plog")),
    }


def figures(runs: Iterable[Outcome]) -> list[Figure]:
    """Return the figures of the report."""
    return [{"name": label, "value": round(run["metrics"][metric], 3), "unit": unit}
            for run in runs for metric, label, unit in _FIGURES if metric in run["metrics"]]
