#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_bundle
short_description: Collect what explains a failure on a node, and name its cause
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Runs the vendor's tools, reads the kernel log, the host's state and the state and logs of this collection's
    containers, each within a time limit and side by side, and packs the texts into one archive on the node.
  - Secrets are masked before anything is written.
  - The logs are triaged; causes come back ranked.
options:
  path:
    description: The archive to write, a C(.tar.gz). Only root can read it.
    type: path
    required: true
  log_lines:
    description: How many lines of each container's log are taken, from its end.
    type: int
    default: 5000
  timeout:
    description: Seconds that one tool may take.
    type: int
    default: 20
  npus:
    description: The NPUs whose network port is asked for its state.
    type: list
    elements: int
    default: []
attributes:
  check_mode:
    support: full
    description: Everything is collected and triaged, and no archive is written.
"""

EXAMPLES = r"""
- name: Collect what explains the failure
  ascend.vllm.diagnostics_bundle:
    path: /var/lib/ascend-vllm/diagnostics.tar.gz
    npus: [0, 1, 2, 3, 4, 5, 6, 7]
"""

RETURN = r"""
path:
  description: The archive.
  type: str
  returned: success
files:
  description: The files in it, with the exit code of the command that each came from (null for a time-out).
  type: dict
  returned: success
diagnosis:
  description: The likely causes, best first, each with its evidence and a remedy.
  type: list
  elements: dict
  returned: success
  sample:
    - cause: out_of_memory
      evidence: "RuntimeError: NPU out of memory."
      remedy: Lower gpu-memory-utilization or max-num-seqs.
      source: container-vllm-ascend.log
"""

import io
import json
import os
import subprocess
import tarfile
import time
from concurrent.futures import ThreadPoolExecutor

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose

INSTANCE_LABEL = "ascend.vllm.instance"

COMMANDS = {
    "npu-smi-info.txt": ["npu-smi", "info"],
    "npu-smi-mapping.txt": ["npu-smi", "info", "-m"],
    "kernel.txt": ["dmesg", "--ctime"],
    "memory.txt": ["free", "-m"],
    "disks.txt": ["df", "-h"],
    "addresses.txt": ["ip", "address"],
    "routes.txt": ["ip", "route"],
    "listeners.txt": ["ss", "-ltnp"],
    "processes.txt": ["ps", "-eo", "pid,ppid,user,stat,etime,rss,comm"],
    "containers.txt": ["docker", "ps", "--all", "--no-trunc"],
    "engine.txt": ["docker", "info"],
}
FILES = {
    "driver-version.txt": "/usr/local/Ascend/driver/version.info",
    "firmware-version.txt": "/usr/local/Ascend/firmware/version.info",
    "ascend-install.txt": "/etc/ascend_install.info",
    "hccn-conf.txt": "/etc/hccn.conf",
}
FABRIC = ("link", "net_health", "ip", "gateway", "netdetect", "link_stat")


def run(command, timeout):
    """The output and exit code of a command; the code is None where it was missing or too slow."""
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, timeout=timeout, check=False)
        return done.stdout.decode("utf-8", "replace"), done.returncode
    except subprocess.TimeoutExpired as late:
        return (late.stdout or b"").decode("utf-8", "replace") + "\n(no answer within %d s)\n" % timeout, None
    except OSError as missing:
        return "%s\n" % missing, None


def containers(timeout):
    """The names of this collection's containers, running or not."""
    ours = ["docker", "ps", "--all", "--filter", "label=" + INSTANCE_LABEL, "--format", "{{.Names}}"]
    listed, code = run(ours, timeout)
    return listed.split() if code == 0 else []


def known_secrets(inspected):
    """The values of a container's environment that carry a secret by their name."""
    names = ("KEY", "TOKEN", "SECRET", "PASSWORD")
    try:
        settings = json.loads(inspected)[0]["Config"]["Env"] or []
    except (ValueError, LookupError, TypeError):
        return []
    pairs = [setting.partition("=")[::2] for setting in settings]
    return [value for name, value in pairs if any(word in name.upper() for word in names)]


def collect(npus, log_lines, timeout):
    """``{file name: (text, exit code)}``, collected side by side."""
    commands = dict(COMMANDS)
    for npu in npus:
        for query in FABRIC:
            commands["hccn/%d-%s.txt" % (npu, query)] = ["hccn_tool", "-i", str(npu), "-" + query, "-g"]
    for name in containers(timeout):
        commands["container-%s.json" % name] = ["docker", "inspect", name]
        commands["container-%s.log" % name] = ["docker", "logs", "--tail", str(log_lines), name]
    with ThreadPoolExecutor(max_workers=8) as pool:
        found = dict(zip(commands, pool.map(lambda command: run(command, timeout), commands.values())))
    for name, path in FILES.items():
        try:
            with open(path, encoding="utf-8", errors="replace") as stream:
                found[name] = (stream.read(), 0)
        except OSError as missing:
            found[name] = ("%s\n" % missing, None)
    inspections = [text for name, (text, _code) in found.items() if name.endswith(".json")]
    secrets = [secret for text in inspections for secret in known_secrets(text)]
    return {name: (redact(text, secrets), code) for name, (text, code) in found.items()}


def triage(found):
    """What the containers' logs say, ranked per log, without those that say nothing."""
    return [
        dict(diagnosis, source=name)
        for name, (text, _code) in sorted(found.items()) if name.startswith("container-") and name.endswith(".log")
        for diagnosis in diagnose(text) if diagnosis["cause"] not in ("unknown", "startup_ok")
    ]


def pack(path, found, diagnosis):
    """Write the archive, readable by its owner only."""
    os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
    texts = {name: text for name, (text, _code) in found.items()}
    texts["diagnosis.json"] = json.dumps(diagnosis, indent=2) + "\n"
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(handle, "wb") as stream, tarfile.open(fileobj=stream, mode="w:gz") as archive:
        for name, text in sorted(texts.items()):
            data = text.encode("utf-8")
            entry = tarfile.TarInfo("diagnostics/" + name)
            entry.size, entry.mode, entry.mtime = len(data), 0o600, int(time.time())
            archive.addfile(entry, io.BytesIO(data))


def main():
    module = AnsibleModule(
        argument_spec={
            "path": {"type": "path", "required": True},
            "log_lines": {"type": "int", "default": 5000},
            "timeout": {"type": "int", "default": 20},
            "npus": {"type": "list", "elements": "int", "default": []},
        },
        supports_check_mode=True,
    )
    # hccn_tool is not on root's PATH on a fresh driver installation.
    os.environ["PATH"] += ":/usr/local/bin:/usr/local/sbin:/usr/local/Ascend/driver/tools"
    found = collect(module.params["npus"], module.params["log_lines"], module.params["timeout"])
    diagnosis = triage(found)
    if not module.check_mode:
        pack(module.params["path"], found, diagnosis)
    module.exit_json(changed=not module.check_mode, path=module.params["path"], diagnosis=diagnosis,
                     files={name: code for name, (_text, code) in found.items()})


if __name__ == "__main__":
    main()
