# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Targets of a measurement: each instance, all instances of a node at once, or all instances behind a balancer.

The inputs define the load per instance. For example, a balancer with eight instances receives eight times the requests
at eight times the rate. Therefore, the measurements of all targets can be compared.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import load, types
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.result_files import SERVE
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.vllm_bench import identity

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan

INSTANCE, NODE, BALANCER = "instance", "node", "balancer"
VLLM, AIS_BENCH = "vllm", "ais_bench"

# The total of a node is valid if all its clients were running together for at least this percentage of the time.
OVERLAP_PERCENT = 80

_URL = re.compile(r"https?://[^/\s]+$")
# Metrics that are added up over several clients.
_COUNTS = ("completed", "failed", "num_prompts", "total_input_tokens", "total_output_tokens")


def with_planned_balancer(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the inputs, with an empty benchmark_balancer_url if it is auto and there is no balancer."""
    no_balancer = inputs["benchmark_balancer_url"] == "auto" and inputs.get("balancer_enabled") is False
    return {**inputs, "benchmark_balancer_url": ""} if no_balancer else dict(inputs)


def unmeasurable(plan: Plan) -> str:
    """Return why the model cannot be measured, or an empty string. All tools measure the generation of text."""
    model = plan["model"]
    return "%s generates no text." % model["name"] if model["modality"] in ("embedding", "rerank") else ""


def chosen(plan: Plan, inputs: Mapping[str, Any]) -> list[str]:
    """Return the targets in the order of measurement. Raise BadInput if a URL of the balancer is invalid or missing."""
    url, wanted = inputs["benchmark_balancer_url"], set(inputs["benchmark_targets"])
    if url not in ("", "auto") and not _URL.match(url):
        raise BadInput(
            "benchmark_balancer_url must be auto, empty or a URL such as http://10.0.0.9:8080, but is '%s'." % url)
    if BALANCER in wanted and not url:
        raise BadInput("benchmark_targets contains balancer, but there is no balancer; set benchmark_balancer_url.")
    if "auto" in wanted:
        several = len(serving_instances(plan)) > 1
        wanted |= {INSTANCE} | ({NODE} if several else set()) | ({BALANCER} if url else set())
    return [target for target in (INSTANCE, NODE, BALANCER) if target in wanted]


def multiply_load(inputs: Mapping[str, Any], instances: int) -> dict[str, Any]:
    """Return the inputs with the load multiplied by the number of instances."""
    rate = inputs["benchmark_request_rate"]
    return {**inputs, "benchmark_num_prompts": inputs["benchmark_num_prompts"] * instances,
            "benchmark_request_rate": rate if str(rate) == "inf" else "%g" % (float(rate) * instances),
            "benchmark_trace_speed": inputs["benchmark_trace_speed"] * instances,
            "benchmark_max_concurrency": inputs["benchmark_max_concurrency"] * instances}


def measurement(name: str, target: str, tool: str, urls: list[str], instances: int, hosts: list[str],
                inputs: Mapping[str, Any]) -> types.Measurement:
    """Return a measurement without runs."""
    # All clients of a node send the same requests, whereas a balancer gets more requests of the trace.
    tokens = load.output_tokens(multiply_load(inputs, instances)) if target == BALANCER else (
        load.output_tokens(inputs) * instances)
    return {"name": name, "target": target, "tool": tool, "urls": urls, "instances": instances, "hosts": hosts,
            "num_prompts": inputs["benchmark_num_prompts"] * instances, "output_tokens": tokens,
            "warm_up": None, "runs": [], "summary": {}, "baseline": None, "sweep": None}


def others(before: types.Traffic | None, after: types.Traffic | None, ours: float) -> int | None:
    """Return the largest number of requests of other clients before, during and after a run; None if it is unknown.

    :param ours: the number of requests that our clients and the health checks may have sent.
    """
    if before is None or after is None:
        return None
    return max(0, before["active"], after["active"], round(after["finished"] - before["finished"] - ours))


def unusable(measured: Mapping[str, Any]) -> str:
    """Return why a complete measurement cannot be compared with another, or an empty string if it can."""
    foreign = sum(run.get("others") or 0 for run in measured["runs"])
    overlaps = [run["overlap_percent"] for run in measured["runs"] if run["overlap_percent"] is not None]
    if foreign:
        return "the engines had %d requests of other clients" % foreign
    if overlaps and min(overlaps) < OVERLAP_PERCENT:
        return "all clients were running for only %g %% of the time" % min(overlaps)
    return ""


def merged(clients: Sequence[types.ClientRun]) -> tuple[str | None, types.Metrics, float | None]:
    """Return the kind, metrics and overlap of concurrent clients, each of which measured one instance.

    Counts are added up, and latencies are those of the slowest instance. Throughputs are totals divided by the time
    from the start of the first client to the end of the last client, so they are never too high. The overlap is the
    percentage of this time during which all clients were running.
    """
    spans = []
    for client in clients:
        ended_at = client.get("ended_at")
        if client["kind"] != SERVE or ended_at is None:
            return (None if client["kind"] == SERVE else client["kind"]), {}, None
        spans.append((ended_at - client["metrics"]["duration"], ended_at))
    results = [client["metrics"] for client in clients]
    seconds = max(end for _start, end in spans) - min(start for start, _end in spans)
    overlap = min(end for _start, end in spans) - max(start for start, _end in spans)
    metrics = {name: max(result[name] for result in results)
               for name in results[0] if name.endswith("_ms") and all(name in result for result in results)}
    metrics.update({name: sum(result[name] for result in results)
                    for name in _COUNTS if all(name in result for result in results)})
    metrics.update(duration=seconds, request_throughput=metrics["completed"] / seconds,
                   output_throughput=metrics["total_output_tokens"] / seconds,
                   total_token_throughput=(metrics["total_input_tokens"] + metrics["total_output_tokens"]) / seconds)
    return SERVE, metrics, round(100 * max(0, overlap) / seconds, 1)


def serves_as_planned(instance: types.ObservedInstance) -> bool:
    """Return whether an instance has an API, and its container is running and matches the plan."""
    service = instance["service"]
    return (instance["serves"] and service is not None and service["running"]
            and identity(service)["instance_hash"] == instance["hash"])


def snapshot(instances: Iterable[types.ObservedInstance]) -> types.Snapshot:
    """Return the current identities of the instances of a node."""
    return {instance["name"]: identity(instance["service"]) for instance in instances}


def unknown_digests(before: types.Snapshot, after: types.Snapshot) -> list[str]:
    """Return digests that are unknown in either snapshot and so cannot be compared, such as ``vllm: weights``."""
    return ["%s: %s" % (name, key) for name, first, second in _pairs(before, after)
            for key in ("weights", "driver") if None in (first[key], second[key])]


def differences(before: types.Snapshot, after: types.Snapshot) -> list[str]:
    """Return the differences between two snapshots of a node, such as ``vllm: restarts 0 → 1``."""
    return ["%s: %s %s → %s" % (name, key, value, second[key]) for name, first, second in _pairs(before, after)
            for key, value in first.items() if value != second[key]]


def _pairs(before: types.Snapshot, after: types.Snapshot
           ) -> Iterator[tuple[str, Mapping[str, object], Mapping[str, object]]]:
    """Yield ``(name, identity before, identity after)`` for each instance of the first snapshot."""
    for name, first in sorted(before.items()):
        yield name, first, after.get(name) or identity(None)
