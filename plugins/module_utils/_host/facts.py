# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Facts about a host and its NPUs, as read from /proc, /sys, /dev and /etc.

The parameter ``root`` of some functions is the folder to use as ``/``.
"""

from __future__ import annotations

import glob
import grp
import os
import pwd
import re
import stat
import sys
from types import MappingProxyType
from typing import TYPE_CHECKING

from ansible_collections.ascend.vllm.plugins.module_utils._host import commands
from ansible_collections.ascend.vllm.plugins.module_utils._host.terminal_text import last_line

if TYPE_CHECKING:
    from typing import Any, Callable, Iterable, Mapping, TypedDict

    class WrongSource(TypedDict):
        """A mount source that does not exist or does not have the planned type."""

        source: str
        expected: str  # file or directory
        found: str


# The maximum size of the files that are read. The largest of them is /proc/net/tcp on a busy host.
MAX_FILE_BYTES = 64 << 20
HUAWEI = "0x19e5"
ACCELERATOR_CLASS = "0x1200"  # processing accelerators; the vendor's network cards are 0x0200
# The PCI device ids of virtual functions of NPUs (devdrv_pci.h of github.com/hicann/driver).
VIRTUAL_FUNCTIONS = ("0xd805",)
_PCI_ADDRESS = re.compile(r"[0-9a-f]{4,}:[0-9a-f]{2}:[0-9a-f]{2}\.[0-7]\Z", re.IGNORECASE)
# The imports of community.docker (module_utils/_api/_import_helper.py and _common_api.py of 3.x to 5.x). The required
# packages are not tested directly, because they differ between distributions: Red Hat patches requests so that it does
# not need certifi (python-requests.spec of Fedora and EL).
_IMPORTS = """
import requests
from requests import Session
from requests.adapters import HTTPAdapter
from requests.exceptions import HTTPError, InvalidSchema, RequestException, SSLError
try:
    from requests.packages.urllib3 import connection
except ImportError:
    from urllib3 import connection
print(requests.__version__)
"""
_IMPORT_TIMEOUT_S = 30
_SELINUX = {"1": "enforcing", "0": "permissive"}
_TYPES = ((stat.S_ISREG, "file"), (stat.S_ISDIR, "directory"), (stat.S_ISCHR, "character device"),
          (stat.S_ISBLK, "block device"), (stat.S_ISSOCK, "socket"), (stat.S_ISFIFO, "pipe"))


def describe_path(path: str) -> dict[str, Any]:
    """Return the properties of a file: ``{"path", "type": str|None, "owner", "group", "mode"}``. Links are followed.

    ``type`` is ``file``, ``directory``, ``character device`` and so on, or None if the path does not exist. Device
    nodes also have ``major`` and ``minor``, links have ``target``, and a path that cannot be read has ``error``.
    """
    found: dict[str, Any] = {"path": path, "type": None}
    if os.path.islink(path):
        found["target"] = os.readlink(path)
    try:
        status = os.stat(path)
    except FileNotFoundError:
        return found
    except OSError as error:
        return dict(found, error=str(error))
    found.update(
        type=next((name for is_type, name in _TYPES if is_type(status.st_mode)), "other"),
        owner=_name(pwd.getpwuid, status.st_uid), group=_name(grp.getgrgid, status.st_gid),
        mode="%04o" % stat.S_IMODE(status.st_mode))
    if stat.S_ISCHR(status.st_mode) or stat.S_ISBLK(status.st_mode):
        found.update(major=os.major(status.st_rdev), minor=os.minor(status.st_rdev))
    return found


def _name(lookup: Callable[[int], Any], number: int) -> str:
    try:
        return str(lookup(number)[0])
    except KeyError:
        return str(number)


def device_nodes(root: str = "/") -> list[dict[str, Any]]:
    """Return the device nodes of the NPUs, as `describe_path` describes them."""
    paths = glob.glob(os.path.join(root, "dev/davinci[0-9]*")) + [
        os.path.join(root, "dev", name) for name in ("davinci_manager", "devmm_svm", "hisi_hdc")]
    return [describe_path(path) for path in sorted(paths, key=_natural_order)]


def _natural_order(path: str) -> list[int | str]:
    return [int(part) if part.isdigit() else part for part in re.split("([0-9]+)", os.path.basename(path))]


def accelerators(root: str = "/") -> list[dict[str, Any]]:
    """Return Huawei's processing accelerators on the PCI bus.

    Each accelerator has ``address``, ``device``, ``virtual`` (whether it is a virtual function) and ``ports`` (the PCI
    addresses of the ports between the accelerator and the processor). In the kernel log, link errors of the
    accelerator can appear under its own address or that of any of its ports.
    """
    found = []
    for folder in sorted(glob.glob(os.path.join(root, "sys/bus/pci/devices/*"))):
        facts = {name: read_text(os.path.join(folder, name)).strip() for name in ("vendor", "device", "class")}
        if facts["vendor"] == HUAWEI and facts["class"].startswith(ACCELERATOR_CLASS):
            parents = os.path.dirname(os.path.realpath(folder)).split(os.sep)
            found.append({
                "address": os.path.basename(folder), "device": facts["device"],
                "virtual": facts["device"] in VIRTUAL_FUNCTIONS or os.path.exists(os.path.join(folder, "physfn")),
                "ports": [name for name in parents if _PCI_ADDRESS.match(name)]})
    return found


def system(root: str = "/") -> dict[str, Any]:
    """Return the architecture, kernel, memory in bytes and so on. ``selinux`` is None if SELinux is disabled."""
    text = read_text(os.path.join(root, "etc/os-release"))
    release = dict(re.findall(r"^(\w+)=[\"']?([^\"'\n]*)", text, re.MULTILINE))
    memory = dict(re.findall(r"^(\w+):\s+([0-9]+) kB", read_text(os.path.join(root, "proc/meminfo")), re.MULTILINE))
    return {
        "architecture": os.uname().machine,
        "kernel": os.uname().release,
        "os": {"id": release.get("ID"), "version": release.get("VERSION_ID"), "name": release.get("PRETTY_NAME")},
        "memory_bytes": int(memory.get("MemTotal", 0)) * 1024,
        "memory_available_bytes": int(memory.get("MemAvailable", 0)) * 1024,
        "shm": disk(os.path.join(root, "dev/shm")),
        "selinux": _SELINUX.get(read_text(os.path.join(root, "sys/fs/selinux/enforce")).strip()),
        "uptime_s": float((read_text(os.path.join(root, "proc/uptime")).split() or ["0"])[0]),
    }


def disk(path: str) -> dict[str, Any]:
    """Return the space of the file system that contains a path: ``{"path", "existing", "total_bytes", "free_bytes"}``.

    The path does not have to exist. ``existing`` is the path itself or the nearest folder above it that exists.
    ``free_bytes`` is the space that is available to users without root privileges.
    """
    existing = os.path.abspath(path)
    while not os.path.exists(existing):
        existing = os.path.dirname(existing)
    space = os.statvfs(existing)
    return {"path": path, "existing": existing, "total_bytes": space.f_blocks * space.f_frsize,
            "free_bytes": space.f_bavail * space.f_frsize}


def python(executable: str = sys.executable) -> dict[str, str | None]:
    """Return the Python interpreter that runs modules, and whether the imports of community.docker work.

    ``requests`` is the version of the requests library, or None if the imports fail. ``error`` is the reason why the
    imports fail. If the imports time out, ``requests`` is ``unknown`` and ``error`` is also set.
    """
    outcome = commands.run([executable, "-c", _IMPORTS], _IMPORT_TIMEOUT_S)
    imported = outcome.rc == 0
    return {
        "executable": executable,
        "version": "%d.%d.%d" % sys.version_info[:3],
        "requests": last_line(outcome.stdout) if imported else "unknown" if outcome.timed_out else None,
        "error": None if imported else outcome.error or last_line(outcome.stderr) or "exit code %s" % outcome.rc,
    }


def read_text(path: str, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the first ``max_bytes`` of a file as text, or an empty string if the file cannot be read."""
    try:
        return read_file(path, max_bytes)
    except OSError:
        return ""


