#!/usr/bin/env python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Print roles/benchmark/files/mixed.jsonl: a trace of conversations, documents and long contexts in bursts.

Change the numbers to write a trace with the shapes of your users.
"""

from __future__ import annotations

import itertools
import json
import random

REQUESTS, RATE, BURSTINESS, TURNS = 400, 1.0, 0.3, 5


def main() -> None:
    draw, shapes = random.Random(0), []
    for conversation in range(REQUESTS * 13 // 20 // TURNS):
        history = draw.randint(300, 900)
        for turn in range(TURNS):
            answer = draw.randint(60, 300)
            shapes.append((turn + draw.random(), {"input_tokens": history, "output_tokens": answer,
                                                  "session": f"conversation {conversation}"}))
            history += answer + draw.randint(20, 200)
    for share, tokens in ((5, (2000, 6000)), (2, (16000, 24000))):
        shapes += [(draw.uniform(0, TURNS), {"input_tokens": draw.randint(*tokens),
                                             "output_tokens": draw.randint(100, 400)})
                   for _request in range(REQUESTS * share // 20)]
    gaps = [draw.gammavariate(BURSTINESS, 1 / RATE / BURSTINESS) for _request in shapes]
    # Later turns of a conversation come later.
    for at_s, (_order, shape) in zip(itertools.accumulate(gaps), sorted(shapes, key=lambda each: each[0])):
        print(json.dumps({"timestamp_s": round(at_s, 2), **shape}))


if __name__ == "__main__":
    main()
