# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""AISBench reads our questions in the format of each known dataset, scores answers to them, and sends pictures."""

from __future__ import annotations

import json
import re
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import job as ais_bench_job
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.config import prepare, render
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import ais_bench as performance

from .conftest import ILLUSTRATION, LESSONS
from .test_light_server import picture, text

pytestmark = [pytest.mark.engine, pytest.mark.long]

SERVER = {"url": "http://10.0.0.1:8888", "model": "m", "api_key": "", "concurrency": 1, "maximum_tokens": 64}
# The answers to the two questions of each dataset: one right, one wrong.
ANSWERS = {
    "aime2024": ["It is \\boxed{5}.", "It is \\boxed{9}."], "aime2025": ["It is \\boxed{5}.", "It is \\boxed{9}."],
    "math500": ["It is \\boxed{5}.", "It is \\boxed{9}."], "gpqa": ["Answer: %s", "Answer: %s"],
    "mmmu": ["ANSWER: B", "ANSWER: C"],
}
# Prints {abbr: [number of questions, metric, score of the answers]}. The order of options of GPQA depends on the row.
SCORE = """
import json, sys
from mmengine.config import Config
from ais_bench.benchmark.openicl.icl_evaluator import *
from ais_bench.benchmark.registry import ICL_EVALUATORS, TEXT_POSTPROCESSORS
config, answers = Config.fromfile(sys.argv[1], format_python_code=False), json.loads(sys.argv[2])
found = {}
for combination in config.model_dataset_combinations:
    for entry in combination["datasets"]:
        options = {key: value for key, value in entry.items() if key not in (
            "abbr", "type", "reader_cfg", "infer_cfg", "eval_cfg")}
        rows = entry["type"].load(**options)
        texts = answers[entry["abbr"]]
        if entry["abbr"] == "GPQA_diamond":
            texts = [texts[0] % rows[0]["answer"], texts[1] % "ABCD"["ABCD".index(rows[1]["answer"]) - 1]]
        evaluation = dict(entry["eval_cfg"])
        cleaner = dict(evaluation.get("pred_postprocessor") or {})
        if cleaner:
            kind = cleaner.pop("type")
            kind = TEXT_POSTPROCESSORS.get(kind) if isinstance(kind, str) else kind
            texts = [kind(text, **cleaner) for text in texts]
        judge = dict(evaluation["evaluator"])
        score = judge.pop("type")(**judge).score(texts, [row[entry["reader_cfg"]["output_column"]] for row in rows])
        first = next(iter(score)) if "accuracy" not in score else "accuracy"
        found[entry["abbr"]] = [len(rows), first, score[first]]
print("\\n" + json.dumps(found))
"""
PARQUET = """
import sys, pandas
rows = [dict(id=str(n), question="How many? <image 1>", options="['1', '2', '3', '4']", answer="B", subfield="x",
             question_type="multiple-choice", image_1=dict(bytes=open(sys.argv[2], "rb").read(), path=f"{n}.png"))
        for n in range(2)]
pandas.DataFrame(rows).to_parquet(sys.argv[1])
"""


@pytest.fixture
def python(ais_bench):
    """The Python of AISBench."""
    return ais_bench.with_name("python")


@pytest.fixture
def data(python, tmp_path):
    """The folders of datasets with two questions each."""
    for name in ANSWERS:
        (tmp_path / name).mkdir()
    lines = {"aime2024/aime.jsonl": {"origin_prompt": "2 + 3?", "gold_answer": "5"},
             "aime2025/aime2025.jsonl": {"question": "2 + 3?", "answer": "5"},
             "math500/test_prm800k_500.jsonl": {"problem": "2 + 3?", "solution": "It is \\boxed{5}."}}
    for path, line in lines.items():
        (tmp_path / path).write_text(2 * (json.dumps(line) + "\n"))
    cells = ",".join(["x"] * 7 + ["%s"] * 5) + "\n"
    (tmp_path / "gpqa/gpqa_diamond.csv").write_text(
        cells % ("Question", "r", "w1", "w2", "w3") + cells % ("Which?", "a", "b", "c", "d") * 2)
    (tmp_path / "mmmu/Art").mkdir()
    subprocess.run([python, "-c", PARQUET, tmp_path / "mmmu/Art/validation-0.parquet", ILLUSTRATION], check=True)
    return tmp_path


