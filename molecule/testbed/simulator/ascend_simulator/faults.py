# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ascend-fault: inject faults into a node, and undo all of them.

Most faults only change values in the state. Other faults really change the node: they move an address, remove a device
node, or start a process that uses an NPU. `undo` in the state contains the steps to undo them.
"""
from __future__ import annotations

import fcntl
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable

from . import hccn_tool, npu_network, npu_smi, vendor_files
from . import state as node_state
from .record import Record

_USAGE = """\
usage: ascend-fault set [npu=N[,N...]|all] FAULT=VALUE...   (or FAULT VALUE)
       ascend-fault clear | show | list
"""


class BadFault(Exception):
    """An invalid fault or value. The message is one sentence."""


class Context(Record):
    """The state that a fault changes, and the affected chip, which is None for a fault of the node."""

    root: str
    state: dict
    chip: dict | None

    @property
    def nic(self) -> dict:
        return self.chip["nic"]

    @property
    def on_node(self) -> bool:
        """Return whether this is a node, and not a folder of a test. Faults change the network only on a node."""
        return os.path.realpath(self.root) == "/"


class Fault(Record):
    """One row of the fault table. `apply` is called with the context and the value as text."""

    of: str  # "npu" or "node"
    apply: Callable[[Context, str], None]
    values: str
    meaning: str


# -- how faults change the state

def _integer(value: str) -> int:
    if not value.lstrip("-").isdigit():
        raise BadFault(f"{value} is not an integer")
    return int(value)


def _decimal(value: str) -> float:
    try:
        return float(value)
    except ValueError:
        raise BadFault(f"{value} is not a number") from None


def _none_or_text(value: str) -> str | None:
    return None if value == "none" else value


def _one_of(*choices: str) -> Callable[[str], str]:
    def convert(value: str) -> str:
        if value not in choices:
            raise BadFault(f"{value} is not one of {', '.join(choices)}")
        return value
    return convert


def _set(*path: str, to: Callable = str) -> Callable[[Context, str], None]:
    """Return a fault that sets one value of the chip. If the value is a list of lanes, the fault sets all lanes."""
    def apply(context: Context, value: str) -> None:
        place = context.chip
        for key in path[:-1]:
            place = place[key]
        converted = to(value)
        place[path[-1]] = [converted] * len(place[path[-1]]) if isinstance(place[path[-1]], list) else converted
    return apply


def _version(*keys: str) -> Callable[[Context, str], None]:
    def apply(context: Context, value: str) -> None:
        for key in keys:
            context.state["versions"][key] = value
        vendor_files.write_versions(context.root, context.state)
    return apply


def _present(context: Context, value: str) -> None:
    _one_of("no")(value)
    context.chip["present"] = False


def _codes(context: Context, value: str) -> None:
    context.chip["error_codes"] = value.split(",")


def _isolated_pages(context: Context, value: str) -> None:
    context.chip["ecc"].update(double_bit_isolated_pages=_integer(value), double_bit_total=_integer(value))


def _ecc_errors(context: Context, value: str) -> None:
    context.chip["ecc"].update(double_bit_errors=_integer(value), double_bit_total=_integer(value))


def _process(context: Context, value: str) -> None:
    """Start a process that has the device open, like a leftover process of another user."""
    name, _colon, memory = value.partition(":")
    if memory:
        context.chip["process_memory_mb"] = _integer(memory)
    device = os.path.join(context.root, f"dev/davinci{context.chip['phy_id']}")
    code = ("import os, sys, time\nos.open(sys.argv[1], os.O_PATH)\nopen('/proc/self/comm', 'w').write(sys.argv[2])\n"
            "print(flush=True)\nwhile True: time.sleep(3600)")
    holder = subprocess.Popen([sys.executable, "-IS", "-c", code, device, name], stdin=subprocess.DEVNULL,
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
    if not holder.stdout.readline():
        raise BadFault(f"cannot open {device}: does it exist?")
    context.state["undo"].append({"do": "kill", "pid": holder.pid, "started": _start_time(holder.pid)})


def _start_time(pid: int) -> str | None:
    """Return the start time in ticks, or None if the process has ended. With the pid, it identifies a process."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[19]
    except OSError:
        return None


