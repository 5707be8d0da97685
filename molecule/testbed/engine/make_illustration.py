# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Draw illustration.png, the picture of the functional stage: a ring and the words "TONGYI Qwen".

This program needs only the standard library. The pixels are the same on every machine, and a test compares them with
the picture in the repository. With another version of zlib, the bytes of the file may differ.

    make_illustration.py [--text "TONGYI Qwen"] [--output PATH]
"""

from __future__ import annotations

import argparse
import math
import struct
import sys
import zlib
from pathlib import Path

ILLUSTRATION = Path(__file__).resolve().parents[3] / "roles/functional/files/illustration.png"
TEXT = "TONGYI Qwen"
# 28 pixels are one visual token of Qwen2.5-VL, so this is 20 x 4 = 80 tokens.
WIDTH, HEIGHT = 560, 112
PAPER, INK, ACCENT = (255, 255, 255), (32, 24, 96), (104, 76, 224)
CAP_HEIGHT, STROKE, GAP = 44.0, 3.2, 10.0
BASELINE, LEFT = 78.0, 104.0


def arc(x: float, y: float, rx: float, ry: float, start: int, end: int) -> list[tuple[float, float]]:
    """Return points of an elliptic arc around (x, y); degrees, clockwise from three o'clock (y points down)."""
    steps = range(start, end + 1, 10)
    return [(x + rx * math.cos(math.radians(a)), y + ry * math.sin(math.radians(a))) for a in steps]


# Letter: (advance width, pen strokes), in cap heights; y = 0 is the top of a capital and y = 1 the baseline.
GLYPHS: dict[str, tuple[float, list[list[tuple[float, float]]]]] = {
    " ": (0.30, []),
    "T": (0.76, [[(0, 0), (0.76, 0)], [(0.38, 0), (0.38, 1)]]),
    "O": (0.92, [arc(0.46, 0.5, 0.46, 0.5, 0, 360)]),
    "N": (0.72, [[(0, 1), (0, 0), (0.72, 1), (0.72, 0)]]),
    "G": (0.88, [[*arc(0.46, 0.5, 0.46, 0.5, 40, 320)[::-1], (0.86, 0.56), (0.52, 0.56)]]),
    "Y": (0.78, [[(0, 0), (0.39, 0.5), (0.78, 0)], [(0.39, 0.5), (0.39, 1)]]),
    "I": (0.06, [[(0.03, 0), (0.03, 1)]]),
    "Q": (0.92, [arc(0.46, 0.5, 0.46, 0.5, 0, 360), [(0.56, 0.72), (0.94, 1.10)]]),
    "w": (0.88, [[(0, 0.34), (0.20, 1), (0.44, 0.42), (0.68, 1), (0.88, 0.34)]]),
    "e": (0.62, [[(0.02, 0.64), (0.62, 0.64), *arc(0.32, 0.66, 0.31, 0.34, 40, 360)[::-1]]]),
    "n": (0.56, [[(0, 0.34), (0, 1)], [*arc(0.28, 0.64, 0.28, 0.30, 180, 360), (0.56, 1)]]),
}


def segments(text: str) -> list[tuple[float, float, float, float]]:
    """Return the pen strokes of a text as line segments in pixels."""
    found, left = [], LEFT
    for letter in text:
        advance, strokes = GLYPHS[letter]
        for stroke in strokes:
            points = [(left + x * CAP_HEIGHT, BASELINE + (y - 1) * CAP_HEIGHT) for x, y in stroke]
            found += [(*a, *b) for a, b in zip(points, points[1:])]
        left += advance * CAP_HEIGHT + GAP
    return found


def distance(x: float, y: float, segment: tuple[float, float, float, float]) -> float:
    """Return the distance in pixels from (x, y) to a line segment."""
    ax, ay, bx, by = segment
    dx, dy = bx - ax, by - ay
    along = ((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy)
    along = min(1.0, max(0.0, along))
    return math.hypot(x - ax - along * dx, y - ay - along * dy)


def mix(background: tuple[int, int, int], color: tuple[int, int, int], share: float) -> tuple[int, int, int]:
    red, green, blue = (round(b + (c - b) * share) for b, c in zip(background, color))
    return red, green, blue


def draw(text: str = TEXT) -> list[list[tuple[int, int, int]]]:
    """Return rows of (red, green, blue) pixels, HEIGHT x WIDTH."""
    rows = [[PAPER] * WIDTH for _row in range(HEIGHT)]
    for y in range(HEIGHT):  # a ring with soft edges
        for x in range(int(LEFT)):
            edge = 9.0 - abs(math.hypot(x - 52, y - 56) - 26)
            if edge > 0:
                rows[y][x] = mix(PAPER, ACCENT, min(1.0, edge))
    for segment in segments(text):
        ax, ay, bx, by = segment
        reach = STROKE + 1
        for y in range(max(0, int(min(ay, by) - reach)), min(HEIGHT, int(max(ay, by) + reach) + 1)):
            for x in range(max(0, int(min(ax, bx) - reach)), min(WIDTH, int(max(ax, bx) + reach) + 1)):
                share = min(1.0, max(0.0, STROKE + 0.5 - distance(x, y, segment)))
                pixel = mix(PAPER, INK, share)
                rows[y][x] = min(pixel, rows[y][x])  # strokes that overlap keep the darker pixel
    return rows


def png(rows: list[list[tuple[int, int, int]]]) -> bytes:
    """Return the content of an 8-bit RGB PNG file."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    header = struct.pack(">IIBBBBB", len(rows[0]), len(rows), 8, 2, 0, 0, 0)
    raw = b"".join(b"\0" + bytes(value for pixel in row for value in pixel) for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--text", default=TEXT, help="words to show; letters of '%s' only" % TEXT)
    parser.add_argument("--output", type=Path, default=ILLUSTRATION)
    arguments = parser.parse_args()
    unknown = sorted(set(arguments.text) - set(GLYPHS))
    if unknown:
        parser.error("no glyph for %s; the script draws only the letters of '%s'" % (", ".join(unknown), TEXT))
    arguments.output.write_bytes(png(draw(arguments.text)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
