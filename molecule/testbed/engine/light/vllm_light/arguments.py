# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The command line of `vllm serve` 0.11.0: all options (options.json), with types for the few that are used here."""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

TYPED = {
    "port": {"type": int, "default": 8000},
    "max-model-len": {"type": int},
    "max-num-batched-tokens": {"type": int},
    "max-num-seqs": {"type": int, "default": 256},
    "tensor-parallel-size": {"type": int, "default": 1},
    "pipeline-parallel-size": {"type": int, "default": 1},
    "data-parallel-size": {"type": int, "default": 1},
    "data-parallel-size-local": {"type": int},
    "served-model-name": {"nargs": "+"},
    "additional-config": {"type": json.loads},
    "api-key": {"nargs": "*"},
    "middleware": {"action": "append", "default": []},
}
SHORT = {
    "tensor-parallel-size": "-tp",
    "pipeline-parallel-size": "-pp",
    "data-parallel-size": "-dp",
    "quantization": "-q",
}


def parser() -> argparse.ArgumentParser:
    """Return the parser; like the real one, it exits with 2 on an unknown option."""
    options = json.loads(Path(__file__).with_name("options.json").read_text())
    result = argparse.ArgumentParser(prog="vllm serve", usage="vllm serve [model_tag] [options]")
    result.add_argument("model_tag", nargs="?")
    for name in options["value"]:
        result.add_argument(*filter(None, (SHORT.get(name), "--" + name)), **TYPED.get(name, {}))
    for name in options["switch"]:
        result.add_argument("--" + name, action=argparse.BooleanOptionalAction)
    for name in options["flag"]:
        result.add_argument("--" + name, action="store_true")
    return result


def with_dashes(argv: list[str]) -> list[str]:
    """Replace the underscores in option names: vLLM accepts --max_model_len for --max-model-len."""
    found = []
    for word in argv:
        name, equals, value = word.partition("=")
        found.append(name.replace("_", "-") + equals + value if name.startswith("--") else word)
    return found


def parse(argv: list[str]) -> argparse.Namespace:
    """Return the values of `vllm serve`'s options, and what vLLM derives from them: model, names, keys."""
    result = parser()
    values = result.parse_args(with_dashes(argv))
    values.model = values.model_tag or values.model
    if not values.model:
        result.error("the following arguments are required: model_tag")
    if values.served_model_name is None:
        values.served_model_name = [values.model]
    values.api_keys = values.api_key or list(filter(None, [os.environ.get("VLLM_API_KEY")]))
    return values
