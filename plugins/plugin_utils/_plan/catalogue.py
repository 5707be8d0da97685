# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookups in the catalogue: releases, and the options of ``vllm serve`` and ``vllm bench``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Literal, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types

VALUE: types.OptionKind = "value"
SWITCH: types.OptionKind = "switch"
FLAG: types.OptionKind = "flag"
SUPPORT: tuple[Literal["documented", "undocumented"], ...] = ("documented", "undocumented")


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any], extend: bool = False) -> dict[str, Any]:
    """Return base with overlay merged into it. Mappings are merged by key. Any other value replaces the value in base.

    Neither argument is changed.

    :param extend: whether a list is appended to the list in base, and null is kept. Otherwise, a list replaces
        the list in base, and null removes the key.
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        if isinstance(value, dict):
            merged[key] = merge(old if isinstance(old, dict) else {}, value, extend)
        elif value is None and not extend:
            merged.pop(key, None)
        elif extend and isinstance(old, list) and isinstance(value, list):
            merged[key] = old + [item for item in value if item not in old]
        else:
            merged[key] = value
    return merged


def concerns(entry: types.PatchEntry | types.KnownBug, model: types.Model) -> bool:
    """Return whether a patch or a bug of a release concerns a model."""
    return not {model["id"], model.get("architecture")}.isdisjoint(entry.get("models", [model["id"]]))


def model_for(entry: types.ModelEntry, profile: types.HardwareProfile, release: str) -> types.ModelEntry:
    """Return the entry of a model with its overrides for the hardware and the release."""
    for override in entry["overrides"]:
        if override.get("series", profile["series"]) == profile["series"] and within(override, release):
            keys = {key: value for key, value in override.items() if key not in ("series", "since", "until")}
            entry = cast(types.ModelEntry, merge(entry, keys))
    return entry


def releases_of(catalogue: types.Catalogue, profile: types.HardwareProfile, model: types.ModelEntry) -> list[str]:
    """Return the releases with images for the hardware that support the model, in order."""
    suffix = profile["image_suffix"]
    return sorted((name for name, entry in catalogue["releases"].items()
                   if support(model, name) and (not suffix or suffix in entry["image"]["chips"])), key=version_key)


def base_release(text: str) -> str | None:
    """Return the release on which a post-release or a nightly image is based, or None for any other string."""
    found = re.fullmatch(r"((?:nightly-|releases-)*)(v\d+\.\d+\.\d+(?:rc\d+)?)(\.(?:post|dev)\d+|-nightly.*)?", text)
    return found.group(2) if found and (found.group(1) or found.group(3)) else None


def nearest_release(wanted: str, releases: Iterable[str]) -> str | None:
    """Return the release whose version is nearest to that in a string, or None if the string has no version."""
    def number(version: str) -> int:
        return sum(part * 1000 ** (4 - place) for place, part in enumerate(version_key(version)))

    if not re.search(r"\d+\.\d+\.\d+", wanted):
        return None
    return min(releases, key=lambda name: abs(number(name) - number(wanted)), default=None)


def release_id(text: str) -> str:
    """Return the name of a release with the leading v of its git and image tags: ``v0.11.0rc1`` for ``0.11.0rc1``."""
    return "v" + text if text[:1].isdigit() else text


@lru_cache(maxsize=None)
def version_key(version: str) -> tuple[int, ...]:
    """Return a version of vLLM or a release of vLLM Ascend as a sort key: 0.11.0rc1 < 0.11.0 < 0.11.0.post1."""
    parts = re.search(r"(\d+)\.(\d+)\.(\d+)(?:rc(\d+)|\.post(\d+))?", version)
    if parts is None:
        raise ValueError(version)
    major, minor, patch, candidate, post = (int(part or 0) for part in parts.groups())
    return major, minor, patch, 0 if candidate else 1, candidate or post


def within(bounds: Mapping[str, Any], version: str) -> bool:
    """Return whether a version is in a range: at least ``since``, and lower than ``until``. Both are optional."""
    now, since, until = version_key(version), bounds.get("since"), bounds.get("until")
    return (since is None or now >= version_key(since)) and (until is None or now < version_key(until))


def support(model: types.ModelEntry, release: str) -> types.Support | None:
    """Return how a release supports a model according to the catalogue, or None if it does not."""
    stated = model["releases"]
    if not stated:
        return "unstated"
    return next((status for status in SUPPORT if status in stated and within(stated[status], release)), None)


def serve_options(catalogue: types.Catalogue, vllm: str) -> dict[str, types.OptionKind]:
    """Return the options of ``vllm serve`` in a vLLM version and their kinds.

    The options of a version that the catalogue does not list are those of the preceding version.
    """
    return _available(catalogue["serve_options"], vllm)


def bench_options(catalogue: types.Catalogue, vllm: str, command: str) -> dict[str, types.OptionKind]:
    """Return the options of ``vllm bench <command>`` itself, without engine options, and their kinds."""
    return _available(catalogue["bench_options"][command], vllm)


def _available(options: Mapping[str, types.Option], vllm: str) -> dict[str, types.OptionKind]:
    return {name: SWITCH if option.get("switch") else FLAG if option.get("flag") else VALUE
            for name, option in options.items() if within(option, vllm)}


def routes(catalogue: types.Catalogue, vllm: str) -> dict[str, types.RouteKind]:
    """Return the routes of the HTTP server of a vLLM version and their kinds."""
    return {path: route["kind"] for path, route in catalogue["routes"].items() if within(route, vllm)}


def engine_options(catalogue: types.Catalogue) -> set[str]:
    """Return the options of ``vllm serve`` that configure the engine, not the HTTP server."""
    return {name for name, option in catalogue["serve_options"].items() if not option.get("frontend")}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a name, or None."""
    matches = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None
