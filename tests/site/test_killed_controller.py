# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The controller is killed in the middle of a run. The next run succeeds and removes what the killed run left."""

from __future__ import annotations

import contextlib
import os
import re
import signal
import subprocess
import time
from pathlib import Path

import pytest
from bed_case import IMAGE, MODEL, NODES, ROOT, SERVICE, Bed, execute

pytestmark = pytest.mark.bed

bed = Bed("killed")
AIS_BENCH = "/usr/local/bin/ais_bench"
ARCHIVE = ROOT / ".cache" / "killed" / "image.tar"
REMOVE_MODEL = f"rm -rf {MODEL} /data/.ascend-vllm /var/lib/ascend-vllm/weights"
# Names of files and folders that belong to a single run.
TEMPORARY = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}|/ansible-tmp-|/\.?ansible_|\.new$|/mark-|/credentials|/swarm")
ENVIRONMENT = {"ANSIBLE_NOCOLOR": "1", "ANSIBLE_TIMEOUT": "10"}
# Polls without a pause, because a benchmark client that fails immediately only exists for a moment.
CONTAINER_RUNS = "timeout 5 sh -c 'until docker ps --quiet --filter label=ascend.vllm.run | grep -q .; do :; done'"


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """Start a cluster that serves the model, and return the variables that all runs need."""
    bed("up", "--nodes", "2", "--image", "light", "--hub")
    variables = {"report_path": str(tmp_path_factory.mktemp("killed")),
                 "serving_stop_timeout_s": 5, "serving_allow_outage": True, "benchmark_num_prompts": 400}
    ARCHIVE.parent.mkdir(parents=True, exist_ok=True)
    with ARCHIVE.open("wb") as archive:
        subprocess.run([*bed.command, "exec", "node1", "docker", "save", IMAGE], stdout=archive, check=True)
    for node in NODES:
        bed.shell(node, f"printf 'FROM {IMAGE}\nENTRYPOINT [\"sh\", \"-c\", \"sleep 8\"]\n' "
                        "| docker build --tag sleeps:1 -")
        bed.shell(node, f"printf '#!/bin/sh\nexec sleep 300\n' > {AIS_BENCH}; chmod 755 {AIS_BENCH}")
    run_successfully(bed.playbook("site", "--tags", "image,weights,serving", **variables))
    yield variables
    bed("down")


def run_successfully(argv):
    """Run a command line that must succeed, and return its standard output."""
    done = execute(argv, **ENVIRONMENT)
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return done.stdout


@contextlib.contextmanager
def halted(argv, task, folder, when=None):
    """Start a run, execute the block while the run is halted at a task, and then kill the run.

    :param when: a script. If it is set, the run is not halted, but the block waits until the script succeeds on node1.
    """
    reached = folder / "reached"
    callbacks = [str(Path(__file__).parent / "callback_plugins"), os.environ.get("ANSIBLE_CALLBACK_PLUGINS")]
    enabled = ["halt", os.environ.get("ANSIBLE_CALLBACKS_ENABLED")]
    with (folder / "log").open("wb") as log:
        run = subprocess.Popen(
            argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
            env={**os.environ, **ENVIRONMENT, "ANSIBLE_CALLBACK_PLUGINS": ":".join(filter(None, callbacks)),
                 "ANSIBLE_CALLBACKS_ENABLED": ",".join(filter(None, enabled)), "HALT": "" if when else "1",
                 "HALT_AT": task, "HALT_FILE": str(reached)})
    try:
        deadline = time.monotonic() + 180
        while not (reached.exists() and (when is None or bed.succeeds("node1", when))):
            assert run.poll() is None, (folder / "log").read_text("utf-8")[-6000:]
            assert time.monotonic() < deadline, (folder / "log").read_text("utf-8")[-6000:]
            time.sleep(0.1)
        yield run
    finally:
        os.killpg(run.pid, signal.SIGKILL)
        run.wait()


def kill(argv, task, folder, when=None):
    """Start a run, and kill its process group at a task, see halted()."""
    with halted(argv, task, folder, when):
        pass


