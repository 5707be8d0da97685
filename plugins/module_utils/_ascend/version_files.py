# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Parse the version and install files of Ascend drivers, firmware and toolkits.

They hold ``key=value`` or, in the packages of some products, ``key : value`` lines; which file it is tells its keys.
"""

from __future__ import annotations

import json
import re

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_smi import ParseError

# The first kind of which the text holds every key.
_KINDS = (
    ("firmware_version", ("Version", "firmware_version")),
    ("driver_version", ("Version", "ascendhal_version")),
    ("install_info", ("UserName", "UserGroup")),
    ("toolkit_install", ("package_name", "version", "innerversion", "path")),
)
_LINE = re.compile(r"(?P<key>[A-Za-z][\w.-]*(?: [\w.-]+)*)\s*[=:]\s*(?P<value>.*)\Z", re.ASCII)
_NOT_A_FILE = re.compile(r"No such file or directory|Permission denied|没有那个文件或目录")


def parse(text):
    """Read one file.

    Returns ``{"kind": str, "fields": {key: value}}`` with the values as printed. Kinds: ``driver_version``
    (``/usr/local/Ascend/driver/version.info``), ``firmware_version``, ``install_info``
    (``/etc/ascend_install.info``), ``toolkit_install`` (the toolkit's install info), ``hccn_conf`` (as
    ``hccn_tool.parse_conf`` returns it), ``ranktable`` (whose fields are its JSON) and ``other``. A key that stands
    there twice with different values is left out. Raises `ParseError` if the text holds no field.
    """
    text = text.lstrip("\ufeff")
    if text.lstrip().startswith("{"):
        return {"kind": "ranktable", "fields": _json(text)}
    fields, doubtful = {}, set()
    for line in text.replace("\r\n", "\n").split("\n"):
        if _NOT_A_FILE.search(line):
            raise ParseError("the file could not be read", line)
        match = _LINE.match(line.strip())
        if match:
            name, value = match.group("key"), match.group("value").strip()
            if fields.setdefault(name, value) != value:
                doubtful.add(name)
    if not fields:
        raise ParseError("the file holds no key=value line", text.strip()[:80])
    fields = {name: value for name, value in fields.items() if name not in doubtful}
    if re.search(r"^\s*address_[0-9]+\s*=", text, re.MULTILINE):
        # Only here: the modules that read version files need no other part of it, and a node compiles what it imports.
        from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool
        return hccn_tool.parse_conf(text)
    kind = next((kind for kind, names in _KINDS if all(name in fields for name in names)), "other")
    if kind == "toolkit_install" and "toolkit" not in fields["package_name"]:
        kind = "other"
    return {"kind": kind, "fields": fields}


def _json(text):
    try:
        return json.loads(text)
    except ValueError as error:
        raise ParseError("the rank table is not JSON (%s)" % error, text.strip()[:80]) from error
