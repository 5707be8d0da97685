# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files in the results folder on the controller, such as ``<report_path>/<host>/<stage>.json``.

Stages write these files, the report reads them, and stages exchange data only through them. The results of stages
remain after the run. All other files belong to one run and are ignored by later runs: the plan of each host,
observations that are judged together, and notes for other hosts. Only the report reads the plan and the status of an
earlier run, to find results that are out of date.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import secrets
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from ansible.errors import AnsibleActionFail

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known, redact_in
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, currency, run

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._host.lease import Run
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import StageResult
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.currency import Current
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.history import Entry
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Report

OBSERVED = "observed"
# The maximum nesting depth of dictionaries and lists in a file.
MAX_DEPTH = 64
# Results and reports have the permissions that the umask allows; only their owner can access all other files.
RESULT_MODE, PRIVATE_MODE = 0o666, 0o600
# The exporter of Prometheus runs as another user.
METRICS_MODE = 0o644
# Files in the results folder; no host may have such a name.
_LEASE = ".lease.json"
HISTORY_RUNS = 50
_REPORTS = ("report.json", "report.md", "report.html", "report.prom", "junit.xml", "hosts_passed.txt",
            "hosts_failed.txt", "history")


class LeaseHeld(Exception):
    """Another run holds the lease of the results folder; the message is one sentence."""


class BadHostName(AnsibleActionFail):
    """The name of a host cannot be the name of a folder; the message is one sentence."""


class NoPlan(Exception):
    """This run has not saved a plan of the host for these inputs; the message is one sentence."""


@dataclass
class ObservationRecord:
    """The observation of a host for a stage."""

    #: The part of the stage that was observed. The judge of the stage defines its name.
    phase: str = ""
    observed: dict[str, Any] = field(default_factory=dict)
    #: The reason why there is no observation; None if there is one.
    failure: str | None = None
    reachable: bool = True
    #: Start of the first task of the stage (UTC), and the duration of all its tasks in seconds.
    started_at: str = ""
    spent_s: float = 0.0


