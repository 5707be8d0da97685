# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run of AISBench from its start to its removal, watched by the action that wants it.

PRIVATE to the collection.
"""

from __future__ import annotations

import time

WATCH_S = 20
GIVEN = ("exit_code", "rows", "answers", "performance", "log")


def run_job(module, say, arguments, timeout_s, limit):
    """Return what ``ascend.vllm.ais_bench`` gave at the end, with ``problem``, a sentence or None, and ``data``.

    :param module: calls a module with keyword arguments and returns its result.
    :param say: prints a line. :param limit: the input that bounds the time, for the sentence.
    """
    started = module("ascend.vllm.ais_bench", state="started", **arguments)
    found = {"problem": started["problem"], "data": started["data"]}
    if started["job"]:
        try:
            found.update(_follow(module, say, started["job"], timeout_s, limit))
        finally:
            module("ascend.vllm.ais_bench", state="absent", job=started["job"])
    return found


def _follow(module, say, job, timeout_s, limit):
    until, said = time.monotonic() + timeout_s, None
    while True:
        left = until - time.monotonic()
        seen = module("ascend.vllm.ais_bench", state="watched", job=job, wait_s=max(0, min(WATCH_S, left)))
        if not seen["running"]:
            return {key: seen[key] for key in GIVEN}
        if left <= 0:
            return {"problem": f"AISBench took longer than {limit} ({timeout_s} s)"}
        if seen["progress"] and seen["progress"] != said:
            said = seen["progress"]
            for task, note in sorted(said.items()):
                say(f"{task}: {note['status']}, {note['finish_count']} of {note['total_count']}")
