# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The head of the plan: what a run deploys and measures, in a few lines for all nodes."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ansible_collections.ascend.vllm.plugins.module_utils._docker.images import pull_name
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import load, targets
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import grouped

TITLES = ("URL", "balancer", "deployment", "image", "weights", "topology", "measured", "warnings")
# Lines per title. All titles and the heading are at most 25 lines.
_LINES = 3
# Assumptions about a client of a benchmark: the seconds until it sends its first request, and the seconds per output
# token of a request. On the test bed, a client needs 20 to 26 s before its first request. The stage needs 12 to 15 s
# before and after its clients.
_START_S, _TOKEN_S, _STAGE_S = 20, 0.04, 12


def rows(plan: Plan, inputs: Mapping[str, Any], stages: Sequence[str], balancers: Sequence[str],
         hosts: Sequence[str]) -> list[str]:
    """Return the text of each title for one host.

    :param inputs: the inputs of all roles. :param balancers: the URLs of balancers. :param hosts: the hosts of the run.
    """
    image, model, group, instances = plan["image"], plan["model"], plan["group"], plan["instances"]
    warnings = Counter(warning["id"].partition(".")[0] for warning in plan["warnings"])
    return [
        ", ".join(str(instance["url"]) for instance in serving_instances(plan)) or "none, another node serves the API",
        ", ".join(balancers) or "none",
        "%s as %s, %d instance%s per node with %s NPUs" % (
            model["name"], model["served_name"], len(instances), "s" * (len(instances) > 1),
            " and ".join(sorted({str(len(instance["npus"])) for instance in instances}))),
        "%s from %s" % (image["reference"], image["archive"]) if image["archive"] else pull_name(
            image["reference"], image["digest"] or "", inputs["image_registry_mirror"]),
        "weights_source %(weights_source)s, weights_distribution %(weights_distribution)s" % inputs,
        "%s of %s" % (group["topology"], ", ".join(member["host"] for member in group["members"])) if group
        else "each node serves independently",
        "; ".join(filter(None, [_accuracy(inputs, stages), _benchmark(plan, inputs, stages, hosts)])) or "nothing",
        ", ".join("%d %s" % (count, name) for name, count in sorted(warnings.items())) or "none",
    ]


def head(found: Mapping[str, Sequence[str]]) -> list[str]:
    """Return the lines of the head from the texts of all hosts. Equal texts are one line with their hosts."""
    lines = ["Plan of %d node%s" % (len(found), "s" * (len(found) > 1))]
    for title, texts in zip(TITLES, zip(*found.values())):
        shown = grouped({host: [text] for host, text in zip(found, texts)}, len(found))
        if len(shown) > _LINES:
            shown[_LINES - 1:] = ["and %d others" % (len(shown) - _LINES + 1)]
        lines += ["  %-12s %s" % (title if number == 0 else "", text.rstrip(".")) for number, text in enumerate(shown)]
    return lines


def _accuracy(inputs: Mapping[str, Any], stages: Sequence[str]) -> str:
    if "accuracy" not in stages or not inputs["accuracy_enabled"]:
        return ""
    return "accuracy of %s, which may take hours" % ", ".join(str(each["name"]) for each in inputs["accuracy_datasets"])


def _benchmark(plan: Plan, inputs: Mapping[str, Any], stages: Sequence[str], hosts: Sequence[str]) -> str:
    """Return what the benchmark measures, and about how long this takes."""
    if "benchmark" not in stages:
        return ""
    planned = targets.with_planned_balancer(inputs)
    absent = sorted(set(inputs["balancer_nodes"]) - set(hosts)) if planned["benchmark_balancer_url"] == "auto" else []
    chosen = targets.chosen(plan, {**planned, "benchmark_balancer_url": ""} if absent else planned)
    prompts, pace = inputs["benchmark_num_prompts"], load.pace(inputs)
    tokens = load.output_tokens(inputs) / prompts
    rate, tokens_s = float(pace[:-2]), _TOKEN_S * tokens
    # A limited number of requests is generated at the same time.
    rounds = math.ceil(prompts / (inputs["benchmark_max_concurrency"] or prompts))
    run_s = _START_S + (1 + inputs["benchmark_warmup_prompts"]) * tokens_s + max(prompts / rate, rounds * tokens_s)
    runs = inputs["benchmark_repeats"] * len(inputs["benchmark_tools"]) * sum(
        len(serving_instances(plan)) if target == targets.INSTANCE else 1 for target in chosen)
    seconds = _STAGE_S + runs * run_s
    more = [inputs["benchmark_sweep"]] * (inputs["benchmark_sweep"] != "none") + list(inputs["benchmark_offline"])
    images = inputs["benchmark_images_per_request"] if inputs["benchmark_dataset"] == "random-mm" else 0
    shape = "%d random tokens%s" % (
        inputs["benchmark_random_input_len_tokens"], " and %d images" % images if images else "")
    if inputs["benchmark_dataset"] == "custom":
        shape = "prompts of %s" % inputs["benchmark_dataset_path"]
    elif inputs["benchmark_dataset"] == load.TRACE:
        shape = "%s, %d tokens on average" % (inputs["benchmark_trace_path"], sum(
            each.input_tokens for each in load.requests(inputs)) / prompts)
    return "%d requests per instance at %s (%s, %d generated tokens), %d x %s, about %s%s%s" % (
        prompts, pace, shape, tokens, inputs["benchmark_repeats"], ", ".join(chosen),
        "%d s" % seconds if seconds < 120 else "%d min" % (seconds / 60),
        ", and longer for %s" % " and ".join(more) if more else "",
        "; not through the balancer, because this run does not include %s" % ", ".join(absent) if absent else "")