class Records:
    """Reads and writes a results folder. A damaged file counts as missing.

    :param dry: whether this is check mode, in which no result and no report is written or removed.
    :param run_id: the id of this run, by default the id of this process. Files that belong to other runs are not read.
    :param known_secrets: the secrets to mask in results and reports.
    :param warn: a function that prints a warning about a damaged file.
    """

    def __init__(self, root: str | Path, dry: bool = False, run_id: str | None = None,
                 known_secrets: Iterable[str] = (), warn: Callable[[str], None] = lambda text: None) -> None:
        self.root = Path(root)
        self.dry = dry
        self.run_id = run_id or run.RUN_ID
        self._secrets = tuple(known_secrets)
        self._warn = warn

    def hold_lease(self) -> None:
        """Take or renew the lease of the folder for this run. In check mode, only check whether another run holds it.

        :raises LeaseHeld: if another run holds it and has not ended. :raises OSError: if the folder cannot be written.
        """
        path = self.root / _LEASE
        with self._lock():
            holder = cast("Run | None", _read(path, run.RUN)[0])
            if holder and holder["run"] == self.run_id:
                os.utime(path)
            elif holder and not run.has_ended(holder) and abs(time.time() - path.stat().st_mtime) < lease.LIMIT_S:
                raise LeaseHeld(lease.refusal(f"The results folder {self.root}", holder, str(path)))
            elif not self.dry:
                _write_atomically(path, json.dumps({**run.RUN, "run": self.run_id}), RESULT_MODE)

    def release(self) -> None:
        """Release the lease of the folder if this run holds it."""
        path = self.root / _LEASE
        if path.exists():  # otherwise, the lock would create the folder
            with self._lock():
                if self._read_run_file(path, "run")[0]:
                    path.unlink()

    @contextlib.contextmanager
    def _lock(self) -> Iterator[None]:
        """Exclude all other processes, of this run and of other runs."""
        lock = os.open(_with_parent(self.root / ".lock"), os.O_WRONLY | os.O_CREAT, PRIVATE_MODE)
        with os.fdopen(lock, "wb"):
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def folder(self, host: str) -> Path:
        """Return the folder of a host.

        :raises BadHostName: if the name of the host cannot be the name of a folder.
        """
        if (not host or "/" in host or host.startswith(".") or not host.isprintable() or len(host.encode()) > 255
                or host in _REPORTS):
            raise BadHostName(
                f"The inventory has a host with the name {host!r}, but a folder for its results cannot have this name; "
                f"rename the host: the name must not contain a slash or invisible characters, start with a dot, have "
                f"more than 255 bytes, or be one of {', '.join(_REPORTS)}.")
        return self.root / host

    def read_json(self, path: Path, needed: Collection[str] = ()) -> dict[str, Any] | None:
        """Return the dictionary in a JSON file.

        :param needed: required keys; a file without them counts as damaged.
        :returns: None if the file is missing or damaged; a warning names a damaged file.
        """
        content, damage = _read(path, needed)
        if damage:
            self._warn(f"{damage}, so it counts as missing.")
        return content

    # --- results and report ------------------------------------------------------------------------------------------

    def write_result(self, result: StageResult) -> Path:
        """Write the result of a stage with secrets masked, and return its path."""
        path = self.folder(result["host"]) / f"{result['stage']}.json"
        return self.write(path, to_json(redact_in(json_data(result), self._secrets)))

    def read_result(self, host: str, stage: str) -> StageResult | None:
        """Return the result of a stage, or None if it does not exist or is damaged."""
        return cast("StageResult | None", self.read_json(self.folder(host) / f"{stage}.json", contract.RESULT_KEYS))

    def read_results(self, host: str, stages: Iterable[str]) -> dict[str, StageResult]:
        """Return ``{stage: result}`` of a host, for the stages that have a result.

        A damaged result is replaced by a result that describes the damage.
        """
        found = {}
        for stage in stages:
            content, damage = _read(self.folder(host) / f"{stage}.json", contract.RESULT_KEYS)
            if damage:
                found[stage] = contract.no_result(stage, host, damage)
            elif content:
                found[stage] = cast("StageResult", content)
        return found

    def read_report(self) -> Report | None:
        """Return the last report, or None if it does not exist or is damaged."""
        return cast("Report | None", self.read_json(self.root / "report.json", ("services",)))

    def remove_results(self, hosts: Iterable[str], stages: Iterable[str]) -> None:
        """Remove the results and observations of earlier runs, for the stages that this run executes."""
        stages = list(stages)
        for path in [self.folder(host) / folder / f"{stage}.json"
                     for host in hosts for stage in stages for folder in ("", OBSERVED)]:
            if not self.dry:
                path.unlink(missing_ok=True)

    def write(self, path: Path, text: str) -> Path:
        """Write a result or report atomically with secrets masked, and return its path; write nothing in check mode."""
        return path if self.dry else _write_atomically(path, mask_known(text, self._secrets), RESULT_MODE)

    def write_form(self, name: str, text: str) -> Path:
        """Write a file of the report. If its text is empty, remove the file of an earlier run instead."""
        path = self.root / name
        if text:
            self.write(path, text)
        else:
            path.unlink(missing_ok=True)
        if path.suffix == ".prom":
            path.chmod(METRICS_MODE)
        return path

    def add_to_history(self, entry: Entry) -> list[Entry]:
        """Add the entry of this run to the history, and return all entries, the oldest first.

        A run without a new result adds nothing. Of more than HISTORY_RUNS entries, the oldest are removed.
        """
        folder = self.root / "history"
        if entry["covered"]:
            self.write(folder / f"{self.run_id}.json", to_json(entry))
        paths = sorted(folder.glob("[0-9]*.json"))
        for path in paths[:-HISTORY_RUNS]:
            path.unlink()
        found = [self.read_json(path, ("at", "figures", "plan_hashes")) for path in paths[-HISTORY_RUNS:]]
        return [cast("Entry", each) for each in found if each]

    def read_current(self, host: str, results: Mapping[str, StageResult]) -> Current:
        """Return what is deployed on a host according to its results and its last saved plan and status.

        The plan and the status may be those of an earlier run.
        """
        saved = _read(self.folder(host) / "plan.json", ("plan",))[0]
        status = _read(self._note(host, currency.STATUS), ("note",))[0]
        return {**currency.newest(results, status["note"] if status else None),
                "plan": saved["plan"].get("hash") if saved else None}

    def write_private(self, path: Path, content: bytes) -> Path:
        """Atomically write a file that only its owner can read, even in check mode, and return its path."""
        return _write_atomically(path, content, PRIVATE_MODE)

    # --- files of this run, also written in check mode ---------------------------------------------------------------

    def write_plan(self, host: str, plan: Plan, inputs: Mapping[str, str]) -> Path:
        """Write the plan of a host for later tasks of this run.

        :param inputs: ``{variable: digest of its value}`` for the inputs from which the plan was resolved.
        """
        return self._write_run_file(self.folder(host) / "plan.json", {"plan": plan, "inputs": inputs})

    def has_plan(self, host: str) -> bool:
        """Return whether this run has saved a plan for a host. If not, no task of this run has contacted it."""
        return self._read_run_file(self.folder(host) / "plan.json")[0] is not None

    def read_plan(self, host: str, inputs: Mapping[str, str]) -> Plan:
        """Return the plan that this run has saved for a host with the same inputs, see `write_plan`.

        :raises NoPlan: if there is no such plan, for example because the saved plan belongs to another run.
        """
        path = self.folder(host) / "plan.json"
        saved, found = self._read_run_file(path)
        if saved is None:
            raise NoPlan(f"{path} belongs to run {found}." if found else f"{path} does not exist.")
        changed = sorted(name for name in inputs if inputs[name] != saved["inputs"].get(name))
        if changed:
            raise NoPlan(f"{path} was resolved with different values of {', '.join(changed)}.")
        plan: Plan = saved["plan"]
        return plan

    def once(self, name: str, make: Callable[[], dict[str, Any]]) -> dict[str, Any]:
        """Return data that all processes of this run share. The first process that needs the data calls ``make``."""
        path = self.root / f"{name}.json"
        saved = self._read_run_file(path)[0]
        if saved is None:
            with self._lock():
                saved = self._read_run_file(path)[0]
                if saved is None:
                    saved = {"content": make()}
                    self._write_run_file(path, saved)
        return cast("dict[str, Any]", saved["content"])

    def write_observation(self, host: str, stage: str, record: ObservationRecord) -> Path:
        """Write the observation of a host for the tasks that judge it."""
        return self._write_run_file(self._observed(host, stage), asdict(record))

    def read_observation(self, host: str, stage: str, phase: str = "") -> ObservationRecord | None:
        """Return the observation that this run has saved for a host in a phase of a stage, or None."""
        saved = self._read_run_file(self._observed(host, stage))[0]
        if saved is None or saved["phase"] != phase:
            return None
        return ObservationRecord(**{name: value for name, value in saved.items() if name != "run_id"})

    def read_observations(self, hosts: Iterable[str], stage: str, phase: str = "") -> dict[str, dict[str, Any]]:
        """Return ``{host: observed}`` for the hosts that this run has observed without a failure."""
        records = {host: self.read_observation(host, stage, phase) for host in hosts}
        return {host: record.observed for host, record in records.items() if record and not record.failure}

    def survey(self, host: str, hosts: Iterable[str], stage: str, purpose: str,
               make: Callable[[dict[str, dict[str, Any]]], dict[str, Any]], phase: str = "") -> Any:
        """Return one host's part of a survey, which is made from the observations of all hosts.

        Ansible runs a task for each host in a separate process. The first process makes the survey for all hosts. The
        others only read their host's part. Otherwise, each of a thousand processes would read a thousand files.

        :param purpose: identifies the survey; each task of the run uses a different value.
        :param make: a function of ``{host: observed}`` that returns ``{host: plain data}``.
        """
        path = self.folder(host) / OBSERVED / f"{stage}.survey.json"
        with self._lock():
            saved = _read(path, ("survey",))[0] or {}
            observed = self._observed(host, stage)
            # With `serial`, a task is run once per batch: the observations of a later batch are newer than the survey.
            if saved.get("purpose") != purpose or path.stat().st_mtime_ns < observed.stat().st_mtime_ns:
                for name, part in make(self.read_observations(dict.fromkeys([*hosts, host]), stage, phase)).items():
                    _write_atomically(self.folder(name) / OBSERVED / f"{stage}.survey.json",
                                      json.dumps({"purpose": purpose, "survey": part}), PRIVATE_MODE)
                saved = json.loads(path.read_text("utf-8"))
        return saved["survey"]

    def write_note(self, host: str, name: str, note: Mapping[str, Any]) -> Path:
        """Write a note for the other hosts of this run."""
        return self._write_run_file(self._note(host, name), {"note": note})

    def read_notes(self, hosts: Iterable[str], name: str) -> dict[str, dict[str, Any]]:
        """Return ``{host: note}`` for the hosts that have written this note in this run."""
        notes = {host: self._read_run_file(self._note(host, name))[0] for host in hosts}
        return {host: found["note"] for host, found in notes.items() if found}

    def _observed(self, host: str, stage: str) -> Path:
        return self.folder(host) / OBSERVED / f"{stage}.json"

    def _note(self, host: str, name: str) -> Path:
        return self.folder(host) / OBSERVED / f"{name}.note.json"

    def _write_run_file(self, path: Path, data: Mapping[str, Any]) -> Path:
        return _write_atomically(path, to_json({"run_id": self.run_id, **data}), PRIVATE_MODE)

    def _read_run_file(self, path: Path, key: str = "run_id") -> tuple[dict[str, Any] | None, str | None]:
        """Return (the content of the file if it belongs to this run, the id of the run that it belongs to)."""
        content = self.read_json(path)
        found = content.get(key) if content else None
        return (content if found == self.run_id else None), found


