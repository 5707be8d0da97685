# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the version files and installation files of the Ascend driver and firmware.

The files have ``key=value`` lines or, in the packages of some products, ``key : value`` lines. The kind of a file is
identified by its keys.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_file

if TYPE_CHECKING:
    from typing import TypedDict

    class VersionFile(TypedDict, total=False):
        """A parsed file, or the ``error`` if the file could not be read."""

        kind: str
        fields: dict[str, str]
        error: str

# The kinds of files and the keys that identify them. The first kind whose keys are all in the file applies.
_KINDS = (
    ("firmware_version", ("Version", "firmware_version")),
    ("driver_version", ("Version", "ascendhal_version")),
    ("install_info", ("UserName", "UserGroup")),
)
_LINE = re.compile(r"(?P<key>[A-Za-z][\w.-]*(?: [\w.-]+)*)\s*[=:]\s*(?P<value>.*)\Z", re.ASCII)
_NOT_A_FILE = re.compile(r"No such file or directory|Permission denied|没有那个文件或目录")


def parse(text: str) -> VersionFile:
    """Parse the content of a file.

    Return ``{"kind": str, "fields": {key: value}}`` with the values as they are written. The kind is ``driver_version``
    (``/usr/local/Ascend/driver/version.info``), ``firmware_version``, ``install_info`` (``/etc/ascend_install.info``)
    or ``other``. A key that is set twice to different values is omitted.

    :raises ParseError: if the file has no line with a key and a value.
    """
    fields: dict[str, str] = {}
    ambiguous = set()
    for line in text.lstrip("\ufeff").replace("\r\n", "\n").split("\n"):
        if _NOT_A_FILE.search(line):
            raise ParseError("the file could not be read", line)
        match = _LINE.match(line.strip())
        if match:
            name, value = match.group("key"), match.group("value").strip()
            if fields.setdefault(name, value) != value:
                ambiguous.add(name)
    if not fields:
        raise ParseError("the file has no key=value line", text.strip()[:80])
    fields = {name: value for name, value in fields.items() if name not in ambiguous}
    kind = next((kind for kind, names in _KINDS if all(name in fields for name in names)), "other")
    return {"kind": kind, "fields": fields}


def read(path: str) -> VersionFile:
    """Read and parse a file. Return ``{"error": str}`` on failure."""
    try:
        return parse(read_file(path))
    except (OSError, ParseError) as error:
        return {"error": str(error)}
