# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The bundled picture shows all of its words, dark on white, and its script draws the same picture."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
import zlib

import pytest

from .conftest import ILLUSTRATION

SCRIPT = ILLUSTRATION.parents[3] / "molecule/testbed/engine/make_illustration.py"
MARGIN = 8  # pixels


@pytest.fixture(scope="module")
def script():
    spec = importlib.util.spec_from_file_location("make_illustration", SCRIPT)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def pixels(png: bytes) -> list[list[tuple[int, int, int]]]:
    """Return the rows of an 8-bit RGB PNG without row filters."""
    chunks, position = {}, 8
    while position < len(png):
        length, kind = struct.unpack(">I4s", png[position : position + 8])
        body = png[position + 8 : position + 8 + length]
        assert zlib.crc32(kind + body) == struct.unpack(">I", png[position + 8 + length : position + 12 + length])[0]
        chunks[kind] = body
        position += 12 + length
    width, height, depth, color_type = struct.unpack(">IIBB", chunks[b"IHDR"][:10])
    assert (depth, color_type) == (8, 2)
    raw = zlib.decompress(chunks[b"IDAT"])
    rows = [raw[y * (3 * width + 1) : (y + 1) * (3 * width + 1)] for y in range(height)]
    assert {row[0] for row in rows} == {0}
    return [[tuple(row[1 + 3 * x : 4 + 3 * x]) for x in range(width)] for row in rows]


def luminance(pixel: tuple[int, int, int]) -> float:
    """Return the relative luminance, 0 to 1 (WCAG 2)."""
    linear = [
        value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in (v / 255 for v in pixel)
    ]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def letters(rows) -> list[int]:
    """Return the widths of the runs of inked columns: one run for the mark and one for each separate letter."""
    inked = [any(luminance(row[x]) < 0.5 for row in rows) for x in range(len(rows[0]))]
    text = "".join("#" if dark else " " for dark in inked)
    return [len(run) for run in text.split()]


def test_script_draws_the_bundled_picture(script):
    assert pixels(ILLUSTRATION.read_bytes()) == [[*row] for row in script.draw("TONGYI Qwen")]


def test_script_always_writes_the_same_file(tmp_path):
    for name in ("one.png", "two.png"):
        subprocess.run([sys.executable, SCRIPT, "--output", tmp_path / name], check=True)
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()


def test_words_are_complete_and_have_high_contrast(script):
    rows = pixels(ILLUSTRATION.read_bytes())
    assert (luminance(script.PAPER) + 0.05) / (luminance(script.INK) + 0.05) > 7
    border = [*rows[:MARGIN], *rows[-MARGIN:], *[row[:MARGIN] + row[-MARGIN:] for row in rows]]
    assert {pixel for row in border for pixel in row} == {script.PAPER}
    assert len(letters(rows)) == 1 + len("TONGYIQwen")


def test_different_words_result_in_a_different_picture(script):
    assert script.draw("Qwen TONGYI") != script.draw("TONGYI Qwen")


def test_width_and_height_are_multiples_of_the_visual_token_size(script):
    assert script.WIDTH % 28 == script.HEIGHT % 28 == 0


def test_unknown_letter_is_refused(tmp_path):
    command = [sys.executable, SCRIPT, "--text", "Hello", "--output", tmp_path / "x.png"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "no glyph for H, l, o" in done.stderr
    assert not (tmp_path / "x.png").exists()