def leftovers(variables):
    """Return what runs have left behind on the nodes and in the results folder."""
    found = []
    for node in NODES:
        containers = bed.shell(node, "docker ps --all --format '{{.Names}}'").split()
        files = bed.shell(node, "find /var/lib/ascend-vllm /data /var/tmp /tmp /root -mindepth 1")
        processes = bed.shell(node, "ps -eo args=").splitlines()
        found += [f"{node}: container {name}" for name in containers if name not in (SERVICE, f"{SERVICE}-kept")]
        found += [f"{node}: {path}" for path in files.splitlines() if TEMPORARY.search(path)]
        found += [f"{node}: process {line}" for line in processes if "AnsiballZ" in line or "sleep 300" in line]
    results = Path(variables["report_path"])
    found += [str(path) for path in results.rglob(".*") if path.name not in (".lock",)]
    return found


def responds(node):
    return bed.succeeds(node, "curl -fsS --max-time 5 http://127.0.0.1:8888/v1/models")


class Site:
    """A run of site.yml that is killed.

    :param at: the task at which the run is killed. :param tags: the tags of the run.
    :param before: a script that is first run on each node.
    :param when: a script. If it is set, the run is killed when the script succeeds on node1 after the task has begun.
    :param again: the tags of the next run, by default the same. :param limit: the nodes of both runs.
    """

    def __init__(self, at, tags, before="true", when=None, again=None, limit="node1,node2", **variables):
        self.at, self.tags, self.before, self.when = at, tags, before, when
        self.again, self.limit, self.variables = again or tags, limit, variables


FROM_ARCHIVE = {"before": f"docker rm --force {SERVICE}; docker rmi {IMAGE} sleeps:1; docker image prune --force",
                "image_archive": str(ARCHIVE)}
SITE = {
    "benchmark": Site("Measure the instances", "benchmark", when=CONTAINER_RUNS, again="image"),
    "collective": Site("all_reduce | Run an all-reduce over all nodes", "hccl", f"docker rm --force {SERVICE}",
                       CONTAINER_RUNS, hccl_collective_image="sleeps:1", hccl_collective_tool="probe",
                       hccl_waive=["collective_result", "collective_bandwidth"]),
    "archive": Site("load | Load the image", "image", **FROM_ARCHIVE),
    "archive, half copied": Site("load | Copy the archive to the node", "image", **FROM_ARCHIVE,
                                 when="find /var/lib/ascend-vllm/archive-* -type f | grep -q ."),
    "download": Site("download | Wait for the download", "weights", REMOVE_MODEL,
                     weights_environment={"A_TOKEN": "s3cret"}),
    "published": Site("missing | Publish the model and record its manifest", "weights", REMOVE_MODEL),
    "swarm": Site("swarm | Wait until the node has the model", "weights", REMOVE_MODEL,
                  weights_distribution="fanout"),
    "marker": Site("shared | Check that the node has the whole model, and read its manifest", "weights", limit="node1",
                   weights_distribution="shared"),
    "started": Site("Wait until the service responds", "serving", f"docker rm --force {SERVICE}"),
    "accuracy": Site("Measure the accuracy, judge the scores and record the result", "accuracy",
                     when="ls -d /var/tmp/ascend-vllm-accuracy-*/pid", again="image", limit="node1",
                     accuracy_enabled=True, accuracy_install=False, accuracy_executable=AIS_BENCH,
                     accuracy_datasets=[{"name": "own", "path": "/tmp/own.jsonl"}]),
}
QUICK = ("download",)


# {task at which the upgrade of node1 is killed: whether node1 is then rebooted}
UPGRADE = {
    "Verify that the image is the planned one, and record the result": False,
    "stop | Wait until no request is left": False,
    "stop | Wait until the NPUs of the containers are free": False,
    "replace | Remove the unverified containers of an interrupted upgrade": True,
    "replace | Rename the previous containers": False,
    "containers | Start the planned instances": False,
    "Wait until the service responds": True,
    "Send requests to the served model, judge the responses and record the result": False,
    "replace | Let a reboot start the new containers": True,
    "replace | Remove the containers that an earlier upgrade kept": True,
    "replace | Keep the previous containers": False,
}
# The same for a restore of the kept containers.
RESTORE = {
    "stop | Wait until the NPUs of the containers are free": True,
    "start_previous | Start the previous containers": True,
    "start_previous | Wait until the previous service responds": True,
    "restore | Let a reboot start the previous containers": False,
    "restore | Keep the containers that were replaced": True,
}


def test_every_task_at_which_a_run_is_killed_exists():
    texts = "\n".join(path.read_text("utf-8") for path in (ROOT / "roles").glob("*/tasks/*.yml"))
    tasks = [*UPGRADE, *RESTORE, *(case.at for case in SITE.values())]
    assert [name for name in tasks if f"- name: {name}\n" not in texts] == []


