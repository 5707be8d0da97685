# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Loads whose requests differ: a recorded trace, or a mix of shapes. A load is a list of requests with their times.

``vllm bench serve`` replays such a list in every release with ``roles/benchmark/files/replay.py``. Its own dataset
``timed_trace`` exists from 0.23 only, and has no pictures.
"""

from __future__ import annotations

import base64
import csv
import json
import math
import random
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from itertools import accumulate, chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput, collection_root

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan

TRACE, MIX = "trace", "mix"
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


class _Format(NamedTuple):
    """The columns of a format of traces: those of which all must exist, and those that may exist."""

    time: str
    input: str
    output: str
    images: str = ""
    #: Requests with the same value are turns of a conversation: their prompts begin with the same tokens.
    session: str = ""
    #: A column with names of blocks of the prompt, and the tokens per block.
    blocks: str = ""
    block_tokens: int = 0
    seconds: float = 1


_FORMATS = {
    "the own format": _Format("timestamp_s", "input_tokens", "output_tokens", "images", "session"),
    # github.com/Azure/AzurePublicDataset: AzureLLMInferenceTrace, with NumImages in the multimodal one.
    "the Azure LLM inference trace": _Format("TIMESTAMP", "ContextTokens", "GeneratedTokens", "NumImages"),
    "BurstGPT": _Format("Timestamp", "Request tokens", "Response tokens", session="Session ID"),
    # github.com/alibaba-edu/qwen-bailian-usagetraces-anon has the keys of Mooncake, but other units.
    "Bailian": _Format("timestamp", "input_length", "output_length", blocks="hash_ids", block_tokens=16),
    "Mooncake": _Format("timestamp", "input_length", "output_length", blocks="hash_ids", block_tokens=512,
                        seconds=0.001),
}


def is_listed(inputs: Mapping[str, Any]) -> bool:
    """Return whether the load is a list of requests."""
    return inputs["benchmark_dataset"] in (TRACE, MIX)


def check_inputs(plan: Plan, inputs: Mapping[str, Any]) -> Iterator[str]:
    """Yield a sentence per mistake in the load. Files on the controller are read."""
    dataset, listed = inputs["benchmark_dataset"], []
    for name, needed in (("benchmark_trace_path", dataset == TRACE), ("benchmark_mix", dataset == MIX)):
        if bool(inputs[name]) != needed:
            yield "%s must %sbe empty, because benchmark_dataset is %s." % (name, "not " * needed, dataset)
            return
    if is_listed(inputs):
        try:
            listed = requests(inputs, inputs["benchmark_seed"])
            launcher(listed)
        except BadInput as mistake:
            yield str(mistake)
            return
    pictures = dataset == "random-mm" or any(request.images for request in listed)
    if pictures and plan["model"]["modality"] == "text":
        yield "benchmark_dataset is %s, whose requests have pictures, but %s is a text model." % (
            dataset, plan["model"]["name"])
    size = [(inputs["benchmark_random_input_len_tokens"], inputs["benchmark_random_output_len_tokens"])]
    longest = max([(request.input_tokens, request.output_tokens) for request in listed] or size, key=sum)
    command = plan["instances"][0]["command"] if plan["instances"] else []
    limit = command[command.index("--max-model-len") + 1] if "--max-model-len" in command else "auto"
    if dataset != "custom" and limit.isdigit() and sum(longest) > int(limit):
        yield ("The longest request of the benchmark has %d and generates %d tokens, but max-model-len is %s; use "
               "shorter requests, or raise max-model-len in serving_args." % (*longest, limit))


def requests(inputs: Mapping[str, Any], seed: int) -> list[Request]:
    """Return the requests of a trace or mix. A trace that is too short starts again, with other prompts.

    :param seed: determines the order and the times of a mix. Neither its number of tokens nor a trace depend on it.
    :raises BadInput: if the trace cannot be read or the mix is wrong.
    """
    count = inputs["benchmark_num_prompts"]
    if inputs["benchmark_dataset"] == MIX:
        return _mixed(inputs, count, random.Random(seed))
    rows = _read(inputs["benchmark_trace_path"], count)
    speed, period = inputs["benchmark_trace_speed"], len(rows) / _rate(rows)
    return [rows[index % len(rows)]._replace(
        at_s=(rows[index % len(rows)].at_s + index // len(rows) * period) / speed,
        blocks=tuple(("%d %s" % (index // len(rows), name), tokens) for name, tokens in rows[index % len(rows)].blocks))
        for index in range(count)]


def trace_rate(inputs: Mapping[str, Any]) -> float:
    """Return the mean number of requests per second in a trace."""
    return _rate(_read(inputs["benchmark_trace_path"], inputs["benchmark_num_prompts"]))


def output_tokens(inputs: Mapping[str, Any]) -> int:
    """Return the number of tokens that a run generates."""
    if is_listed(inputs):
        return sum(request.output_tokens for request in requests(inputs, inputs["benchmark_seed"]))
    return int(inputs["benchmark_num_prompts"] * inputs["benchmark_random_output_len_tokens"])


def pace(inputs: Mapping[str, Any]) -> str:
    """Return how fast the requests are sent, such as ``4/s``."""
    if inputs["benchmark_dataset"] == TRACE:
        return "%.3g/s" % (trace_rate(inputs) * inputs["benchmark_trace_speed"])
    return "%s/s" % inputs["benchmark_request_rate"]


def launcher(listed: Sequence[Request]) -> tuple[list[str], dict[str, str]]:
    """Return the words before ``vllm bench serve`` and the environment variables that replay the requests.

    :raises BadInput: if the list is too long for the environment of a process.
    """
    rows = [[round(each.at_s, 3), each.output_tokens, each.images, each.blocks] for each in listed]
    packed = base64.b64encode(zlib.compress(json.dumps(rows, separators=(",", ":")).encode(), 9)).decode()
    chunks = [packed[start:start + _CHUNK] for start in range(0, len(packed), _CHUNK)]
    if len(chunks) > _CHUNKS:
        raise BadInput("The list of requests is %d kB long, and at most %d kB can be given to a client; lower "
                       "benchmark_num_prompts." % (len(packed) / 1000, _CHUNKS * _CHUNK / 1000))
    code = (collection_root() / "roles/benchmark/files/replay.py").read_text("utf-8")
    return ["python3", "-c", code], {"%s%d" % (VARIABLE, number): chunk for number, chunk in enumerate(chunks)}


def _mixed(inputs: Mapping[str, Any], count: int, draw: random.Random) -> list[Request]:
    shapes = inputs["benchmark_mix"]
    for number, shape in enumerate(shapes, 1):
        small = [name for name in ("share", "input_tokens", "output_tokens", "turns") if not shape[name] > 0]
        if small or min(shape.values()) < 0:
            raise BadInput("benchmark_mix: %s of shape %d must be above 0, and no value may be negative." % (
                ", ".join(small) or "share", number))
    total, kinds = sum(shape["share"] for shape in shapes), []
    for index, end in enumerate(accumulate(shape["share"] for shape in shapes)):
        kinds += [index] * (round(count * end / total) - len(kinds))
    sizes, seen = Counter(kinds), Counter[int]()
    draw.shuffle(kinds)
    found = []
    for at_s, kind in zip(_arrivals(inputs, count, draw), kinds):
        shape = shapes[kind]
        # The first turns of all conversations of a shape come first, then all second turns.
        turn, conversation = divmod(seen[kind], math.ceil(sizes[kind] / shape["turns"]))
        seen[kind] += 1
        history = turn * (shape["input_tokens"] + shape["output_tokens"])
        blocks = (("shape %d" % kind, shape["shared_prefix_tokens"]),
                  ("shape %d conversation %d" % (kind, conversation), history + shape["input_tokens"]))
        found.append(Request(at_s, shape["output_tokens"], shape["images"], blocks))
    return found


def _arrivals(inputs: Mapping[str, Any], count: int, draw: random.Random) -> list[float]:
    """Return times whose intervals have the gamma distribution that ``vllm bench serve`` uses, at exactly the rate."""
    rate = float(inputs["benchmark_request_rate"])
    if rate == math.inf or count == 1:
        return [0.0] * count
    times = [0.0, *accumulate(draw.gammavariate(inputs["benchmark_burstiness"], 1) for _number in range(count - 1))]
    return [time * (count - 1) / rate / times[-1] for time in times]


def _rate(rows: Sequence[Request]) -> float:
    """Return the mean number of requests per second. If all have the same time, this is their number."""
    return (len(rows) - 1) / rows[-1].at_s if rows[-1].at_s else float(len(rows))


def _read(path: str, limit: int) -> list[Request]:
    """Return the first requests of a trace. Requests without output, which had failed, are left out."""
    found: list[Request] = []
    number = 0
    try:
        with Path(path).open(encoding="utf-8-sig", newline="") as stream:
            for number, row in _rows(stream):
                request = _request(row, number)
                if found and request.at_s < found[-1].at_s:
                    raise ValueError("its time is before that of the previous request; sort the file")
                if request.output_tokens:
                    found.append(request)
                if len(found) == limit:
                    break
    except (OSError, ValueError, TypeError, AttributeError, csv.Error) as error:
        raise BadInput("benchmark_trace_path: %s cannot be read as a trace, line %d: %s." % (
            path, number, error)) from error
    if not found:
        raise BadInput("benchmark_trace_path: %s has no requests." % path)
    return [request._replace(at_s=request.at_s - found[0].at_s) for request in found]


def _rows(stream: Iterable[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield the numbers of the lines of a CSV or JSONL file and their rows."""
    lines = iter(stream)
    first = next(lines, "")
    if first.lstrip().startswith("{"):
        yield from ((number, json.loads(line)) for number, line in enumerate(chain([first], lines), 1) if line.strip())
    else:
        yield from enumerate(csv.DictReader(chain([first], lines)), 2)


