# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stopped service comes back by itself when nobody brings it back; a file in a folder stands for a container."""

from __future__ import annotations

import os
import time

import pytest

from ansible_collections.ascend.vllm.plugins.modules import benchmark_info, benchmark_pause

# `docker inspect … NAME` says whether NAME runs; start and stop make it so. A file named broken makes start fail.
DOCKER = """\
#!/bin/sh
cd %s
command=$1
for name in "$@"; do :; done
case $command in
  inspect) if [ -e "$name" ]; then echo true; else echo false; fi ;;
  start) [ ! -e broken ] && touch "$name" ;;
  stop) rm -f "$name" ;;
esac
"""


class Stop(Exception):
    """What exit_json and fail_json end a module with."""


@pytest.fixture
def run(tmp_path, monkeypatch):
    """Returns a function (state, **options) -> what the module returned; `run.containers` is the folder."""
    containers = tmp_path / "containers"
    containers.mkdir()
    (containers / "service").touch()
    program = tmp_path / "docker"
    program.write_text(DOCKER % containers)
    program.chmod(0o755)
    monkeypatch.setenv("PATH", "%s:%s" % (tmp_path, os.environ["PATH"]))
    monkeypatch.setattr(benchmark_pause, "GUARDS", str(tmp_path / "guard-"))

    class Module:
        check_mode = False

        def __init__(self, **_specification):
            self.params = run.options

        def get_bin_path(self, name, required):
            return str(tmp_path / name)

        def run_command(self, command):
            done = benchmark_pause.background.subprocess.run(command, capture_output=True, text=True, check=False)
            return done.returncode, done.stdout, done.stderr

        def exit_json(self, **result):
            run.result = result
            raise Stop

    monkeypatch.setattr(benchmark_pause, "AnsibleModule", Module)

    def run(state, grace=1, check_mode=False):
        run.options = {"state": state, "service": "service", "client": "client", "grace": grace, "stop_timeout": 1}
        Module.check_mode = check_mode
        with pytest.raises(Stop):
            benchmark_pause.main()
        return run.result

    run.containers = containers
    run.guard = tmp_path / "guard-service"
    yield run
    (run.guard / "on-duty").unlink(missing_ok=True)


def wait_for(condition, seconds=20):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def test_a_service_is_stopped_and_started_again(run):
    assert run("paused", grace=60) == {"changed": True, "running": False}
    assert (run.guard / "on-duty").exists()
    assert run("resumed") == {"changed": True, "running": True}
    assert not run.guard.exists()
    assert run("resumed") == {"changed": False, "running": True}


def test_a_service_that_nobody_brings_back_comes_back(run):
    run("paused")
    assert wait_for((run.containers / "service").exists)
    assert wait_for(lambda: not (run.guard / "on-duty").exists())


def test_not_while_the_client_runs(run):
    (run.containers / "client").touch()
    run("paused")
    time.sleep(2.5)
    assert not (run.containers / "service").exists()
    (run.containers / "client").unlink()
    assert wait_for((run.containers / "service").exists)


def test_the_guard_does_not_give_up(run):
    (run.containers / "broken").touch()
    run("paused")
    time.sleep(2.5)
    assert (run.guard / "on-duty").exists()
    (run.containers / "broken").unlink()
    assert wait_for((run.containers / "service").exists)


def test_check_mode_stops_nothing(run):
    assert run("paused", check_mode=True) == {"changed": True, "running": True}
    assert not run.guard.exists()


@pytest.mark.parametrize(("text", "seconds"), [
    ("1970-01-01T00:00:01Z", 1.0), ("2026-11-25T19:05:22.5Z", 1795633522.5),
    ("2026-11-25T19:05:22.123456789Z", 1795633522.123456789)])
def test_times_of_docker(text, seconds):
    assert benchmark_info.seconds(text) == pytest.approx(seconds, abs=1e-6)
