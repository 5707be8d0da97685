# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ast
import json

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils import ais_bench_config
from ansible_collections.ascend.vllm.plugins.module_utils.ais_bench_config import PRESETS, BadData, prepare, render

SERVER = {"host": "10.0.0.1", "port": 8888, "model": "qwen25_vl", "api_key": "k'\"]\\", "concurrency": 4,
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


def own(tmp_path, *rows):
    path = tmp_path / "own.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return {"name": "own", "path": str(path)}


def literals(text):
    """Every keyword of every call, as far as its value is a literal."""
    found = {}
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.keyword) and isinstance(node.value, ast.Constant):
            found.setdefault(node.arg, []).append(node.value.value)
    return found


def test_own_questions_with_and_without_options(tmp_path):
    free = prepare([own(tmp_path, {"question": "1+1?", "answer": "2"})], str(tmp_path))
    choice = prepare([own(tmp_path, {"question": "?", "answer": "A", "A": "x", "B": "y"})], str(tmp_path))
    assert (free[0]["options"], choice[0]["options"]) == (None, ["A", "B"])
    assert "{A}" not in render(SERVER, free)
    assert "options=['A', 'B']" in render(SERVER, choice)


def test_the_server_is_written_as_literals_whatever_the_key(tmp_path):
    found = literals(render(SERVER, prepare([own(tmp_path, {"question": "?", "answer": "!"})], str(tmp_path))))
    assert (found["host_ip"], found["host_port"], found["model"], found["api_key"]) == (
        ["10.0.0.1"], [8888], ["qwen25_vl"], [SERVER["api_key"]])
    assert found["path"][-1].endswith("own.jsonl")


def test_nothing_is_left_at_the_top_level_that_is_no_configuration(tmp_path):
    for name in ("dev", "test"):
        (tmp_path / name).mkdir()
    tree = ast.parse(render(SERVER, prepare([{"name": "mmlu", "path": str(tmp_path)}], str(tmp_path))))
    assigned = {target.id for node in tree.body if isinstance(node, ast.Assign) for target in node.targets}
    imported = {alias.name for node in tree.body if isinstance(node, ast.With) for line in node.body
                for alias in line.names}
    deleted = {target.id for node in tree.body if isinstance(node, ast.Delete) for target in node.targets}
    assert assigned == {"models", "datasets", "summarizer"}
    assert imported == deleted == {"mmlu_datasets", "mmlu_summary_groups"}


def test_pictures_of_textvqa_are_named_where_they_are(textvqa, tmp_path):
    found = prepare([{"name": "textvqa", "path": str(textvqa)}], str(tmp_path))
    question = json.loads((tmp_path / "textvqa_val.jsonl").read_text())
    assert found[0]["file"] == str(tmp_path / "textvqa_val.jsonl")
    assert question["image"] == str(textvqa / "train_images" / "1.jpg")
    assert (tmp_path / "textvqa_val_annotations.json").read_text() == '{"annotations": []}'


def test_a_picture_that_is_missing_is_named(textvqa, tmp_path):
    (textvqa / "train_images" / "1.jpg").unlink()
    with pytest.raises(BadData, match=r"train_images/1\.jpg"):
        prepare([{"name": "textvqa", "path": str(textvqa)}], str(tmp_path))


@pytest.mark.parametrize("name", sorted(PRESETS))
def test_what_is_missing_of_a_known_data_set_is_named(name, tmp_path):
    with pytest.raises(BadData, match="%s lacks .*%s" % (name, PRESETS[name].files[0])):
        prepare([{"name": name, "path": str(tmp_path)}], str(tmp_path))


@pytest.mark.parametrize(("text", "sentence"), [
    ("", "the file is empty"), ('{"question": "?"}\n', "line 1 is not"), ("[1]\n", "line 1 is not"),
    ('{"question": "?", "answer": "!"}\n{"answer": 1}\n', "line 2 is not"), ("{broken\n", "cannot be read"),
])
def test_what_is_wrong_with_own_data_is_named(tmp_path, text, sentence):
    path = tmp_path / "own.jsonl"
    path.write_text(text)
    with pytest.raises(BadData, match=sentence):
        prepare([{"name": "own", "path": str(path)}], str(tmp_path))


@pytest.mark.parametrize(("path", "sentence"), [("/none.jsonl", "cannot be read"), ("/data/other", "file of your own")])
def test_own_data_that_are_not_there(path, sentence):
    with pytest.raises(BadData, match=sentence):
        ais_bench_config.prepare([{"name": "own", "path": path}], "/tmp")