def _device_node(context: Context, value: str) -> None:
    path = os.path.join(context.root, f"dev/davinci{context.chip['phy_id']}")
    _damage(context, path, value)


def _path(context: Context, value: str) -> None:
    path, _colon, what = value.partition(":")
    _damage(context, os.path.join(context.root, path.lstrip("/")), what)


def _damage(context: Context, path: str, what: str) -> None:
    """Make a file, folder or device node `missing`, a plain `file` or a `directory`, or set its mode to `0...`."""
    if not os.path.lexists(path):
        raise BadFault(f"{path} does not exist")
    if what.startswith("0") and all(digit in "01234567" for digit in what):
        context.state["undo"].append({"do": "chmod", "path": path, "mode": os.stat(path).st_mode & 0o7777})
        os.chmod(path, int(what, 8))
        return
    _one_of("missing", "file", "directory")(what)
    kept = os.path.join(os.path.dirname(path), f".ascend-fault.{os.path.basename(path)}")
    os.rename(path, kept)
    context.state["undo"].append({"do": "rename", "from": kept, "to": path})
    if what == "file":
        open(path, "w", encoding="utf-8").close()
    elif what == "directory":
        os.mkdir(path)


def _link(context: Context, value: str) -> None:
    """Take a link down. The link loses its speed, neighbor and health, and its address becomes unreachable."""
    _one_of("down")(value)
    context.nic.update(link="DOWN", net_health="Fault", lldp=None)
    context.nic["link_events"].insert(0, [int(time.time()), "DOWN"])
    _silence(context)


def _flaps(context: Context, value: str) -> None:
    """Add failures of the link in the last hours. Each failure lasted a second, and the link is up again now."""
    now = int(time.time())
    for count in range(_integer(value), 0, -1):
        moment = now - 600 * count
        context.nic["link_events"][:0] = [[moment + 1, "UP"], [moment, "DOWN"]]


def _ip(context: Context, value: str) -> None:
    """Give the device an address that differs from /etc/hccn.conf. Only the new address responds."""
    address = _none_or_text(value)
    if address is not None and not npu_network.is_ipv4(address):
        raise BadFault(f"{value} is not an IPv4 address")
    interface = npu_network.interface_of(context.nic["address"]) if context.on_node else None
    _silence(context)
    if interface and address:
        npu_network.run("ip", "address", "replace", f"{address}/{interface[1]}", "dev", interface[0])
        context.state["undo"].append({"do": "release", "address": address})
    context.nic["address"] = address


def _silence(context: Context) -> None:
    """Drop packets to and from the NPU's address. If the address were removed, the rail would lose its route, too."""
    for chain, end in (("INPUT", "-d"), ("OUTPUT", "-s")):
        _block(context, [chain, end, context.nic["address"], "-j", "DROP"])


def _block(context: Context, rule: list[str]) -> None:
    if context.on_node:
        npu_network.run("iptables", "-w", "-I", *rule)
        context.state["undo"].append({"do": "unblock", "rule": rule})


def _stale(key: str) -> Callable[[Context, str], None]:
    """Return a fault that makes an entry of /etc/hccn.conf differ from the device."""
    def apply(context: Context, value: str) -> None:
        overrides = context.state.setdefault("hccn_conf", {})
        overrides[f"{key}_{context.chip['phy_id']}"] = _none_or_text(value)
        vendor_files.write_hccn_conf(context.root, _healthy(context.state), overrides)
    return apply


def _healthy(state: dict) -> dict:
    setup = state["setup"]
    return node_state.new_state(setup["generation"], setup["hardware"], setup["npus"], setup["node_index"])


def _netdetect(context: Context, value: str) -> None:
    context.nic["netdetect"] = _none_or_text(value)
    context.nic["net_health"] = "Init" if value == "none" else "Receive timeout"


def _lldp(context: Context, value: str) -> None:
    if value == "none":
        context.nic["lldp"] = None
        return
    system, separator, port = value.partition("/")
    if not separator:
        raise BadFault(f"{value} is not none or SWITCH/PORT, e.g. leaf-9/400GE1/0/1:1")
    chassis = f"02:1e:af:ff:00:{sum(map(ord, system)) % 256:02x}"
    context.nic["lldp"] = {"chassis": chassis, "system": system, "port": port}


