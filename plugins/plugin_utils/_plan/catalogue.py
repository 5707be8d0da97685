# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Look-ups in the catalogue: hardware, releases, models and the options of ``vllm serve`` and ``vllm bench``.

The catalogue is plain data (``catalogue/*.yml``, shape in ``catalogue/schema.json``). Every function is pure.
"""

from __future__ import annotations

import difflib

VALUE, SWITCH, FLAG = "value", "switch", "flag"


def merge(base, overlay):
    """Return base with the mappings of overlay merged into it by key; other values of overlay replace those of base."""
    merged = dict(base)
    for key, value in overlay.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, dict) and isinstance(value, dict) else value
    return merged


def release_id(text):
    """Return the name of a release as its git and image tags spell it: ``0.11.0rc1`` is ``v0.11.0rc1``."""
    return "v" + text if text[:1].isdigit() else text


def version_key(version):
    """Return a vLLM version such as ``0.11.0`` as a tuple of numbers that sorts."""
    return tuple(int(part) for part in version.split("."))


def serve_options(catalogue, vllm):
    """Return ``{option: VALUE | SWITCH | FLAG}`` of ``vllm serve`` in that vLLM version.

    Raises KeyError when the catalogue does not know the options of that version.
    """
    return _options(catalogue, catalogue["serve_options"], vllm)


def bench_options(catalogue, vllm, command):
    """Return ``{option: VALUE | SWITCH | FLAG}`` of ``vllm bench <command>`` itself, without those of the engine.

    Raises KeyError when the catalogue does not know the options of that version.
    """
    return _options(catalogue, catalogue["bench_options"][command], vllm)


def engine_options(catalogue):
    """Return the names of the options of ``vllm serve`` that an engine without the HTTP server takes too."""
    return {name for name, option in catalogue["serve_options"].items() if not option.get("frontend")}


def nearest(name, known):
    """Return the known name that looks most like the given one, or None."""
    matches = difflib.get_close_matches(name, sorted(known), n=1, cutoff=0.6)
    return matches[0] if matches else None


def _options(catalogue, options, vllm):
    if vllm not in catalogue["vllm_versions"]:
        raise KeyError(vllm)
    now = version_key(vllm)
    return {name: _kind(option) for name, option in options.items() if _within(option, now)}


def _kind(option):
    if option.get("switch"):
        return SWITCH
    return FLAG if option.get("flag") else VALUE


def _within(option, now):
    since, until = option.get("since"), option.get("until")
    return (since is None or now >= version_key(since)) and (until is None or now < version_key(until))
