# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run ``vllm bench serve`` with given requests at given times.

The arguments are the whole command line, ``vllm bench serve …``. The environment variables ASCEND_VLLM_REQUESTS_0, _1 …
contain the requests, see plugins/plugin_utils/_stages/benchmark/load.py. Only the choice of the requests and of their
times is replaced: the functions get_samples and get_request of vllm/benchmarks/serve.py, which have the same meaning
from vLLM 0.11 to 0.32.
"""

from __future__ import annotations

import asyncio
import base64
import io
import json
import os
import random
import sys
import time
import zlib

VARIABLE = "ASCEND_VLLM_REQUESTS_"


def unpack(environment):
    """Return ``[[seconds, output tokens, images, [[name, tokens], ...]], ...]``."""
    count = sum(name.startswith(VARIABLE) for name in environment)
    chunks = [environment[VARIABLE + str(number)] for number in range(count)]
    return json.loads(zlib.decompress(base64.b64decode("".join(chunks))))


def token_ids(blocks, vocabulary, seed):
    """Return a prompt: for each block, the first tokens of a random stream that depends on its name and the seed."""
    return [token for name, count in blocks for token in random.Random(f"{seed} {name}").choices(vocabulary, k=count)]


def picture(width, height, seed):
    """Return a random grayscale picture, for which an engine has no cached result."""
    from PIL import Image

    buffer = io.BytesIO()
    pixels = random.Random(seed).getrandbits(8 * width * height).to_bytes(width * height, "big")
    Image.frombytes("L", (width, height), pixels).save(buffer, "PNG", compress_level=1)
    url = "data:image/png;base64," + base64.b64encode(buffer.getvalue()).decode("ascii")
    return {"type": "image_url", "image_url": {"url": url}}


def samples(requests, tokenizer, args, sample_request):
    """Return the requests as ``sample_request`` objects of vLLM.

    Prompts with pictures are sent as text, so the server may split them into another number of tokens.
    """
    special = set(tokenizer.all_special_ids)
    vocabulary = [token for token in range(tokenizer.vocab_size) if token not in special]
    width, height = (int(os.environ["ASCEND_VLLM_PICTURE_" + side]) for side in ("WIDTH", "HEIGHT"))
    found = []
    for number, (_at, output, images, blocks) in enumerate(requests):
        prompt = token_ids(blocks, vocabulary, args.seed)
        length = len(prompt)
        if args.dataset_name == "random-mm":
            prompt = tokenizer.decode(prompt)
            length = len(tokenizer(prompt, add_special_tokens=False).input_ids)
        pictures = [picture(width, height, f"{args.seed} {number} {index}") for index in range(images)]
        found.append(sample_request(prompt=prompt, prompt_len=length, expected_output_len=output,
                                    multi_modal_data=pictures or None, request_id=str(number)))
    return found


def timed(times):
    """Return a replacement of get_request that yields the requests at these times, in seconds after the start."""
    async def get_request(input_requests, *_arguments, **_options):
        started = time.monotonic()
        for at, request in zip(times, input_requests):
            await asyncio.sleep(max(0.0, started + at - time.monotonic()))
            yield request, 0.0
    return get_request


def main():
    from vllm.benchmarks import serve
    from vllm.entrypoints.cli.main import main as run

    requests = unpack(os.environ)
    # An image without one of them cannot replay requests, and must not send others.
    assert serve.get_samples
    assert serve.get_request
    serve.get_samples = lambda args, tokenizer, **_options: samples(requests, tokenizer, args, serve.SampleRequest)
    serve.get_request = timed([request[0] for request in requests])
    del sys.argv[0]
    run()


if __name__ == "__main__":
    main()
