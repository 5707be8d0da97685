# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""hccn_tool: the queries and the ping of an NPU's network port, in the vendor's formats."""
from __future__ import annotations

import sys
import time

from . import state as node_state
from .hardware import Series, series_of
from .tool import Failure, ToolError, fail, finish, missing_library, start

# Different errors have the same exit code (13, 3, 4, 1 …), because the vendor's 16-bit codes lose their high byte.
ERRORS = {
    "busy": Failure(11, "hccn_tool is busy, please try again.\n"),
    "unsupported": Failure(13, "The command is not supported on this product.\n"),
    "no-optics": Failure(20, "Optical module is not present.\n"),
    "i2c-busy": Failure(12, "I2c is busy. Please try again.\n"),
    "no-ip": Failure(13, stderr="Get ipconf failed, because no ip was preset there!\n"),
    "no-gateway": Failure(2, stderr="Get gateway failed, because no gateway was preset there!\n"),
    "no-device": Failure(4, stderr="The device is not exist!\n"),
    "no-health": Failure(3, stderr="Get device health status failed!\n"),
    "failed": Failure(1, stderr="Command execute failed!\n"),
    "timeout": Failure(1, stderr="The cmd line execute timeout!\n"),
    "unreachable": Failure(15, stderr="Control link unreachable.\n"),
    "link-down": Failure(22, stderr="Execute failed: Link status is down.\n"),
    "permission": Failure(12, stderr="permission denied: pls check this cmd run permission.\n"),
    "library": missing_library("hccn_tool"),
}
_DETAILS = "Enter [ hccn_tool -h ] for more details.\n"
_BAD_TYPE = Failure(1, stderr='Get invalid major cmd type. The valid major cmd type should be "-a" or "-i".\n'
                              + _DETAILS)
_BAD_COUNT = Failure(2, stderr="Get invalid major cmd number. Please check your input.\n" + _DETAILS)
_BAD_COMMAND = Failure(3, stderr="Get invalid major cmd.\n" + _DETAILS)
_BAD_DEVICE = Failure(4, stderr="Get invalid device id.\n")
_BAD_OPTION = Failure(3, stderr="Get unknown option!\n")
_BAD_ADDRESS = Failure(6, stderr="The ip address you configured is invalid!\n")

_PFC = tuple(f"_pfc_pri{priority}_pkt_num" for priority in range(8))
COUNTERS = (
    "mac_tx_mac_pause_num", "mac_rx_mac_pause_num",
    "mac_tx_pfc_pkt_num", *("mac_tx" + name for name in _PFC),
    "mac_rx_pfc_pkt_num", *("mac_rx" + name for name in _PFC),
    *(f"mac_{way}_{kind}_{unit}_num" for way in ("tx", "rx") for kind in ("total", "bad") for unit in ("pkt", "oct")),
    "mac_rx_fcs_err_pkt_num",
    "roce_rx_rc_pkt_num", "roce_rx_all_pkt_num", "roce_rx_err_pkt_num",
    "roce_tx_rc_pkt_num", "roce_tx_all_pkt_num", "roce_tx_err_pkt_num",
    "roce_cqe_num", "roce_rx_cnp_pkt_num", "roce_tx_cnp_pkt_num", "roce_unexpected_ack_num", "roce_out_of_order_num",
    "roce_verification_err_num", "roce_qp_status_err_num", "roce_new_pkt_rty_num", "roce_ecn_db_num",
    "nic_tx_all_pkg_num", "nic_tx_all_oct_num", "nic_rx_all_pkg_num", "nic_rx_all_oct_num",
)
_CERTIFICATES = (  # name, subject, issuer; fictitious
    ("pub cert", "/C=ZZ/O=Test bed/CN=npu", "/C=ZZ/O=Test bed/CN=Second test CA"),
    ("ca1 cert", "/C=ZZ/O=Test bed/CN=First test CA", "/C=ZZ/O=Test bed/CN=First test CA"),
    ("ca2 cert", "/C=ZZ/O=Test bed/CN=Second test CA", "/C=ZZ/O=Test bed/CN=First test CA"),
)


def main(argv: list[str], root: str = "/") -> int:
    """Run one command line with the state under `root`; return the exit code."""
    try:
        sys.stdout.write(output(argv[1:], root))
    except ToolError as error:
        return finish(error.failure)
    return 0


