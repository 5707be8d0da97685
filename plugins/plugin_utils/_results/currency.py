# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Find results that no longer describe what is deployed: another plan or image, or other weights or containers.

A result is compared with the saved plan and with the newest observations in the results folder. No node is queried.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, TypedDict

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import StageResult

# The stages whose results belong to an image, weights and containers. The others only belong to a plan.
OF_A_SERVICE = ("serving", "functional", "accuracy", "benchmark")
# The stages whose results contain what `newest` reads.
OBSERVING = ("image", "weights", "serving", "benchmark")
# The name of the note in which playbooks/status.yml saves the containers that it has observed.
STATUS = "status"


class Deployed(TypedDict):
    """The newest observations of a host; None if there is no observation."""

    #: The id of the image.
    image: str | None
    #: The digest of the manifest of the weights.
    weights: str | None
    #: ``{name of an instance: start of its container}``; the start is None if there is no container.
    containers: dict[str, str | None]
    #: When the containers were observed (UTC, ISO 8601).
    observed_at: str | None


class Current(Deployed):
    """The current state of a host, as far as the results folder shows it."""

    #: The hash of the saved plan; None if no plan is saved.
    plan: str | None


class Change(TypedDict):
    """A difference between what a result belongs to and what is deployed on the host now."""

    #: ``plan``, ``image``, ``weights``, or ``start of container`` with the name of the instance
    what: str
    was: str
    now: str


def newest(results: Mapping[str, StageResult], status: Mapping[str, Any] | None = None) -> Deployed:
    """Return what is deployed on a host according to ``{stage: result}`` and the note of playbooks/status.yml."""
    observations = [(str(result["finished_at"]), _containers(result)) for result in results.values()]
    if status:
        observations.append((str(status.get("observed_at")), status.get("containers") or {}))
    observed_at, containers = max((each for each in observations if each[1]), key=lambda each: each[0],
                                  default=(None, {}))
    image, weights = _text_at(results.get("image"), "image", "id"), _text_at(results.get("weights"), "digest")
    return {"image": image, "weights": weights, "containers": containers, "observed_at": observed_at}


def changes(result: StageResult, current: Current) -> list[Change]:
    """Return what has changed on the host since a result; empty if the result is up to date."""
    found = [("plan", result["plan_hash"], current["plan"])]
    deployed = result.get("deployed")
    if deployed:
        found += [("image", deployed["image"], current["image"]), ("weights", deployed["weights"], current["weights"])]
        found += [(f"start of container {name}", started, current["containers"][name] or "none")
                  for name, started in deployed["containers"].items() if name in current["containers"]]
    return [{"what": what, "was": was, "now": now} for what, was, now in found if was and now and was != now]


def starts(instances: Iterable[Mapping[str, Any]]) -> dict[str, str | None]:
    """Return ``{name: start of its container}`` for observed instances; the start is None without a container."""
    containers = {str(each["name"]): each["container"] for each in instances}
    return {name: str(container["started_at"]) if container else None for name, container in containers.items()}


def sentence(found: Iterable[Change]) -> str:
    """Return changes as the second half of a sentence."""
    return "; ".join("the %s was %s and is now %s" % (each["what"], _short(each["was"]), _short(each["now"]))
                     for each in found) + "."


def _short(value: str) -> str:
    """Return the first digits of a digest. Other strings are returned unchanged."""
    digest = re.fullmatch(r"(?:sha256:)?([0-9a-f]{12})[0-9a-f]{52}", value)
    return digest.group(1) if digest else value


def _containers(result: StageResult) -> dict[str, str | None]:
    """Return the starts of the containers that a stage has observed; empty if it has observed none."""
    observed = result["observed"]
    try:
        if result["stage"] == "serving":
            return starts(observed.get("instances", ()))
        if result["stage"] == "benchmark" and observed.get("snapshots"):
            return starts({"name": name, "container": each["started_at"] and each}
                          for name, each in observed["snapshots"][-1].items())
    except (LookupError, TypeError, AttributeError):  # An observation that could not be judged may have any format.
        pass
    return {}


def _text_at(result: StageResult | None, *keys: str) -> str | None:
    found: Any = result["observed"] if result else None
    for key in keys:
        found = found.get(key) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else None