def timestamp() -> str:
    """Return the current time in the format of results (UTC, ISO 8601)."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())


def _with_parent(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _read(path: Path, needed: Collection[str] = ()) -> tuple[dict[str, Any] | None, str | None]:
    """Return (the dictionary in a JSON file, the problem with the file); (None, None) if the file does not exist."""
    try:
        content = json.loads(path.read_text("utf-8"))
    except FileNotFoundError:
        return None, None
    except (OSError, ValueError, RecursionError) as error:
        return None, f"{path} cannot be read ({error})"
    missing = [key for key in needed if key not in content] if isinstance(content, dict) else ["a dictionary"]
    if missing:
        return None, f"{path} is damaged (it does not contain {missing[0]})"
    return content, None


def _write_atomically(path: Path, content: str | bytes, mode: int) -> Path:
    """Write a file so that a reader gets either the old or the new content.

    :param mode: the permissions of the file before the umask is applied.
    """
    temporary = _with_parent(path).with_name(f".{path.name}.{os.getpid()}-{secrets.token_hex(4)}")
    handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content if isinstance(content, bytes) else content.encode("utf-8", "backslashreplace"))
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    return path


def to_json(data: Any, sort_keys: bool = True) -> str:
    """Return any data as JSON that every parser accepts, see `json_data`."""
    return json.dumps(json_data(data), indent=2, sort_keys=sort_keys, ensure_ascii=False, allow_nan=False) + "\n"


def json_data(value: Any, depth: int = MAX_DEPTH) -> Any:
    """Return the value as data that JSON and UTF-8 can represent, since nodes and servers may return anything.

    Lone surrogates are replaced by U+FFFD; numbers that JSON cannot represent (NaN, infinity, integers of hundreds of
    digits) and objects of other types by strings; and values nested deeper than `MAX_DEPTH` by a note.
    """
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")
    if isinstance(value, int):
        return value if value.bit_length() <= 1024 else hex(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else str(value)
    if depth == 0:
        return "(nested too deeply)"
    if isinstance(value, Mapping):
        return {json_data(str(key)): json_data(item, depth - 1) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [json_data(item, depth - 1) for item in value]
    return json_data(str(value))
