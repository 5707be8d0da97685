# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`setup` and `ascend-fault` change a node. When its faults are cleared, the node is identical to a new one."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest
from ascend_simulator import faults, hardware, npu_network
from ascend_simulator import state as node_state

FILES = ("usr/local/dcmi/libdcmi.so", "usr/local/Ascend/driver/lib64/driver/libascend_hal.so",
         "usr/local/Ascend/driver/tools/hccn_tool", "usr/local/bin/npu-smi", "usr/local/bin/ascend-fault",
         "etc/ascend_install.info", "etc/hccn.conf")


def fields(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def tree(root: Path) -> dict[str, tuple]:
    """Return {path: (whether it is a folder, mode, content)} of everything below a folder."""
    found = {}
    for path in sorted(root.rglob("*")):
        content = path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(root))] = (path.is_dir(), path.stat().st_mode, content)
    return found


@pytest.mark.parametrize("generation", hardware.RELEASES)
def test_vendor_files_agree_with_the_tools(make_node, generation):
    node = make_node(generation)
    for path in FILES:
        assert node.read(path)
    driver, firmware = (fields(node.read(f"usr/local/Ascend/{part}/version.info")) for part in ("driver", "firmware"))
    assert driver["Version"] == driver["package_version"] == firmware["package_version"] == generation
    board = node.npu_smi("info", "-t", "board", "-i", "0").stdout
    assert f"Firmware Version               : {firmware['Version']}\n" in board
    conf = fields(node.read("etc/hccn.conf"))
    for device in (0, 7):
        assert node.hccn(device, "ip").stdout == f"ipaddr:{conf[f'address_{device}']}\nnetmask:255.255.255.0\n"
    assert conf["address_7"] == "10.78.7.11"
    status = fields(node.read("etc/ascend_install.info")).get("Driver_Install_Status")
    assert status == ("complete" if generation.startswith("26") else None)


def test_second_setup_changes_nothing(node):
    before = tree(node.root)
    subprocess.run(node.setup, check=True)
    assert tree(node.root) == before


@pytest.mark.parametrize(("arguments", "message"), [
    (["--generation", "19.0.1", "--node-index", "1"], "generation 19.0.1 is not in a simulated driver series"),
    (["--generation", "25.3.rc1", "--node-index", "1", "--npus", "9"], "npus is 9, expected 1 to 8 for atlas_800_a2"),
    (["--generation", "25.3.rc1", "--node-index", "0"], "node-index is 0, expected 1 to 244"),
])
def test_setup_refuses_invalid_arguments_and_writes_nothing(tmp_path, node, arguments, message):
    root = tmp_path / "refused"
    root.mkdir()
    done = subprocess.run([*node.setup[:2], "--root", str(root), *arguments], capture_output=True, text=True,
                          check=False)
    assert done.returncode == 2
    assert message in done.stderr
    assert not list(root.iterdir())


# One value for every fault. Other tests verify the effects in the output of the tools.
VALUES = {
    "present": "no", "name": "910B4", "health": "Alarm", "code": "0x80E01801", "temperature": "96", "ecc_errors": "3",
    "isolated_pages": "64", "aicore": "87", "hbm_used": "20000", "hbm_total": "32768", "process": "python3:20000",
    "link": "down", "flaps": "7", "net_health": "Unreachable", "ip": "none", "netmask": "255.255.0.0",
    "gateway": "none", "netdetect": "none", "conf_address": "10.78.3.99", "conf_netmask": "none",
    "conf_gateway": "10.78.3.254", "lldp": "none", "tls": "1", "speed": "100000", "duplex": "Half", "mtu": "4200",
    "fec": "no FEC mode", "optics": "absent", "tx_power": "0.15", "rx_power": "0.05", "snr": "17.5",
    "drop": "10.78.3.12:50", "hccn": "hang",
    "device": "missing", "path": "/usr/local/dcmi:file", "driver": "23.0.7", "running_driver": "24.1.0.3",
    "firmware": "23.0.7", "npu_smi": "library", "npu_smi_delay": "0.1", "hccn_tool": "busy", "hccn_tool_delay": "0.1",
}


def test_every_fault_can_be_injected_and_cleared(node):
    assert set(VALUES) == set(faults.FAULTS)
    before = tree(node.root)
    for name, value in VALUES.items():
        node.fault("set", *(["npu=3"] if faults.FAULTS[name].of == "npu" else []), f"{name}={value}")
        assert tree(node.root) != before, name
    shown = node.run("usr/local/bin/ascend-fault", "show").stdout.splitlines()
    assert len(shown) == len(VALUES)
    node.fault("clear")
    assert tree(node.root) == before