def _request(row: Mapping[str, Any], number: int) -> Request:
    known = next((each for name, each in _FORMATS.items() if {each.time, each.input, each.output} <= set(row)
                  and (name != "Bailian" or "chat_id" in row)), None)
    if known is None:
        raise ValueError("its columns are those of no known format (%s)" % ", ".join(_FORMATS))
    tokens, output = _whole(row, known.input, 1), _whole(row, known.output, 0)
    images = _whole(row, known.images, 0) if known.images in row else 0
    names = ["row %d" % number]
    if row.get(known.session) not in (None, ""):
        names = ["session %s" % row[known.session]]
    elif known.blocks and row.get(known.blocks):
        names = [str(name) for name in row[known.blocks]] + names
    blocks, size = [], known.block_tokens if len(names) > 1 else tokens
    for name in names:
        used = tokens - sum(each for _name, each in blocks)
        # The rest of a prompt that has too few names is its own.
        blocks.append((name, used if name == names[-1] else min(size, used)))
    return Request(_seconds(row[known.time]) * known.seconds, output, images,
                   tuple(block for block in blocks if block[1]))


def _whole(row: Mapping[str, Any], column: str, least: int) -> int:
    value = float(row[column])
    if value != int(value) or value < least:
        raise ValueError("%s must be a whole number of at least %d, but is %s" % (column, least, row[column]))
    return int(value)


def _seconds(value: Any) -> float:
    try:
        return float(value)
    except ValueError:
        # Azure writes seven digits after the point, of which Python 3.10 reads six, and no time zone but UTC.
        return (datetime.fromisoformat(value[:26].partition("+")[0]) - datetime(1970, 1, 1)).total_seconds()
