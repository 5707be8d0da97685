# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What a measurement of accuracy asks for and what its scores say. Pure."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import tables
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import is_part, sum_of
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput

# The metric of the row that AISBench makes of the parts of a data set by their sizes.
WEIGHTED = "weighted_average"
GATES = ("minimum", "baseline", "tolerance")


def check_inputs(inputs):
    """Refuse what cannot be measured. :raises BadInput: with one sentence."""
    if not inputs["accuracy_datasets"]:
        raise BadInput("accuracy_datasets is empty, but accuracy_enabled is true: name the data sets to measure with.")
    names = set()
    for dataset in inputs["accuracy_datasets"]:
        extra = sorted(set(dataset) - {"name", "path", *GATES})
        if extra or not dataset.get("name") or not dataset.get("path"):
            raise BadInput("accuracy_datasets has to hold mappings with name and path, and minimum, or baseline and "
                           "tolerance, but holds %r." % (dataset,))
        if dataset["name"] in names:
            raise BadInput("accuracy_datasets names %s twice." % dataset["name"])
        names.add(dataset["name"])
        for gate in GATES:
            if not isinstance(dataset.get(gate, 0), (int, float)) or isinstance(dataset.get(gate), bool):
                raise BadInput("accuracy_datasets: %s of %s has to be a number, but is %r." % (
                    gate, dataset["name"], dataset[gate]))


def server(plan, instance, inputs):
    """The server as ``ascend.vllm.ais_bench`` takes it."""
    return {"url": instance["url"], "model": plan["model"]["served_name"],
            "concurrency": inputs["accuracy_concurrency"], "maximum_tokens": inputs["accuracy_maximum_tokens"]}


def scores(rows, answers, datasets, data):
    """``[{"dataset", "metric", "version", "score", "printed", "answered", "failed", "data"}]``; no score is None.

    A data set of many parts (the subjects of MMLU) has the one score that AISBench weighs by the sizes of the parts; it
    gives none where one of them is missing. Its parts follow under their own names.

    :param answers: ``{task: {"answered", "failed"}}``. :param data: ``{data set: digest of its files}``.
    """
    found, parts = [], []
    for name in [dataset["name"] for dataset in datasets]:
        counts = [count for task, count in answers.items() if is_part(task, name)]
        for row in rows:
            # What sums parts up has rows of several metrics, and no version of its own; a part that failed has neither.
            is_sum = row["version"] == "-" and row["metric"] != "-"
            if row["dataset"] == sum_of(name) and (not is_sum or row["metric"] == WEIGHTED):
                found.append(dict(_score(row), dataset=name, data=data.get(name),
                                  answered=sum(count["answered"] for count in counts),
                                  failed=sum(count["failed"] for count in counts)))
            elif row["dataset"] != name and is_part(row["dataset"], name) and not is_sum:
                parts.append(dict(_score(row), data=data.get(name), **answers.get(
                    row["dataset"], {"answered": None, "failed": None})))
    return found + parts


def _score(row):
    (score,) = tables.scores([row])
    return {"dataset": row["dataset"], "metric": row["metric"], "version": row["version"], "score": score["score"],
            "printed": score["printed"]}


def reference(dataset, model, references):
    """What the score is held against, ``{"at_least", "why"}``: the site's numbers before the known ones, or None."""
    if "minimum" in dataset:
        return {"at_least": dataset["minimum"], "why": "minimum of accuracy_datasets"}
    if "baseline" in dataset:
        tolerance = dataset.get("tolerance", 0)
        return {"at_least": dataset["baseline"] - tolerance,
                "why": "baseline %g of accuracy_datasets less %g" % (dataset["baseline"], tolerance)}
    for known in references:
        if known["model"] == model and known["dataset"] == dataset["name"]:
            return {"at_least": known["score"] - known["tolerance"],
                    "why": "%g less %g, %s" % (known["score"], known["tolerance"], known["source"])}
    return None


def compare(before, after):
    """``[{"dataset", "metric", "before", "after", "delta"}]`` of the scores of two models on the same data.

    The same data: the same files, metric and version of the prompts, and as many questions.
    """
    known = {(score["dataset"], score["metric"]): score for score in before}
    rows = []
    for score in after:
        first = known.get((score["dataset"], score["metric"]))
        if first and None not in (first["score"], score["score"]) and all(
                first[key] == score[key] for key in ("version", "answered", "data")):
            rows.append({"dataset": score["dataset"], "metric": score["metric"], "before": first["score"],
                         "after": score["score"], "delta": round(score["score"] - first["score"], 4)})
    return rows


def verdicts(rows, maximum_drop):
    """The rows of :func:`compare` with ``within``, whether the score has not dropped by more than that many points."""
    return [dict(row, within=row["delta"] >= -maximum_drop) for row in rows]


def figures(found, datasets):
    """The figures of the report: one for each data set that was asked for."""
    names = [dataset["name"] for dataset in datasets]
    return [{"name": "%s, %s" % (score["dataset"], score["metric"]), "value": score["score"], "unit": "points"}
            for score in found if score["score"] is not None and score["dataset"] in names]
