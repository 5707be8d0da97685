# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The scores of an accuracy measurement, and the scores that they are compared with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import tables
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import is_part, summary_row
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import Figure
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import paired
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy.ais_bench_job import JobOutcome
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.config import AisBenchServer
    from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.job import RequestCount
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance, ModelReference, Plan

#: The metric of the average over the parts of a dataset, weighted by their sizes.
WEIGHTED = "weighted_average"
# AISBench prints scores with two digits.
ROUNDING = 0.006
GATES = ("minimum", "baseline", "tolerance")


class DatasetInput(TypedDict):
    """An entry of accuracy_datasets."""

    name: str
    path: str
    #: The lowest score that passes.
    minimum: NotRequired[float]
    #: A known score, and the number of points by which the measured score may be lower (default: 0).
    baseline: NotRequired[float]
    tolerance: NotRequired[float]


class KnownScore(TypedDict):
    """An entry of accuracy_references."""

    model: str
    dataset: str
    score: float
    tolerance: float
    source: str


class Score(TypedDict):
    """The score of a dataset, or of a part of it."""

    dataset: str
    metric: str
    #: The version of the prompts.
    version: str
    #: None if AISBench has no score.
    score: float | None
    #: The score as printed by AISBench.
    printed: str
    #: The number of requests with and without a response. None if AISBench did not record it.
    answered: int | None
    failed: int | None
    #: A digest of the files of the dataset.
    data: str | None
    #: ``1`` for each question with a right answer and ``0`` for each other one; None if AISBench did not record them.
    outcomes: str | None
    #: The 95 % interval of the score; None without outcomes, or if the score is not the share of right answers.
    interval: tuple[float, float] | None


class ScoreChange(TypedDict):
    """The scores of two models on the same data."""

    dataset: str
    metric: str
    before: float
    after: float
    #: ``after`` minus ``before``.
    delta: float
    #: The comparison of the answers; None without the outcomes of both models.
    paired: paired.Paired | None
    #: Whether the share of right answers dropped by at most accuracy_maximum_drop.
    verdict: str


class ComparedModel(TypedDict):
    """The model and the host of the earlier measurement in accuracy_compare_with."""

    model: str | None
    release: str | None
    host: str


class Measurement(JobOutcome):
    """The results of AISBench and the scores that follow from them."""

    #: The name of the measured instance.
    instance: str
    scores: list[Score]
    comparison: list[ScoreChange]
    #: None without accuracy_compare_with.
    compared_with: ComparedModel | None
    figures: list[Figure]


class AccuracyObservation(Measurement, total=False):
    """The observation of the accuracy stage: a measurement or, if there is none, only the reason in ``not_run``."""

    not_run: str


def check_inputs(context: Context) -> Iterator[str]:
    """Yield a sentence per mistake in the inputs."""
    inputs = context.inputs
    if inputs["accuracy_enabled"] and not inputs["accuracy_datasets"]:
        yield ("accuracy_datasets is empty, but accuracy_enabled is true: add the datasets to measure with.")
    names = set()
    for dataset in inputs["accuracy_datasets"]:
        extra = sorted(set(dataset) - {"name", "path", *GATES})
        if extra or not dataset.get("name") or not dataset.get("path"):
            yield ("accuracy_datasets has to contain mappings with name and path, and minimum, or baseline and "
                   "tolerance, but contains %r." % (dataset,))
            continue
        if dataset["name"] in names:
            yield "accuracy_datasets contains %s twice." % dataset["name"]
        names.add(dataset["name"])
        for gate in GATES:
            if not isinstance(dataset.get(gate, 0), (int, float)) or isinstance(dataset.get(gate), bool):
                yield "accuracy_datasets: %s of %s has to be a number, but is %r." % (
                    gate, dataset["name"], dataset[gate])
    if inputs["accuracy_enabled"]:
        try:
            measured_before(inputs["accuracy_compare_with"])
        except BadInput as mistake:
            yield str(mistake)


def measured_before(path: str) -> tuple[ComparedModel, list[Score]] | None:
    """Return the model and the scores of an earlier result, or None without a path.

    :raises BadInput: if the file is not the result of an accuracy measurement.
    """
    if not path:
        return None
    try:
        result = json.loads(Path(path).read_text("utf-8"))
        return ({"model": result["model"], "release": result["release"], "host": result["host"]},
                result["observed"]["scores"])
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise BadInput(f"accuracy_compare_with has to be the accuracy.json of an earlier measurement, but {path} is "
                       f"not: {error}") from error