def _optics(context: Context, value: str) -> None:
    context.nic["optical"]["present"] = _one_of("present", "absent")(value) == "present"


def _hccn(context: Context, value: str) -> None:
    name, _colon, query = value.partition(":")
    context.nic["faults"][query or "*"] = _one_of("hang", *hccn_tool.ERRORS)(name)


def _drop(context: Context, value: str) -> None:
    """Drop echo requests from this NPU to one address, but not in the other direction, like a bad queue in a switch."""
    target, _colon, percent = value.partition(":")
    if not npu_network.is_ipv4(target):
        raise BadFault(f"{value} is not ADDRESS or ADDRESS:PERCENT")
    share = _decimal(percent or "100") / 100
    probability = ["-m", "statistic", "--mode", "random", "--probability", str(share)] if share < 1 else []
    _block(context, ["OUTPUT", "-s", context.nic["address"], "-d", target, "-p", "icmp", "--icmp-type", "echo-request",
                     *probability, "-j", "DROP"])


def _tool_fault(tool: str, names: tuple[str, ...]) -> Callable[[Context, str], None]:
    def apply(context: Context, value: str) -> None:
        context.state["tools"][tool]["fault"] = _none_or_text(_one_of("none", "hang", *names)(value))
    return apply


def _tool_delay(tool: str) -> Callable[[Context, str], None]:
    def apply(context: Context, value: str) -> None:
        context.state["tools"][tool]["delay_s"] = _decimal(value)
    return apply


