# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is measured: each instance by itself, all instances of a node at once, or what is behind a balancer. Pure.

Every instance gets the load of the inputs, whichever way it comes: a balancer before eight of them is sent eight times
the requests at eight times the rate. So the three measurements can be held against each other.
"""

from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.result_files import SERVE
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark.vllm_bench import identity

INSTANCE, NODE, BALANCER = "instance", "node", "balancer"
VLLM, AIS_BENCH = "vllm", "ais_bench"

_URL = re.compile(r"https?://[^/\s]+$")
# Parts of an identity that are read from files of the node.
DIGESTS = ("weights", "driver")
# Throughputs of several clients are what all of them got done between the first start and the last end.
_COUNTS = ("completed", "failed", "num_prompts", "total_input_tokens", "total_output_tokens")


def chosen(plan, inputs):
    """The targets that the inputs ask for, in the order in which they are measured.

    :raises BadInput: for a balancer without an address.
    """
    url, wanted = inputs["benchmark_balancer_url"], set(inputs["benchmark_targets"])
    if url and not _URL.match(url):
        raise BadInput(
            "benchmark_balancer_url must be auto, empty or a URL such as http://10.0.0.9:8080, but is '%s'." % url)
    if BALANCER in wanted and not url:
        raise BadInput("benchmark_targets contains balancer, but there is none to measure; set benchmark_balancer_url.")
    if "auto" in wanted:
        several = len(serving_instances(plan)) > 1
        wanted |= {INSTANCE} | ({NODE} if several else set()) | ({BALANCER} if url else set())
    return [target for target in (INSTANCE, NODE, BALANCER) if target in wanted]


def times(inputs, count):
    """The inputs with the load of as many instances."""
    rate = inputs["benchmark_request_rate"]
    return dict(inputs, benchmark_num_prompts=inputs["benchmark_num_prompts"] * count,
                benchmark_request_rate=rate if str(rate) == "inf" else "%g" % (float(rate) * count),
                benchmark_max_concurrency=inputs["benchmark_max_concurrency"] * count)


def measurement(name, target, tool, urls, instances, hosts, inputs):
    """What is measured of one target, still without runs.

    :param urls: where the requests are sent. :param instances: for how many instances. :param hosts: whose these are.
    """
    return {"name": name, "target": target, "tool": tool, "urls": urls, "instances": instances, "hosts": hosts,
            "num_prompts": inputs["benchmark_num_prompts"] * instances, "warm_up": None, "runs": [], "summary": {},
            "baseline": None, "sweep": None}


def merged(clients):
    """``{"kind", "metrics", "overlap_percent"}`` of clients that ran side by side, one to an instance.

    Counts are added, latencies are those of the slowest instance. Throughputs are of the time from the first start to
    the last end, so they never tell more than was done.

    :param clients: with ``kind``, ``metrics`` (``duration`` in seconds) and ``ended_at``, the client's end in seconds.
    """
    if any(client["kind"] != SERVE for client in clients):
        return {"kind": next((client["kind"] for client in clients if client["kind"] != SERVE), None), "metrics": {},
                "overlap_percent": None}
    each = [client["metrics"] for client in clients]
    spans = [(client["ended_at"] - client["metrics"]["duration"], client["ended_at"]) for client in clients]
    first, last = min(start for start, _end in spans), max(end for _start, end in spans)
    together = min(end for _start, end in spans) - max(start for start, _end in spans)
    metrics = {name: max(values[name] for values in each)
               for name in each[0] if name.endswith("_ms") and all(name in values for values in each)}
    metrics.update({name: sum(values[name] for values in each)
                    for name in _COUNTS if all(name in values for values in each)})
    metrics.update(duration=last - first,
                   request_throughput=metrics["completed"] / (last - first),
                   output_throughput=metrics["total_output_tokens"] / (last - first),
                   total_token_throughput=(metrics["total_input_tokens"] + metrics["total_output_tokens"])
                   / (last - first))
    return {"kind": SERVE, "metrics": metrics, "overlap_percent": round(100 * max(0, together) / (last - first), 1)}


def serves(instance):
    """Whether an observed instance has an API, and its container runs and is the planned one.

    One that works for an instance of another node has none.
    """
    return instance["serves"] and bool(instance["service"]) and instance["service"]["running"] and (
        identity(instance["service"])["instance_hash"] == instance["hash"])


def look(instances):
    """``{name: identity}`` of the observed instances of a node."""
    return {instance["name"]: identity(instance["service"]) for instance in instances}


def unproven(before, after):
    """``["vllm: weights"]``: the digests that are not known on one side or on both, so that nothing can be compared."""
    return ["%s: %s" % (name, key) for name, first in sorted(before.items()) for key in DIGESTS
            if first[key] is None or (after.get(name) or identity(None))[key] is None]


def differences(before, after):
    """``["vllm: restarts 0 → 1"]`` of two looks at the same instances; one that is gone differs in everything."""
    found = []
    for name, first in sorted(before.items()):
        second = after.get(name) or identity(None)
        found += ["%s: %s %s → %s" % (name, key, first[key], second[key]) for key in first if first[key] != second[key]]
    return found
