# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check what the test bed guarantees: no packet leaves the machine, nothing is left behind, and faults are real.

All tests run in a network namespace that simulates the machine's network, and with a separate cache, so that they do
not interfere with other beds.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import signal
import subprocess
import tempfile
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.bed

BED = Path(__file__).resolve().parents[2] / "molecule" / "testbed" / "bed"
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed")
CGROUPS = "ascend-testbed/tests-"
GUARD = {"10.77.0.0/24", "10.78.0.0/20"}


class Machine:
    """A simulated machine: its network and its cache."""

    def __init__(self, cache: Path):
        self.cache = cache
        self.holder = subprocess.Popen(["unshare", "--net", "sleep", "infinity"])
        while os.readlink(f"/proc/{self.holder.pid}/ns/net") == os.readlink("/proc/self/ns/net"):
            time.sleep(0.01)
        # IPv6 addresses would appear and disappear on their own; no bed uses them.
        self.run("sysctl", "-qw", "net.ipv6.conf.all.disable_ipv6=1", "net.ipv6.conf.default.disable_ipv6=1")
        # Like every machine, it has an address and a default route.
        self.run("ip", "link", "add", "uplink", "type", "veth", "peer", "name", "internet")
        self.run("ip", "address", "add", "192.0.2.9/24", "dev", "uplink")
        for link in ("lo", "uplink", "internet"):
            self.run("ip", "link", "set", link, "up")
        self.run("ip", "route", "add", "default", "via", "192.0.2.1")

    def command(self, *argv: str) -> list[str]:
        network, cache = f"--net=/proc/{self.holder.pid}/ns/net", f"ASCEND_VLLM_CACHE={self.cache}"
        return ["nsenter", network, "--", "env", cache, *argv]

    def run(self, *argv: str, code: int | None = 0, **options) -> subprocess.CompletedProcess:
        """Run a command on the machine. It must have the exit code `code`, or any exit code if `code` is None."""
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, check=False, timeout=300, **options)
        assert code is None or done.returncode == code, f"{argv}: code {done.returncode}, {done.stdout}{done.stderr}"
        return done

    def bed(self, *argv: str, name: str = "tests-main", code: int | None = 0, **options) -> subprocess.CompletedProcess:
        return self.run(str(BED), "-n", name, *argv, code=code, **options)

    def refusal(self, *argv: str, name: str = "tests-main") -> str:
        """Run a `bed` command that must fail with one sentence, and return this sentence."""
        error = self.bed(*argv, name=name, code=1).stderr
        assert error.startswith("bed: ")
        assert error.count("\n") == 1
        return error

    def guard(self) -> set[str]:
        routes = self.run("ip", "-json", "route", "show", "type", "unreachable").stdout
        return {route["dst"] for route in json.loads(routes)}

    def init(self) -> int:
        """Return the process ID of the main bed's first process."""
        return json.loads(self.bed("status", "--json").stdout)["tests-main"]["process"]

    def traces(self) -> dict[str, set]:
        """Return everything that a bed could leave behind on a machine."""
        return {
            "links": set(re.findall(r"^\d+: (\S+?)[:@]", self.run("ip", "link").stdout, re.MULTILINE)),
            "routes": set(self.run("ip", "route", "show", "table", "all").stdout.splitlines()),
            "rules": {line for line in self.run("iptables-save").stdout.splitlines() if line.startswith("-A")},
            "mounts": {line.split()[4] for line in Path("/proc/self/mountinfo").read_text().splitlines()},
            "cgroups": {path for root in ("", "*/") for path in Path("/sys/fs/cgroup").glob(f"{root}{CGROUPS}*")},
            "processes": self.processes(),
            "state": set((self.cache / "beds").glob("*")) | set((self.cache / "building").glob("*")),
        }

    def processes(self) -> set[int]:
        """Return the IDs of the processes, except the test, that use this cache or a control group of its beds."""
        found = set()
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                started_with = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
                groups = (process / "cgroup").read_text()
                if str(self.cache).encode() in started_with or CGROUPS in groups:
                    found.add(int(process.name))
        return found - {os.getpid(), self.holder.pid}


@pytest.fixture(scope="module")
def machine():
    subprocess.run([str(BED), "prepare"], check=True)
    cache = Path(tempfile.mkdtemp(prefix="tests-", dir=CACHE))
    node_root = max((CACHE / "golden").glob("node-*"), key=lambda path: path.stat().st_mtime)
    (cache / "golden").mkdir()
    subprocess.run(["cp", "--archive", "--link", str(node_root), str(cache / "golden")], check=True)
    machine = Machine(cache)
    yield machine
    machine.bed("clean", "--cache")
    machine.holder.kill()
    machine.holder.wait()
    assert not cache.exists(), f"`bed clean --cache` left {list(cache.iterdir())}"


