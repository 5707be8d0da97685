# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the header of a safetensors file and verify that the tensors fill the file exactly.

The file consists of the length N of the header (8 bytes, little-endian), N bytes of JSON ``{tensor: {"dtype", "shape",
"data_offsets": [begin, end]}, "__metadata__": {str: str}}``, and the bytes of the tensors without gaps
(https://github.com/huggingface/safetensors#format). Only the header is read, so the run time does not depend on the
size of the file.
"""

from __future__ import annotations

import json
import os
import struct
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._weights.folders import Folder

# The number of bytes per element. F4 and F6 are left out: their elements have less than a byte, and W8A8 and BF16
# models have none.
DTYPE_BYTES = {
    "BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "F8_E8M0": 1,
    "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
    "I32": 4, "U32": 4, "F32": 4,
    "I64": 8, "U64": 8, "F64": 8, "C64": 8,
}

# The reference implementation rejects longer headers.
MAX_HEADER_BYTES = 100_000_000


class SafetensorsError(ValueError):
    """The file is not a complete safetensors file. The message is the reason, without the name of the file."""


class Header(NamedTuple):
    """The names of the tensors, and the size of all of them in bytes."""

    tensors: set[str]
    tensor_bytes: int


def read_header(path: str, folder: Folder | None = None) -> Header:
    """Read the header of the file.

    :param folder: the folder to which the path is relative. The path must not lead out of the folder.
    :raises SafetensorsError: if the header is malformed or the tensors do not fill the file exactly.
    :raises OSError: if the file cannot be read.
    """
    with open(path, "rb", opener=folder.opener if folder else None) as stream:
        file_bytes = os.fstat(stream.fileno()).st_size
        prefix = stream.read(8)
        if len(prefix) < 8:
            raise SafetensorsError("it has %d bytes, too few for a safetensors header" % file_bytes)
        header_bytes = struct.unpack("<Q", prefix)[0]
        if header_bytes > min(MAX_HEADER_BYTES, file_bytes - 8):
            raise SafetensorsError("its header claims %d bytes, but the file has %d" % (header_bytes, file_bytes))
        raw = stream.read(header_bytes)
    return parse_header(raw, file_bytes - 8 - header_bytes)


def parse_header(raw: bytes, data_bytes: int) -> Header:
    """Parse a header, a JSON text that is followed by ``data_bytes`` bytes.

    :raises SafetensorsError: if the header is malformed or the tensors do not fill these bytes exactly.
    """
    try:
        entries = json.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise SafetensorsError("its header is not JSON (%s)" % error) from error
    if not isinstance(entries, dict):
        raise SafetensorsError("its header is not a JSON object")
    entries.pop("__metadata__", None)
    filled = 0
    for begin, end, name in sorted((*_span(name, entry), name) for name, entry in entries.items()):
        if begin != filled:
            raise SafetensorsError("tensor %s starts at byte %d, expected %d" % (name, begin, filled))
        filled = end
    if filled != data_bytes:
        raise SafetensorsError("its tensors need %d bytes, but the file has %d" % (filled, data_bytes))
    return Header(set(entries), filled)


def _span(name: str, entry: Any) -> tuple[int, int]:
    """Return the start and the end of a tensor in the data, and check them against its type and shape."""
    try:
        dtype, shape = entry["dtype"], entry["shape"]
        begin, end = entry["data_offsets"]
        elements = 1
        for length in shape:
            if not isinstance(length, int) or length < 0:
                raise ValueError("shape %s" % (shape,))
            elements *= length
        fits = begin >= 0 and end - begin == elements * DTYPE_BYTES.get(dtype, 0)
    except (KeyError, TypeError, ValueError) as error:
        raise SafetensorsError("tensor %s has a malformed entry (%r)" % (name, error)) from error
    if dtype not in DTYPE_BYTES:
        raise SafetensorsError("tensor %s has the unknown type %s" % (name, dtype))
    if not fits:
        raise SafetensorsError("tensor %s of shape %s and type %s does not fit its offsets %d-%d" % (
            name, shape, dtype, begin, end))
    return begin, end
