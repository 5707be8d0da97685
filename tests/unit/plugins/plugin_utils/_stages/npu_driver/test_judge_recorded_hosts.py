# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Recorded hosts are parsed and judged, and all outcomes are compared with the expected ones.

hosts/<host>.yml contains the source of the record, the output of the tools, the files, and the state of Docker. All
other facts are taken from a healthy node (npu_case.py). hosts/<host>.json is a recording by the collection's
diagnostics, with its source. If it contains output of hccn_tool, the ports are also judged. The hosts of a bundle with
several nodes are named <name>@<host>. hosts/<host>.expected.txt contains one line per outcome. `make recording` adds
the recordings in a bundle. If you change an outcome on purpose, run it without a bundle to write the expected outcomes,
and read the difference.
"""

from __future__ import annotations

import argparse
import io
import ipaddress
import json
import os
import re
import sys
import tarfile
import tempfile
from pathlib import Path

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import (
    hccn_query,
    hccn_tool,
    kernel_log,
    observation,
    version_files,
)
from ansible_collections.ascend.vllm.plugins.module_utils._docker import engine_facts
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import facts, holders
from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import Outcome
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, stage_status
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge as hccl
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._docker.fake_docker import FakeDocker
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE, valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context, defaults
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.npu_driver.npu_case import (
    healthy,
    judged,
)

FOLDER, CASES = Path(__file__).parent / "hosts", Path(__file__).parent / "cases"
TESTBED = Path(__file__).parents[6] / "molecule" / "testbed"
PODMAN = json.loads(
    (Path(__file__).parents[3] / "module_utils" / "_docker" / "responses" / "podman-4.3.1.json").read_text("utf-8"))
ECC = (FOLDER / "ecc.txt").read_text("utf-8")  # output of npu-smi info -t ecc: npu-smi-other, sample 01 of the corpus
UPTIME_S = 100.0
NOT_RECORDED = 70, "", "this output is not in the recording"


def host_of(recording):
    """Return a recording with the keys that the recorded hosts in YAML files have."""
    files = {"/".join(Path(path).parts[-2:]): text for path, text in recording["files"].items()}
    keys = {"driver": "driver/version.info", "firmware": "firmware/version.info", "conf": "etc/hccn.conf"}
    info = recorded_output(recording, ["npu-smi", "info"])
    return {**recording, **{key: files[path] for key, path in keys.items() if path in files},
            "npu_smi": None if info[:3] == NOT_RECORDED else info[1] or "hung",
            "os_release": files.get("etc/os-release", "")}


def recorded_output(host, argv):
    """Return (exit code or None, stdout, stderr) of a recorded command."""
    wanted = [os.path.basename(argv[0]), *argv[1:]]
    return next(((each["rc"], each["stdout"], each["stderr"]) for each in host["commands"] if each["argv"] == wanted),
                NOT_RECORDED)


RECORDINGS = {path.stem: json.loads(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.json"))}
HOSTS = {path.stem: yaml.safe_load(path.read_text("utf-8")) for path in sorted(FOLDER.glob("*.yml"))}
HOSTS.update((name, host_of(recording)) for name, recording in RECORDINGS.items())


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
    bare = not host.get("npu_smi") and "commands" not in host
    records = (CASES / host["kernel_log_file"]).read_text("utf-8").splitlines() if "kernel_log_file" in host else []
    pci = [{"address": chip["bus_id"].lower(), "device": host.get("pci", "0xd802")} for chip in chips["chips"]]
    numbers = host.get("devices", plan["hardware"]["npu_devices"])
    devices = [{"path": f"/dev/davinci{number}"} for number in numbers]
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
        "system": {**healthy()["system"], "kernel": host["kernel"] or "5.10.0", "os": facts.system(str(root))["os"],
                   "architecture": host.get("architecture", "aarch64")},
        "disks": [{"path": path, "existing": "/", "total_bytes": 2**42, "free_bytes": 2**41}
                  for path in (engine.get("image_root"), plan["model"]["path"])],
        "paths": [{"path": mount["source"], "type": mount["type"] if mount["origin"] == "host" and not bare else None}
                  for mount in mounts],
        "kernel_log": kernel_log.errors(
            ["5,1,90000000,-;" + line for line in records], UPTIME_S, 3600, [each["address"] for each in pci]),
    }


def npu_smi(host):
    """Return (observation, outcomes of the commands) of an npu-smi that prints the recorded output."""
    def run_all(commands):
        return {key: outcome(argv, printed(key, argv, host)) for key, argv in commands.items()}
    return observation.query(run_all, "/usr/local/bin/npu-smi" if host.get("npu_smi") else None)


def outcome(argv, found):
    hung = found[0] is None
    return Outcome(argv, *found, 5.0 if hung else 0.2, hung, "no answer within 5 s" if hung else None)


def printed(key, argv, host):
    """Return (exit code, stdout, stderr) of a command."""
    if "commands" in host:
        return recorded_output(host, argv)
    if key == "info":
        return host.get("npu_smi_rc", 0), host["npu_smi"], ""
    text = ECC if key[0] == "ecc" else host.get(key[0], "")
    return (0, text, "") if text else (1, "", "not recorded")


def docker_engine(host, root):
    if "commands" in host:
        return healthy()["docker_engine"]
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


def ports(name):
    """Return the observation of the ports of a recorded host, in the format of the module hccn_info."""
    host = HOSTS[name]

    def run(argv, _timeout_s):
        return recorded_output(host, argv)
    conf = hccn_tool.parse_conf(host["conf"]) if "conf" in host else None
    return {"npus": hccn_query.query_npus(run, "hccn_tool", host["devices"], 15), "conf": conf,
            "conf_error": None if conf else "No such file or directory: '/etc/hccn.conf'",
            "host_network": {"error": None, "interfaces": []}, "image_present": None,
            "processes": hccn_query.npu_processes(run, "npu-smi", 15)}


def port_verdict(name):
    """Return the outcomes of the ports of a recorded host, compared with the other hosts of the same bundle."""
    if not any(each["argv"][0] == "hccn_tool" for each in HOSTS[name].get("commands", ())):
        return []
    peers = {other: ports(other) for other in RECORDINGS if other.partition("@")[0] == name.partition("@")[0]}
    inputs = dict(defaults("hccl"), hccl_host_port=22)
    return hccl.judge(context({}, peers[name], inputs, name, hccl.survey(peers, inputs)[name]))


def shown(checks):
    """Return one line per outcome: status, id, subject, and the message or the actual value."""
    rows = ["%-11s %s%s: %s" % (check["status"], check["id"], f" ({check['subject']})" if check["subject"] else "",
                                check["message"] or check["actual"]) for check in checks]
    return "\n".join(rows) + "\n"


@pytest.mark.parametrize("name", HOSTS)
def test_outcomes_of_a_recorded_host_are_as_expected(name, tmp_path):
    expected = (FOLDER / f"{name}.expected.txt").read_text("utf-8")
    assert shown([*verdict(name, tmp_path), *port_verdict(name)]) == expected


@pytest.mark.parametrize("name", RECORDINGS)
def test_recording_has_a_source_and_no_real_address(name):
    """In an anonymized recording, addresses are in 240.0.0.0/5. Netmasks and version numbers look like addresses."""
    assert len(RECORDINGS[name]["source"]) > 20
    texts = [each["stdout"] + each["stderr"] for each in RECORDINGS[name]["commands"]]
    texts += RECORDINGS[name]["files"].values()
    found = re.findall(r"(?<![\d.])(?<!npu-smi )(?:\d{1,3}\.){3}\d{1,3}(?![\d.])",
                       re.sub(r"(?i)version\w* *[:=].*", "", "\n".join(texts)))
    assert [each for each in found if not each.startswith(("0.", "127.", "255."))
            and ipaddress.ip_address(each) not in ipaddress.ip_network("240.0.0.0/5")] == []


@pytest.mark.skipif(not TESTBED.is_dir(), reason="the test bed is not part of this copy")
def test_bundle_becomes_recorded_hosts(tmp_path, monkeypatch):
    this = sys.modules[__name__]
    for name, value in (("FOLDER", tmp_path), ("RECORDINGS", {}), ("HOSTS", {})):
        monkeypatch.setattr(this, name, value)
    monkeypatch.setattr(sys, "path", list(sys.path))
    recording = json.loads((Path(__file__).parent / "hosts" / "910b4-32g-24.1.rc3-four-npus.json").read_text("utf-8"))
    keys = ("commands", "files", "devices", "kernel", "architecture")
    text = json.dumps({key: recording[key] for key in keys}).encode()
    with tarfile.open(tmp_path / "bundle.tar.gz", "w:gz") as bundle:
        for host in ("node1", "node2"):
            entry = tarfile.TarInfo(f"diagnostics/{host}/recording.json")
            entry.size = len(text)
            bundle.addfile(entry, io.BytesIO(text))
    add(tmp_path / "bundle.tar.gz", "issue-1", "https://example.com/issues/1", {})
    assert sorted(path.name for path in tmp_path.glob("*.json")) == ["issue-1@node1.json", "issue-1@node2.json"]
    added = json.loads((tmp_path / "issue-1@node1.json").read_text("utf-8"))
    assert (added["source"], added["healthy"]) == ("https://example.com/issues/1", False)
    assert added["plan"] == {"plan_hardware": "atlas_800i_a2_32g", "serving_tensor_parallel_size": 4}
    assert "failed      npu_count: 4 of 8 NPU chips answer" in shown(verdict("issue-1@node2", tmp_path))


HEALTHY = [name for name, host in HOSTS.items() if host["healthy"]]


@pytest.mark.parametrize("name", HEALTHY)
def test_healthy_host_passes_every_critical_check(name, tmp_path):
    checks = verdict(name, tmp_path)
    assert [check for check in checks if check["severity"] == CRITICAL and check["status"] != "passed"] == []
    assert stage_status(checks) in ("passed", "warned")


def test_every_critical_check_has_passed_on_recorded_healthy_hosts(tmp_path):
    """A check that no recorded healthy host has passed may fail on healthy hosts."""
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


def add(bundle, name, source, plan):
    """Add recordings as hosts: all recordings in a diagnostics archive, or a single one."""
    sys.path.insert(0, str(TESTBED))
    from harness import recordings

    found = recordings.read(bundle)
    for host, recording in found.items():
        each = name if len(found) == 1 else f"{name}@{host}"
        recording = {"source": source, "healthy": False, "plan": plan or plan_for(recording), **recording}
        RECORDINGS[each], HOSTS[each] = recording, host_of(recording)
        with tempfile.TemporaryDirectory() as folder:
            recording["healthy"] = not any(
                check["status"] in ("failed", "warned") for check in verdict(each, Path(folder)))
        (FOLDER / f"{each}.json").write_text(json.dumps(recording, indent=1) + "\n", "utf-8")


def plan_for(recording):
    """Return the plan inputs for the hardware in a recording: the first hardware with this chip and HBM size."""
    chips = npu_smi(host_of(recording))[0]["chips"]
    for name, hardware in CATALOGUE["hardware"].items():
        if chips and chips[0]["name"] in hardware["chip_names"] and chips[0]["hbm_total_mb"] == hardware["hbm_mb"]:
            return {"plan_hardware": name, "serving_tensor_parallel_size": 2 if hardware["hbm_mb"] == 65536 else 4}
    return {}


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--name")
    parser.add_argument("--source")
    parser.add_argument("--plan", type=json.loads, default={}, help="inputs of the plan in JSON")
    arguments = parser.parse_args()
    if arguments.bundle:
        add(arguments.bundle, arguments.name, arguments.source, arguments.plan)
    for each in HOSTS:
        with tempfile.TemporaryDirectory() as folder:
            (FOLDER / f"{each}.expected.txt").write_text(
                shown([*verdict(each, Path(folder)), *port_verdict(each)]), "utf-8")
            sys.stdout.write(os.path.join("hosts", f"{each}.expected.txt\n"))
