# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue's entries, and those that a plan shows: it deploys them, mentions them in messages, or acts on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any

# Entries of a release whose text is inserted into a message of the plan.
INSERTED = ("environment_unwanted", "additional_config_ignored")


@lru_cache(maxsize=None)
def shipped() -> dict[str, Any]:
    """Return the hardware, releases and models of the catalogue."""
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue_files import load_catalogue

    return load_catalogue()


def driver(bad: Mapping[str, Any]) -> str:
    """Return the name of an entry of driver_known_bad. Releases share these entries."""
    return f"driver {bad['version'] if 'version' in bad else 'below ' + bad['below']}"


def kernel(older: Mapping[str, Any]) -> str:
    """Return the name of an entry of older_kernels. Hardware profiles share these entries."""
    return f"kernel {older['version']} of {older['system']}"


def entries() -> set[str]:
    """Return the names of all entries."""
    catalogue = shipped()
    found = {f"{kind} {name}" for kind in ("hardware", "models") for name in catalogue[kind]}
    for profile in catalogue["hardware"].values():
        found |= {kernel(older) for older in profile["older_kernels"]}
    for name, model in catalogue["models"].items():
        found |= {f"{name} {key} {topology}" for key in ("unsupported", "untested") for topology in model[key]}
    for name, release in catalogue["releases"].items():
        found |= {f"release {name}", *map(driver, release["driver_known_bad"])}
        found |= {f"{name} variant {variant}" for variant in release["image"]["variants"]}
        found |= {f"{name} {key} {each}" for key in (*INSERTED, "known_bugs", "patches") for each in release[key]}
        found |= {f"{name} conflict {each['option']} with {topology}" for each in release["conflicts"]
                  for topology in each["topologies"]}
    return found


def shown(plan: Mapping[str, Any], messages: list[tuple[str, str]], refused: bool) -> Iterator[str]:
    """Yield the names of the catalogue entries that a plan shows. A release that a test has changed does not count.

    :param messages: the ID and the text of each warning and refusal.
    """
    catalogue, release, model = shipped(), plan["release"], plan["model"]
    if not release or catalogue["releases"].get(release["id"]) != {
            key: value for key, value in release.items() if key not in ("id", "routes", "usable")}:
        return
    name, tag = release["id"], (plan["image"] or {}).get("tag", "")
    texts = [text for _id, text in messages]

    def mentioned(text):
        return any(text.rstrip(".") in each for each in texts)

    if not refused:
        yield from (f"release {name}", f"hardware {plan['hardware']['id']}", f"models {model['id']}")
        yield from (f"{name} variant {each}" for each in release["image"]["variants"] if tag.endswith(f"-{each}"))
    for key in ("unsupported", "untested"):
        yield from (f"{model['id']} {key} {topology}" for topology, text in model[key].items()
                    if mentioned(text) and any(f"serving_topology is {topology}" in each for each in texts))
    for key in INSERTED:
        yield from (f"{name} {key} {each}" for each, text in release[key].items() if mentioned(text))
    applied = plan["patch"]["id"] if plan["patch"] else None
    for each, patch in release["patches"].items():
        if each == applied or (patch["policy"] == "fixed" and mentioned(patch["reason"])):
            yield f"{name} patches {each}"
    environment = plan["instances"][0]["environment"] if plan["instances"] else {}
    for each, bug in release["known_bugs"].items():
        # The last word of mitigated_by is the ID of the patch, or the name of the environment variable.
        mitigation = bug.get("mitigated_by", "").split()[-1:]
        if f"known_bug.{each}" in dict(messages) or set(mitigation) & {applied, *environment}:
            yield f"{name} known_bugs {each}"
    topology = plan["group"] and plan["group"]["topology"]
    for each in release["conflicts"]:
        default = catalogue["models"].get(model["id"], {}).get("arguments", {}).get(each["option"])
        removed = default == each["value"] and each["option"] not in model["arguments"]
        if topology in each["topologies"] and (removed or mentioned(each["reason"])):
            yield f"{name} conflict {each['option']} with {topology}"
