# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write a configuration file for AISBench, whose command line has no options for the host, the port and the API key.

AISBench includes presets with the prompts and the scoring of known datasets, but not their data. All functions are pure
except :func:`prepare`, :func:`prepare_prompts` and :func:`digest`, which read the data on the host that runs AISBench.
The configuration has the format of ais-bench-benchmark 3.1.
"""

from __future__ import annotations

import glob
import hashlib
import json
import os
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import PRESETS
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.questions import EXPECTED, BadData, convert

if TYPE_CHECKING:
    from typing import Any, TypedDict

    class Dataset(TypedDict):
        """A dataset. ``path`` is the folder of the dataset, or a ``.jsonl`` file."""

        name: str
        path: str

    class PreparedDataset(Dataset):
        """A dataset in the format of AISBench."""

        #: The path that AISBench reads.
        file: str
        #: Whether the operator's own questions have pictures. It is False for presets.
        pictures: bool

    class AisBenchServer(TypedDict):
        """The server to measure. ``maximum_tokens`` is the maximum number of tokens that are generated per request."""

        url: str
        model: str
        concurrency: int
        maximum_tokens: int

    class ServerWithKey(AisBenchServer):
        """The server and its API key, which is empty if the server does not require an API key."""

        api_key: str

    class _AisBenchLoad(TypedDict):

        requests: int
        input_tokens: int
        output_tokens: int
        #: Requests per second. If it is 0, all requests are sent at once.
        request_rate: float
        statistics: list[str]
        #: The folder of the model.
        tokenizer: str
        #: A ``.jsonl`` file with prompts. If it is empty, each prompt is the letter A, ``input_tokens`` times.
        file: str
        #: The number of requests before the measurement.
        warm_up: int

    class AisBenchLoad(_AisBenchLoad, total=False):
        """The load of a performance run."""

        #: Whether the file contains the questions of TextVQA, which are about pictures.
        pictures: bool

# The groups in which AISBench summarizes the scores of datasets with many parts.
_GROUPS = {"mmlu": "mmlu_summary_groups", "ceval": "ceval_summary_groups"}

_HEAD = """\
from mmengine.config import read_base

from ais_bench.benchmark.datasets import CustomDataset, MMCustomDataset
from ais_bench.benchmark.models import VLLMCustomAPIChat
from ais_bench.benchmark.openicl.icl_evaluator import AccEvaluator
from ais_bench.benchmark.openicl.icl_inferencer import GenInferencer
from ais_bench.benchmark.openicl.icl_prompt_template import PromptTemplate
from ais_bench.benchmark.openicl.icl_prompt_template.icl_prompt_template_mm import MMPromptTemplate
from ais_bench.benchmark.openicl.icl_retriever import ZeroRetriever
from ais_bench.benchmark.partitioners import NaivePartitioner
from ais_bench.benchmark.runners import LocalRunner
from ais_bench.benchmark.tasks import OpenICLEvalTask
"""
# By default, AISBench scores each part of a dataset in a separate Python process, which takes seconds to start, and
# MMLU has 57 parts. With this configuration, all parts of a dataset share a process. A dataset that fails does not
# affect other datasets.
_SCORING = """\
datasets = [entry for each in model_dataset_combinations for entry in each['datasets']]
eval = dict(partitioner=dict(type=NaivePartitioner, n=%d),
            runner=dict(type=LocalRunner, task=dict(type=OpenICLEvalTask)))