def output(arguments: list[str], root: str) -> str:
    """Return the standard output of hccn_tool; raise ToolError if hccn_tool fails."""
    state = node_state.load(root)
    start("hccn_tool", state, ERRORS)
    if len(arguments) < 4:
        raise ToolError(_BAD_COUNT)
    option, device, command, action = arguments[:4]
    if option != "-i":
        raise ToolError(_BAD_TYPE)
    chip = _device(state, device)
    query = command.removeprefix("-")
    if query not in _QUERIES and query != "ping":
        raise ToolError(_BAD_COMMAND)
    fail(chip["nic"]["faults"].get(query) or chip["nic"]["faults"].get("*"), ERRORS)
    if action != "-g":
        raise ToolError(_BAD_OPTION)
    if query == "ping":
        return _ping(chip, arguments[4:])
    if len(arguments) > 4:
        raise ToolError(_BAD_OPTION)
    return _QUERIES[query](chip, series_of(state["setup"]["generation"]))


def _device(state: dict, number: str) -> dict:
    known = {str(chip["phy_id"]) for chip in state["chips"]}
    if number not in known:
        raise ToolError(_BAD_DEVICE)
    chip = node_state.by_phy_id(state, int(number))
    if chip is None:
        raise ToolError(ERRORS["no-device"])
    return chip


def _ping(chip: dict, arguments: list[str]) -> str:
    from . import npu_network  # slow to import, and queries do not need it

    options = dict(zip(arguments[::2], arguments[1::2]))
    if len(arguments) % 2 or "address" not in options or set(options) - {"address", "pkt"}:
        raise ToolError(_BAD_OPTION)
    size = options.get("pkt", "64")
    if not size.isdigit() or int(size) > 65507:
        raise ToolError(_BAD_OPTION)
    if not npu_network.is_ipv4(options["address"]):
        raise ToolError(_BAD_ADDRESS)
    if chip["nic"]["link"] != "UP":
        raise ToolError(ERRORS["link-down"])
    source = chip["nic"]["address"]
    times = npu_network.ping(source, options["address"], int(size)) if source else None
    if times is None:
        raise ToolError(ERRORS["failed"])
    received = [milliseconds for milliseconds in times if milliseconds is not None]
    lines = [f"device {chip['phy_id']} PING {options['address']}"]
    lines += [f"recv time out seq={sequence}" if milliseconds is None
              else f"recv seq={sequence},time={milliseconds:.6f}ms" for sequence, milliseconds in enumerate(times)]
    loss = 100 * (len(times) - len(received)) / len(times)
    text = "\n".join([*lines, f"{len(times)} packets transmitted, {len(received)} received, {loss:.2f}% packet loss\n"])
    if loss:
        raise ToolError(Failure(1, text, ERRORS["failed"].stderr))
    return text


def _ip(chip: dict, _series: Series) -> str:
    nic = chip["nic"]
    if not nic["address"]:
        raise ToolError(ERRORS["no-ip"])
    return f"ipaddr:{nic['address']}\nnetmask:{nic['netmask']}\n"


def _gateway(chip: dict, _series: Series) -> str:
    if not chip["nic"]["gateway"]:
        raise ToolError(ERRORS["no-gateway"])
    return f"default gateway:{chip['nic']['gateway']}, Iface:eth{chip['phy_id']}\n"


def _net_health(chip: dict, series: Series) -> str:
    status = chip["nic"]["net_health"]
    return f"net health status: {series.socket_failure if status.startswith('Socket fail') else status}\n"


def _netdetect(chip: dict, series: Series) -> str:
    return f"{series.netdetect_label}: {chip['nic']['netdetect'] or '0.0.0.0'}\n"


def _lldp(chip: dict, _series: Series) -> str:
    neighbor = chip["nic"]["lldp"]
    if neighbor is None:
        return ""
    tlvs = (
        ("Chassis ID", f"MAC: {neighbor['chassis']}"),
        ("Port ID", f"Ifname: {neighbor['port']}"),
        ("Time to Live", "120"),
        ("System Name", neighbor["system"]),
        ("System Description", "Test bed switch\n\nSimulated"),
        ("System Capabilities", "System capabilities:  Bridge, Router\n\tEnabled capabilities: Bridge, Router"),
        ("Management Address", "IPv4: 10.77.0.1\n\tIfindex: 1"),
        ("Maximum Frame Size", "9216"),
    )
    return "".join(f"{title} TLV\n\t{text}\n" for title, text in tlvs) + "End of LLDPDU TLV\n"