def server(plan: Plan, instance: Instance, inputs: Mapping[str, Any]) -> AisBenchServer:
    """Return the argument ``server`` of ``ascend.vllm.ais_bench``.

    By default, a reasoning model may generate 32768 tokens, as in the tests of vLLM Ascend, and another model 2048, but
    fewer if the longest sequence of the server would have no room for the question.
    """
    model = plan["model"]
    arguments = model["arguments"]
    limit = int(arguments.get("max-model-len") or model["context_length"])
    tokens = min(32768 if arguments.get("reasoning-parser") else 2048, max(limit // 2, limit - 4096))
    return {"url": str(instance["url"]), "model": model["served_name"], "concurrency": inputs["accuracy_concurrency"],
            "maximum_tokens": inputs["accuracy_maximum_tokens"] or tokens}


def scores(rows: Sequence[tables.Row], answers: Mapping[str, RequestCount], datasets: Iterable[DatasetInput],
           data: Mapping[str, str], outcomes: Mapping[str, str]) -> list[Score]:
    """Return the scores of the datasets.

    The score of a dataset with several parts (such as the subjects of MMLU) is the average over the parts that AISBench
    computes, weighted by their sizes. If a part is missing, there is no such score. The scores of the parts come last.

    :param rows: the summary of AISBench. :param answers: the number of requests by task.
    :param data: ``{name of the dataset: digest of its files}``. :param outcomes: the outcomes by task.
    """
    found, parts = [], []
    for name in [dataset["name"] for dataset in datasets]:
        tasks = sorted(task for task in answers if is_part(task, name))
        counts = [answers[task] for task in tasks]
        every = "".join(outcomes[task] for task in tasks) if outcomes.keys() >= set(tasks) else None
        for row in rows:
            # A sum of parts has one row per metric, without a version. A failed part has neither metric nor version.
            is_sum = row["version"] == "-" and row["metric"] != "-"
            if row["dataset"] == summary_row(name) and (not is_sum or row["metric"] == WEIGHTED):
                found.append(_score(row, name, data.get(name), sum(count["answered"] for count in counts),
                                    sum(count["failed"] for count in counts), every))
            elif row["dataset"] not in (name, summary_row(name)) and is_part(row["dataset"], name) and not is_sum:
                count = answers.get(row["dataset"])
                parts.append(_score(row, row["dataset"], data.get(name), count["answered"] if count else None,
                                    count["failed"] if count else None, outcomes.get(row["dataset"])))
    return found + parts


def _score(row: tables.Row, dataset: str, data: str | None, answered: int | None, failed: int | None,
           outcomes: str | None) -> Score:
    (score,) = tables.scores([row])
    right, interval = (outcomes or "").count("1"), None
    if outcomes and score["score"] is not None and abs(100 * right / len(outcomes) - score["score"]) < ROUNDING:
        low, high = paired.interval(right, len(outcomes))
        interval = round(100 * low, 2), round(100 * high, 2)
    return {"outcomes": outcomes or None, "interval": interval,
            "dataset": dataset, "metric": row["metric"], "version": row["version"], "score": score["score"],
            "printed": score["printed"], "answered": answered, "failed": failed, "data": data}


def reference(dataset: DatasetInput, plan: Plan, references: Iterable[KnownScore]) -> tuple[float, str] | None:
    """Return the lowest score that passes, and its origin, or None.

    It is from accuracy_datasets, or else from accuracy_references, or else from the references that the catalogue has
    of the model on the product of the node.
    """
    if "minimum" in dataset:
        return dataset["minimum"], "minimum of accuracy_datasets"
    if "baseline" in dataset:
        score, tolerance = dataset["baseline"], dataset.get("tolerance", 0)
        return score - tolerance, "baseline %g of accuracy_datasets minus %g" % (score, tolerance)
    known: list[KnownScore | ModelReference] = [each for each in references if each["model"] == plan["model"]["id"]]
    known += [each for each in plan["model"]["references"] if each.get("series") == plan["hardware"]["series"]]
    for each in known:
        if each["dataset"] == dataset["name"] and "tolerance" in each:
            score, tolerance = each["score"], each["tolerance"]
            return score - tolerance, f"{score:g} minus {tolerance:g}, {each['source']}"
    return None


def compare(before: Iterable[Score], after: Iterable[Score], maximum_drop: float) -> list[ScoreChange]:
    """Return the changes of scores that have the same files, metric, version of the prompts and number of responses.

    If the outcomes of a model are missing, the verdict is inconclusive.
    """
    known = {(score["dataset"], score["metric"]): score for score in before}
    changes: list[ScoreChange] = []
    for score in after:
        first = known.get((score["dataset"], score["metric"]))
        if first and first["score"] is not None and score["score"] is not None and (
                first["version"], first["answered"], first["data"]) == (
                score["version"], score["answered"], score["data"]):
            answers = _paired(first.get("outcomes"), score["outcomes"])
            changes.append({"dataset": score["dataset"], "metric": score["metric"], "before": first["score"],
                            "after": score["score"], "delta": round(score["score"] - first["score"], 4),
                            "paired": answers, "verdict": paired.verdict(answers, maximum_drop)})
    return changes


def _paired(before: str | None, after: str | None) -> paired.Paired | None:
    return paired.compare(before, after) if before and after and len(before) == len(after) else None


def figures(found: Iterable[Score], datasets: Iterable[DatasetInput]) -> list[Figure]:
    """Return the figures of the report: one for each dataset with a score."""
    names = [dataset["name"] for dataset in datasets]
    return [{"name": "%s, %s" % (score["dataset"], score["metric"]), "value": score["score"], "unit": "points"}
            for score in found if score["score"] is not None and score["dataset"] in names]
