# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run recognizes whether another run on the same controller has ended."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run

ROOT = Path(__file__).resolve().parents[5]


def test_process_on_the_same_controller_recognizes_that_a_run_has_ended():
    """A run in another process on this controller can take over a killed run's lease at once."""
    collections = next(folder for folder in (ROOT / "playbooks" / "collections", ROOT / ".." / ".." / "..")
                       if (folder / "ansible_collections" / "ascend" / "vllm").is_dir())
    script = ("import json\n"
              "from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder\n"
              f"_AnsibleCollectionFinder(paths=[{str(collections)!r}])._install()\n"
              "from ansible_collections.ascend.vllm.plugins.plugin_utils._results import run\n"
              "print(json.dumps(run.RUN))")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    other = json.loads(done.stdout)
    assert (other["run"] != run.RUN_ID, other["processes"]) == (True, run.RUN["processes"])
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text("ascii").strip()
    assert boot_id in other["processes"].split()  # after a reboot, another process may have the same PID
    assert run.has_ended(other)


@pytest.mark.parametrize(("changes", "ended"), [
    ({}, False), ({"pid_started": "another process"}, True),
    ({"processes": "another controller", "pid": 2**22 + 1}, False)])
def test_run_has_ended_if_its_process_does_not_exist(changes, ended):
    with subprocess.Popen(["sleep", "60"]) as process:
        try:
            other = {**run.RUN, "pid": process.pid, "pid_started": lease.started(process.pid)}
            assert run.has_ended({**other, **changes}) is ended
            with pytest.raises(subprocess.TimeoutExpired):
                process.wait(0.2)  # it was not ended
        finally:
            process.kill()


def test_process_of_another_user_is_compared_by_its_start(monkeypatch):
    def deny(*_args):
        raise PermissionError

    monkeypatch.setattr(os, "kill", deny)
    assert not run.has_ended(run.RUN)
    assert run.has_ended({**run.RUN, "pid_started": "another process"})
