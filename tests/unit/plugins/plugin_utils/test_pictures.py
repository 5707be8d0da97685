# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import struct
import zlib

from ansible_collections.ascend.vllm.plugins.plugin_utils._pictures import black_image


def test_black_image_is_a_png_of_the_given_size():
    head, _comma, body = black_image(3, 2).partition(",")
    raw = base64.b64decode(body)
    assert (head, raw[:8], struct.unpack(">II", raw[16:24])) == (
        "data:image/png;base64", b"\x89PNG\r\n\x1a\n", (3, 2))
    start = raw.index(b"IDAT") + 4
    (length,) = struct.unpack(">I", raw[start - 8:start - 4])
    assert zlib.decompress(raw[start:start + length]) == bytes(2 * (3 + 1))
