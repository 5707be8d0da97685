# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Scores of datasets and of their parts are collected, and compared with a minimum or with another model."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import scores
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults


def mistakes(datasets, **inputs):
    """Return the sentences about the inputs of an enabled measurement."""
    return list(scores.check_inputs(context({}, inputs={
        **defaults("accuracy"), "accuracy_enabled": True, "accuracy_datasets": datasets, **inputs})))


@pytest.mark.parametrize(("datasets", "sentence"), [
    ([], "accuracy_datasets is empty"),
    ([{"name": "gsm8k"}], "name and path"),
    ([{"name": "gsm8k", "path": "/d", "minimun": 1}], "name and path"),
    ([{"name": "gsm8k", "path": "/d"}, {"name": "gsm8k", "path": "/e"}], "contains gsm8k twice"),
    ([{"name": "gsm8k", "path": "/d", "minimum": "80 %"}], "minimum of gsm8k has to be a number"),
])
def test_invalid_input_is_refused(datasets, sentence):
    (found,) = mistakes(datasets)
    assert sentence in found


def test_valid_input_is_accepted():
    assert mistakes([{"name": "gsm8k", "path": "/d", "baseline": 80, "tolerance": 0.5}]) == []
    assert mistakes([], accuracy_enabled=False) == []


def test_file_that_is_not_a_measurement_is_a_mistake(tmp_path):
    (tmp_path / "accuracy.json").write_text("{}")
    for name in ("accuracy.json", "none.json"):
        (found,) = mistakes([{"name": "gsm8k", "path": "/d"}], accuracy_compare_with=str(tmp_path / name))
        assert found.startswith("accuracy_compare_with has to be the accuracy.json of an earlier measurement")


def test_server_is_the_planned_instance():
    model = {"served_name": "m", "context_length": 40960, "arguments": {}}
    assert scores.server({"model": model}, {"url": "http://10.0.0.1:8888"},
                         {"accuracy_concurrency": 4, "accuracy_maximum_tokens": 16}) == {
        "url": "http://10.0.0.1:8888", "model": "m", "concurrency": 4, "maximum_tokens": 16}


@pytest.mark.parametrize(("arguments", "tokens"), [
    ({}, 2048), ({"reasoning-parser": "qwen3"}, 32768), ({"max-model-len": 2000}, 1000),
    ({"reasoning-parser": "qwen3", "max-model-len": 16384}, 12288)])
def test_answers_of_reasoning_models_may_be_longer(arguments, tokens):
    model = {"served_name": "m", "context_length": 40960, "arguments": arguments}
    inputs = {"accuracy_concurrency": 4, "accuracy_maximum_tokens": 0}
    assert scores.server({"model": model}, {"url": ""}, inputs)["maximum_tokens"] == tokens


def test_score_has_the_name_of_the_dataset_not_of_the_task():
    found = scores.scores([row("GPQA_diamond", "60.10")], {"GPQA_diamond": {"answered": 198, "failed": 0}},
                          [{"name": "gpqa"}], {}, {})
    assert [(each["dataset"], each["score"], each["answered"]) for each in found] == [("gpqa", 60.1, 198)]


def row(dataset, score, version="1a"):
    return {"dataset": dataset, "version": version, "metric": "accuracy", "mode": "gen", "model": score}


def test_scores_contain_the_request_counts_and_the_data_digest():
    datasets = [{"name": "own"}, {"name": "missing"}]
    found = scores.scores([row("own", "50.00"), row("missing", "-")], {"own": {"answered": 2, "failed": 0}}, datasets,
                          {"own": "5ha"}, {"own": "10"})
    assert [(score["dataset"], score["score"], score["answered"], score["data"]) for score in found] == [
        ("own", 50.0, 2, "5ha"), ("missing", None, 0, None)]
    assert [(score["outcomes"], score["interval"]) for score in found] == [("10", (9.45, 90.55)), (None, None)]
    assert scores.figures(found, datasets) == [{"name": "own, accuracy", "value": 50.0, "unit": "points"}]


@pytest.mark.parametrize(("printed", "score"), [("61.50", 61.5), ("-", None)])
def test_dataset_with_many_parts_has_one_score(printed, score):
    def total(name, value, metric):
        return dict(row(name, value, "-"), metric=metric if value != "-" else "-")

    # In AISBench 3.1, a total has one row per metric, with a dash if a part is missing.
    failed = dict(row("lukaemon_mmlu_virology", "-", "-"), metric="-", mode="-")
    rows = [row("lukaemon_mmlu_law", "60.00"), row("lukaemon_mmlu_virology", "62.00") if score else failed,
            total("mmlu", "61.00", "accuracy"), total("mmlu", "61.00", "naive_average"),
            total("mmlu-stem", "0.00", "naive_average")]
    rows += [total("mmlu-weighted", printed, metric) for metric in ("accuracy", "weighted_average")][:2 if score else 1]
    answers = {"lukaemon_mmlu_law": {"answered": 3, "failed": 0},
               "lukaemon_mmlu_virology": {"answered": 4, "failed": 1}}
    found = scores.scores(rows, answers, [{"name": "mmlu"}], {"mmlu": "5ha"},
                          {"lukaemon_mmlu_law": "101", "lukaemon_mmlu_virology": "0101"})
    assert [each["outcomes"] for each in found] == ["1010101", "101", "0101"]
    assert [each["dataset"] for each in found] == ["mmlu", "lukaemon_mmlu_law", "lukaemon_mmlu_virology"]
    assert (found[0]["score"], found[0]["answered"], found[0]["failed"]) == (score, 7, 1)
    assert len(scores.figures(found, [{"name": "mmlu"}])) == (1 if score else 0)


