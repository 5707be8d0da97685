# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ast
import json
import re

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench import config
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.config import (
    BadData,
    digest,
    prepare,
    prepare_prompts,
    render,
    render_performance,
)
from ansible_collections.ascend.vllm.plugins.module_utils._ais_bench.presets import PRESETS

SERVER = {"url": "http://10.0.0.1:8888", "model": "qwen25_vl", "api_key": "k'\"]\\", "concurrency": 4,
          "maximum_tokens": 64}


@pytest.fixture
def textvqa(tmp_path):
    root = tmp_path / "textvqa"
    (root / "textvqa_json").mkdir(parents=True)
    (root / "train_images").mkdir()
    (root / "train_images" / "1.jpg").touch()
    (root / "textvqa_json" / "textvqa_val.jsonl").write_text(
        '{"image": "made/elsewhere/1.jpg", "question": "?", "question_id": 1}\n\n')
    (root / "textvqa_json" / "textvqa_val_annotations.json").write_text('{"annotations": []}')
    return root


def custom_data(tmp_path, *rows):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "own", "path": str(path)}


def mmlu_data(tmp_path, *tables):
    for table in tables:
        (tmp_path / "mmlu" / table).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "mmlu" / table).touch()
    return {"name": "mmlu", "path": str(tmp_path / "mmlu")}


