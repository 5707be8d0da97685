# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The rows that the results of stages contribute to the report: services, figures, comparisons and pins."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any, TypedDict, TypeVar

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CheckOutcome, StageResult

Row = TypeVar("Row")

_DIGEST = re.compile(r"(?:sha256:)?[0-9a-f]{64}")


class Service(TypedDict):
    """A service that responded: a vLLM server or a balancer."""

    host: str
    name: str
    url: str
    served_name: str
    #: Start of its container (UTC, ISO 8601); None for a balancer.
    since: str | None
    #: Whether the container is the same as in the previous report.
    unchanged: bool


class Figure(contract.Figure):
    """A measured value of a host."""

    host: str


class Comparison(TypedDict):
    """The scores of two models on the same dataset, in points."""

    host: str
    dataset: str
    metric: str
    #: The model that was measured before, and its score.
    compared_with: str
    before: float
    #: The model that is served, and its score.
    model: str | None
    after: float
    #: ``after`` minus ``before``.
    delta: float
    #: ``passed``, ``failed`` or ``inconclusive``: whether it dropped by at most accuracy_maximum_drop.
    verdict: str
    #: The 95 % interval of the difference; None if the answers of both models are not known.
    interval: list[float] | None


class Pin(TypedDict):
    """An input that pins the verified image or model by its digest."""

    name: str
    value: str
    hosts: list[str]


def services(result: StageResult, last: Iterable[Service]) -> Iterator[Service]:
    """Yield a host's responding services: planned instances and balancers.

    :param last: the services of the previous report.
    """
    observed, host = result["observed"], result["host"]
    containers = {instance["name"]: instance["container"] for instance in observed.get("instances", ())
                  if instance["state"] == "ready"}
    balancers = {check["subject"] for check in result["checks"]
                 if check["id"] == "serving.balancer" and check["status"] == contract.PASSED}
    started = {(service["host"], service["name"]): service.get("since") for service in last}
    for service in observed.get("services", ()):
        name = service["name"]
        if name in containers or service["url"] in balancers:
            since = str(containers[name]["started_at"])[:19] + "Z" if name in containers else None
            yield {"host": host, "name": str(name), "url": str(service["url"]),
                   "served_name": str(service["served_name"]), "since": since,
                   "unchanged": since is not None and started.get((host, name)) == since}


def figures(host: str, result: StageResult) -> Iterator[Figure]:
    for row in result["observed"].get("figures", ()):
        yield {"host": host, "name": str(row["name"]), "value": _as_number(row["value"]), "unit": str(row["unit"])}
    planned = result["observed"].get("planned_kv_cache_tokens")
    for instance in result["observed"].get("instances", ()) if result["stage"] == "serving" else ():
        if instance.get("kv_cache_tokens"):
            for name, tokens in ("KV cache of", instance["kv_cache_tokens"]), ("planned KV cache of", planned):
                if tokens:
                    yield {"host": host, "name": "%s %s" % (name, instance["name"]), "value": _as_number(tokens),
                           "unit": "tokens"}


def comparisons(host: str, result: StageResult) -> Iterator[Comparison]:
    observed = result["observed"]
    for row in observed.get("comparison", ()):
        yield {"host": host, "dataset": str(row["dataset"]), "metric": str(row["metric"]),
               "compared_with": str(observed["compared_with"]["model"]), "before": _as_number(row["before"]),
               "model": result["model"], "after": _as_number(row["after"]), "delta": _as_number(row["delta"]),
               "verdict": str(row["verdict"]), "interval": row["paired"] and [
                   _as_number(row["paired"][end]) for end in ("low", "high")]}


def _as_number(value: Any) -> float:
    if isinstance(value, (int, float)):
        return value
    raise TypeError(f"{value!r:.80} is not a number")


def collect(judged: Iterable[tuple[str, StageResult]], stage: str | None,
            read: Callable[[str, StageResult], Iterable[Row]],
            unreadable: list[tuple[str, StageResult, CheckOutcome]]) -> list[Row]:
    """Return the rows that the results of a stage (None for all) contribute to the report.

    :param unreadable: receives the host, the result and a check for each result whose rows have an unexpected format.
    """
    found: list[Row] = []
    for host, result in judged:
        if stage in (None, result["stage"]):
            try:
                found += list(read(host, result))
            except (LookupError, TypeError, ValueError, AttributeError) as error:
                checks = contract.Checks(())
                checks.not_run("observation", f"The report cannot show what was observed ({error!r}).")
                unreadable += [(host, result, {**check, "id": f"{result['stage']}.{check['id']}"})
                               for check in checks.as_list()]
    return found


def pins(host: str, result: StageResult) -> Iterator[Pin]:
    """Yield the digest of the image or the model of a host, unless the stage failed."""
    observed, name = result["observed"], {"image": "image_digest", "weights": "weights_digest"}.get(result["stage"])
    if name and result["status"] != contract.FAILED:
        value = _image_digest(observed) if result["stage"] == "image" else observed.get("digest")
        if _DIGEST.fullmatch(str(value)):
            yield {"name": name, "value": str(value), "hosts": [host]}


def shared(each_host: Iterable[Pin]) -> list[Pin]:
    """Merge the pins: one for each digest, with all its hosts."""
    hosts: dict[tuple[str, str], list[str]] = {}
    for pin in each_host:
        hosts.setdefault((pin["name"], pin["value"]), []).extend(pin["hosts"])
    return [{"name": name, "value": value, "hosts": found} for (name, value), found in hosts.items()]


def _image_digest(observed: Mapping[str, Any]) -> str | None:
    """Return the registry digest of the image; for an image from an archive, return its id."""
    image = observed.get("image") or {}
    repository = str(observed.get("reference")).rpartition(":")[0]
    digests = sorted(image.get("digests") or (), key=lambda digest: digest.rpartition("@")[0] != repository)
    return digests[0].rpartition("@")[2] if digests else image.get("id")