@pytest.fixture
def bed(machine):
    """A bed of two nodes without an engine image. It stays up between tests and is restored before each."""
    machine.bed("up", "--nodes", "2", "--image", "none")
    return machine


@pytest.fixture
def broken(bed):
    """The same bed, for tests that break node1."""
    yield bed
    bed.bed("heal", "node1")
    assert bed.bed("ssh", "node1", "docker", "version").returncode == 0


def ping(machine: Machine, node: str, address: str) -> bool:
    return machine.bed("exec", node, "ping", "-q", "-c", "1", "-W", "1", address, code=None).returncode == 0


def boot_id(machine: Machine, node: str) -> str:
    return machine.bed("ssh", node, "cat", "/proc/sys/kernel/random/boot_id").stdout


# -- no packet leaves the machine


def test_machine_has_no_route_to_the_addresses_of_the_nodes(bed):
    assert bed.guard() == GUARD
    for address in ("10.77.0.11", "10.78.7.11"):
        assert "No route to host" in bed.run("ip", "route", "get", address, code=2).stderr


def test_run_is_refused_without_the_guard(bed):
    route = next(line for line in bed.run("ip", "route").stdout.splitlines() if line.startswith("unreachable 10.78"))
    bed.run("ip", "route", "del", *route.split())
    assert "`unreachable` route is missing for 10.78.0.0/20" in bed.refusal("run", "--", "true")
    assert "`unreachable` route is missing" in bed.refusal("ssh", "node1", "true")
    bed.bed("up")
    bed.bed("run", "--", "true")


def test_run_is_refused_if_the_bed_has_a_default_route(bed):
    bed.bed("run", "--", "ip", "route", "add", "default", "via", "10.77.0.12")
    try:
        assert "has a default route" in bed.refusal("run", "--", "true")
    finally:
        bed.run("nsenter", f"--net=/proc/{bed.init()}/ns/net", "ip", "route", "del", "default")
    bed.bed("run", "--", "true")


def test_neither_the_bed_nor_its_nodes_have_a_default_route(bed):
    assert bed.bed("run", "--", "ip", "route", "show", "default").stdout == ""
    for node in ("node1", "node2"):
        assert bed.bed("ssh", node, "ip", "route", "show", "default").stdout == ""
    assert "Network is unreachable" in bed.bed("ssh", "node1", "ping", "-c", "1", "192.0.2.1", code=2).stderr


def test_up_is_refused_if_its_addresses_are_in_use(machine):
    machine.bed("down")
    machine.run("ip", "address", "add", "10.78.3.1/16", "dev", "uplink")
    try:
        assert "interface uplink has 10.78.3.1/16" in machine.refusal("up", "--image", "none")
        assert machine.guard() == set()
    finally:
        machine.run("ip", "address", "del", "10.78.3.1/16", "dev", "uplink")
        machine.bed("down")


def test_run_is_refused_without_a_bed(machine):
    assert "bed tests-none is not up" in machine.refusal("run", "--", "true", name="tests-none")


def test_commands_work_from_inside_a_bed(bed):
    status = bed.bed("run", "--", str(BED), "status", "--json").stdout
    assert json.loads(status)["tests-main"]["nodes"] == {"node1": "running", "node2": "running"}
    assert bed.bed("run", "--", str(BED), "ssh", "node2", "hostname").stdout == "node2\n"


# -- nothing is left behind


@pytest.mark.parametrize("ending", ["down", "clean"])
def test_down_leaves_nothing_behind(machine, ending):
    machine.bed("clean")
    before = machine.traces()
    machine.bed("up", "--nodes", "2", "--image", "none")
    machine.bed("service", "start", "sleeper", "--", "sleep", "infinity")
    still_running = subprocess.Popen(machine.command(str(BED), "-n", "tests-main", "run", "--", "sleep", "infinity"))
    machine.bed("run", "--", "sh", "-c", "setsid sleep infinity >/dev/null 2>&1 &")
    during = machine.traces()
    machine.bed(ending)
    still_running.wait(timeout=10)
    assert machine.traces() == before
    assert {kind for kind in during if during[kind] != before[kind]} >= {"routes", "cgroups", "processes", "state"}