def test_aisbench_reads_and_scores_each_dataset(python, data, tmp_path_factory):
    job = tmp_path_factory.mktemp("job")
    prepared = prepare([{"name": name, "path": str(data / name)} for name in ANSWERS], str(job))
    (job / "config.py").write_text(render(SERVER, prepared))
    tasks = {"gpqa": "GPQA_diamond", "math500": "math_prm800k_500"}
    answers = {tasks.get(name, name): texts for name, texts in ANSWERS.items()}
    done = subprocess.run([python, "-c", SCORE, job / "config.py", json.dumps(answers)], capture_output=True,
                          text=True, check=False, cwd=job)
    assert done.returncode == 0, done.stderr
    metrics = {**dict.fromkeys(answers, "accuracy"), "mmmu": "[validation]: Overall"}
    assert json.loads(done.stdout.splitlines()[-1]) == {name: [2, metrics[name], 50.0] for name in answers}
    assert [path.name for path in (data / "mmmu").iterdir()] == ["Art"]


REQUESTS, WARM_UPS, QUESTION = 4, 1, LESSONS["picture_question"]


def test_aisbench_measures_with_the_pictures_of_textvqa(ais_bench, light, models, tmp_path, monkeypatch):
    """The stand-in server counts the tokens of the text and of the pictures that it receives."""
    monkeypatch.setattr(ais_bench_job, "JOBS", str(tmp_path / "job-"))
    for name in ("textvqa_json", "train_images"):
        (tmp_path / "textvqa" / name).mkdir(parents=True)
    (tmp_path / "textvqa/train_images/1.png").write_bytes(ILLUSTRATION.read_bytes())
    (tmp_path / "textvqa/textvqa_json/textvqa_val.jsonl").write_text(REQUESTS * (json.dumps(
        {"image": "/elsewhere/1.png", "question": QUESTION, "question_id": 1}) + "\n"))
    (tmp_path / "textvqa/textvqa_json/textvqa_val_annotations.json").write_text(json.dumps({"annotations": [
        {"question_id": 1, "answers": [{"answer_id": person, "answer": "x"} for person in range(10)]}]}))
    light.start_and_wait()

    def tokens_of(*parts):
        return light.chat([*parts, text(QUESTION)], max_tokens=1).json()["usage"]["prompt_tokens"]

    def tokens_received():
        counters = light.send("/metrics").body.decode()
        return float(re.search(r"^vllm:prompt_tokens_total\S* (\S+)", counters, re.MULTILINE)[1])

    words = tokens_of()
    pictures = tokens_of(picture(ILLUSTRATION.read_bytes())) - words
    before = tokens_received()
    plan = {"model": {"path": str(models / "Qwen2.5-VL-32B-Instruct-w8a8"), "served_name": "qwen25_vl"}}
    inputs = {"benchmark_request_rate": 8, "benchmark_num_prompts": REQUESTS, "benchmark_max_concurrency": 2,
              "benchmark_random_input_len_tokens": 64, "benchmark_random_output_len_tokens": 16,
              "benchmark_percentiles": [99], "benchmark_ais_bench_tokenizer": "", "benchmark_warmup_prompts": WARM_UPS,
              "benchmark_dataset_path": str(tmp_path / "textvqa")}
    started = ais_bench_job.start({
        "executable": str(ais_bench), "api_key": "", "ca": None, "datasets": [], "num_prompts": 0,
        "load": performance.load(plan, inputs), "server": performance.server(plan, light.url, inputs)})
    assert started["problem"] is None
    try:
        found = ais_bench_job.watch(started["job"], 500)
    finally:
        ais_bench_job.remove(started["job"])
    received = (tokens_received() - before) / (REQUESTS + WARM_UPS)
    # AISBench adds a sentence to the question.
    assert words + pictures < received < 2 * words + pictures, found["log"]
    metrics = performance.metrics(**found["performance"])
    assert (metrics["completed"], metrics["failed"], metrics["total_output_tokens"]) == (REQUESTS, 0, REQUESTS * 16)
    assert 0 < metrics["median_ttft_ms"] <= metrics["p99_ttft_ms"] < metrics["p99_e2el_ms"]
    assert metrics["output_throughput"] > 0
