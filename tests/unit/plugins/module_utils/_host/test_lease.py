# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A run holds a lease on each node. The next run removes what a run left behind if its controller was killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import FakeDocker


def request(run, gone=(), socket="/none.sock"):
    return {"run": run, "user": "anna", "controller": "laptop", "processes": "boot 1", "pid": 7, "pid_started": "1",
            "since": "2026-01-02T03:04:05Z", "docker_socket": str(socket), "gone": list(gone)}


@pytest.fixture
def root(tmp_path):
    return tmp_path / "runs"


@pytest.fixture
def docker(tmp_path):
    with FakeDocker(str(tmp_path / "docker.sock")) as server:
        yield server


def take(root, run, *paths, module=None, **options):
    """Take the lease for a module that has already ended, or for ``module``: [process ID, time at which it started].

    Return the request of the current holder if the lease is refused, otherwise None.
    """
    holder = lease.take(request(run, **options), [str(path) for path in paths], str(root))
    if holder:
        return holder
    path = root / run / lease.FILE
    saved = json.loads(path.read_text("utf-8"))
    assert saved["module"] == [os.getpid(), lease.started(os.getpid())]
    path.write_text(json.dumps({**saved, "module": module or [os.getpid(), "1"]}))
    return None


def set_age(root, run, seconds):
    path = root / run / lease.FILE
    os.utime(path, (time.time() - seconds, time.time() - seconds))


def test_first_module_takes_the_lease_and_later_modules_renew_it(root):
    take(root, "a", "/x")
    set_age(root, "a", 5000)
    take(root, "a", "/y")
    saved = json.loads((root / "a" / lease.FILE).read_text("utf-8"))
    assert saved["paths"] == ["/x", "/y"]
    assert time.time() - (root / "a" / lease.FILE).stat().st_mtime < 60
    assert (root / "a").stat().st_mode & 0o777 == 0o700


def test_another_run_is_refused_and_leaves_no_files(root):
    take(root, "a")
    assert take(root, "b")["run"] == "a"
    assert sorted(os.listdir(root)) == [".lock", "a"]


@pytest.mark.parametrize(("gone", "age_s", "taken_over"), [
    ((), lease.LIMIT_S - 60, False), ((), lease.LIMIT_S + 1, True), (("a",), 0, True), (("c",), 0, False)])
def test_lease_is_taken_over_only_if_its_run_has_ended_or_it_has_expired(root, docker, gone, age_s, taken_over):
    take(root, "a")
    set_age(root, "a", age_s)
    if taken_over:
        assert take(root, "b", gone=gone, socket=docker.path) is None
        assert sorted(os.listdir(root)) == [".lock", "b"]
    else:
        assert take(root, "b", gone=gone, socket=docker.path)["run"] == "a"


def test_leftovers_of_a_killed_run_are_removed(root, docker, tmp_path):
    mark, archive, kept = tmp_path / "mark-a", tmp_path / "archive-a", tmp_path / "kept"
    mark.touch()
    (archive / ".ansible").mkdir(parents=True)
    kept.mkdir()
    (archive / "link").symlink_to(kept)
    link = tmp_path / "swarm-a"
    link.symlink_to(kept)
    docker.add("probe", labels={"ascend.vllm.run": "a"})
    docker.add("client", status="exited", labels={"ascend.vllm.run": "a"})
    docker.add("own", labels={"ascend.vllm.run": "b"})
    docker.add("service", labels={"ascend.vllm.instance-hash": "1"})
    docker.add("foreign")
    other = subprocess.Popen(["sleep", "600"])
    take(root, "a", mark, archive, link, module=[other.pid, lease.started(other.pid)])
    take(root, "b", gone=["a"], socket=docker.path)
    assert other.wait(10) in (-signal.SIGINT, -signal.SIGKILL)  # SIGKILL if the tests were started with SIGINT ignored
    assert sorted(docker.containers) == ["foreign", "own", "service"]
    assert sorted(os.listdir(tmp_path)) == ["docker.sock", "kept", "runs"]


def test_process_that_reuses_the_id_of_an_ended_module_is_not_killed(root, docker):
    with subprocess.Popen(["sleep", "600"]) as other:
        take(root, "a", module=[other.pid, "1"])
        take(root, "b", gone=["a"], socket=docker.path)
        assert other.poll() is None
        other.kill()


def test_next_module_removes_leftovers_that_could_not_be_removed(root, docker, tmp_path):
    leftover = tmp_path / "leftover"
    leftover.touch()
    take(root, "a", leftover)
    take(root, "b", gone=["a"])  # Docker does not respond
    assert leftover.exists()
    take(root, "b", gone=["a"], socket=docker.path)
    assert sorted(os.listdir(root)) == [".lock", "b"]
    assert not leftover.exists()


@pytest.mark.parametrize("content", ["", "{", None])
def test_damaged_lease_counts_as_missing(root, docker, content):
    (root / "a").mkdir(parents=True)
    if content is not None:
        (root / "a" / lease.FILE).write_text(content)
    take(root, "b", socket=docker.path)
    assert sorted(os.listdir(root)) == [".lock", "b"]


class Module:
    def __init__(self, check_mode=False):
        self.check_mode, self.failure = check_mode, None

    def fail_json(self, **failure):
        self.failure = failure


@pytest.mark.parametrize("check_mode", [False, True])
@pytest.mark.parametrize("in_a_run", [False, True])
def test_module_holds_the_lease_of_its_run(root, monkeypatch, check_mode, in_a_run):
    monkeypatch.setattr(lease.take, "__defaults__", ((), str(root)))
    if in_a_run:
        monkeypatch.setenv(lease.VARIABLE, json.dumps(request("a")))
    lease.hold(Module(check_mode), "/x")
    assert (root / "a").exists() == (in_a_run and not check_mode)
    assert lease.run_id() == ("a" if in_a_run else "")


def test_error_of_a_refused_module_names_the_run_and_the_remedy(root, monkeypatch):
    monkeypatch.setattr(lease.take, "__defaults__", ((), str(root)))
    take(root, "a")
    monkeypatch.setenv(lease.VARIABLE, json.dumps(request("b")))
    module = Module()
    lease.hold(module)
    assert module.failure["holder"]["run"] == "a"
    assert module.failure["msg"] == (
        "This node is in use by run a, started by anna on laptop (process 7, since 2026-01-02T03:04:05Z); wait until "
        "it finishes, or stop it. If that process no longer exists, remove /var/lib/ascend-vllm/runs/a.")


def test_module_fails_if_the_lease_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").touch()
    monkeypatch.setattr(lease.take, "__defaults__", ((), str(tmp_path / "file" / "runs")))
    monkeypatch.setenv(lease.VARIABLE, json.dumps(request("b")))
    module = Module()
    lease.hold(module)
    assert "cannot be written to /var/lib/ascend-vllm/runs: " in module.failure["msg"]
