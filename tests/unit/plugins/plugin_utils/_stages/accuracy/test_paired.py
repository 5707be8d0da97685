# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The answers of two models are compared in pairs. Expected numbers are from the cited papers or exact sums."""

from __future__ import annotations

import random

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import paired


def outcomes(both, lost, gained, neither):
    """Return the outcomes of two models, from the numbers of answers that are right in both, one or neither of them."""
    return "1" * (both + lost) + "0" * (gained + neither), "1" * both + "0" * lost + "1" * gained + "0" * neither


@pytest.mark.parametrize(("right", "questions", "low", "high"), [
    (81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0, 0.1611), (1, 29, 0.0061, 0.1718),
    (20, 20, 0.8389, 1)])  # R. G. Newcombe, Stat. Med. 17 (1998) 857, table I, method 3
def test_interval_of_a_share_is_the_published_one(right, questions, low, high):
    assert paired.interval(right, questions) == pytest.approx((low, high), abs=5e-5)


@pytest.mark.parametrize(("lost", "gained", "p"), [
    (0, 0, 1), (3, 3, 1), (5, 0, 2 / 32), (6, 0, 2 / 64), (10, 2, 2 * (1 + 12 + 66) / 4096), (2, 10, 158 / 4096)])
def test_p_value_of_the_mcnemar_test_is_exact(lost, gained, p):
    assert paired.mcnemar(lost, gained) == pytest.approx(p)


def test_interval_of_a_difference_is_the_published_one():
    """The example of Newcombe's paper. Its difference is that of the first and the second share, so signs differ."""
    found = paired.compare(*outcomes(36, 12, 2, 0))
    assert (-found["high"], -found["low"]) == pytest.approx((5.69, 34.04), abs=0.01)


@pytest.mark.parametrize("drop", [0, 0.04])
def test_interval_contains_the_true_difference(drop):
    generator, inside = random.Random(2), 0
    for _run in range(400):
        pairs = generator.choices(("11", "10", "01", "00"), (0.7, 0.05 + drop, 0.05, 0.2 - drop), k=300)
        found = paired.compare("".join(pair[0] for pair in pairs), "".join(pair[1] for pair in pairs))
        inside += found["low"] <= -100 * drop <= found["high"]
    assert 0.92 <= inside / 400 <= 1


def test_pairs_are_counted():
    found = paired.compare("110010", "101010")
    assert (found["questions"], found["lost"], found["gained"], found["delta"]) == (6, 1, 1, 0)


@pytest.mark.parametrize(("cells", "maximum_drop", "verdict"), [
    ((800, 0, 0, 200), 1, "passed"), ((790, 10, 10, 190), 1.5, "passed"),
    ((700, 100, 20, 180), 1, "failed"), ((20, 10, 0, 0), 1, "failed"),
    ((700, 100, 20, 180), 12, "passed"),  # a real drop, but a small one
    ((15, 4, 0, 1), 1, "inconclusive"),  # 20 points lower, which can be chance
    ((8, 0, 0, 2), 1, "inconclusive"),  # ten equal answers do not exclude a drop of one point
])
def test_only_a_drop_that_is_not_chance_fails(cells, maximum_drop, verdict):
    assert paired.verdict(paired.compare(*outcomes(*cells)), maximum_drop) == verdict


def test_answers_are_compared_and_not_only_scores():
    """The same two scores: with few changed answers, the drop is not chance; with many, it may be."""
    steady, noisy = paired.compare(*outcomes(80, 8, 0, 12)), paired.compare(*outcomes(72, 16, 8, 4))
    assert steady["delta"] == noisy["delta"] == -8
    assert (paired.verdict(steady, 1), paired.verdict(noisy, 1)) == ("failed", "inconclusive")


def test_false_alarms_are_rare_and_real_drops_are_found():
    """2000 questions, 5 % of whose answers change. Without a drop, at most 5 % of the comparisons may fail."""
    generator, count = random.Random(1), 2000

    def verdicts(loss):
        found = []
        for _run in range(200):
            before = [generator.random() < 0.8 for _question in range(count)]
            after = [(right and generator.random() >= 0.025 + loss) or (not right and generator.random() < 0.1)
                     for right in before]
            pair = ("".join("01"[each] for each in side) for side in (before, after))
            found.append(paired.verdict(paired.compare(*pair), 1))
        return found

    assert verdicts(0).count("failed") <= 10
    assert verdicts(0.05).count("failed") >= 190


def test_sentence_states_the_changed_answers_the_difference_and_its_interval():
    assert paired.sentence(paired.compare(*outcomes(20, 10, 0, 0))).startswith(
        "10 answers lost and 0 gained in 30 questions: -33.33 points, 95 % interval -5")