def test_setup_undoes_faults_too(node):
    before = tree(node.root)
    node.fault("set", "npu=1", "device=missing")
    node.fault("set", "npu=2", "device=0600")
    node.fault("set", "path=/usr/local/Ascend/driver/lib64:missing")
    assert not (node.root / "dev/davinci1").exists()
    assert (node.root / "dev/davinci2").stat().st_mode & 0o777 == 0o600
    assert not (node.root / "usr/local/Ascend/driver/lib64").exists()
    subprocess.run(node.setup, check=True)
    assert tree(node.root) == before


@pytest.mark.parametrize(("words", "message"), [
    (["other=1", "npu=3"], "other is not a fault"),
    (["tls=1"], "tls is a fault of an NPU: add npu=N"),
    (["npu=3", "tls"], "tls needs a value"),
    (["npu=8", "tls=1"], "npu=8: this node has the NPUs 0, 1, 2, 3, 4, 5, 6, 7"),
    (["npu=3"], "no fault was given"),
    (["npu=3", "temperature=hot"], "hot is not an integer"),
    (["npu=3", "snr=good"], "good is not a number"),
    (["npu=3", "ip=10.78"], "10.78 is not an IPv4 address"),
    (["npu=3", "link=other"], "other is not one of down"),
    (["npu=3", "lldp=leaf-9"], "leaf-9 is not none or SWITCH/PORT"),
    (["npu=3", "hccn=other"], "other is not one of hang, busy"),
    (["path=/no/such:missing"], "/no/such does not exist"),
])
def test_invalid_faults_are_refused(node, words, message):
    before = tree(node.root)
    done = node.run("usr/local/bin/ascend-fault", "set", *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert message in done.stderr
    assert len(done.stderr.splitlines()) == 1
    assert tree(node.root) == before


@pytest.mark.parametrize("words", [["npu=3", "link=down"], ["link", "npu=3", "down"], ["link", "down", "npu=3"]])
def test_words_of_a_fault_can_be_in_any_order(node, words):
    node.fault("set", *words)
    assert node.hccn(3, "link").stdout == "link status: DOWN\n"


def test_fault_can_affect_all_npus(node):
    node.fault("set", "npu=all", "tls=1")
    assert all("tls switch[1]" in node.hccn(device, "tls").stdout for device in range(8))


def test_versions_can_be_changed(node):
    node.fault("set", "running_driver=24.1.0.3")
    assert "npu-smi 24.1.0.3 " in node.npu_smi("info").stdout
    assert "Version=25.3.rc1\n" in node.read("usr/local/Ascend/driver/version.info")
    node.fault("set", "firmware=23.0.7")
    assert "package_version=23.0.7\n" in node.read("usr/local/Ascend/firmware/version.info")
    assert "Compatibility                  : NOK\n" in node.npu_smi("info", "-t", "board", "-i", "0").stdout


def test_stale_configuration_does_not_change_the_device(node):
    node.fault("set", "npu=3", "conf_address=10.78.3.99")
    node.fault("set", "npu=4", "conf_gateway=none")
    conf = fields(node.read("etc/hccn.conf"))
    assert conf["address_3"] == "10.78.3.99"
    assert "gateway_4" not in conf
    assert node.hccn(3, "ip").stdout.startswith("ipaddr:10.78.3.11\n")
    assert node.hccn(4, "gateway").returncode == 0


def test_tool_can_be_slowed_down(node):
    started = time.monotonic()
    node.hccn(0, "link")
    usual = time.monotonic() - started
    node.fault("set", "hccn_tool_delay=1.0")
    started = time.monotonic()
    assert node.hccn(0, "link").stdout == "link status: UP\n"
    assert time.monotonic() - started > 1.0
    assert usual < 1.0


@pytest.mark.parametrize(("words", "hangs", "works"), [
    (["npu_smi=hang"], ("usr/local/bin/npu-smi", "info"), (0, "link")),
    (["npu=3", "hccn=hang:link"], ("usr/local/Ascend/driver/tools/hccn_tool", "-i", "3", "-link", "-g"), (3, "ip")),
    (["npu=3", "hccn=hang"], ("usr/local/Ascend/driver/tools/hccn_tool", "-i", "3", "-ip", "-g"), (4, "ip")),
])
def test_one_tool_or_device_can_hang(node, words, hangs, works):
    node.fault("set", *words)
    with pytest.raises(subprocess.TimeoutExpired):
        subprocess.run([str(node.root / hangs[0]), *hangs[1:]], timeout=1, check=False, capture_output=True)
    assert node.hccn(*works).returncode == 0


def test_injected_process_is_real_and_is_killed(node):
    node.fault("set", "npu=3", "process=python3.10:20000")
    row = next(line.split() for line in node.npu_smi("info").stdout.splitlines() if "python3.10" in line)
    npu, chip, pid, memory = row[1], row[2], int(row[4]), row[8]
    assert (npu, chip, memory) == ("3", "0", "20000")
    assert os.readlink(f"/proc/{pid}/fd/3") == str(node.root / "dev/davinci3")
    node.fault("clear")
    assert "python3.10" not in node.npu_smi("info").stdout
    stat = Path(f"/proc/{pid}/stat")
    assert not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] == "Z"  # killed, but not reaped yet


