# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A guard process restores a stopped service, independently of the controller."""

from __future__ import annotations

import time

import pytest

from ansible_collections.ascend.vllm.plugins.modules import benchmark_pause


class Stop(Exception):
    """Raised by exit_json and fail_json."""


@pytest.fixture
def run(tmp_path, monkeypatch, docker):
    """Return a function (state, **options) that returns the result of the module; `run.guard` is the guard's folder."""
    docker.add("service")
    monkeypatch.setattr(benchmark_pause, "GUARDS", str(tmp_path / "guard-"))

    class Module:
        check_mode = False

        def __init__(self, **_specification):
            self.params = run.options

        def exit_json(self, **result):
            run.result = result
            raise Stop

        fail_json = exit_json

    monkeypatch.setattr(benchmark_pause, "AnsibleModule", Module)

    def run(state, grace=1, check_mode=False):
        run.options = {"state": state, "service": "service", "client": "client", "grace_s": grace, "stop_timeout_s": 1,
                       "docker_socket": docker.path}
        Module.check_mode = check_mode
        with pytest.raises(Stop):
            benchmark_pause.main()
        return run.result

    run.guard = tmp_path / "guard-service"
    yield run
    (run.guard / "on-duty").unlink(missing_ok=True)


def wait_for(condition, seconds=60):
    until = time.monotonic() + seconds
    while not condition() and time.monotonic() < until:
        time.sleep(0.05)
    return condition()


def running(docker, name="service"):
    return docker.containers[name]["State"]["Running"]


def test_service_is_stopped_and_started_again(run, docker):
    assert run("paused", grace=60) == {"changed": True, "running": False}
    assert ("POST", "/containers/service/stop?t=1") in docker.requests
    assert (run.guard / "on-duty").exists()
    assert run("resumed") == {"changed": True, "running": True}
    assert not run.guard.exists()
    assert run("resumed") == {"changed": False, "running": True}


def test_guard_starts_the_service_after_the_grace_period(run, docker):
    run("paused")
    assert wait_for(lambda: running(docker))
    assert wait_for(lambda: not run.guard.exists())


@pytest.mark.parametrize(("planned", "paused"), [("unless-stopped", "always"), ("always", "always"), ("no", "no")])
def test_reboot_starts_a_paused_service_unless_its_restart_policy_is_no(run, docker, planned, paused):
    docker.containers["service"]["HostConfig"]["RestartPolicy"]["Name"] = planned
    run("paused", grace=60)
    assert docker.containers["service"]["HostConfig"]["RestartPolicy"]["Name"] == paused


def test_guard_waits_for_the_client(run, docker):
    docker.add("client")
    run("paused")
    time.sleep(2.5)
    assert not running(docker)
    docker.containers["client"]["State"].update(Running=False, Status="exited")
    assert wait_for(lambda: running(docker))


def test_guard_retries_if_the_service_cannot_be_started(run, docker):
    docker.broken.add("service")
    run("paused")
    assert wait_for(lambda: docker.requests.count(("POST", "/containers/service/start")) > 1)
    assert (run.guard / "on-duty").exists()
    docker.broken.clear()
    assert wait_for(lambda: running(docker))


def test_resumed_service_has_no_guard(run, docker):
    run("paused", grace=1)
    run("resumed")
    docker.containers["service"]["State"].update(Running=False, Status="exited")
    time.sleep(2.5)
    assert not running(docker)


def test_check_mode_changes_nothing(run):
    assert run("paused", check_mode=True) == {"changed": True, "running": True}
    assert not run.guard.exists()


def test_missing_service_is_an_error(run, docker):
    del docker.containers["service"]
    assert run("paused") == {"msg": "there is no container service"}