"""
_PARTS_PER_PROCESS = 100

_PERFORMANCE_HEAD = """\
from ais_bench.benchmark.calculators import DefaultPerfMetricCalculator
from ais_bench.benchmark.datasets import CustomDataset, MATHEvaluator, SyntheticDataset
from ais_bench.benchmark.models import VLLMCustomAPIChat
from ais_bench.benchmark.openicl.icl_inferencer import GenInferencer
from ais_bench.benchmark.openicl.icl_prompt_template import PromptTemplate
from ais_bench.benchmark.openicl.icl_retriever import ZeroRetriever
from ais_bench.benchmark.summarizers import DefaultPerfSummarizer
"""


def digest(dataset: str) -> str:
    """Return a SHA-256 digest that differs between versions of the dataset at this path.

    The digest covers the names and sizes of all files, and the content of text files. It does not cover the content of
    images, because there are gigabytes of them.
    """
    checksum = hashlib.sha256()
    paths = [dataset]
    if os.path.isdir(dataset):
        paths = sorted(os.path.join(folder, name) for folder, _folders, names in os.walk(dataset) for name in names)
    for path in paths:
        line = "%s %d\n" % (os.path.relpath(path, dataset), os.path.getsize(path))
        checksum.update(line.encode("utf-8", "replace"))
        if path.endswith((".jsonl", ".json", ".csv")):
            with open(path, "rb") as stream:
                for block in iter(lambda: stream.read(1024 * 1024), b""):
                    checksum.update(block)
    return checksum.hexdigest()


def prepare(datasets: list[Dataset], folder: str, count: int = 0) -> list[PreparedDataset]:
    """Check the data and convert them to the format of AISBench.

    :param datasets: datasets with a name in :data:`PRESETS`, or with any other name and a ``.jsonl`` file of questions.
    :param folder: a private folder for converted files. The operator's own questions are in ``questions/<name>.jsonl``.
    :param count: the number of the operator's own questions to convert, or 0 for all.
    :raises BadData: if data are missing or malformed. The message is one sentence.
    """
    return [_prepare_preset(dataset, folder) if dataset["name"] in PRESETS else _prepare_custom(dataset, folder, count)
            for dataset in datasets]


def _prepare_preset(dataset: Dataset, folder: str) -> PreparedDataset:
    preset = PRESETS[dataset["name"]]
    root = glob.escape(dataset["path"])
    missing = [name for name in preset.files if not glob.glob(os.path.join(root, name))]
    if not missing and preset.parts:
        missing = _missing_tables(dataset["path"], preset.files)
    if missing:
        raise BadData("accuracy_datasets: %s lacks %s below %s; install the dataset there as AISBench's documentation "
                      "describes." % (dataset["name"], ", ".join(missing), dataset["path"]))
    path = os.path.join(dataset["path"], preset.path) if preset.path else dataset["path"]
    if dataset["name"] == "textvqa":
        path = _absolute_pictures(dataset["path"], path, folder)
    elif dataset["name"] == "mmmu":
        # AISBench writes the pictures of the questions to the folder of the dataset.
        path = os.path.join(folder, "mmmu")
        os.mkdir(path)
        for name in os.listdir(dataset["path"]):
            os.symlink(os.path.join(dataset["path"], name), os.path.join(path, name))
    return {"name": dataset["name"], "path": dataset["path"], "file": path, "pictures": False}


def _missing_tables(root: str, splits: tuple[str, ...]) -> list[str]:
    """Return the tables that splits lack. AISBench only scores a dataset if all splits have the same subjects."""
    subjects = {split: {name[:-len("_%s.csv" % split)] for name in os.listdir(os.path.join(root, split))
                        if name.endswith("_%s.csv" % split)} for split in splits}
    all_subjects = sorted({subject for found in subjects.values() for subject in found}) or ["SUBJECT"]
    return ["%s/%s_%s.csv" % (split, subject, split) for split in splits for subject in all_subjects
            if subject not in subjects[split]]


def _absolute_pictures(root: str, path: str, folder: str) -> str:
    """Rewrite the questions of TextVQA with the image paths of this host, and return the path of the written file."""
    questions = os.path.join(folder, "textvqa_val.jsonl")
    with open(path, encoding="utf-8") as source, open(questions, "w", encoding="utf-8") as target:
        for line in source:
            if line.strip():
                question = json.loads(line)
                picture = os.path.join(root, "train_images", os.path.basename(question["image"]))
                if not os.path.exists(picture):
                    raise BadData("accuracy_datasets: textvqa has a question about %s, which does not exist." % picture)
                target.write(json.dumps(dict(question, image=picture)) + "\n")
    annotations = os.path.join(folder, "textvqa_val_annotations.json")
    if not os.path.exists(annotations):
        os.symlink(os.path.join(os.path.dirname(path), "textvqa_val_annotations.json"), annotations)
    return questions


def _prepare_custom(dataset: Dataset, folder: str, count: int) -> PreparedDataset:
    name, path = dataset["name"], dataset["path"]
    if not path.endswith(".jsonl"):
        raise BadData("accuracy_datasets: %s is not one of %s, so its path has to be a .jsonl file, but is %s."
                      % (name, ", ".join(sorted(PRESETS)), path))
    if os.sep in name:
        raise BadData("accuracy_datasets: a name of a dataset cannot contain a slash, but one is %s." % name)
    os.makedirs(os.path.join(folder, "questions"), exist_ok=True)
    target = os.path.join(folder, "questions", name + ".jsonl")
    return {"name": name, "path": path, "file": target, "pictures": convert(path, target, count)}


def render(server: ServerWithKey, datasets: list[PreparedDataset]) -> str:
    """Return the configuration of an accuracy run as Python code. Every value is written as a Python literal."""
    known = [dataset["name"] for dataset in datasets if dataset["name"] in PRESETS]
    groups = [name for name in known if name in _GROUPS]
    lines = [_HEAD]
    if known:
        lines.append("with read_base():")
    lines += ["    from %s import %s" % (PRESETS[name].module, PRESETS[name].variable) for name in known]
    lines += ["    from ais_bench.benchmark.configs.summarizers.groups.%s import %s" % (name, _GROUPS[name])
              for name in groups]
    lines += [_models(server, "path='', stream=False, request_rate=0, retry=2", "temperature=0, seed=0"),
              "model_dataset_combinations = []"]
    for dataset in datasets:
        lines.append("model_dataset_combinations.append(dict(models=models, datasets=%s))" % (
            _preset(dataset) if dataset["name"] in known else _custom(dataset)))
    lines.append(_SCORING % _PARTS_PER_PROCESS)
    lines.append("summarizer = dict(attr='accuracy', summary_groups=%s)" % (
        " + ".join(_GROUPS[name] for name in groups) or "[]"))
    # AISBench adds every top-level name to the configuration, so the imported names are deleted.
    lines += ["del %s" % PRESETS[name].variable for name in known] + ["del %s" % _GROUPS[name] for name in groups]
    return "\n".join(lines) + "\n"


def prepare_prompts(path: str, count: int, folder: str) -> str:
    """Convert prompts in a ``.jsonl`` file to the format of AISBench.

    :param count: the number of prompts to write. The prompts are repeated if the file has fewer prompts.
    :returns: the path of the converted file.
    :raises BadData: if the file is missing or malformed. The message is one sentence.
    """
    try:
        with open(path, encoding="utf-8-sig") as source:
            prompts = [json.loads(line)["prompt"] for line in source if line.strip()]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BadData("benchmark_dataset_path: every line of %s on the AISBench host has to be an object with the key "
                      "prompt; %s: %s." % (path, type(error).__name__, error)) from None
    if not prompts:
        raise BadData("benchmark_dataset_path: %s is empty." % path)
    written = os.path.join(folder, "prompts.jsonl")
    with open(written, "w", encoding="utf-8") as target:
        for number in range(count):
            target.write(json.dumps({"question": prompts[number % len(prompts)], "answer": ""}) + "\n")
    return written


def render_performance(server: ServerWithKey, load: AisBenchLoad) -> str:
    """Return the configuration of a performance run as Python code, with one dataset, which is named ``load``.

    Failed requests are not retried, because a retry would hide the failure. If ``load["file"]`` is set, it has to be a
    file that `prepare_prompts` returned.
    """
    model = _models(server, "path=%r, stream=True, request_rate=%r, retry=1" % (
        load["tokenizer"], load["request_rate"]), "temperature=0, ignore_eos=True")
    summarizer = "\n".join((
        "summarizer = dict(attr='performance', type=DefaultPerfSummarizer, calculator=dict(",
        "    type=DefaultPerfMetricCalculator, stats_list=%r))" % load["statistics"])) + "\n"
    if load.get("pictures"):
        preset = PRESETS["textvqa"]
        return "\n".join((
            "from mmengine.config import read_base", _PERFORMANCE_HEAD, "with read_base():",
            "    from %s import %s" % (preset.module, preset.variable), model,
            "datasets = [dict(entry, abbr='load', path=%r) for entry in %s]" % (load["file"], preset.variable),
            "del %s" % preset.variable, summarizer))

    def exactly(tokens: int) -> dict[str, Any]:
        return {"Method": "uniform", "Params": {"MinValue": tokens, "MaxValue": tokens}}

    inputs = ["question"]
    source = "type=CustomDataset, path=%r, meta_path=''" % load["file"]
    if not load["file"]:
        inputs.append("max_out_len")
        source = "type=SyntheticDataset, config=%r" % {
            "Type": "string", "RequestCount": load["requests"], "TrustRemoteCode": False,
            "StringConfig": {"Input": exactly(load["input_tokens"]), "Output": exactly(load["output_tokens"])}}
    return "\n".join((
        _PERFORMANCE_HEAD, model,
        "datasets = [dict(",
        "    abbr='load', %s," % source,
        "    reader_cfg=dict(input_columns=%r, output_column='answer')," % inputs,
        "    infer_cfg=dict(prompt_template=dict(type=PromptTemplate, template='{question}'),",
        "                   retriever=dict(type=ZeroRetriever), inferencer=dict(type=GenInferencer)),",
        "    eval_cfg=dict(evaluator=dict(type=MATHEvaluator)),",
        ")]", summarizer))


def _models(server: ServerWithKey, fields: str, generation: str) -> str:
    """Return the code that defines the single model of a configuration. Every value is written as a Python literal."""
    values = (("model", server["model"]), ("api_key", server["api_key"]), ("url", server["url"]),
              ("batch_size", server["concurrency"]), ("max_out_len", server["maximum_tokens"]))
    lines = ["models = [dict(", "    attr='service', type=VLLMCustomAPIChat, abbr='model', use_timestamp=False,",
             "    trust_remote_code=False, %s," % fields, "    generation_kwargs=dict(%s)," % generation]
    lines += ["    %s=%r," % pair for pair in values]
    return "\n".join([*lines, ")]"])


def _preset(dataset: PreparedDataset) -> str:
    return "[dict(entry, path=%r) for entry in %s]" % (dataset["file"], PRESETS[dataset["name"]].variable)


def _custom(dataset: PreparedDataset) -> str:
    kind, template, prompt = "CustomDataset, meta_path=''", "PromptTemplate", "prompt='{question}'"
    if dataset["pictures"]:  # the column path contains data URLs, so nothing is read or encoded
        kind, template = "MMCustomDataset, mm_type='path'", "MMPromptTemplate"
        prompt = ("prompt_mm=dict(text=dict(type='text', text='{question}'), "
                  "image=dict(type='image_url', image_url=dict(url='{image}')))")
    return "\n".join((
        "[dict(",
        "    abbr=%r, path=%r, type=%s," % (dataset["name"], dataset["file"], kind),
        "    reader_cfg=dict(input_columns=['question'], output_column=%r)," % EXPECTED,
        "    infer_cfg=dict(",
        "        prompt_template=dict(type=%s, template=dict(round=[" % template,
        "            dict(role='HUMAN', %s)]))," % prompt,
        "        retriever=dict(type=ZeroRetriever), inferencer=dict(type=GenInferencer)),",
        "    eval_cfg=dict(evaluator=dict(type=AccEvaluator), pred_role='BOT'),",
        ")]"))