FAULTS = {
    # shown by npu-smi
    "present": Fault("npu", _present, "no", "the NPU is missing from the table, and does not exist for hccn_tool"),
    "name": Fault("npu", _set("name"), "910B4", "another chip"),
    "health": Fault("npu", _set("health", to=_one_of("OK", "Warning", "Alarm", "Critical", "UNKNOWN")), "Alarm",
                    "health as in the table"),
    "code": Fault("npu", _codes, "0x80E01801,0x81078603", "error codes of the health state"),
    "temperature": Fault("npu", _set("temperature_c", to=_integer), "96", "°C"),
    "ecc_errors": Fault("npu", _ecc_errors, "3", "double-bit HBM errors"),
    "isolated_pages": Fault("npu", _isolated_pages, "64", "HBM pages isolated after double-bit errors"),
    "aicore": Fault("npu", _set("aicore_percent", to=_integer), "87", "percent"),
    "hbm_used": Fault("npu", _set("hbm_extra_mb", to=_integer), "20000", "additional MB in use, without a process"),
    "hbm_total": Fault("npu", _set("hbm_total_mb", to=_integer), "32768", "MB"),
    "process": Fault("npu", _process, "python3[:MB]", "a real process of that name has the device open"),
    # shown by hccn_tool
    "link": Fault("npu", _link, "down", "link down: no neighbor, no health, its address does not respond"),
    "flaps": Fault("npu", _flaps, "7", "link failures in the last hours; the link is up now"),
    "net_health": Fault("npu", _set("nic", "net_health"), "'Receive timeout'",
                        "also 'Socket fail', 'Unreachable', 'Time exceeded', 'Fault', 'Init', 'Thread error' …"),
    "ip": Fault("npu", _ip, "10.78.3.99|none", "the device's address (a duplicate if a peer has it)"),
    "netmask": Fault("npu", _set("nic", "netmask"), "255.255.0.0", "the device's netmask"),
    "gateway": Fault("npu", _set("nic", "gateway", to=_none_or_text), "none|10.78.3.254", "the device's gateway"),
    "netdetect": Fault("npu", _netdetect, "none|10.78.3.254", "no address to detect, or one that does not respond"),
    "conf_address": Fault("npu", _stale("address"), "10.78.3.99|none", "stale address_N in /etc/hccn.conf"),
    "conf_netmask": Fault("npu", _stale("netmask"), "255.255.0.0|none", "stale netmask_N in /etc/hccn.conf"),
    "conf_gateway": Fault("npu", _stale("gateway"), "10.78.3.254|none", "stale gateway_N in /etc/hccn.conf"),
    "lldp": Fault("npu", _lldp, "none|leaf-9/400GE1/0/1:1", "no neighbor, another switch, another port"),
    "tls": Fault("npu", _set("nic", "tls", to=_integer), "1", "TLS switch"),
    "speed": Fault("npu", _set("nic", "speed_mbps", to=_integer), "100000", "Mb/s"),
    "duplex": Fault("npu", _set("nic", "duplex"), "Half", "duplex"),
    "mtu": Fault("npu", _set("nic", "mtu", to=_integer), "4200", "bytes"),
    "fec": Fault("npu", _set("nic", "fec"), "'no FEC mode'", "FEC mode"),
    "optics": Fault("npu", _optics, "absent", "no optical module"),
    "tx_power": Fault("npu", _set("nic", "optical", "tx_power_mw", to=_decimal), "0.15", "mW on every lane"),
    "rx_power": Fault("npu", _set("nic", "optical", "rx_power_mw", to=_decimal), "0.05", "mW on every lane"),
    "snr": Fault("npu", _set("nic", "optical", "media_snr_db", to=_decimal), "17.5", "dB on every lane"),
    "drop": Fault("npu", _drop, "10.78.3.12[:PERCENT]",
                  "its pings to this address are lost, but not those in the other direction"),
    "hccn": Fault("npu", _hccn, "busy|hang|timeout|…[:QUERY]", "hccn_tool fails or hangs for this NPU"),
    # of the node
    "device": Fault("npu", _device_node, "missing|file|0600", "the device node /dev/davinciN"),
    "path": Fault("node", _path, "/usr/local/dcmi:missing|file|directory|0600", "any path, e.g. a mount's source"),
    "driver": Fault("node", _version("tool", "driver", "driver_package"), "23.0.7",
                    "driver version, running and installed"),
    "running_driver": Fault("node", _version("tool", "driver"), "24.1.0.3",
                            "running driver version, as after an upgrade without a reboot"),
    "firmware": Fault("node", _version("firmware_package"), "23.0.7", "firmware package version"),
    "npu_smi": Fault("node", _tool_fault("npu-smi", tuple(npu_smi.FAILURES)), "hang|dcmi-8005|dcmi-8020|library",
                     "npu-smi fails or hangs"),
    "npu_smi_delay": Fault("node", _tool_delay("npu-smi"), "2.5", "seconds before every output"),
    "hccn_tool": Fault("node", _tool_fault("hccn_tool", tuple(hccn_tool.ERRORS)), "hang|busy|library|…",
                       "hccn_tool fails or hangs for all NPUs"),
    "hccn_tool_delay": Fault("node", _tool_delay("hccn_tool"), "2.5", "seconds before every output"),
}


# -- commands

def main(argv: list[str], root: str = "/") -> int:
    """Run the program ascend-fault; return the exit code."""
    command, arguments = (argv[1], argv[2:]) if len(argv) > 1 else ("", [])
    try:
        if command == "set" and arguments:
            inject(root, arguments)
        elif command == "clear" and not arguments:
            clear(root)
        elif command == "show" and not arguments:
            print("\n".join(node_state.load(root).get("faults", [])) or "no faults")
        elif command == "list" and not arguments:
            for name, fault in FAULTS.items():
                print(f"{fault.of:<5} {name:<16} {fault.values:<42} {fault.meaning}")
        else:
            sys.stderr.write(_USAGE)
            return 2
    except (BadFault, RuntimeError, FileNotFoundError) as error:
        sys.stderr.write(f"ascend-fault: {error}\n")
        return 1
    return 0


def inject(root: str, words: list[str]) -> None:
    """Inject the faults in `words`. For a wrong word, BadFault is raised before anything is changed.

    A wrong value raises BadFault, too.
    """
    with _locked(root):
        state = node_state.load(root)
        chips, settings = _read_words(state, words)
        try:
            for name, value in settings:
                for chip in chips if FAULTS[name].of == "npu" else [None]:
                    FAULTS[name].apply(Context(root, state, chip), value)
            state.setdefault("faults", []).append(" ".join(words))
        finally:
            node_state.save(root, state)  # The steps in `undo` must not be lost even if a fault failed halfway.


