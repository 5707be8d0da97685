# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The configuration that AISBench is started with, whole: its command line has no options for host, port or key.

AISBench brings the data sets' prompts and scoring as presets; the data themselves are the site's. Pure, but for
:func:`prepare`, :func:`prepare_prompts` and :func:`digest`, which read the data where AISBench will. Written for
ais-bench-benchmark 3.1.
"""

from __future__ import annotations

import hashlib
import json
import os
import string

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import PRESETS

# Scores of many parts that AISBench sums up under one name.
_GROUPS = {"mmlu": "mmlu_summary_groups", "ceval": "ceval_summary_groups"}

_HEAD = """\
from mmengine.config import read_base

from ais_bench.benchmark.datasets import CustomDataset, OptionSimAccEvaluator
from ais_bench.benchmark.models import VLLMCustomAPIChat
from ais_bench.benchmark.openicl.icl_evaluator import AccEvaluator
from ais_bench.benchmark.openicl.icl_inferencer import GenInferencer
from ais_bench.benchmark.openicl.icl_prompt_template import PromptTemplate
from ais_bench.benchmark.openicl.icl_retriever import ZeroRetriever
from ais_bench.benchmark.partitioners import NaivePartitioner
from ais_bench.benchmark.runners import LocalRunner
from ais_bench.benchmark.tasks import OpenICLEvalTask
"""
# AISBench scores each part of a data set in a Python of its own, which takes seconds to start: MMLU has 57 parts. Here
# the parts of a data set are scored in one, and those of another in another, so that one that fails takes none with it.
_SCORING = """\
datasets = [entry for each in model_dataset_combinations for entry in each['datasets']]
eval = dict(partitioner=dict(type=NaivePartitioner, n=%d),
            runner=dict(type=LocalRunner, task=dict(type=OpenICLEvalTask)))
"""
_PARTS = 100


_PERFORMANCE_HEAD = """\
from ais_bench.benchmark.calculators import DefaultPerfMetricCalculator
from ais_bench.benchmark.datasets import CustomDataset, MATHEvaluator, SyntheticDataset
from ais_bench.benchmark.models import VLLMCustomAPIChat
from ais_bench.benchmark.openicl.icl_inferencer import GenInferencer
from ais_bench.benchmark.openicl.icl_prompt_template import PromptTemplate
from ais_bench.benchmark.openicl.icl_retriever import ZeroRetriever
from ais_bench.benchmark.summarizers import DefaultPerfSummarizer
"""


class BadData(ValueError):
    """A data set is not where it has to be, or is none; the message says where to put what."""


def digest(dataset):
    """What tells two copies of a data set apart: SHA-256 of the names and sizes of its files, and of what is in tables.

    Pictures are told by name and size only: there are gigabytes of them.
    """
    found = hashlib.sha256()
    paths = [dataset["path"]]
    if os.path.isdir(dataset["path"]):
        paths = sorted(os.path.join(folder, name) for folder, _folders, names in os.walk(dataset["path"])
                       for name in names)
    for path in paths:
        found.update(("%s %d\n" % (os.path.relpath(path, dataset["path"]),
                                   os.path.getsize(path))).encode("utf-8", "replace"))
        if path.endswith((".jsonl", ".json", ".csv")):
            with open(path, "rb") as stream:
                for block in iter(lambda: stream.read(1024 * 1024), b""):
                    found.update(block)
    return found.hexdigest()


def prepare(datasets, folder):
    """Check the data and bring them into the form that AISBench reads.

    :param datasets: ``[{"name", "path"}]``. A name of :data:`PRESETS`, or any other with a ``.jsonl`` file of your own:
        one object a line with ``question`` and ``answer``, and for a choice the options ``A``, ``B``, …
    :param folder: a folder of ours for what has to be rewritten.
    :returns: the data sets with ``file``, the path for AISBench, and ``options`` of own ones.
    :raises BadData: with one sentence.
    """
    return [_prepare_preset(dataset, folder) if dataset["name"] in PRESETS else _prepare_own(dataset)
            for dataset in datasets]


def _prepare_preset(dataset, folder):
    preset = PRESETS[dataset["name"]]
    missing = [name for name in preset.files if not os.path.exists(os.path.join(dataset["path"], name))]
    if not missing and preset.parts:
        missing = _missing_tables(dataset["path"], preset.files)
    if missing:
        raise BadData("accuracy_datasets: %s lacks %s below %s; put the data set there, as AISBench's page on it says."
                      % (dataset["name"], ", ".join(missing), dataset["path"]))
    path = os.path.join(dataset["path"], preset.path) if preset.path else dataset["path"]
    if dataset["name"] == "textvqa":
        path = _absolute_pictures(dataset["path"], path, folder)
    return dict(dataset, file=path, options=None)


def _missing_tables(root, splits):
    """The tables of subjects that are in some of the splits only: AISBench gives the whole no score without them."""
    subjects = {split: {name[:-len("_%s.csv" % split)] for name in os.listdir(os.path.join(root, split))
                        if name.endswith("_%s.csv" % split)} for split in splits}
    every = sorted(set().union(*subjects.values())) or ["SUBJECT"]
    return ["%s/%s_%s.csv" % (split, subject, split) for split in splits for subject in every
            if subject not in subjects[split]]


def _absolute_pictures(root, path, folder):
    """TextVQA's questions name pictures by paths of the machine that made them: name them where they are."""
    questions = os.path.join(folder, "textvqa_val.jsonl")
    with open(path, encoding="utf-8") as source, open(questions, "w", encoding="utf-8") as target:
        for line in source:
            if line.strip():
                question = json.loads(line)
                picture = os.path.join(root, "train_images", os.path.basename(question["image"]))
                if not os.path.exists(picture):
                    raise BadData("accuracy_datasets: textvqa asks about %s, which is not there." % picture)
                target.write(json.dumps(dict(question, image=picture)) + "\n")
    annotations = os.path.join(folder, "textvqa_val_annotations.json")
    if not os.path.exists(annotations):
        os.symlink(os.path.join(os.path.dirname(path), "textvqa_val_annotations.json"), annotations)
    return questions