def test_inotify_limit_is_restored(machine):
    limit = Path("/proc/sys/fs/inotify/max_user_instances")
    machine.bed("clean")
    with open(CACHE / "locks" / "guard", "w") as lock:  # other beds on the machine change the limit, too
        fcntl.flock(lock, fcntl.LOCK_EX)
        before = limit.read_text()
        limit.write_text("4096")
        try:
            machine.bed("up", "--nodes", "0")
            assert int(limit.read_text()) > 4096
            machine.bed("down")
            assert limit.read_text() == "4096\n"
        finally:
            limit.write_text(before)


def test_down_can_be_repeated(machine):
    machine.bed("clean")
    (machine.cache / "beds" / "tests-none").mkdir(parents=True)
    machine.bed("up", "--nodes", "0")
    machine.bed("down")
    assert machine.guard() == set(), "a folder without a bed kept the guard"
    machine.bed("down", name="tests-none")
    machine.bed("down", name="tests-none")
    assert json.loads(machine.bed("status", "--json").stdout) == {}


@pytest.mark.parametrize("seconds", [0.15, 0.9, 1.6, 2.4])
def test_bed_recovers_from_an_interrupted_up(machine, seconds):
    machine.bed("clean")
    before = machine.traces()
    killed = subprocess.Popen(machine.command(str(BED), "-n", "tests-main", "up", "--image", "none"))
    time.sleep(seconds)
    killed.send_signal(signal.SIGKILL)
    killed.wait()
    machine.bed("up", "--image", "none")
    assert machine.bed("ssh", "node2", "hostname").stdout == "node2\n"
    machine.bed("clean")
    assert machine.traces() == before


def test_bed_recovers_after_its_first_process_was_killed(bed):
    os.kill(bed.init(), signal.SIGKILL)
    assert "is not up" in bed.refusal("run", "--", "true")
    bed.bed("up", "--image", "none")
    assert bed.bed("ssh", "node1", "hostname").stdout == "node1\n"


def test_guard_stays_until_the_last_of_two_beds_is_down(bed):
    bed.bed("up", "--nodes", "1", "--image", "none", name="tests-second")
    bed.bed("ssh", "node1", "touch", "/mark", name="tests-second")
    assert bed.bed("ssh", "node1", "ls", "/mark", code=None).returncode != 0, "two beds share a node"
    bed.bed("down", name="tests-second")
    assert bed.guard() == GUARD
    bed.bed("down")
    assert bed.guard() == set()


def test_nodes_can_be_added_but_not_changed(machine):
    machine.bed("up", "--nodes", "1", "--image", "none", "--npus", "4", name="tests-second")
    machine.bed("up", "--nodes", "2", name="tests-second")
    assert machine.bed("ssh", "node2", "ls /dev/davinci[0-9]", name="tests-second").stdout.count("davinci") == 4
    assert "--npus 8" in machine.refusal("up", "--npus", "8", name="tests-second")
    machine.bed("down", "--nodes", name="tests-second")
    assert machine.bed("run", "--", "true", name="tests-second").returncode == 0
    machine.bed("down", name="tests-second")


# -- nodes behave like real ones


def test_changed_host_key_is_refused(bed):
    key = "/etc/ssh/ssh_host_ed25519_key"
    another = f"mv {key} /root/kept && ssh-keygen -q -t ed25519 -N '' -f {key} && systemctl restart ssh"
    bed.bed("exec", "node1", "sh", "-c", another)
    try:
        refused = bed.bed("ssh", "node1", "true", code=255)
        assert "Host key verification failed" in refused.stderr
    finally:
        bed.bed("exec", "node1", "sh", "-c", f"mv /root/kept {key} && systemctl restart ssh")
    bed.bed("ssh", "node1", "true")


def test_rebooted_node_keeps_its_files_and_works(bed):
    before = boot_id(bed, "node1")
    bed.bed("exec", "node1", "touch", "/kept", "/run/lost")
    bed.bed("fault", "reboot", "node1")
    bed.bed("up")
    assert boot_id(bed, "node1") != before
    assert bed.bed("ssh", "node1", "ls", "/kept", "/run/lost", code=2).stdout == "/kept\n"
    assert bed.bed("ssh", "node1", "ls /dev/davinci[0-9]").stdout.count("davinci") == 8
    assert ping(bed, "node2", "10.78.7.11")
    assert bed.bed("ssh", "node1", "ip", "route", "show", "default").stdout == ""
    assert "910B1" in bed.bed("ssh", "node1", "npu-smi", "info").stdout


