# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Traces: recorded requests with their times, which ``vllm bench serve`` replays with ``files/replay.py`` of the role.

Its own dataset ``timed_trace`` exists from 0.23 only, and has no pictures.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain
from pathlib import Path
from typing import Any, NamedTuple

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput, collection_root

TRACE = "trace"
VARIABLE = "ASCEND_VLLM_REQUESTS_"
# The kernel limits a variable to 128 KiB, and all variables and arguments of a process to 2 MiB.
_CHUNK, _CHUNKS = 100_000, 10


class Request(NamedTuple):
    """A request of a load."""

    #: Seconds after the first request.
    at_s: float
    output_tokens: int
    images: int
    #: The prompt: ``[(name of a stream of random tokens, number of tokens from its beginning)]``. Prompts with the same
    #: names have a prefix in common, which an engine may cache.
    blocks: tuple[tuple[str, int], ...]

    @property
    def input_tokens(self) -> int:
        return sum(tokens for _name, tokens in self.blocks)


# Formats of traces, each with these fields: the columns of the time, the input tokens and the output tokens, which a
# row must have; the columns of the number of images and of the names of the prompt's blocks, which it may have; the
# tokens per block; and the unit of the time in seconds. If the tokens per block are 0, the whole prompt is one block,
# and the requests with the same name are turns of a conversation.
_FORMATS = (
    ("timestamp_s", "input_tokens", "output_tokens", "images", "session", 0, 1),
    # github.com/Azure/AzurePublicDataset: AzureLLMInferenceTrace, with NumImages in the multimodal one.
    ("TIMESTAMP", "ContextTokens", "GeneratedTokens", "NumImages", "", 0, 1),
    ("Timestamp", "Request tokens", "Response tokens", "", "Session ID", 0, 1),  # BurstGPT
    ("timestamp", "input_length", "output_length", "", "hash_ids", 512, 0.001),  # Mooncake
)
# github.com/alibaba-edu/qwen-bailian-usagetraces-anon has the columns of Mooncake and the column chat_id, but other
# tokens per block and another unit.
_BAILIAN = (16, 1)


