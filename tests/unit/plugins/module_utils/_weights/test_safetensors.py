# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import json
import struct

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights.safetensors import SafetensorsError, read_header


def write(path, entries, data=b"", header=None):
    """Write a safetensors file with this header (entries or raw bytes) and these tensor bytes, and return its path."""
    raw = header if header is not None else json.dumps(entries).encode()
    path.write_bytes(struct.pack("<Q", len(raw)) + raw + data)
    return path


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


def test_complete_file_is_described(tmp_path):
    path = write(tmp_path / "m.safetensors", {
        "__metadata__": {"format": "pt"},
        "b": entry("I8", [3], 12, 15),
        "a": entry("BF16", [2, 3], 0, 12),
        "empty": entry("F32", [0, 4], 12, 12),
    }, bytes(15))
    header = read_header(path)
    assert header.tensor_bytes == 15
    assert header.tensors == {"a", "b", "empty"}


@pytest.mark.parametrize(("entries", "data", "header", "reason"), [
    ({"a": entry("F32", [2], 0, 8)}, bytes(7), None, "need 8 bytes, but the file has 7"),
    ({"a": entry("F32", [2], 0, 8)}, bytes(9), None, "need 8 bytes, but the file has 9"),
    ({"a": entry("F32", [3], 0, 8)}, bytes(8), None, "does not fit its offsets 0-8"),
    ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 8, 12)}, bytes(12), None, "starts at byte 8, expected 4"),
    ({"a": entry("F32", [1], 0, 4), "b": entry("F32", [1], 0, 4)}, bytes(4), None, "starts at byte 0, expected 4"),
    ({"a": entry("X9", [1], 0, 4)}, bytes(4), None, "unknown type X9"),
    ({"a": {"dtype": "F32", "shape": [1]}}, bytes(4), None, "malformed entry"),
    ({"a": entry("F32", ["1"], 0, 4)}, bytes(4), None, "malformed entry"),
    (None, b"", b"{not json", "not JSON"),
    (None, b"", b"[]", "not a JSON object"),
])
def test_damage_is_reported(tmp_path, entries, data, header, reason):
    path = write(tmp_path / "m.safetensors", entries, data, header)
    with pytest.raises(SafetensorsError, match=reason):
        read_header(path)


@pytest.mark.parametrize(("content", "reason"), [
    (b"", "0 bytes, too few"),
    (b"1234567", "7 bytes, too few"),
    (struct.pack("<Q", 100) + b"{}", "header claims 100 bytes, but the file has 10"),
    (struct.pack("<Q", 2**63) + b"{}", "header claims"),
])
def test_file_truncated_in_its_header_is_reported(tmp_path, content, reason):
    path = tmp_path / "m.safetensors"
    path.write_bytes(content)
    with pytest.raises(SafetensorsError, match=reason):
        read_header(path)