class Network:
    """A fake of `ip` and `iptables` with the addresses of one interface, and rules that drop packets."""

    def __init__(self, *addresses: str) -> None:
        self.addresses, self.rules = set(addresses), []

    def interface_of(self, address: str) -> tuple[str, int] | None:
        return ("eth1", 24) if address in self.addresses else None

    def run(self, *command: str) -> None:
        if command[:2] == ("ip", "address"):
            address = command[3].partition("/")[0]
            (self.addresses.add if command[2] == "replace" else self.addresses.remove)(address)
        else:
            assert command[:2] == ("iptables", "-w")
            (self.rules.append if command[2] == "-I" else self.rules.remove)(command[3:])

    def succeeds(self, *command: str) -> bool:
        assert command[:3] == ("iptables", "-w", "-C")
        return command[3:] in self.rules


@pytest.fixture
def network(monkeypatch):
    fake = Network("10.78.3.11", "10.78.4.11")
    for name in ("interface_of", "run", "succeeds"):
        monkeypatch.setattr(npu_network, name, getattr(fake, name))
    return fake


SILENT = [("INPUT", "-d", "10.78.3.11", "-j", "DROP"), ("OUTPUT", "-s", "10.78.3.11", "-j", "DROP")]
ECHO = ("OUTPUT", "-s", "10.78.3.11", "-d", "10.78.3.12", "-p", "icmp", "--icmp-type", "echo-request")


@pytest.mark.parametrize(("fault", "value", "rules", "addresses"), [
    ("link", "down", SILENT, set()),
    ("ip", "none", SILENT, set()),
    ("ip", "10.78.3.12", SILENT, {"10.78.3.12"}),
    ("drop", "10.78.3.12", [(*ECHO, "-j", "DROP")], set()),
    ("drop", "10.78.3.12:25", [(*ECHO, "-m", "statistic", "--mode", "random", "--probability", "0.25", "-j", "DROP")],
     set()),
])
def test_network_faults_are_real_on_a_node(network, fault, value, rules, addresses):
    state = node_state.new_state("25.3.rc1", "atlas_800_a2", 8, 1)
    faults.FAULTS[fault].apply(faults.Context("/", state, state["chips"][3]), value)
    assert network.rules == rules
    assert network.addresses == {"10.78.3.11", "10.78.4.11"} | addresses
    for step in reversed(state["undo"]):
        faults._undo(step)
    assert (network.rules, network.addresses) == ([], {"10.78.3.11", "10.78.4.11"})


def test_faults_can_be_cleared_after_a_reboot(network):
    """A reboot removes the rules, additional addresses and processes. Undoing them afterwards is not an error."""
    state = node_state.new_state("25.3.rc1", "atlas_800_a2", 8, 1)
    faults.FAULTS["ip"].apply(faults.Context("/", state, state["chips"][3]), "10.78.3.12")
    network.rules.clear()
    network.addresses.discard("10.78.3.12")
    for step in [*state["undo"], {"do": "kill", "pid": 2 ** 22 + 1, "started": "1"}]:
        faults._undo(step)
    assert network.addresses == {"10.78.3.11", "10.78.4.11"}


def test_network_is_not_changed_if_the_root_is_not_slash(network, node):
    state = node_state.load(str(node.root))
    faults.FAULTS["link"].apply(faults.Context(str(node.root), state, state["chips"][3]), "down")
    assert (network.rules, state["undo"]) == ([], [])
