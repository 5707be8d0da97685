# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print roles/benchmark/files/mixed.jsonl: a trace of conversations, documents and long contexts in bursts.

Change the numbers to write a trace with the shapes of your users.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random

TURNS = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=400)
    parser.add_argument("--rate", type=float, default=1, help="requests per second")
    parser.add_argument("--burstiness", type=float, default=0.3, help="1 is a Poisson process, less is burstier")
    options = parser.parse_args()
    draw, shapes = random.Random(0), []
    for conversation in range(options.requests * 13 // 20 // TURNS):
        history = draw.randint(300, 900)
        for turn in range(TURNS):
            answer = draw.randint(60, 300)
            shapes.append((turn + draw.random(), {"input_tokens": history, "output_tokens": answer,
                                                  "session": f"conversation {conversation}"}))
            history += answer + draw.randint(20, 200)
    for share, tokens in ((5, (2000, 6000)), (2, (16000, 24000))):
        shapes += [(draw.uniform(0, TURNS), {"input_tokens": draw.randint(*tokens),
                                             "output_tokens": draw.randint(100, 400)})
                   for _request in range(options.requests * share // 20)]
    gaps = [draw.gammavariate(options.burstiness, 1 / options.rate / options.burstiness) for _request in shapes]
    # Later turns of a conversation come later.
    for at_s, (_order, shape) in zip(itertools.accumulate(gaps), sorted(shapes, key=lambda each: each[0])):
        print(json.dumps({"timestamp_s": round(at_s, 2), **shape}))


if __name__ == "__main__":
    main()
