# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded hosts are parsed and judged, and all outcomes are compared with the expected ones.

hosts/<host>.yml has the source of the record, the output of the tools, the files, and the state of Docker. Facts that
are not in this file are those of a healthy node (npu_case.py). hosts/<host>.expected.txt has one line per outcome. If
you change an outcome on purpose, run this file as a script to write the expected outcomes, and read the difference.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import kernel_log, observation, version_files
from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine_facts
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, holders
from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import Outcome
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, stage_status
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import FakeDocker
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver.npu_case import (
    healthy,
    judged,
)

FOLDER, CASES = Path(__file__).parent / "hosts", Path(__file__).parent / "cases"
HOSTS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yml"))}
PODMAN = json.loads(
    (Path(__file__).parents[3] / "module_utils" / "_docker" / "responses" / "podman-4.3.1.json").read_text("utf-8"))
ECC = (FOLDER / "ecc.txt").read_text("utf-8")  # npu-smi info -t ecc, sample 01 of npu-smi-other in the corpus
UPTIME_S = 100.0


def observed(host, plan, root):
    """Return the observation of a recorded host.

    :param root: an empty folder, to which the files of the host are written.
    """
    chips, outcomes = npu_smi(host)
    (root / "etc").mkdir()
    (root / "etc/os-release").write_text(host["os_release"])
    files = {}
    for kind in ("driver", "firmware"):
        if kind in host:
            (root / kind).write_text(host[kind])
            files[kind] = version_files.read(str(root / kind))
    engine = docker_engine(host, root)
    bare = not host.get("npu_smi")
    records = (CASES / host["kernel_log"]).read_text("utf-8").splitlines() if "kernel_log" in host else []
    pci = [{"address": chip["bus_id"].lower(), "device": host.get("pci", "0xd802")} for chip in chips["chips"]]
    devices = [{"path": f"/dev/davinci{number}"} for number in plan["hardware"]["npu_devices"]]
    devices += [{"path": path} for path in plan["hardware"]["shared_devices"]]
    mounts = [mount for instance in plan["instances"] for mount in instance["mounts"]]
    return {
        **healthy(),
        "npu_smi": chips,
        "tools": [outcome.summary() for outcome in outcomes],
        "files": files,
        "device_nodes": [] if bare else [{**each, "type": "character device", "mode": "0660"} for each in devices],
        "pci": pci,
        "docker_engine": engine,
        "holders": holders.npu_holders({}, [], chips["chips"], chips["processes"], str(root)),
        "system": {**healthy()["system"], "kernel": host["kernel"], "os": facts.system(str(root))["os"],
                   "architecture": host.get("architecture", "aarch64")},
        "disks": [{"path": path, "existing": "/", "total_bytes": 2**42, "free_bytes": 2**41}
                  for path in (engine.get("image_root"), plan["model"]["path"])],
        "paths": [{"path": mount["source"], "type": mount["type"] if mount["origin"] == "host" and not bare else None}
                  for mount in mounts],
        "kernel_log": kernel_log.errors(
            ["5,1,90000000,-;" + line for line in records], UPTIME_S, 3600, [each["address"] for each in pci]),
    }


def npu_smi(host):
    """Return (the observation, the outcomes of the commands) of an npu-smi with the recorded output."""
    def run_all(commands):
        return {key: Outcome(argv, *printed(key, host), 0.2, False, None) for key, argv in commands.items()}
    return observation.query(run_all, "/usr/local/bin/npu-smi" if host.get("npu_smi") else None)


def printed(key, host):
    """Return (exit code, stdout, stderr) of a command."""
    if key == "info":
        return host.get("npu_smi_rc", 0), host["npu_smi"], ""
    text = ECC if key[0] == "ecc" else host.get(key[0], "")
    return (0, text, "") if text else (1, "", "not recorded")


def docker_engine(host, root):
    if host.get("docker", 0) is None:
        return {"error": "the Docker engine at /var/run/docker.sock does not respond: No such file or directory"}
    # The folder has a short name because the path of a socket has at most 107 characters.
    with tempfile.TemporaryDirectory() as folder, FakeDocker(os.path.join(folder, "docker.sock")) as docker:
        if host.get("podman"):
            docker.responses["/version"], docker.responses["/info"] = (200, PODMAN["version"]), (200, PODMAN["info"])
        else:
            docker.responses["/info"] = 200, host["docker"]
        try:
            found = engine_facts.query(DockerEngine(docker.path), str(root))
        except DockerError as error:
            return {"error": str(error).replace(docker.path, "/var/run/docker.sock")}
        return {**found, "image": None, "containers": []}


def verdict(name, root):
    """Return the outcomes of a recorded host, without the comparison with other hosts."""
    host = HOSTS[name]
    plan = valid(**host["plan"])
    return [check for check in judged(observed(host, plan, root), plan, {}) if check["id"] != "drift"]


def shown(checks):
    """Return one line per outcome: status, id, subject, and the message or the actual value."""
    rows = ["%-11s %s%s: %s" % (check["status"], check["id"], f" ({check['subject']})" if check["subject"] else "",
                                check["message"] or check["actual"]) for check in checks]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("name", HOSTS)
def test_all_outcomes_of_a_recorded_host(name, tmp_path):
    expected = (FOLDER / f"{name}.expected.txt").read_text("utf-8")
    assert shown(verdict(name, tmp_path)) == expected


HEALTHY = [name for name, host in HOSTS.items() if host["healthy"]]


@pytest.mark.parametrize("name", HEALTHY)
def test_no_healthy_host_is_refused(name, tmp_path):
    checks = verdict(name, tmp_path)
    assert [check for check in checks if check["severity"] == CRITICAL and check["status"] != "passed"] == []
    assert stage_status(checks) in ("passed", "warned")


def test_every_critical_check_has_passed_on_recorded_healthy_hosts(tmp_path):
    """A check that no recorded healthy host has passed may refuse healthy hosts."""
    passed: dict[str, set[str]] = {check.id: set() for check in judge.CHECKS if check.severity == CRITICAL}
    for name in HEALTHY:
        (tmp_path / name).mkdir()
        for check in verdict(name, tmp_path / name):
            if check["severity"] == CRITICAL and check["status"] == "passed":
                passed[check["id"]].add(name)
    assert {check for check, hosts in passed.items() if len(hosts) < 3} == set()


def test_every_unhealthy_host_has_findings_with_remedies(tmp_path):
    for name in set(HOSTS) - set(HEALTHY):
        (tmp_path / name).mkdir()
        found = [check for check in verdict(name, tmp_path / name) if check["status"] in ("failed", "warned")]
        assert found, name
        assert all(check["remedy"] for check in found)


if __name__ == "__main__":
    for each in HOSTS:
        with tempfile.TemporaryDirectory() as folder:
            (FOLDER / f"{each}.expected.txt").write_text(shown(verdict(each, Path(folder))), "utf-8")
            sys.stdout.write(os.path.join("hosts", f"{each}.expected.txt\n"))