def _tls(chip: dict, series: Series) -> str:
    device = chip["phy_id"]
    lines = [f"dev_id:{device}, tls switch[{chip['nic']['tls']}](0:disable, 1:enable), "
             "tls preconfigured[0](0:non-preset, 1:preset), tls alarm time threshold[60]days"]
    for name, subject, issuer in _CERTIFICATES:
        lines.append(f"dev_id:{device}, [{name}] info:")
        lines += [f"\t subject[{subject}]"] if series.certificate_details else []
        lines += [f"\t issuer[{issuer}]", "\t start_time[Wed Jan  1 00:00:00 2025 GMT]",
                  "\t end_time[Sun Jan  1 00:00:00 2045 GMT]"]
        if series.certificate_details:
            lines.append("\t tls expiration status[0](0:normal, 1:near expiration, 2:has expired)")
    return "\n".join(lines) + "\n"


def _speed(chip: dict, _series: Series) -> str:
    nic = chip["nic"]
    return f"Speed: {nic['speed_mbps']} Mb/s\n" if nic["link"] == "UP" else "Speed: Unknown!\n"


def _link_stat(chip: dict, series: Series) -> str:
    events = chip["nic"]["link_events"]
    counts = {way: sum(event[1] == way for event in events) for way in ("UP", "DOWN")}
    lines = [f"current time        : {time.ctime()}", f"link up count       : {counts['UP']}"]
    lines += [f"link down count     : {counts['DOWN']}"] if series.link_down_count else []
    lines.append("link change records :" + ("" if events else " NA"))
    lines += [f"    {time.ctime(moment)}    LINK {way}" for moment, way in events[:10]]
    return "".join(f"[devid {chip['phy_id']}]{line}\n" for line in lines)


def _stat(chip: dict, _series: Series) -> str:
    counters = chip["nic"]["counters"]
    return "packet statistics:\n" + "".join(f"{name}:{counters.get(name, 0)}\n" for name in COUNTERS)


def _optical(chip: dict, series: Series) -> str:
    optical = chip["nic"]["optical"]
    present = optical["present"]
    if not present and not series.absent_optics_listed:
        raise ToolError(ERRORS["no-optics"])
    lost = "0x0" if present and chip["nic"]["link"] == "UP" else "0xff"
    rows = [
        ("present", "present" if present else "not present"),
        ("temperature", f"{optical['temperature_c']} C"),
        ("high power enable reg", "enabled"),
        ("vendor name", "Test bed"),
        ("vendor part number", "TB-200G-SR4"),
        ("vendor serial number", f"TB{chip['serial']}"),
        ("vendor org unique id", "0x0 0x1e 0xaf"),
        ("xsfp identifier", "QSFP+ or later"),
        ("xsfp wave length", "850 nm"),
        ("manufact date code", "2025.1.1"),
        ("Vcc", "3262.90 mV"),
    ]
    for lane, (sent, received) in enumerate(zip(optical["tx_power_mw"], optical["rx_power_mw"])):
        rows += [(f"Tx Power{lane}", f"{sent:.4f} mW"), (f"Rx Power{lane}", f"{received:.4f} mW")]
    rows += [("Vcc High Thres", "3465.00 mV"), ("Vcc Low Thres", "3135.00 mV"), ("Temp High Thres", "70 C"),
             ("Temp Low Thres", "0 C"), ("TxPower High Thres", "3.5481 mW"), ("TxPower Low Thres", "0.2818 mW"),
             ("RxPower High Thres", "3.5481 mW"), ("RxPower Low Thres", "0.1445 mW")]
    rows += [(f"Tx Bias{lane}", f"{bias:.4f} mA") for lane, bias in enumerate(optical["tx_bias_ma"])]
    rows += [("Tx Los Flag", "0x0"), ("Rx Los Flag", lost), ("Tx LoL Flag", "0x0"), ("Rx LoL Flag", lost)]
    rows += [(f"Host SNR Lane{lane}", "not supported") for lane in range(4)]
    rows += [(f"Media SNR Lane{lane}", f"{ratio:.4f} dB") for lane, ratio in enumerate(optical["media_snr_db"])]
    return "optical info:\n" + "".join(f"{key:<21}: {value}\n" for key, value in rows)