def _prepare_own(dataset):
    name, path = dataset["name"], dataset["path"]
    if not path.endswith(".jsonl"):
        raise BadData("accuracy_datasets: %s is none of %s, so its path has to be a .jsonl file of your own, but is %s."
                      % (name, ", ".join(sorted(PRESETS)), path))
    try:
        with open(path, encoding="utf-8-sig") as source:
            rows = [json.loads(line) for line in source if line.strip()]
    except (OSError, ValueError) as error:
        raise BadData("accuracy_datasets: %s cannot be read from %s: %s" % (name, path, error)) from None
    lacking = [number + 1 for number, row in enumerate(rows)
               if not isinstance(row, dict) or not {"question", "answer"} <= set(row)]
    if not rows or lacking:
        raise BadData("accuracy_datasets: every line of %s has to be an object with question and answer; %s." % (
            path, "line %d is not" % lacking[0] if lacking else "the file is empty"))
    options = [letter for letter in string.ascii_uppercase if all(letter in row for row in rows)]
    return dict(dataset, file=path, options=options if len(options) > 1 else None)


def render(server, datasets):
    """The text of the configuration.

    :param server: ``{"url", "model", "api_key", "concurrency", "maximum_tokens"}``.
    :param datasets: what :func:`prepare` returned. Every value is written as a Python literal.
    """
    known = [dataset["name"] for dataset in datasets if dataset["name"] in PRESETS]
    groups = [name for name in known if name in _GROUPS]
    lines = [_HEAD]
    if known:
        lines.append("with read_base():")
    lines += ["    from %s import %s" % (PRESETS[name].module, PRESETS[name].variable) for name in known]
    lines += ["    from ais_bench.benchmark.configs.summarizers.groups.%s import %s" % (name, _GROUPS[name])
              for name in groups]
    lines += [_models(server, "path='', stream=False, request_rate=0, retry=2", "temperature=0"),
              "model_dataset_combinations = []"]
    for dataset in datasets:
        lines.append("model_dataset_combinations.append(dict(models=models, datasets=%s))" % (
            _preset(dataset) if dataset["name"] in known else _own(dataset)))
    lines.append(_SCORING % _PARTS)
    lines.append("summarizer = dict(attr='accuracy', summary_groups=%s)" % (
        " + ".join(_GROUPS[name] for name in groups) or "[]"))
    # What is left at the top level would become part of the configuration.
    lines += ["del %s" % PRESETS[name].variable for name in known] + ["del %s" % _GROUPS[name] for name in groups]
    return "\n".join(lines) + "\n"


