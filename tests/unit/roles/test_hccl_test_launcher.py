# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The hccl_test launcher runs on two loopback addresses, with scripts instead of Hydra.

The `hccl` scenario runs it with the real MPICH.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = (Path(__file__).resolve().parents[3] / "roles/hccl/files/hccl_test_launcher.py").read_text("utf-8")
MARK = "ASCEND-VLLM-PROBE "

# This replacement for mpiexec waits for its proxies, as Hydra does, prints the line that each of them sends, and exits
# with the status in RC.
MPIEXEC = """#!%s
import os, socket, sys
if "--version" in sys.argv:
    sys.exit(print(os.environ.get("FLAVOR", "HYDRA build details:")))
server = socket.socket()
server.bind(("127.0.0.1", 0))
server.listen()
hosts = sys.argv[sys.argv.index("-hosts") + 1].split(",")
for number, _host in enumerate(hosts):
    print("HYDRA_LAUNCH: %s --control-port unknown.invalid:%%d --proxy-id %%d " %% (server.getsockname()[1], number))
print("HYDRA_LAUNCH_END", flush=True)
sent = []
for _host in hosts:
    connection, _peer = server.accept()
    sent.append(connection.makefile().readline().strip())
for line in sorted(sent):
    print("a rank says", line, "with", *sys.argv[sys.argv.index("-n"):], flush=True)
sys.exit(int(os.environ.get("RC", "0")))
"""
PROXY = """#!%s
import os, socket, sys
host, port = sys.argv[sys.argv.index("--control-port") + 1].split(":")
if os.environ.get("DIES"):
    sys.exit(0)
with socket.create_connection((host, int(port))) as connection:
    connection.sendall(("%%s %%s\\n" %% (sys.argv[-1], os.environ["HCCL_IF_IP"])).encode())
"""


@pytest.fixture
def image(tmp_path):
    """Create the programs and the toolkit of an image, and return the environment of its containers."""
    programs = tmp_path / "bin"
    target = tmp_path / "toolkit/tools/hccl_test/bin/all_reduce_test"
    for path, text in ((programs / "mpiexec.hydra", MPIEXEC % (sys.executable, programs / "hydra_pmi_proxy")),
                       (programs / "hydra_pmi_proxy", PROXY % sys.executable), (target, "#!/bin/sh\n")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
        path.chmod(0o755)
    return {"PATH": str(programs), "ASCEND_TOOLKIT_HOME": str(tmp_path / "toolkit")}


def free_port():
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        return server.getsockname()[1]


def start(node, port, environment, required=False, join_s=20, nodes=2):
    job = {"required": required, "toolkit": "", "addresses": ["127.0.0.1", "127.0.0.2"][:nodes],
           "names": ["n1", "n2"][:nodes], "node": node, "port": port, "processes": 2, "sizes": [8],
           "options": ["-b", "8"]}
    source = SOURCE.replace("JOIN_S = 60", f"JOIN_S = {join_s}").replace("GRACE_S = 5", "GRACE_S = 1")
    own = {**environment, "HCCL_IF_IP": f"192.0.2.{node}"}
    return subprocess.Popen([sys.executable, "-c", source, json.dumps(job), "/bin/echo", "the probe"], env=own,
                            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def outcome(process):
    """Return (exit status, records, other lines)."""
    text = process.communicate(timeout=60)[0].splitlines()
    return (process.returncode, [json.loads(line[len(MARK):]) for line in text if line.startswith(MARK)],
            [line for line in text if not line.startswith(MARK)])


def test_hccl_test_runs_on_two_nodes(image):
    port = free_port()
    second, first = start(1, port, image), start(0, port, image)
    program = os.path.join(image["ASCEND_TOOLKIT_HOME"], "tools/hccl_test/bin/all_reduce_test")
    status, records, lines = outcome(first)
    # Each proxy has the environment of its container.
    assert lines == [f"a rank says {node} 192.0.2.{node} with -n 4 {program} -b 8" for node in (0, 1)]
    assert (status, [record["type"] for record in records]) == (0, ["start", "end"])
    assert (records[0]["ranks"], records[0]["sizes"]) == (4, [8])
    assert [record["type"] for record in outcome(second)[1]] == ["start", "end"]


def test_hccl_test_runs_on_one_node(image):
    assert outcome(start(0, free_port(), image, nodes=1))[0] == 0


def test_exit_status_of_mpiexec_is_returned(image):
    port = free_port()
    second, first = start(1, port, image), start(0, port, {**image, "RC": "7"})
    assert outcome(first)[0] == 7
    second.communicate(timeout=60)


def test_error_names_the_missing_node(image):
    status, records, _lines = outcome(start(0, free_port(), image, join_s=1))
    assert status == 3
    assert records[-1]["message"] == "n2 did not join within 1 s"


def test_error_names_the_missing_first_node(image):
    status, records, _lines = outcome(start(1, free_port(), image, join_s=1))
    assert status == 3
    assert records[-1]["message"].startswith("n1 did not send the command of the run within 1 s")


@pytest.mark.parametrize("dead", [0, 1])
def test_mpiexec_that_waits_for_a_dead_node_is_killed(image, dead):
    port = free_port()
    environments = [{**image, "DIES": "1"} if node == dead else image for node in (0, 1)]
    second, first = start(1, port, environments[1]), start(0, port, environments[0])
    status, records, _lines = outcome(first)
    assert (status, records[-1]) == (4, {"type": "end", "status": 4})
    second.communicate(timeout=60)


@pytest.mark.parametrize(("change", "reason"), [
    (lambda image: {**image, "PATH": "/nowhere"}, "the image has no MPI"),
    (lambda image: {**image, "FLAVOR": "mpiexec (OpenRTE) 4.1.5"}, "is not from MPICH; other MPIs need SSH keys"),
    (lambda image: {**image, "ASCEND_TOOLKIT_HOME": "/nowhere"}, "all_reduce_test is not built in /nowhere"),
])
def test_probe_runs_and_reports_why_hccl_test_cannot_run(image, change, reason):
    status, records, lines = outcome(start(0, free_port(), change(image)))
    assert (status, lines) == (0, ["the probe"])
    assert (records[0]["type"], records[0]["tool"]) == ("choice", "probe")
    assert reason in records[0]["reason"]
    status, records, lines = outcome(start(0, free_port(), change(image), required=True))
    assert (status, lines) == (3, [])
    assert reason in records[0]["message"]
