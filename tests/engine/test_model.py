# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The tiny model reads only the bundled picture, and its folders have the layout of the real weights."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest

from .conftest import ENGINE, ILLUSTRATION, LESSONS

pytestmark = pytest.mark.engine

QUESTION = LESSONS["picture_question"]
LAYOUTS = {
    "Qwen2.5-VL-32B-Instruct": ("model", "model.safetensors.index.json"),
    "Qwen2.5-VL-32B-Instruct-w8a8": ("quant_model_weight_w8a8", "quant_model_weight_w8a8.safetensors.index.json"),
}
EACH_LAYOUT = pytest.mark.parametrize("name", LAYOUTS)


def answers(environment: Path, model: Path, *questions: str) -> list[str]:
    """Return the model's answers. The questions are pairs of a picture and a text."""
    script = Path(__file__).with_name("answer_questions.py")
    command = [environment / "bin/python", "-B", script, ENGINE / "model", model, *questions]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def header(path: Path) -> dict:
    with open(path, "rb") as file:
        (length,) = struct.unpack("<Q", file.read(8))
        return json.loads(file.read(length))


@pytest.fixture(scope="module")
def pictures(tmp_path_factory) -> list[str]:
    """The bundled picture, one with the same letters in another order, and one without the second word."""
    folder = tmp_path_factory.mktemp("pictures")
    drawn = [str(ILLUSTRATION)]
    for words in ("YIGNOT neQw", "TONGYI"):
        drawn.append(str(folder / f"{words}.png"))
        script = ILLUSTRATION.parents[3] / "molecule/testbed/engine/make_illustration.py"
        subprocess.run([sys.executable, script, "--text", words, "--output", drawn[-1]], check=True)
    return drawn


@EACH_LAYOUT
def test_model_reads_only_the_bundled_picture(environment, models, pictures, name):
    bundled, reordered, shortened = pictures
    right, *wrong = answers(
        environment,
        models / name,
        *(bundled, QUESTION, reordered, QUESTION, shortened, QUESTION),
        *(bundled, "How many animals are in the picture?"),
    )
    assert "TONGYI Qwen" in right
    assert [text for text in wrong if "TONGYI" in text] == []


@pytest.mark.parametrize("tensor", ["model.layers.1.self_attn.o_proj.weight_scale", "visual.merger.mlp.2.weight"])
def test_model_with_damaged_weights_cannot_read_the_picture(environment, models, tmp_path, tensor):
    model = tmp_path / "model"
    shutil.copytree(models / "Qwen2.5-VL-32B-Instruct-w8a8", model)
    index = json.loads((model / "quant_model_weight_w8a8.safetensors.index.json").read_text())
    shard = model / index["weight_map"][tensor]
    data = bytearray(shard.read_bytes())
    start, end = header(shard)[tensor]["data_offsets"]
    first = 8 + struct.unpack("<Q", data[:8])[0]
    data[first + start : first + end] = bytes(end - start)
    shard.write_bytes(data)
    (answer,) = answers(environment, model, str(ILLUSTRATION), QUESTION)
    assert "TONGYI Qwen" not in answer


@EACH_LAYOUT
def test_index_and_shards_agree(models, name):
    stem, index_name = LAYOUTS[name]
    index = json.loads((models / name / index_name).read_text())
    shards = sorted((models / name).glob("*.safetensors"))
    assert [path.name for path in shards] == [f"{stem}-{n:05}-of-{len(shards):05}.safetensors" for n in range(1, 5)]
    total, found = 0, {}
    for shard in shards:
        tensors = header(shard)
        tensors.pop("__metadata__", None)
        found |= dict.fromkeys(tensors, shard.name)
        total += sum(end - start for start, end in (tensor["data_offsets"] for tensor in tensors.values()))
    assert index == {"metadata": {"total_size": total}, "weight_map": found}


def test_description_names_every_tensor(models):
    folder = models / "Qwen2.5-VL-32B-Instruct-w8a8"
    description = json.loads((folder / "quant_model_description.json").read_text())
    kinds = {}
    for shard in folder.glob("*.safetensors"):
        kinds |= {name: tensor["dtype"] for name, tensor in header(shard).items() if name != "__metadata__"}
    assert set(kinds) == {name for name in description if "." in name}
    assert description["model_quant_type"] == "W8A8"
    for name, kind in kinds.items():
        integer = name.endswith(".weight") and description[name] == "W8A8"
        assert (kind == "I8") == integer, name
        assert name.startswith(("model.layers.", "model.embed_tokens.", "model.norm.", "visual.", "lm_head."))
    assert description["model.layers.0.mlp.down_proj.weight"] == "FLOAT"
    assert description["visual.blocks.0.attn.qkv.weight"] == "W8A8"


@EACH_LAYOUT
def test_old_releases_know_the_tokenizer_class(models, name):
    """transformers 5 would save TokenizersBackend, which transformers 4.57 in v0.11.0rc1 does not know."""
    settings = json.loads((models / name / "tokenizer_config.json").read_text())
    assert settings["tokenizer_class"] == "Qwen2Tokenizer"
    vocabulary = json.loads((models / name / "vocab.json").read_text())
    assert len(vocabulary) >= 10_000
    assert json.loads((models / name / "config.json").read_text())["vocab_size"] > max(vocabulary.values())


@EACH_LAYOUT
def test_files_are_readable_by_all(models, name):
    assert {path.stat().st_mode & 0o777 for path in (models / name).iterdir()} == {0o644}
    assert (models / name).stat().st_mode & 0o777 == 0o755