def _status(chip: dict, _series: Series) -> str:
    """Return the output of ethtool, which the device runs for -status."""
    nic = chip["nic"]
    up = nic["link"] == "UP"
    modes = f"\n{'':32}".join(("100000baseSR4/Full", "100000baseCR4/Full", "200000baseSR4/Full", "200000baseCR4/Full"))
    rows = [
        ("Supported ports", "[ FIBRE ]"),
        ("Supported link modes", f"  {modes}"),
        ("Supported pause frame use", "Symmetric"),
        ("Supports auto-negotiation", "No"),
        ("Supported FEC modes", "None\t RS"),
        ("Advertised link modes", " Not reported"),
        ("Advertised pause frame use", "No"),
        ("Advertised auto-negotiation", "No"),
        ("Advertised FEC modes", "None\t RS"),
        ("Speed", f"{nic['speed_mbps']}Mb/s" if up else "Unknown!"),
        ("Duplex", nic["duplex"] if up else "Unknown! (255)"),
        ("Auto-negotiation", "off"),
        ("Port", "FIBRE"),
        ("PHYAD", "0"),
        ("Transceiver", "internal"),
        ("Current message level", f"0x00000036 (54)\n{'':31}probe link ifdown ifup"),
        ("Link detected", "yes" if up else "no"),
    ]
    return f"Netdev status:Settings for eth{chip['phy_id']}:\n" + "".join(f"\t{key}: {value}\n" for key, value in rows)


def _route(chip: dict, _series: Series) -> str:
    nic, device = chip["nic"], f"eth{chip['phy_id']}"
    if not nic["address"]:
        raise ToolError(ERRORS["no-ip"])
    address, netmask = ((int(part) for part in nic[key].split(".")) for key in ("address", "netmask"))
    network = ".".join(str(part & mask) for part, mask in zip(address, netmask))
    rows = [("default", nic["gateway"], "0.0.0.0", "UG", device)] if nic["gateway"] else []
    rows += [(network, "*", nic["netmask"], "U", device), ("127.0.0.1", "*", "255.255.255.255", "UH", "lo")]
    return ("Routing table:\nDestination     Gateway         Genmask         Flags Metric Ref    Use Iface\n"
            + "".join(f"{to:<15} {via:<15} {mask:<15} {flags:<5} 0      0        0 {iface}\n"
                      for to, via, mask, flags, iface in rows))


def _arp(chip: dict, _series: Series) -> str:
    gateway = chip["nic"]["gateway"]
    entry = f"? ({gateway}) at {chip['nic']['lldp']['chassis']} [ether]  on eth{chip['phy_id']}\n"
    return "arp table:\n" + (entry if gateway and chip["nic"]["lldp"] else "")


def _version(chip: dict, _series: Series) -> str:
    return f"Network Driver Version:    1.0\nNetwork Firmware Version:  {chip['phy_id'] // 16 + 1}.0\n"


_QUERIES = {
    "link": lambda chip, _series: f"link status: {chip['nic']['link']}\n",
    "net_health": _net_health,
    "ip": _ip,
    "gateway": _gateway,
    "netdetect": _netdetect,
    "lldp": _lldp,
    "tls": _tls,
    "speed": _speed,
    "link_stat": _link_stat,
    "stat": _stat,
    "optical": _optical,
    "fec": lambda chip, _series: f"fec mode: {chip['nic']['fec']}\n",
    "vnic": lambda chip, _series: (f"vnic link status: UP\nvnic ipaddr: 192.168.{chip['phy_id'] + 1}.199\n"
                                   "vnic netmask: 255.255.255.0\n"),
    "status": _status,
    "mac": lambda chip, _series: f"mac addr: {chip['nic']['mac']}\n",
    "mtu": lambda chip, _series: f"mtu:{chip['nic']['mtu']}\n",
    "route": _route,
    "arp": _arp,
    "version": _version,
    "process": lambda _chip, _series: "device hccp process: exist\n",
}
