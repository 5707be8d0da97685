# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The folder of results on the controller: ``<report_path>/<host>/<stage>.json`` and what belongs beside it.

PRIVATE to the collection. Stages write here, the report reads here, and nothing else flows between stages.
"""

from __future__ import annotations

import fcntl
import json
import os
import tempfile
import time
from pathlib import Path


class Records:
    """Reads and writes one folder of results.

    :param dry: in check mode nothing is written or removed.
    """

    def __init__(self, root, dry=False):
        self.root = Path(root)
        self.dry = dry

    def write_result(self, result):
        """File one stage result; returns its path."""
        return self.write(self.root / result["host"] / f"{result['stage']}.json", _json(result))

    def read_results(self, host, stages):
        """``{stage: result}`` of one host for the stages that left one."""
        return self._read_all({stage: self.root / host / f"{stage}.json" for stage in stages})

    def read_report(self):
        """The last report, or None where there is none that can be read."""
        try:
            return json.loads((self.root / "report.json").read_text("utf-8"))
        except (OSError, ValueError):
            return None

    def forget_results(self, hosts, stages):
        """Remove what an earlier run left for stages that are about to run, so that it cannot pass for theirs."""
        for path in [self.root / host / folder / f"{stage}.json"
                     for host in hosts for stage in stages for folder in ("", "observed")]:
            if not self.dry:
                path.unlink(missing_ok=True)

    def write_observed(self, host, stage, observed, clock):
        """Keep an observation for the hosts that judge it together, in check mode too: it is no result.

        :param clock: ``time.monotonic()`` when the task began. What the stage has taken so far is kept as ``timing``:
            {"started_at": when its first task began, "spent_s": seconds in all of its tasks}.
        """
        spent = time.monotonic() - clock
        before = observed.get("timing") or {"started_at": timestamp(time.time() - spent), "spent_s": 0}
        timing = dict(before, spent_s=round(before["spent_s"] + spent, 3))
        return _write_whole(self._observed(host, stage), _json(dict(observed, timing=timing)))

    def read_observed(self, hosts, stage):
        """``{host: observed}`` of the hosts that left an observation of the stage."""
        return self._read_all({host: self._observed(host, stage) for host in hosts})

    def survey(self, host, hosts, stage, purpose, make):
        """What the observations of all hosts say together, for one of them.

        Every host of a task asks in a process of its own. The first one works it out for all, the others read their
        own part: a thousand hosts would otherwise read a thousand files each.

        :param purpose: names the survey; another task of the run has another one.
        :param make: function of ``{host: observed}`` that returns ``{host: plain data}``.
        """
        path = self.root / host / "observed" / f"{stage}.survey.json"
        with open(_made(self.root / ".survey.lock"), "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            kept = json.loads(path.read_text("utf-8")) if path.exists() else {}
            observed = self._observed(host, stage)
            # A batch of `serial` asks anew with the same task: its observation is the younger one.
            if kept.get("purpose") != purpose or path.stat().st_mtime_ns < observed.stat().st_mtime_ns:
                for name, own in make(self.read_observed(hosts, stage)).items():
                    beside = self.root / name / "observed" / f"{stage}.survey.json"
                    _write_whole(beside, json.dumps({"purpose": purpose, "survey": own}))
                kept = json.loads(path.read_text("utf-8"))
        return kept["survey"]

    def write(self, path, text):
        """Write a file below the folder, whole or not at all; nothing in check mode."""
        return path if self.dry else _write_whole(path, text)

    def _observed(self, host, stage):
        return self.root / host / "observed" / f"{stage}.json"

    @staticmethod
    def _read_all(paths):
        return {name: json.loads(path.read_text("utf-8")) for name, path in paths.items() if path.exists()}


def timestamp(seconds=None):
    """Seconds since the epoch (left out: now) as UTC in the form of the results."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def _made(path):
    path.parent.mkdir(parents=True, exist_ok=True)
    return path


def _write_whole(path, text):
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


def _json(data):
    return json.dumps(data, indent=2, sort_keys=True, ensure_ascii=False) + "\n"