def mark_long(cases, quick):
    """Return the cases as parameters, with the mark `long` unless they are quick."""
    return [name if name in quick else pytest.param(name, marks=pytest.mark.long) for name in cases]


@pytest.mark.parametrize("place", mark_long(SITE, QUICK))
def test_run_after_a_killed_site_run_succeeds(cluster, place, tmp_path):
    case, variables = SITE[place], {**cluster, **SITE[place].variables}
    for node in NODES:
        bed.shell(node, case.before + "; echo '{\"question\": \"1+1\", \"answer\": \"2\"}' > /tmp/own.jsonl")
    limit = ("--limit", f"localhost,{case.limit}")
    kill(bed.playbook("site", *limit, "--tags", case.tags, **variables), case.at, tmp_path, case.when)
    run_successfully(bed.playbook("site", *limit, "--tags", case.again, **{
        **variables, **({"accuracy_enabled": False} if case.again != case.tags else {})}))
    assert leftovers(cluster) == []


def reboot():
    bed("fault", "reboot", "node1")
    deadline = time.monotonic() + 60
    while not responds("node1"):
        assert time.monotonic() < deadline, bed.shell("node1", "docker ps --all")
        time.sleep(1)


@pytest.mark.parametrize("task", mark_long(UPGRADE, ["Wait until the service responds"]))
def test_upgrade_after_a_killed_upgrade_succeeds(cluster, task, tmp_path):
    """The service responds again after a reboot, or after the next run."""
    if not all(map(responds, NODES)):
        run_successfully(bed.playbook("site", "--tags", "image,weights,serving", **cluster))
    variables = {**cluster, "serving_env": {"UPGRADE": task}}
    kill(bed.playbook("upgrade", **variables), task, tmp_path)
    if UPGRADE[task]:
        reboot()
    run_successfully(bed.playbook("upgrade", **variables))
    assert leftovers(cluster) == []
    assert all(map(responds, NODES))
    assert all(bed.shell(node, f"docker inspect --format '{{{{.HostConfig.RestartPolicy.Name}}}}' {SERVICE}")
               .strip() == "always" for node in NODES)


@pytest.mark.parametrize("task", mark_long(RESTORE, []))
def test_restore_after_a_killed_restore_succeeds(cluster, task, tmp_path):
    identities = "docker inspect --format '{{.Id}}' " + f"{SERVICE} {SERVICE}-kept"
    if not all(map(responds, NODES)):
        run_successfully(bed.playbook("site", "--tags", "image,weights,serving", **cluster))
    run_successfully(bed.playbook("upgrade", **{**cluster, "serving_env": {"RESTORE": task}}))
    before = [bed.shell(node, identities).split() for node in NODES]
    kill(bed.playbook("upgrade", **cluster, serving_restore_previous=True), task, tmp_path)
    if RESTORE[task]:
        reboot()
    run_successfully(bed.playbook("upgrade", "--limit", "node1", **cluster, serving_restore_previous=True))
    assert leftovers(cluster) == []
    assert all(map(responds, NODES))
    after = [bed.shell(node, identities).split() for node in NODES]
    assert after == [before[0][::-1], before[1]]
    assert bed.shell("node1", f"docker inspect --format '{{{{.HostConfig.RestartPolicy.Name}}}}' {SERVICE} "
                     f"{SERVICE}-kept").split() == ["always", "no"]


def test_second_run_is_refused_while_the_first_one_is_active(cluster, tmp_path):
    """The results folder is in use. With another results folder, the nodes of the first run are in use."""
    task = "probe | Read the versions from the files of the image"
    with halted(bed.playbook("image", **cluster), task, tmp_path) as first:
        elsewhere = {**cluster, "report_path": str(tmp_path / "results")}
        refused = [execute(bed.playbook("image", **variables), **ENVIRONMENT) for variables in (cluster, elsewhere)]
        for playbook in ("plan", "status"):
            run_successfully(bed.playbook(playbook, **cluster))
        # Its exit code depends on the results of the preceding tests.
        assert "Report: " in execute(bed.playbook("report", **cluster), **ENVIRONMENT).stdout
    assert [done.returncode for done in refused] == [2, 2]
    for done, holder in zip(refused, (f"The results folder {cluster['report_path']} is in use by run ",
                                      "This node is in use by run ")):
        assert holder in " ".join(done.stdout.split())
        assert f"process {first.pid}" in done.stdout
    run_successfully(bed.playbook("image", **elsewhere))