def literals(text):
    """Return the literal keyword arguments of all calls in a program as {keyword: values}."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            found.setdefault(node.arg, []).append(node.value.value)
    return found


def test_own_questions_are_sent_as_text_or_with_pictures(tmp_path):
    text = prepare([custom_data(tmp_path, {"question": "1+1?", "answer": "2"})], str(tmp_path))
    assert text[0]["file"] == str(tmp_path / "questions" / "own.jsonl")
    rendered = render(SERVER, text)
    assert "type=CustomDataset, meta_path=''" in rendered
    assert "prompt_mm" not in rendered
    pictures = render(SERVER, prepare([custom_data(
        tmp_path, {"question": "?", "answer": "A", "image": "data:image/png;base64,AA=="})], str(tmp_path)))
    assert "type=MMCustomDataset, mm_type='path'" in pictures
    assert "url='{image}'" in pictures


def test_name_with_a_slash_is_refused(tmp_path):
    with pytest.raises(BadData, match="cannot contain a slash, but one is a/b"):
        prepare([{"name": "a/b", "path": "/own.jsonl"}], str(tmp_path))


def test_sampling_is_fixed(tmp_path):
    data = prepare([custom_data(tmp_path, {"question": "?", "answer": "!"})], str(tmp_path))
    assert "generation_kwargs=dict(temperature=0, seed=0)" in render(SERVER, data)


def test_server_settings_are_written_as_literals_with_any_api_key(tmp_path):
    found = literals(render(SERVER, prepare([custom_data(tmp_path, {"question": "?", "answer": "!"})], str(tmp_path))))
    assert (found["url"], found["model"], found["api_key"]) == (
        ["http://10.0.0.1:8888"], ["qwen25_vl"], [SERVER["api_key"]])
    assert found["path"][-1].endswith("own.jsonl")


def test_only_configuration_names_remain_at_the_top_level(tmp_path):
    tree = ast.parse(render(SERVER, prepare([mmlu_data(tmp_path, "dev/law_dev.csv", "test/law_test.csv")],
                                            str(tmp_path))))
    assigned = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    imported = {alias.name for node in tree.body if isinstance(node, ast.With) for line in node.body
                for alias in line.names}
    deleted = {target.id for node in tree.body if isinstance(node, ast.Delete) for target in node.targets}
    assert assigned == {"models", "datasets", "model_dataset_combinations", "eval", "summarizer"}
    assert imported == deleted == {"mmlu_datasets", "mmlu_summary_groups"}


def test_each_dataset_is_scored_in_a_separate_task(tmp_path):
    text = render(SERVER, prepare([mmlu_data(tmp_path, "dev/law_dev.csv", "test/law_test.csv"),
                                   custom_data(tmp_path, {"question": "1+1?", "answer": "2"})], str(tmp_path)))
    assert text.count("model_dataset_combinations.append(") == 2
    assert "type=NaivePartitioner, n=100" in text


@pytest.mark.parametrize(("tables", "missing"), [
    (["dev/law_dev.csv", "test/law_test.csv", "test/art_test.csv"], "dev/art_dev.csv"),
    (["dev/law_dev.csv", "test/readme.txt"], "test/law_test.csv"),
    (["dev/notes", "test/notes"], "dev/SUBJECT_dev.csv, test/SUBJECT_test.csv"),
])
def test_error_names_the_missing_table_of_a_subject(tmp_path, tables, missing):
    with pytest.raises(BadData, match=f"mmlu lacks {missing} below"):
        prepare([mmlu_data(tmp_path, *tables)], str(tmp_path))


def test_textvqa_image_paths_are_rewritten(textvqa, tmp_path):
    found = prepare([{"name": "textvqa", "path": str(textvqa)}], str(tmp_path))
    question = json.loads((tmp_path / "textvqa_val.jsonl").read_text())
    assert found[0]["file"] == str(tmp_path / "textvqa_val.jsonl")
    assert question["image"] == str(textvqa / "train_images" / "1.jpg")
    assert (tmp_path / "textvqa_val_annotations.json").read_text() == '{"annotations": []}'


def test_error_names_the_missing_image(textvqa, tmp_path):
    (textvqa / "train_images" / "1.jpg").unlink()
    with pytest.raises(BadData, match=r"train_images/1\.jpg"):
        prepare([{"name": "textvqa", "path": str(textvqa)}], str(tmp_path))


@pytest.mark.parametrize(("name", "file", "expected"), [
    ("aime2024", "aime.jsonl", "aime.jsonl"), ("aime2025", "aime2025.jsonl", "aime2025.jsonl"),
    ("gpqa", "gpqa_diamond.csv", ""), ("math500", "test_prm800k_500.jsonl", "")])
def test_ais_bench_reads_the_expected_file_or_folder(tmp_path, name, file, expected):
    (tmp_path / file).touch()
    (found,) = prepare([{"name": name, "path": str(tmp_path)}], str(tmp_path))
    assert found["file"] == str(tmp_path / expected).rstrip("/")
    assert "from %s import %s" % (PRESETS[name].module, PRESETS[name].variable) in render(SERVER, [found])


def test_mmmu_is_read_through_links_so_that_its_folder_is_not_changed(tmp_path):
    data, job = tmp_path / "mm[mu]", tmp_path / "job"
    (data / "Art").mkdir(parents=True)
    job.mkdir()
    with pytest.raises(BadData, match="mmmu lacks"):
        prepare([{"name": "mmmu", "path": str(data)}], str(job))
    (data / "Art" / "validation-0.parquet").touch()
    (found,) = prepare([{"name": "mmmu", "path": str(data)}], str(job))
    assert found["file"] == str(job / "mmmu")
    assert [str(path.relative_to(job)) for path in job.glob("mmmu/*/*.parquet")] == ["mmmu/Art/validation-0.parquet"]


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_error_names_a_missing_file_of_a_known_dataset(name, tmp_path):
    with pytest.raises(BadData, match="%s lacks .*%s" % (name, re.escape(PRESETS[name].files[0]))):
        prepare([{"name": name, "path": str(tmp_path)}], str(tmp_path))


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "the file is empty"), ('{"question": "?"}\n', "line 1 is not"), ("[1]\n", "line 1 is not"),
    ('{"question": "?", "answer": "!"}\n{"answer": 1}\n', "line 2 is not"), ("{broken\n", "cannot be read"),
])
def test_invalid_custom_data_is_an_error(tmp_path, text, sentence):
    path = tmp_path / "own.jsonl"
    path.write_text(text)
    with pytest.raises(BadData, match=sentence):
        prepare([{"name": "own", "path": str(path)}], str(tmp_path))


@pytest.mark.parametrize(("path", "sentence"), [
    ("/none.jsonl", "cannot be read"), ("/data/other", "has to be a .jsonl file")])
def test_unusable_path_of_custom_data_is_an_error(path, sentence):
    with pytest.raises(BadData, match=sentence):
        config.prepare([{"name": "own", "path": path}], "/tmp")


LOAD = {"requests": 6, "input_tokens": 8, "output_tokens": 3, "request_rate": 2.0, "statistics": ["Average", "P99"],
        "tokenizer": "/data/it's", "file": ""}


def test_performance_run_sends_each_request_once_and_streams_responses():
    text = render_performance(SERVER, LOAD)
    found = literals(text)
    assert (found["retry"], found["stream"], found["request_rate"], found["ignore_eos"], found["path"]) == (
        [1], [True], [2.0], [True], ["/data/it's"])
    assert "'MinValue': 8, 'MaxValue': 8" in text
    assert "'MinValue': 3, 'MaxValue': 3" in text
    assert "'RequestCount': 6" in text


def test_performance_run_with_pictures_sends_the_questions_of_textvqa():
    text = render_performance(SERVER, {**LOAD, "file": "/job/textvqa_val.jsonl", "pictures": True})
    found = literals(text)
    assert (found["path"], found["abbr"], found["ignore_eos"]) == (
        ["/data/it's", "/job/textvqa_val.jsonl"], ["model", "load"], [True])
    assert "from %s import textvqa_datasets" % PRESETS["textvqa"].module in text
    assert "SyntheticDataset," not in text.partition("models =")[2]


def test_custom_prompts_are_repeated_up_to_the_number_of_requests(tmp_path):
    source = tmp_path / "p.jsonl"
    source.write_text('{"prompt": "a"}\n\n{"prompt": "b"}\n')
    written = prepare_prompts(str(source), 3, str(tmp_path))
    with open(written) as stream:
        assert [json.loads(line)["question"] for line in stream] == ["a", "b", "a"]
    assert literals(render_performance(SERVER, dict(LOAD, file=written)))["path"][-1] == written


@pytest.mark.parametrize("text", ["", '{"question": "?"}\n', "[1]\n", "{broken\n"])
def test_error_names_the_input_with_malformed_prompts(tmp_path, text):
    path = tmp_path / "p.jsonl"
    path.write_text(text)
    with pytest.raises(BadData, match="benchmark_dataset_path"):
        prepare_prompts(str(path), 1, str(tmp_path))


def test_digest_depends_on_the_data_and_not_on_its_path(tmp_path, textvqa):
    first = digest(custom_data(tmp_path, {"question": "?", "answer": "!"})["path"])
    assert first == digest(custom_data(tmp_path, {"question": "?", "answer": "!"})["path"])
    assert first != digest(custom_data(tmp_path, {"question": "?", "answer": "x"})["path"])
    before = digest(str(textvqa))
    moved = textvqa.rename(tmp_path / "elsewhere")
    assert before == digest(str(moved))
    (moved / "train_images" / "1.jpg").write_text("bigger")
    assert before != digest(str(moved))