@pytest.mark.parametrize("key", ["vm/swappiness", "fs/file-max", "kernel/threads-max", "kernel/shmmax"])
def test_sysctls_stay_in_the_node(bed, key):
    path = Path("/proc/sys") / key
    before = path.read_text()
    half = str(int(before) // 2)
    bed.bed("ssh", "node1", f"sysctl -w {key}={half}")
    assert bed.bed("ssh", "node1", "cat", str(path)).stdout.strip() == half
    assert path.read_text() == before
    assert bed.bed("ssh", "node2", "cat", str(path)).stdout.strip() != half


def test_all_units_start(bed):
    assert bed.bed("ssh", "node1", "systemctl", "--failed", "--no-legend").stdout == ""


@pytest.fixture(scope="module")
def container_image(machine):
    """A small image on node1 whose containers mount the node's folder /srv/shared."""
    machine.bed("up", "--nodes", "2", "--image", "none")
    programs = "/usr/bin/cat /usr/bin/mknod /usr/bin/sleep /usr/bin/touch"
    machine.bed("exec", "node1", "sh", "-ec", f"""
        mkdir -p /srv/shared /tmp/image; echo shared > /srv/shared/file; cd /tmp/image
        cp -L --parents {programs} $(ldd {programs} | grep -o '/lib[^ ]*' | sort -u) .
        tar c . | docker import -c 'ENV PATH=/usr/bin' -c 'ENV ASCEND_TESTBED_MOUNTS=/srv/shared' - small:1
    """)  # fmt: skip
    return "small:1"


def test_containers_get_the_devices_they_request(bed, container_image):
    engine = ("exec", "node1", "docker")

    def with_device(device: str) -> str:
        run = (*engine, "run", "--rm", "--device", device, container_image)
        return bed.bed(*run, "cat", device, code=None).stderr

    assert "No such device or address" in with_device("/dev/davinci0")
    assert 'device "/dev/davinci9": no such file or directory' in with_device("/dev/davinci9")
    bed.bed(*engine, "run", "-d", "--name", "no-device", container_image, "sleep", "60")
    major = bed.bed("exec", "node1", "stat", "-c", "%Hr", "/dev/davinci0").stdout.strip()
    bed.bed(*engine, "exec", "no-device", "mknod", "/davinci0", "c", major, "0")
    assert "Operation not permitted" in bed.bed(*engine, "exec", "no-device", "cat", "/davinci0", code=1).stderr
    bed.bed(*engine, "rm", "-f", "no-device")


def test_containers_share_a_folder_read_only(bed, container_image):
    run = ("exec", "node1", "docker", "run", "--rm", container_image)
    assert bed.bed(*run, "cat", "/srv/shared/file").stdout == "shared\n"
    assert "Read-only file system" in bed.bed(*run, "touch", "/srv/shared/other", code=1).stderr


def test_containers_can_request_limits_that_the_machine_cannot_grant(bed, container_image):
    requested = ("--privileged", "--cap-add=SYS_RESOURCE", "--ulimit=memlock=-1", "--ulimit=nofile=1048576")
    run = ("exec", "node1", "docker", "run", "--rm", *requested, "--oom-score-adj=-500", container_image)
    assert "Max locked memory" in bed.bed(*run, "cat", "/proc/self/limits").stdout


# -- faults are real


@pytest.mark.parametrize(
    ("fault", "error"),
    [
        (["sshd-stop", "node1"], "Connection refused"),
        (["sshd-hang", "node1"], "timed out during banner exchange"),
        (["freeze", "node1"], "timed out during banner exchange"),
        (["link-down", "node1"], "timed out"),
        (["drop", "node1"], "Connection timed out"),
        (["drop", "node1", "out"], "Connection timed out"),
        (["power-cut", "node1"], "timed out|No route to host"),
        (["docker-stop", "node1"], "Cannot connect to the Docker daemon"),
    ],
    ids=lambda value: "-".join(value) if isinstance(value, list) else "",
)
def test_controller_notices_the_fault(broken, fault, error):
    broken.bed("fault", *fault)
    assert re.search(error, broken.bed("ssh", "node1", "docker", "version", code=None).stderr)
    broken.bed("ssh", "node2", "docker", "version")


def test_fault_takes_down_one_npu_rail(broken):
    broken.bed("fault", "npu-rail-down", "node1", "3")
    assert [rail for rail in range(8) if not ping(broken, "node2", f"10.78.{rail}.11")] == [3]


def echo_requests_received(machine: Machine, node: str) -> int:
    names, values = re.findall(r"^Icmp: (.*)", machine.bed("exec", node, "cat", "/proc/net/snmp").stdout, re.MULTILINE)
    return int(dict(zip(names.split(), values.split()))["InEchos"])


def test_fault_drops_npu_packets_in_one_direction(broken):
    broken.bed("fault", "npu-drop", "node1", "5", "in", "node2")
    before = echo_requests_received(broken, "node2")
    assert not ping(broken, "node1", "10.78.5.12")
    assert echo_requests_received(broken, "node2") == before + 1, "the request was lost, too"


def test_fault_slows_down_a_link(broken):
    broken.bed("exec", "node1", "sh", "-c", "head -c 1000000 /dev/zero > /big")
    broken.bed("fault", "slow", "node1", "2mbit")
    started = time.monotonic()
    broken.bed("ssh", "node1", "cat", "/big")
    assert time.monotonic() - started > 3, "1 MB at 2 Mbit/s takes 4 s"


def test_fault_limits_the_size_of_a_disk(broken):
    broken.bed("fault", "small-disk", "node1", "/data", "16m")
    full = broken.bed("ssh", "node1", "head -c 20000000 /dev/zero > /data/file", code=1)
    assert "No space left on device" in full.stderr
    broken.bed("heal", "node1")
    broken.bed("ssh", "node1", "head -c 20000000 /dev/zero > /data/file")


def test_invalid_faults_are_refused(bed):
    assert "unknown fault 'flood'" in bed.refusal("fault", "flood", "node1")
    assert "has no node9; it has node1, node2" in bed.refusal("fault", "freeze", "node9")
    assert "usage: bed fault small-disk NODE PATH [SIZE]" in bed.refusal("fault", "small-disk", "node1")
    assert "expected one of in, out, both, found 'up'" in bed.refusal("fault", "drop", "node1", "up")
    assert "a rail is 0 to 7, found '8'" in bed.refusal("fault", "npu-drop", "node1", "8")


# -- helpers of the bed


def test_service_is_started_and_stopped(bed):
    bed.bed("service", "start", "web", "--", "python3", "-m", "http.server", "--bind", "10.77.0.1", "8090")
    assert "is already running" in bed.refusal("service", "start", "web", "--", "true")
    fetch = ["ssh", "node1", "curl -s -o /dev/null -w '%{http_code}' --retry 5 --retry-connrefused http://10.77.0.1:8090/"]
    assert bed.bed(*fetch).stdout == "200"
    bed.bed("service", "stop", "web")
    assert bed.bed("ssh", "node1", "curl -s http://10.77.0.1:8090/", code=7).stdout == ""


def test_bed_requires_root():
    command = ["setpriv", "--reuid", "65534", "--clear-groups", "/usr/bin/python3", str(BED), "check"]
    refused = subprocess.run(command, capture_output=True, text=True, check=False)
    assert refused.returncode == 1
    assert refused.stderr == "bed: the test bed needs root for its namespaces, found user id 65534; run it with sudo\n"


# -- replay

HOSTS = Path(__file__).resolve().parents[1] / "unit/plugins/plugin_utils/_stages/npu_driver/hosts"


def test_node_replays_a_recording(machine):
    path = HOSTS / "910b4-32g-24.1.rc3-four-npus.json"
    recording = json.loads(path.read_text())
    try:
        machine.bed("up", "--replay", str(path), "--image", "none", name="tests-replay")
        info = machine.bed("ssh", "node1", "npu-smi", "info", name="tests-replay").stdout
        assert info == recording["commands"][0]["stdout"]
        devices = machine.bed("ssh", "node1", "ls", "/dev", name="tests-replay").stdout.split()
        assert {each for each in devices if re.fullmatch(r"davinci\d+", each)} == {
            f"davinci{number}" for number in recording["devices"]}
        tool = "/usr/local/Ascend/driver/tools/hccn_tool"
        machine.bed("ssh", "node1", "test", "-e", tool, name="tests-replay", code=1)
    finally:
        machine.bed("down", name="tests-replay")


def test_damaged_recording_is_refused_before_anything_is_started(machine, tmp_path):
    (tmp_path / "recording.json").write_text("{}")
    error = machine.refusal("up", "--replay", str(tmp_path / "recording.json"), name="tests-replay")
    assert "is not a recording of the collection's diagnostics" in error
    assert not (machine.cache / "beds" / "tests-replay").exists()
