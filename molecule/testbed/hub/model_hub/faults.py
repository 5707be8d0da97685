# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Faults of the hub, from a file with a JSON list of objects with the fields of Fault."""

from __future__ import annotations

import dataclasses
import fnmatch
import json
import threading
from pathlib import Path


@dataclasses.dataclass(frozen=True)
class Fault:
    """A fault of transfers of files with a matching path. The first fault that matches applies."""

    path: str = "*"  # pattern of the path in the model
    times: int | None = None  # how often it applies after the start of the hub; None: always
    status: int | None = None  # only return this HTTP status, such as 401 or 503
    truncate: int | None = None  # the hub has only this many bytes of the file
    flip: int | None = None  # the byte at this offset is wrong
    drop_after: int | None = None  # the connection is closed after this many bytes of the response
    bytes_per_s: int | None = None  # rate of each connection


class Faults:
    """The faults in a file, which can be changed while the hub runs."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._applied: dict[Fault, int] = {}
        self._lock = threading.Lock()

    def of(self, path: str) -> Fault:
        """Return the fault for one transfer of a file, or a Fault without effect if there is none.

        Raises:
            ValueError: the file with the faults is invalid.
        """
        with self._lock:
            for fault in self._read():
                done = self._applied.get(fault, 0)
                if fnmatch.fnmatch(path, fault.path) and (fault.times is None or done < fault.times):
                    self._applied[fault] = done + 1
                    return fault
        return Fault()

    def _read(self) -> list[Fault]:
        if self._path is None or not self._path.exists():
            return []
        try:
            return [Fault(**entry) for entry in json.loads(self._path.read_text())]
        except (TypeError, ValueError) as error:
            raise ValueError(f"{self._path}: expected a JSON list of faults, {error}") from error
