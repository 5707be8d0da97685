# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Lookups in the catalogue: releases and the options of ``vllm serve`` and ``vllm bench``. Every function is pure."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping
from typing import Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import (
    Catalogue,
    Option,
    OptionKind,
    Route,
    RouteKind,
)

VALUE: OptionKind = "value"
SWITCH: OptionKind = "switch"
FLAG: OptionKind = "flag"


def merge(base: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Return base with overlay merged into it. Mappings are merged by key. Any other value replaces the value in base.

    Neither argument is changed.
    """
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def release_id(text: str) -> str:
    """Return the name of a release with the leading v of its git and image tags: ``v0.11.0rc1`` for ``0.11.0rc1``."""
    return "v" + text if text[:1].isdigit() else text


def version_key(version: str) -> tuple[int, ...]:
    """Return a vLLM version such as ``0.11.0`` as a sort key."""
    return tuple(int(part) for part in version.split("."))


def serve_options(catalogue: Catalogue, vllm: str) -> dict[str, OptionKind]:
    """Return the options of ``vllm serve`` in a vLLM version and their kinds.

    :raises KeyError: if the catalogue does not list the options of that version.
    """
    return _options(catalogue, catalogue["serve_options"], vllm)


def bench_options(catalogue: Catalogue, vllm: str, command: str) -> dict[str, OptionKind]:
    """Return the options of ``vllm bench <command>`` itself, without engine options, and their kinds.

    :raises KeyError: if the catalogue does not list the options of that version.
    """
    return _options(catalogue, catalogue["bench_options"][command], vllm)


def routes(catalogue: Catalogue, vllm: str) -> dict[str, RouteKind]:
    """Return the routes of the HTTP server of a vLLM version and their kinds."""
    return {path: route["kind"] for path, route in catalogue["routes"].items() if _within(route, version_key(vllm))}


def engine_options(catalogue: Catalogue) -> set[str]:
    """Return the options of ``vllm serve`` that configure the engine, not the HTTP server."""
    return {name for name, option in catalogue["serve_options"].items() if not option.get("frontend")}


def nearest(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that is most similar to a name, or None."""
    matches = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _options(catalogue: Catalogue, options: Mapping[str, Option], vllm: str) -> dict[str, OptionKind]:
    if vllm not in catalogue["vllm_versions"]:
        raise KeyError(vllm)
    now = version_key(vllm)
    return {name: _kind(option) for name, option in options.items() if _within(option, now)}


def _kind(option: Option) -> OptionKind:
    if option.get("switch"):
        return SWITCH
    return FLAG if option.get("flag") else VALUE


def _within(option: Option | Route, now: tuple[int, ...]) -> bool:
    since, until = option.get("since"), option.get("until")
    return (since is None or now >= version_key(since)) and (until is None or now < version_key(until))