def read_file(path: str, max_bytes: int = MAX_FILE_BYTES) -> str:
    """Return the first ``max_bytes`` of a file as text. Raise OSError if the file cannot be read."""
    return read_bytes(path, max_bytes).decode("utf-8", "replace")


def read_bytes(path: str, max_bytes: int = MAX_FILE_BYTES) -> bytes:
    """Return the first ``max_bytes`` of a file. Do not block on a named pipe. Raise OSError on failure."""
    parts: list[bytes] = []
    remaining_bytes = max_bytes
    with open(path, "rb", buffering=0, opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as stream:
        while remaining_bytes > 0:
            # The kernel refuses to read more than 4 MiB of a file in /proc/sys at once.
            part = stream.read(min(remaining_bytes, 1 << 16))
            if not part:  # None: another program has opened the pipe, but has not written to it
                break
            parts.append(part)
            remaining_bytes -= len(part)
    return b"".join(parts)


def read_end(path: str, max_bytes: int) -> str:
    """Return the last ``max_bytes`` of a file as text. Raise OSError if the file cannot be read."""
    with open(path, "rb") as stream:
        stream.seek(max(0, os.fstat(stream.fileno()).st_size - max_bytes))
        return stream.read(max_bytes).decode("utf-8", "replace")


def wrong_sources(mounts: Iterable[Mapping[str, str]], hung: Mapping[str, str] = MappingProxyType({})
                  ) -> list[WrongSource]:
    """Return the mounts whose source does not exist or does not have the planned type.

    :param mounts: ``[{"source", "type"}]``, where ``type`` is ``file`` or ``directory``.
    :param hung: what `commands.hung_paths` returned: the paths that are not accessed, and why.
    """
    wrong: list[WrongSource] = []
    for mount in mounts:
        path = mount["source"]
        found = hung.get(path) or ("directory" if os.path.isdir(path) else "file" if os.path.isfile(path) else
                                   "something else" if os.path.exists(path) else "nothing")
        if found != mount["type"]:
            wrong.append({"source": path, "expected": mount["type"], "found": found})
    return wrong
