# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of results on the controller: ``<report_path>/<host>/<stage>.json`` and what belongs beside it.

PRIVATE to the collection. Stages write here, the report reads here, and nothing else flows between stages. Beside the
results of stages, which stay, there are files of one run: the plan of each host, observations that are judged together,
and notes that hosts leave for each other. A file of an earlier run counts as missing.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Plan

OBSERVED = "observed"


class NoPlan(Exception):
    """This run has not filed a plan for the host from these inputs; the message is one sentence."""


@dataclass
class Filed:
    """What a stage has found out about one host so far."""

    #: The part of the stage that this is for; see the stage's judge.
    phase: str = ""
    observed: dict[str, Any] = field(default_factory=dict)
    #: Why there is no observation.
    failure: str | None = None
    reachable: bool = True
    #: When the first task of the stage began (UTC), and the seconds that all of its tasks took.
    started_at: str = ""
    spent_s: float = 0.0


class Records:
    """Reads and writes one folder of results.

    :param dry: in check mode no result and no report is written or removed.
    :param run_id: which run this is; left out, that of this process. Files of other runs are not read.
    """

    def __init__(self, root: str | Path, dry: bool = False, run_id: str | None = None) -> None:
        self.root = Path(root)
        self.dry = dry
        self.run_id = run_id or run.RUN_ID

    # --- results and report ------------------------------------------------------------------------------------------

    def write_result(self, result: Mapping[str, Any]) -> Path:
        """File one stage result; returns its path."""
        return self.write(self.root / result["host"] / f"{result['stage']}.json", _json(result))

    def read_results(self, host: str, stages: Iterable[str]) -> dict[str, Any]:
        """``{stage: result}`` of one host for the stages that left one."""
        paths = {stage: self.root / host / f"{stage}.json" for stage in stages}
        return {stage: json.loads(path.read_text("utf-8")) for stage, path in paths.items() if path.exists()}

    def read_report(self) -> dict[str, Any] | None:
        """The last report, or None where there is none that can be read."""
        try:
            report: dict[str, Any] = json.loads((self.root / "report.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None
        return report

    def forget_results(self, hosts: Iterable[str], stages: Iterable[str]) -> None:
        """Remove the results that an earlier run left for stages that are about to run."""
        stages = list(stages)
        for path in [self.root / host / folder / f"{stage}.json"
                     for host in hosts for stage in stages for folder in ("", OBSERVED)]:
            if not self.dry:
                path.unlink(missing_ok=True)

    def write(self, path: Path, text: str) -> Path:
        """Write a file below the folder, whole or not at all; nothing in check mode."""
        return path if self.dry else _write_whole(path, text)

    # --- files of this run, written in check mode too ----------------------------------------------------------------

    def write_plan(self, host: str, plan: Plan, inputs: Mapping[str, str]) -> Path:
        """File the plan of a host for the later tasks of this run, with what tells whether its inputs have changed."""
        return self._write_of_run(self.root / host / "plan.json", {"plan": plan, "inputs": inputs})

    def read_plan(self, host: str, inputs: Mapping[str, str]) -> Plan:
        """The plan that this run has filed for a host from the same inputs; the plan of another run is an error.

        :raises NoPlan: when there is no such plan.
        """
        path = self.root / host / "plan.json"
        filed, found = self._read_of_run(path)
        if filed is None:
            raise NoPlan(f"{path} is of the run {found}." if found else f"{path} is not there.")
        changed = sorted(name for name in inputs if inputs[name] != filed["inputs"].get(name))
        if changed:
            raise NoPlan(f"{path} was resolved with other values of {', '.join(changed)}.")
        plan: Plan = filed["plan"]
        return plan

    def write_observation(self, host: str, stage: str, filed: Filed) -> Path:
        """File what a stage has found out about a host, for the tasks that judge it."""
        return self._write_of_run(self._observed(host, stage), asdict(filed))

    def read_observation(self, host: str, stage: str, phase: str = "") -> Filed | None:
        """What this run has filed for a host in a phase of a stage, or None."""
        filed = self._read_of_run(self._observed(host, stage))[0]
        if filed is None or filed["phase"] != phase:
            return None
        return Filed(**{name: value for name, value in filed.items() if name != "run_id"})

    def read_observations(self, hosts: Iterable[str], stage: str, phase: str = "") -> dict[str, dict[str, Any]]:
        """``{host: what was observed}`` of the hosts that this run has observed without a failure."""
        filed = {host: self.read_observation(host, stage, phase) for host in hosts}
        return {host: found.observed for host, found in filed.items() if found and not found.failure}

    def survey(self, host: str, hosts: Iterable[str], stage: str, purpose: str,
               make: Callable[[dict[str, dict[str, Any]]], dict[str, Any]], phase: str = "") -> Any:
        """What the observations of all hosts say together, for one of them.

        Every host of a task asks in a process of its own. The first one works it out for all, the others read their
        own part: a thousand hosts would otherwise read a thousand files each.

        :param purpose: names the survey; another task of the run has another one.
        :param make: function of ``{host: observed}`` that returns ``{host: plain data}``.
        """
        path = self.root / host / OBSERVED / f"{stage}.survey.json"
        with open(_made(self.root / ".survey.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
            observed = self._observed(host, stage)
            # A batch of `serial` asks again with the same task: its observation is newer than the survey.
            if kept.get("purpose") != purpose or path.stat().st_mtime_ns < observed.stat().st_mtime_ns:
                for name, own in make(self.read_observations(dict.fromkeys([*hosts, host]), stage, phase)).items():
                    beside = self.root / name / OBSERVED / f"{stage}.survey.json"
                    _write_whole(beside, json.dumps({"purpose": purpose, "survey": own}))
                kept = json.loads(path.read_text("utf-8"))
        return kept["survey"]

    def write_note(self, host: str, name: str, note: Mapping[str, Any]) -> Path:
        """Leave a note for the other hosts of this run."""
        return self._write_of_run(self.root / host / OBSERVED / f"{name}.note.json", {"note": note})

    def read_notes(self, hosts: Iterable[str], name: str) -> dict[str, dict[str, Any]]:
        """``{host: note}`` of the hosts that have left this note in this run."""
        filed = {host: self._read_of_run(self.root / host / OBSERVED / f"{name}.note.json")[0] for host in hosts}
        return {host: found["note"] for host, found in filed.items() if found}

    def _observed(self, host: str, stage: str) -> Path:
        return self.root / host / OBSERVED / f"{stage}.json"

    def _write_of_run(self, path: Path, data: Mapping[str, Any]) -> Path:
        return _write_whole(path, _json({"run_id": self.run_id, **data}))

    def _read_of_run(self, path: Path) -> tuple[dict[str, Any] | None, str | None]:
        """(the content of a file of this run or None, the run that the file is of or None)."""
        try:
            filed = json.loads(path.read_text("utf-8"))
        except (OSError, ValueError):
            return None, None
        found = filed.get("run_id") if isinstance(filed, dict) else None
        return (filed if found == self.run_id else None), found


def timestamp(seconds: float | None = None) -> str:
    """Seconds since the epoch (left out: now) as UTC in the form of the results."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _made(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_whole(path: Path, text: str) -> Path:
    handle, beside = tempfile.mkstemp(dir=_made(path).parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as stream:
            stream.write(text)
        os.chmod(beside, 0o644)
        os.replace(beside, path)
    except BaseException:
        Path(beside).unlink(missing_ok=True)
        raise
    return path


def _json(data: Any) -> str:
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