def _read_words(state: dict, words: list[str]) -> tuple[list[dict], list[tuple[str, str]]]:
    """Return ([chips], [(fault, value)]) for words such as `npu=3 health=Alarm` or `link npu=3 down`."""
    pairs: list[list[str]] = []
    for word in words:
        key, separator, value = word.partition("=")
        if separator:
            pairs.append([key, value])
            continue
        waiting = [pair for pair in pairs if not pair[1]]
        if waiting:
            waiting[0][1] = word
        else:
            pairs.append([word, ""])
    chosen = [value for key, value in pairs if key == "npu"]
    settings = [(key, value) for key, value in pairs if key != "npu"]
    for key, value in settings:
        if key not in FAULTS:
            raise BadFault(f"{key} is not a fault; `ascend-fault list` shows all")
        if not value:
            raise BadFault(f"{key} needs a value, e.g. {FAULTS[key].values}")
        if FAULTS[key].of == "npu" and not chosen:
            raise BadFault(f"{key} is a fault of an NPU: add npu=N (the number of /dev/davinciN) or npu=all")
    if not settings:
        raise BadFault("no fault was given")
    return _chips(state, chosen[0]) if chosen else [], settings


def _chips(state: dict, numbers: str) -> list[dict]:
    if numbers == "all":
        return state["chips"]
    known = {str(chip["phy_id"]): chip for chip in state["chips"]}
    missing = [number for number in numbers.split(",") if number not in known]
    if missing:
        raise BadFault(f"npu={numbers}: this node has the NPUs {', '.join(known)}")
    return [known[number] for number in numbers.split(",")]


def clear(root: str) -> None:
    """Make the node as healthy as after `setup`."""
    setup = node_state.load(root)["setup"]
    package = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))
    reset(root, package, {"generation": setup["generation"], "hardware": setup["hardware"], "npus": setup["npus"],
                          "node": setup["node_index"]})


def reset(root: str, package: str, node: dict) -> None:
    """Undo all faults, then write a healthy state and all vendor files. Raise ValueError if `node` is invalid."""
    state = node_state.new_state(**node)
    with _locked(root):
        if os.path.exists(node_state.path_of(root)):
            for step in reversed(node_state.load(root)["undo"]):
                _undo(step)
        vendor_files.write(root, package, state)
        node_state.save(root, state)


def _undo(step: dict) -> None:
    """Undo one step. A reboot of the node may already have undone the step."""
    if step["do"] == "unblock":
        if npu_network.succeeds("iptables", "-w", "-C", *step["rule"]):
            npu_network.run("iptables", "-w", "-D", *step["rule"])
    elif step["do"] == "release":
        interface = npu_network.interface_of(step["address"])
        if interface:
            npu_network.run("ip", "address", "delete", f"{step['address']}/{interface[1]}", "dev", interface[0])
    elif step["do"] == "chmod" and os.path.exists(step["path"]):
        os.chmod(step["path"], step["mode"])
    elif step["do"] == "rename" and os.path.lexists(step["from"]):
        _remove(step["to"])
        os.rename(step["from"], step["to"])
    elif step["do"] == "kill" and _start_time(step["pid"]) == step["started"]:
        _kill(step["pid"])


def _kill(pid: int) -> None:
    descriptor = os.pidfd_open(pid)
    signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    select.select([descriptor], [], [], 5)
    os.close(descriptor)


def _remove(path: str) -> None:
    """Remove the file or folder that replaced a renamed path."""
    if os.path.isdir(path) and not os.path.islink(path):
        os.rmdir(path)
    elif os.path.lexists(path):
        os.remove(path)


class _locked:
    """A lock that allows one process at a time to change the state."""

    def __init__(self, root: str) -> None:
        self._folder = os.path.dirname(node_state.path_of(root))

    def __enter__(self) -> None:
        os.makedirs(self._folder, exist_ok=True)
        self._descriptor = os.open(self._folder, os.O_RDONLY)
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)

    def __exit__(self, *_exception: object) -> None:
        os.close(self._descriptor)
