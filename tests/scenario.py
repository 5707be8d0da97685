# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Helpers for Molecule tests of a running service: playbooks, containers, the balancer, and load on the balancer.

They only work in tests that ``molecule verify`` starts, because it sets the environment variables that are read here.
"""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import time
from pathlib import Path

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
SCENARIO = Path(os.environ["MOLECULE_SCENARIO_DIRECTORY"])
EPHEMERAL = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
INVENTORY = EPHEMERAL / "inventory"
BED = (PROJECT / "molecule" / "testbed" / "bed", "-n", os.environ["MOLECULE_SCENARIO_NAME"].replace("_", "-"))
BALANCER = "http://10.77.0.11:8080"


def bed(*arguments, check=True):
    """Run a `molecule/testbed/bed` command for the scenario's bed and return its standard output."""
    done = subprocess.run([*BED, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0 or not check, f"bed {' '.join(arguments)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def playbook(name, *arguments, inventories=(INVENTORY,)):
    """Run a playbook of the working tree in a separate process, as an operator does."""
    sources = [argument for inventory in inventories for argument in ("-i", inventory)]
    environment = {**os.environ, "ANSIBLE_CONFIG": str(PROJECT / "ansible.cfg"), "ANSIBLE_FORCE_COLOR": "0",
                   "ANSIBLE_NOCOLOR": "1"}
    return subprocess.run(
        ["ansible-playbook", *sources, PROJECT / "playbooks" / f"{name}.yml", *arguments],
        capture_output=True, text=True, check=False, cwd=PROJECT, env=environment)


def succeeds(name, *arguments, **options):
    """Run a playbook that must succeed and return its standard output."""
    done = playbook(name, *arguments, **options)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def output_text(done):
    """Return the output of a playbook without its line breaks."""
    return " ".join((done.stdout + done.stderr).split())


def result(node, stage="serving"):
    """Return the result of a stage on a node."""
    return json.loads((INVENTORY / ".results" / node / f"{stage}.json").read_text("utf-8"))


def changes(stdout):
    """Return {node: number of changed tasks} from a playbook's recap."""
    return {host: int(count) for host, count in re.findall(r"^(node\d)\s.*changed=(\d+)", stdout, re.MULTILINE)}


def containers(node):
    """Return {name: output of docker inspect} for all containers on a node."""
    names = bed("exec", node, "docker", "ps", "--all", "--quiet").split()
    return {each["Name"].lstrip("/"): each for each in json.loads(bed("exec", node, "docker", "inspect", *names))}


def identities(found):
    """Return {name: (id, start time)} for a result of containers(). A restart changes the time, a replacement both."""
    return {name: (each["Id"], each["State"]["StartedAt"]) for name, each in found.items()}


def container_identities(node):
    """Return identities() of all containers on a node."""
    return identities(containers(node))


def statistics(node="node1"):
    """Return {server: {column: value}} from the admin socket of a node's balancer."""
    script = ("import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/ascend-vllm-balancer/admin.sock'); "
              "s.sendall(b'show stat\\n'); print(b''.join(iter(lambda: s.recv(65536), b'')).decode())")
    rows = csv.DictReader(bed("exec", node, "python3", "-c", script).lstrip("# ").splitlines())
    return {row["svname"]: row for row in rows if row["pxname"] == "vllm" and row["svname"].startswith("node")}


def states():
    """Return {server: status} from the balancer's admin socket."""
    return {server: row["status"] for server, row in statistics().items()}


class Load:
    """A context manager that sends requests through the balancer until its block ends."""

    def __init__(self, key, workers=8, url=BALANCER, model="qwen25_vl"):
        self.key, self.workers, self.url, self.model = key, workers, url, model

    def __enter__(self):
        self.process = subprocess.Popen(
            [*BED, "run", "--", "python3", PROJECT / "molecule" / "lifecycle" / "files" / "load", self.url, self.key,
             str(self.workers), self.model],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        time.sleep(1)
        return self

    def __exit__(self, *error):
        self.found = json.loads(self.process.communicate(timeout=90)[0])
        print(self.found)


def lost_nothing(load):
    """Assert that no request of a finished Load failed or had to wait for the service."""
    assert load.found["lost"] == []
    assert load.found["streamed"] > 50
    assert load.found["complete"] > 50
    assert load.found["longest_gap_s"] < 3, "the service was interrupted"