def check_inputs(plan: Plan, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per mistake in the load. Files on the controller are read."""
    dataset, path, trace = inputs["benchmark_dataset"], inputs["benchmark_trace_path"], list[Request]()
    if bool(path) != (dataset == TRACE):
        yield "benchmark_trace_path must %sbe empty, because benchmark_dataset is %s." % ("not " * (not path), dataset)
        return
    if path:
        try:
            trace = requests(inputs)
            launcher(trace)
        except BadInput as mistake:
            yield str(mistake)
            return
    pictures = dataset == "random-mm" or any(request.images for request in trace)
    if pictures and plan["model"]["modality"] == "text":
        yield "benchmark_dataset is %s, whose requests have pictures, but %s is a text model; send text only." % (
            dataset, plan["model"]["name"])
    size = [(inputs["benchmark_random_input_len_tokens"], inputs["benchmark_random_output_len_tokens"])]
    longest = max([(request.input_tokens, request.output_tokens) for request in trace] or size, key=sum)
    command = plan["instances"][0]["command"] if plan["instances"] else []
    limit = command[command.index("--max-model-len") + 1] if "--max-model-len" in command else "auto"
    if dataset != "custom" and limit.isdigit() and sum(longest) > int(limit):
        yield ("The longest request of the benchmark has %d and generates %d tokens, but max-model-len is %s; use "
               "shorter requests, or raise max-model-len in serving_args." % (*longest, limit))


def requests(inputs: Mapping[str, Any]) -> list[Request]:
    """Return the requests of the trace, repeated if there are too few. Raise BadInput if the file is not a trace."""
    count = inputs["benchmark_num_prompts"]
    rows = _read(inputs["benchmark_trace_path"], count)
    speed, period = inputs["benchmark_trace_speed"], len(rows) / _rate(rows)
    found = []
    for index in range(count):
        repeat, row = index // len(rows), rows[index % len(rows)]
        # Other names of the blocks result in other prompts, which the engine has not cached.
        found.append(row._replace(at_s=(row.at_s + repeat * period) / speed, blocks=tuple(
            ("%d %s" % (repeat, name), tokens) for name, tokens in row.blocks)))
    return found


def trace_rate(inputs: Mapping[str, Any]) -> float:
    """Return the mean number of requests per second in a trace."""
    return _rate(_read(inputs["benchmark_trace_path"], inputs["benchmark_num_prompts"]))


def output_tokens(inputs: Mapping[str, Any]) -> int:
    """Return the number of tokens that the requests of a run generate."""
    if inputs["benchmark_dataset"] == TRACE:
        return sum(request.output_tokens for request in requests(inputs))
    return int(inputs["benchmark_num_prompts"] * inputs["benchmark_random_output_len_tokens"])


def pace(inputs: Mapping[str, Any]) -> str:
    """Return the rate at which the requests are sent, such as ``4/s`` or ``inf/s``."""
    if inputs["benchmark_dataset"] == TRACE:
        return "%.3g/s" % (trace_rate(inputs) * inputs["benchmark_trace_speed"])
    return "%s/s" % inputs["benchmark_request_rate"]


def launcher(trace: Sequence[Request]) -> tuple[list[str], dict[str, str]]:
    """Return the words before ``vllm bench serve`` and the environment that replay the requests, or raise BadInput."""
    rows = [[round(each.at_s, 3), each.output_tokens, each.images, each.blocks] for each in trace]
    packed = base64.b64encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 9)).decode()
    chunks = [packed[start:start + _CHUNK] for start in range(0, len(packed), _CHUNK)]
    if len(chunks) > _CHUNKS:
        raise BadInput("The list of requests is %d kB long, and at most %d kB can be given to a client; lower "
                       "benchmark_num_prompts." % (len(packed) / 1000, _CHUNKS * _CHUNK / 1000))
    code = (collection_root() / "roles/benchmark/files/replay.py").read_text("utf-8")
    return ["python3", "-c", code], {"%s%d" % (VARIABLE, number): chunk for number, chunk in enumerate(chunks)}


def _rate(rows: Sequence[Request]) -> float:
    """Return the mean number of requests per second. If all requests have the same time, return their number."""
    return (len(rows) - 1) / rows[-1].at_s if rows[-1].at_s else float(len(rows))


def _read(path: str, limit: int) -> list[Request]:
    """Return the first requests of a trace. Requests without output, which had failed, are left out."""
    found: list[Request] = []
    number = 0
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            for number, row in _rows(stream):
                request = _request(row, number)
                if not (found[-1].at_s if found else -math.inf) <= request.at_s < math.inf:
                    raise ValueError("its time is infinite or before that of the previous request; sort the file")
                if request.output_tokens:
                    found.append(request)
                if len(found) == limit:
                    break
    except (OSError, ValueError, TypeError, AttributeError, OverflowError, csv.Error) as error:
        raise BadInput(f"benchmark_trace_path: {path} cannot be read as a trace, line {number}: {error}.") from error
    if not found:
        raise BadInput("benchmark_trace_path: %s has no requests." % path)
    return [request._replace(at_s=request.at_s - found[0].at_s) for request in found]


def _rows(stream: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Return the numbers of the lines of a CSV or JSONL file and their rows."""
    lines = iter(stream)
    first = next(lines, "")
    if first.lstrip().startswith("{"):
        return ((number, json.loads(line)) for number, line in enumerate(chain([first], lines), 1) if line.strip())
    return enumerate(csv.DictReader(chain([first], lines)), 2)


def _request(row: Mapping[str, Any], number: int) -> Request:
    known = next((each for each in _FORMATS if set(each[:3]) <= set(row)), None)
    if known is None:
        raise ValueError("its columns match none of the formats in the description of benchmark_trace_path")
    time, prompt, output, images, names, size, unit = known
    if "chat_id" in row:
        size, unit = _BAILIAN
    remaining, blocks, found = _integer(row, prompt, 1), ["row %d" % number], list[tuple[str, int]]()
    if row.get(names):
        blocks = [str(name) for name in row[names]] + blocks if size else ["session %s" % row[names]]
    for name in blocks:
        # If the row names too few blocks, the rest of its prompt is a separate block.
        tokens = remaining if name == blocks[-1] else min(size, remaining)
        found += [(name, tokens)] * (tokens > 0)
        remaining -= tokens
    return Request(_seconds(row[time]) * unit, _integer(row, output, 0),
                   _integer(row, images, 0) if images in row else 0, tuple(found))


def _integer(row: Mapping[str, Any], column: str, minimum: int) -> int:
    value = float(row[column])
    if value != int(value) or value < minimum:
        raise ValueError("%s must be a whole number of at least %d, but is %s" % (column, minimum, row[column]))
    return int(value)


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        # Azure writes one to seven digits after the point, of which Python 3.10 reads three or six, and only UTC.
        time, _point, digits = value.partition("+")[0].partition(".")
        return (datetime.fromisoformat(time) - datetime(1970, 1, 1)).total_seconds() + float("0." + digits)