def prepare_prompts(path, count, folder):
    """Write as many prompts of a ``.jsonl`` file, over again where it has fewer, as AISBench reads them.

    :returns: the path of what was written. :raises BadData: with one sentence.
    """
    try:
        with open(path, encoding="utf-8-sig") as source:
            prompts = [json.loads(line)["prompt"] for line in source if line.strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData("benchmark_dataset_path: every line of %s has to be an object with prompt, on the host that "
                      "AISBench runs on; %s: %s." % (path, type(error).__name__, error)) from None
    if not prompts:
        raise BadData("benchmark_dataset_path: %s is empty." % path)
    written = os.path.join(folder, "prompts.jsonl")
    with open(written, "w", encoding="utf-8") as target:
        for number in range(count):
            target.write(json.dumps({"question": prompts[number % len(prompts)], "answer": ""}) + "\n")
    return written


def render_performance(server, load):
    """The text of the configuration of a performance run of one data set, ``load``.

    :param server: as of :func:`render`.
    :param load: ``{"requests", "input_tokens", "output_tokens", "request_rate", "statistics", "tokenizer", "file"}``;
        without a file of :func:`prepare_prompts` the prompts are as many times the letter A. A request is sent once:
        a retry would hide its failure.
    """
    def exactly(tokens):
        return {"Method": "uniform", "Params": {"MinValue": tokens, "MaxValue": tokens}}

    inputs = ["question"]
    source = "type=CustomDataset, path=%r, meta_path=''" % load["file"]
    if not load["file"]:
        inputs.append("max_out_len")
        source = "type=SyntheticDataset, config=%r" % {
            "Type": "string", "RequestCount": load["requests"], "TrustRemoteCode": False,
            "StringConfig": {"Input": exactly(load["input_tokens"]), "Output": exactly(load["output_tokens"])}}
    return "\n".join((
        _PERFORMANCE_HEAD,
        _models(server, "path=%r, stream=True, request_rate=%r, retry=1" % (load["tokenizer"], load["request_rate"]),
                "temperature=0, ignore_eos=True"),
        "datasets = [dict(",
        "    abbr='load', %s," % source,
        "    reader_cfg=dict(input_columns=%r, output_column='answer')," % inputs,
        "    infer_cfg=dict(prompt_template=dict(type=PromptTemplate, template='{question}'),",
        "                   retriever=dict(type=ZeroRetriever), inferencer=dict(type=GenInferencer)),",
        "    eval_cfg=dict(evaluator=dict(type=MATHEvaluator)),",
        ")]",
        "summarizer = dict(attr='performance', type=DefaultPerfSummarizer, calculator=dict(",
        "    type=DefaultPerfMetricCalculator, stats_list=%r))" % load["statistics"])) + "\n"


def _models(server, fields, generation):
    """The only model of a configuration. Every value is written as a Python literal."""
    lines = ["models = [dict(", "    attr='service', type=VLLMCustomAPIChat, abbr='model', use_timestamp=False,",
             "    trust_remote_code=False, %s," % fields, "    generation_kwargs=dict(%s)," % generation]
    lines += ["    %s=%r," % (name, server[key]) for name, key in (
        ("model", "model"), ("api_key", "api_key"), ("url", "url"), ("batch_size", "concurrency"),
        ("max_out_len", "maximum_tokens"))]
    return "\n".join([*lines, ")]"])


def _preset(dataset):
    return "[dict(entry, path=%r) for entry in %s]" % (dataset["file"], PRESETS[dataset["name"]].variable)


def _own(dataset):
    options = dataset["options"] or []
    prompt = "".join(["{question}"] + ["\n%s. {%s}" % (letter, letter) for letter in options])
    if options:
        prompt += "\nAnswer with the letter of the right option only."
    evaluator = "type=OptionSimAccEvaluator, options=%r" % options if options else "type=AccEvaluator"
    return "\n".join((
        "[dict(",
        "    abbr=%r, type=CustomDataset, path=%r, meta_path=''," % (dataset["name"], dataset["file"]),
        "    reader_cfg=dict(input_columns=%r, output_column='answer')," % ["question", *options],
        "    infer_cfg=dict(",
        "        prompt_template=dict(type=PromptTemplate, template=dict(round=[",
        "            dict(role='HUMAN', prompt=%r)]))," % prompt,
        "        retriever=dict(type=ZeroRetriever), inferencer=dict(type=GenInferencer)),",
        "    eval_cfg=dict(evaluator=dict(%s), pred_role='BOT')," % evaluator,
        ")]"))