KNOWN = [{"model": "m", "dataset": "gsm8k", "score": 80, "tolerance": 5, "source": "somewhere"}]


def planned(*references, model="m", series="A2"):
    return {"model": {"id": model, "references": references}, "hardware": {"series": series}}


@pytest.mark.parametrize(("dataset", "at_least"), [
    ({"name": "gsm8k", "minimum": 70, "baseline": 90}, 70), ({"name": "gsm8k", "baseline": 90, "tolerance": 2}, 88),
    ({"name": "gsm8k", "baseline": 90}, 90), ({"name": "gsm8k"}, 75)])
def test_scores_in_the_inventory_take_precedence_over_known_scores(dataset, at_least):
    assert scores.reference(dataset, planned(), KNOWN)[0] == at_least


def test_known_score_applies_to_one_model_and_dataset():
    assert scores.reference({"name": "gsm8k"}, planned(model="other"), KNOWN) is None
    assert scores.reference({"name": "mmlu"}, planned(), KNOWN) is None


REFERENCES = ({"dataset": "mmlu", "score": 80, "source": "a"},
              {"dataset": "mmlu", "score": 90, "tolerance": 1, "series": "A3", "source": "of another product"},
              {"dataset": "mmlu", "score": 70, "tolerance": 3, "series": "A2", "source": "b"},
              {"dataset": "gsm8k", "score": 1, "tolerance": 1, "series": "A2", "source": "c"})


def test_reference_of_the_catalogue_is_the_gate_if_it_has_a_tolerance():
    plan = planned(*REFERENCES)
    assert scores.reference({"name": "mmlu"}, plan, KNOWN) == (67, "70 minus 3, b")
    own = scores.reference({"name": "gsm8k"}, plan, KNOWN)
    assert own == scores.reference({"name": "gsm8k"}, planned(), KNOWN)  # accuracy_references


@pytest.mark.parametrize(("series", "at_least"), [("A2", None), ("A3", 89)])
def test_reference_of_the_catalogue_is_the_gate_only_on_its_product(series, at_least):
    found = scores.reference({"name": "mmlu"}, planned(*REFERENCES[:2], series=series), KNOWN)
    assert (found and found[0]) == at_least


def score(value, **more):
    return dict({"dataset": "own", "metric": "accuracy", "version": "1a", "score": value, "answered": 10,
                 "data": "5ha", "outcomes": None}, **more)


def test_two_models_are_compared_on_the_same_data():
    (row,) = scores.compare([score(50.0, outcomes="1100")], [score(25.0, outcomes="1000")], 1)
    assert (row["before"], row["after"], row["delta"]) == (50.0, 25.0, -25.0)
    assert (row["paired"]["questions"], row["paired"]["lost"], row["paired"]["gained"]) == (4, 1, 0)


@pytest.mark.parametrize(("before", "after"), [(None, "1"), ("1", None), ("11", "1")])
def test_answers_are_paired_only_with_the_outcomes_of_both_models(before, after):
    (row,) = scores.compare([score(80.0, outcomes=before)], [score(80.0, outcomes=after)], 1)
    assert (row["paired"], row["verdict"]) == (None, "inconclusive")


def test_interval_needs_a_score_that_is_the_share_of_right_answers():
    (found,) = scores.scores([row("textvqa", "61.00")], {"textvqa": {"answered": 2, "failed": 0}},
                             [{"name": "textvqa"}], {}, {"textvqa": "10"})
    assert (found["outcomes"], found["interval"]) == ("10", None)


@pytest.mark.parametrize("other", [{"dataset": "x"}, {"metric": "pass@1"}, {"version": "2b"}, {"answered": 9},
                                   {"score": None}, {"data": "6ha"}])
def test_scores_on_different_data_are_not_compared(other):
    assert scores.compare([score(80.0)], [dict(score(79.0), **other)], 1) == []


@pytest.mark.parametrize(("lost", "verdict"), [(0, "passed"), (30, "failed"), (3, "inconclusive")])
def test_drop_is_judged_on_the_answers(lost, verdict):
    before = score(100.0, outcomes="1" * 1000)
    after = score(100 - lost / 10, outcomes="0" * lost + "1" * (1000 - lost))
    (row,) = scores.compare([before], [after], 0.4)
    assert row["verdict"] == verdict


def test_ceval_totals_do_not_count_as_parts():
    rows = [row("ceval-law", "60.00"), dict(row("ceval-stem", "1.00", "-"), metric="naive_average"),
            dict(row("ceval-weighted", "60.00", "-"), metric="accuracy"),
            dict(row("ceval-weighted", "60.00", "-"), metric="weighted_average")]
    found = scores.scores(rows, {"ceval-law": {"answered": 3, "failed": 0}}, [{"name": "ceval"}], {}, {})
    assert [(each["dataset"], each["metric"]) for each in found] == [
        ("ceval", "weighted_average"), ("ceval-law", "accuracy")]
