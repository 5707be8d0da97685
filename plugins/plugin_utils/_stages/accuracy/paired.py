# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The uncertainty of scores, and the comparison of two models on the same questions.

Two models answer the same questions, so their scores are not independent: only questions that one of them answers right
and the other one wrong show a difference. Sources: E. B. Wilson, J. Am. Stat. Assoc. 22 (1927) 209 (interval of a
share); Q. McNemar, Psychometrika 12 (1947) 153 (exact test: binomial); R. G. Newcombe, Stat. Med. 17 (1998) 2635,
method 10 (interval of the difference of paired shares).
"""

from __future__ import annotations

import math
from typing import TypedDict

# The quantile of the normal distribution for intervals of 95 %, and the p-value above which a drop may be chance.
Z, ALPHA = 1.959964, 0.05
PASSED, FAILED, INCONCLUSIVE = "passed", "failed", "inconclusive"


class Paired(TypedDict):
    """The difference between the answers of two models to the same questions."""

    questions: int
    #: The number of questions that only the first, or only the second, model answers right.
    lost: int
    gained: int
    #: The share of right answers of the second model minus that of the first, in points, and its 95 % interval.
    delta: float
    low: float
    high: float
    #: The p-value of the exact McNemar test (two-sided).
    p: float


def interval(right: int, questions: int) -> tuple[float, float]:
    """Return the 95 % interval (Wilson) of a share, both ends from 0 to 1."""
    share, square = right / questions, Z * Z / questions
    middle = share + square / 2
    spread = Z * math.sqrt(share * (1 - share) / questions + square / (4 * questions))
    return max(0.0, (middle - spread) / (1 + square)), min(1.0, (middle + spread) / (1 + square))


def compare(before: str, after: str) -> Paired:
    """Compare the outcomes of two models, ``0`` and ``1`` for each question, of the same length (at least 1)."""
    pairs = list(zip(before, after))
    both, lost, gained, neither = (pairs.count(pair) for pair in (("1", "1"), ("1", "0"), ("0", "1"), ("0", "0")))
    count, first, second = len(pairs), both + lost, both + gained
    delta = (gained - lost) / count
    (low1, high1), (low2, high2) = interval(first, count), interval(second, count)
    p1, p2 = first / count, second / count
    product = first * second * (count - first) * (count - second)
    phi = (both * neither - lost * gained) / math.sqrt(product) if product else 0.0
    if phi > 0:  # Newcombe's continuity correction
        phi = max(both * neither - lost * gained - count / 2, 0) / math.sqrt(product)
    down = (p2 - low2) ** 2 - 2 * phi * (p2 - low2) * (high1 - p1) + (high1 - p1) ** 2
    up = (high2 - p2) ** 2 - 2 * phi * (high2 - p2) * (p1 - low1) + (p1 - low1) ** 2
    return {"questions": count, "lost": lost, "gained": gained, "delta": round(100 * delta, 4),
            "low": round(100 * (delta - math.sqrt(max(down, 0))), 4),
            "high": round(100 * (delta + math.sqrt(max(up, 0))), 4), "p": mcnemar(lost, gained)}


def mcnemar(lost: int, gained: int) -> float:
    """Return the two-sided p-value of the exact McNemar test: is a loss as likely as a gain?"""
    changed = lost + gained
    tail = sum(math.comb(changed, number) for number in range(min(lost, gained) + 1))
    return min(1.0, float(2 * tail / 2 ** changed))


def verdict(found: Paired | None, maximum_drop: float) -> str:
    """Return whether the second model is at most ``maximum_drop`` points worse.

    A larger drop fails if it is significant. The verdict is passed if the interval excludes a larger drop.
    """
    if found and found["delta"] < -maximum_drop and found["p"] <= ALPHA:
        return FAILED
    return PASSED if found and found["low"] >= -maximum_drop else INCONCLUSIVE


def sentence(found: Paired) -> str:
    """Return the comparison as a clause for a message."""
    return "%d answers lost and %d gained in %d questions: %+.4g points, 95 %% interval %+.4g to %+.4g, p = %.2g" % (
        found["lost"], found["gained"], found["questions"], found["delta"], found["low"], found["high"], found["p"])
