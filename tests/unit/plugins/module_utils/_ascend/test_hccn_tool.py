# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Output of several hccn_tool versions is parsed. It was written for these tests, in the vendor's format."""
from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool
from ansible_collections.ascend.vllm.tests.unit.plugins.module_utils._ascend.hccn_sessions import (
    PARSED_QUERIES,
    parse_session,
    without_commands,
)

OPTICAL = """optical info:
present              : present
temperature          : 41 C
vendor name          : EXAMPLE
vendor serial number : 20260117
xsfp wave length     : 850 nm
Vcc                  : 3301.20 mV
Tx Power0            : 1.2000 mW
Rx Power0            : 0.9100 mW
Rx Power1            : NA
Tx Los Flag          : 0x0
Host SNR Lane0       : not supported
Media SNR Lane0      : 22.5000 dB
"""
LINK_STAT = """[devid 5]current time        : Mon Nov 23 08:00:00 2026
[devid 5]link up count       : 3
[devid 5]link down count     : 1
[devid 5]link change records :
[devid 5]    Sun Nov 22 07:00:05 2026    LINK UP
[devid 5]    Sun Nov 22 07:00:00 2026    LINK DOWN
"""
PING_LOST = """device 2 PING 192.0.2.9
recv time out seq=0
recv seq=1,time=0.050000ms
2 packets transmitted, 1 received, 50.00% packet loss
"""
LLDP = """Chassis ID TLV
\tMAC: 02:00:00:00:00:01
Port ID TLV
\tIfname: 200GE1/0/7
System Name TLV
\tleaf-a
System Description TLV
\tExample switch

release 1
End of LLDPDU TLV
"""
TLS = ("dev_id:3, tls switch[%d](0:disable, 1:enable), tls preconfigured[1](0:non-preset, 1:preset), "
       "tls alarm time threshold[60]days\ndev_id:3, [pub cert] info:\n\t issuer[/C=XX/CN=example]\n")

OUTPUTS = [
    ("link", "link status: UP\n", {"status": "UP"}),
    ("link", "link status: DOWN\r\n", {"status": "DOWN"}),
    ("net_health", "net health status: Socket fail\n", {"status": "Socket fail"}),
    ("net_health", "net health status: Receive timeout\n", {"status": "Receive timeout"}),
    ("ip", "ipaddr:192.0.2.7\nnetmask:255.255.255.0\n", {"address": "192.0.2.7", "netmask": "255.255.255.0"}),
    ("ip", "ipaddr:192.0.2.7\nnetmask:255.255.255.0\nCmd executed successfully!\n",
     {"address": "192.0.2.7", "netmask": "255.255.255.0"}),
    ("ip", "ipaddr:10.xx.xx.7\n", {"address": "10.xx.xx.7", "netmask": None}),
    ("gateway", "default gateway:192.0.2.1, Iface:eth4\n", {"address": "192.0.2.1", "interface": "eth4"}),
    ("gateway", "default gateway:192.0.2.1\n", {"address": "192.0.2.1", "interface": None}),
    ("netdetect", "netdetect address: 192.0.2.1\n", {"address": "192.0.2.1"}),
    ("netdetect", "netdetect addr: 192.0.2.1\n", {"address": "192.0.2.1"}),
    ("fec", "fec mode: no FEC mode\n", {"mode": "no FEC mode"}),
    ("speed", "Speed: 200000 Mb/s\n", {"fields": {"Speed": "200000 Mb/s"}}),
    ("speed", "Speed: Unknown!\n", {"fields": {"Speed": "Unknown!"}}),
    # -status prints the output of ethtool, which shares some keys with other queries.
    ("status", "Netdev status:Settings for eth0:\n\tSpeed: Unknown!\n\tDuplex: Unknown! (255)\n\tPort: FIBRE\n",
     {"fields": {"Netdev status": "Settings for eth0:", "Speed": "Unknown!", "Duplex": "Unknown! (255)",
                 "Port": "FIBRE"}}),
    ("duplex", "Duplex: Full\n", {"fields": {"Duplex": "Full"}}),
    ("mtu", "mtu:4200\n", {"fields": {"mtu": "4200"}}),
    ("vnic", "vnic link status: UP\nvnic ipaddr: 192.0.2.70\n",
     {"fields": {"vnic link status": "UP", "vnic ipaddr": "192.0.2.70"}}),
    ("stat", "packet statistics:\nmac_tx_pfc_pkt_num:0\nroce_qp_status_err_num:12\n",
     {"fields": {"mac_tx_pfc_pkt_num": "0", "roce_qp_status_err_num": "12"}}),
    ("tls", TLS % 0, {"enabled": False}),
    ("tls", TLS % 1, {"enabled": True}),
    ("tls", "tls switch [1](0:disable, 1:enable)\n", {"enabled": True}),
    ("lldp", LLDP, {"ifname": "200GE1/0/7", "tlvs": {
        "Chassis ID TLV": "MAC: 02:00:00:00:00:01", "Port ID TLV": "Ifname: 200GE1/0/7", "System Name TLV": "leaf-a",
        "System Description TLV": "Example switch\n\nrelease 1"}}),
    ("link_stat", LINK_STAT, {"up_count": 3, "down_count": 1, "current_time": "Mon Nov 23 08:00:00 2026", "events": [
        {"time": "Sun Nov 22 07:00:05 2026", "status": "LINK UP"},
        {"time": "Sun Nov 22 07:00:00 2026", "status": "LINK DOWN"}]}),
    ("link_stat", "[devid 0]link up count       : 0\n[devid 0]link change records : NA\n",
     {"up_count": 0, "down_count": None, "current_time": None, "events": []}),
    ("optical", OPTICAL, {
        "present": True, "temperature": 41, "xsfp wave length": 850, "Vcc": 3301.2, "Tx Power0": 1.2, "Rx Power0": 0.91,
        "Rx Power1": None, "Tx Los Flag": "0x0", "Host SNR Lane0": None, "Media SNR Lane0": 22.5}),
    # A removed module is printed with its last values.
    ("optical", OPTICAL.replace(": present", ": not present")[:90],
     {"present": False, "temperature": 41}),
    ("ping", PING_LOST, {"address": "192.0.2.9", "transmitted": 2, "received": 1, "loss_percent": 50.0,
                         "rtt_ms": [0.05]}),
    # A ping that lost packets ends with an error, but its summary is used.
    ("ping", PING_LOST + "Cmd execute failed!\n", {"address": "192.0.2.9", "transmitted": 2, "received": 1,
                                                   "loss_percent": 50.0, "rtt_ms": [0.05]}),
    # The table of an Atlas 950 must not be parsed like the lines of an Atlas 800 A2.
    ("speed", "+-----+------+---------+-----+-------+--------+\n"
              "| NPU | Port | Speed   | Cap | Width | Status |\n"
              "+-----+------+---------+-----+-------+--------+\n"
              "| 6   | 4    | 400 G   | X4  | X4    | normal |\n"
              "+-----+------+---------+-----+-------+--------+\n",
     {"fields": {"NPU": "6", "Port": "4", "Speed": "400 G", "Cap": "X4", "Width": "X4", "Status": "normal"}}),
]

ERRORS = [
    ("ip", "Get ipconf failed, because no ip was preset there!\nCmd execute failed!\n",
     "Get ipconf failed, because no ip was preset there!"),
    ("gateway", "Get gateway failed, because no gateway was preset there!\n",
     "Get gateway failed, because no gateway was preset there!"),
    ("link", "hccn_tool is busy, please try again.\n", "hccn_tool is busy, please try again."),
    ("optical", "Optical module is not present.\n", "Optical module is not present."),
    ("ping", "device 1 PING 192.0.2.9\nExecute failed: Link status is down.\n", "Execute failed: Link status is down."),
    ("net_health", "Get device health status failed!\n", "Get device health status failed!"),
    ("speed", "The command is not supported on this product.\n", "The command is not supported on this product."),
    ("tls", "bash: hccn_tool: command not found\n", "bash: hccn_tool: command not found"),
    ("tls", "hccn_tool: \u672a\u627e\u5230\u547d\u4ee4\n", "hccn_tool: \u672a\u627e\u5230\u547d\u4ee4"),
    # Messages in cmd.c and tool_shell_ops.c of github.com/hicann/driver
    ("optical", "The system is in optical module initializing, please try again later.\n",
     "The system is in optical module initializing, please try again later."),
    ("lldp", "[dev_name:eth0] failed to get the lldp result!\n", "[dev_name:eth0] failed to get the lldp result!"),
    ("link", "hccn_tool: error while loading shared libraries: x.so: cannot open shared object file: No such file or "
     "directory\n", "hccn_tool: error while loading shared libraries: x.so: cannot open shared object file: No such "
     "file or directory"),
]


@pytest.mark.parametrize(("query", "text", "expected"), OUTPUTS)
def test_output_is_parsed(query, text, expected):
    assert hccn_tool.parse(query, text) == expected


@pytest.mark.parametrize(("query", "text", "message"), ERRORS)
def test_error_message_is_returned(query, text, message):
    assert hccn_tool.parse(query, text) == {"error": {"message": message, "code": None}}


def test_driver_error_contains_its_code():
    message = "dcmi module initialize failed. ret is -8005"
    assert hccn_tool.parse("link", message + "\n") == {"error": {"message": message, "code": -8005}}


NOISE = {
    "CR LF": lambda text: text.replace("\r\n", "\n").replace("\n", "\r\n"),
    "trailing blanks": lambda text: text.replace("\r", "").replace("\n", "  \n"),
    "blank lines around": lambda text: "\n\n" + text + "\n\n",
    "byte order mark": lambda text: "\ufeff" + text,
    "colors": lambda text: "".join(f"\x1b[0;32m{line}\x1b[0m\n" for line in text.splitlines()),
    "grep warning": lambda text: "grep: warning: stray \\ before /\n" + text,
}


@pytest.mark.parametrize("noise", NOISE)
@pytest.mark.parametrize(("query", "text", "expected"), OUTPUTS)
def test_noise_in_an_output_does_not_change_its_result(query, text, expected, noise):
    assert hccn_tool.parse(query, NOISE[noise](text)) == expected


@pytest.mark.parametrize("prefix", ["dev_id:", "device "], ids=["910B", "950"])
def test_answers_of_two_devices_are_an_error(prefix):
    """In tool_tls.c of github.com/hicann/driver, the tool for the Atlas 950 has another prefix."""
    text = "".join("%s%d, tls switch[%d](0:disable, 1:enable)\n" % (prefix, number, number) for number in (0, 1))
    with pytest.raises(hccn_tool.ParseError, match="more than one answer"):
        hccn_tool.parse("tls", text)


@pytest.mark.parametrize(("query", "text"), [
    ("link", ""), ("link", "\n\n"), ("link", "link status UP"), ("ip", "link status: UP"),
    ("tls", "tls switch[2](0:disable)"), ("link", "link status: UP\nlink status: UP\n"), ("fec", "Duplex: Full\n"),
    ("stat", "statistics"),
])
def test_text_other_than_one_output_of_the_query_is_an_error(query, text):
    with pytest.raises(hccn_tool.ParseError, match="-" + query):
        hccn_tool.parse(query, text)


def test_session_with_loops_prompts_errors_and_other_commands_is_split():
    session = parse_session("""Last login: Mon Nov 23 07:59:00 2026
[root@node-1 ~]# cat /etc/hccn.conf
address_0=192.0.2.1
[root@node-1 ~]# for i in {0..2}; do hccn_tool -i $i -ip -g; done
ipaddr:192.0.2.1
netmask:255.255.255.0
The device is not exist!
Cmd execute failed!
ipaddr:192.0.2.3
netmask:255.255.255.0
[root@node-1 ~]# hccn_tool -i 7 -speed -g && echo done
Speed: 100000 Mb/s
[root@node-1 ~]# hccn_tool -i 7 -tls -s enable 0
Cmd executed successfully!
[root@node-1 ~]# hccn_tool -i 7 -status -g
Netdev status:Settings for eth7:
        Supported link modes:   100000baseCR4/Full
                                200000baseCR4/Full
        Speed: 200000Mb/s
""")
    assert [(q["query"], q["device"], q["result"]) for q in session["queries"]] == [
        ("ip", None, {"address": "192.0.2.1", "netmask": "255.255.255.0"}),
        ("ip", None, {"error": {"message": "The device is not exist!", "code": None}}),
        ("ip", None, {"address": "192.0.2.3", "netmask": "255.255.255.0"}),
        ("speed", 7, {"fields": {"Speed": "100000 Mb/s"}}),
        ("other", 7, {"fields": {}, "lines": ["Cmd executed successfully!"]}),
        ("other", 7, {"fields": {"Netdev status": "Settings for eth7:", "Speed": "200000Mb/s",
                                 "Supported link modes": "100000baseCR4/Full\n200000baseCR4/Full"}}),
    ]


def test_session_without_commands_is_split_into_outputs():
    text = "".join(f"link status: {status}\n" for status in ("UP", "DOWN", "UP")) + PING_LOST + PING_LOST + TLS % 1
    found = [(q["query"], q["device"]) for q in parse_session(text)["queries"]]
    assert found == [("link", None)] * 3 + [("ping", 2)] * 2 + [("tls", 3)]


def test_unexpected_text_of_a_known_query_is_an_error_not_a_value():
    queries = parse_session("$ hccn_tool -i 1 -link -g\nlink state unclear\n")["queries"]
    error = {"message": "link state unclear", "code": None}
    assert queries == [{"query": "link", "device": 1, "result": {"error": error}}]


def test_conf_is_parsed():
    text = "# kept\naddress_0=192.0.2.1\nnetmask_0 = 255.255.255.0\naddress_12=192.0.2.2\ntls_enable_0=0\nroce_port=1\n"
    assert hccn_tool.parse_conf(text) == {
        "fields": {"address_0": "192.0.2.1", "netmask_0": "255.255.255.0", "address_12": "192.0.2.2",
                   "tls_enable_0": "0", "roce_port": "1"},
        "devices": {"0": {"address": "192.0.2.1", "netmask": "255.255.255.0", "tls_enable": "0"},
                    "12": {"address": "192.0.2.2"}},
        "duplicates": [],
    }


def test_conf_key_with_two_values_is_omitted():
    conf = hccn_tool.parse_conf("address_0=192.0.2.1\naddress_0=192.0.2.9\nnetmask_0=255.0.0.0\nnetmask_0=255.0.0.0\n")
    assert conf["duplicates"] == ["address_0"]
    assert conf["devices"] == {"0": {"netmask": "255.0.0.0"}}


def test_conf_keys_that_may_repeat_keep_all_values():
    """Static ARP commands from MindSpore's documentation, in the format of github.com/hicann/driver (tool_ext.c)."""
    conf = hccn_tool.parse_conf("""\
address_0=10.98.92.100
ip_rule_0=add from 10.98.92.100 table 100
ip_rule_0=add from 10.98.92.100 table 101
ip_route_0=add 10.98.92.0/24 via 10.98.92.100 dev eth0 table 100
arp_0=-i eth0 -s 10.98.92.101 78:b4:6a:f4:4c:16
arp_0=-i eth0 -s 10.98.92.102 78:b4:6a:f4:4c:15
arp_1=-i eth1 -s 10.98.92.103 78:b4:6a:f4:4c:14
gateway_1=10.98.92.1
gateway_1=10.98.92.2
""")
    assert conf["duplicates"] == ["gateway_1"]
    assert conf["devices"]["0"]["arp"] == (
        "-i eth0 -s 10.98.92.101 78:b4:6a:f4:4c:16\n-i eth0 -s 10.98.92.102 78:b4:6a:f4:4c:15")
    assert conf["devices"]["0"]["ip_rule"].count("\n") == 1


def test_conf_in_another_format_is_an_error():
    assert hccn_tool.parse_conf("")["devices"] == {}
    with pytest.raises(hccn_tool.ParseError):
        hccn_tool.parse_conf("[section]\nkey: value\n")


# --- Mutated input: the parser raises only ParseError, and returns only values that are in the text

TEXTS = [text for _query, text, _expected in OUTPUTS] + [text for _query, text, _message in ERRORS]


@st.composite
def mutated(draw):
    """Return up to three outputs in one text, with some characters removed, doubled or replaced."""
    text = "".join(draw(st.lists(st.sampled_from(TEXTS), min_size=1, max_size=3)))
    for _step in range(draw(st.integers(0, 6))):
        at = draw(st.integers(0, len(text)))
        end = draw(st.integers(at, min(len(text), at + 12)))
        middle = draw(st.sampled_from(["", "\n", "\t", ":", "|", "0", "\u0663", "...", text[at:end] * 2]))
        text = text[:at] + middle + text[end:]
    return text


def values(result):
    """Yield every value of a result; flags are replaced by the words that the tool prints for them."""
    if isinstance(result, dict):
        for key, value in result.items():
            if isinstance(value, bool):
                yield f"tls switch[{value:d}]" if key == "enabled" else "present" if value else "not present"
            else:
                yield from values(value)
    elif isinstance(result, list):
        for value in result:
            yield from values(value)
    elif result is not None:
        yield result


@settings(max_examples=400)
@given(mutated(), st.sampled_from([*PARSED_QUERIES, "mtu", "other"]))
def test_mutated_text_causes_no_crash_and_no_invented_value(text, query):
    results = [entry["result"] for entry in parse_session(text)["queries"]]
    try:
        results.append(hccn_tool.parse(query, text))
    except hccn_tool.ParseError:
        pass
    json.dumps(results)
    numbers = {float(number) for number in re.findall(r"[0-9]+(?:\.[0-9]+)?", text)}
    spelled = text + text.replace("switch [", "switch[")  # values() yields a flag without the blank
    for value in values(results):
        if isinstance(value, str):
            assert all(part in spelled for part in value.split("\n"))
        else:
            assert abs(value) in numbers


@settings(max_examples=200)
@given(st.text(alphabet="address_gateway0123=.\n#[] x", max_size=120))
def test_mutated_conf_causes_no_invented_value(text):
    try:
        conf = hccn_tool.parse_conf(text)
    except hccn_tool.ParseError:
        return
    assert all(value in text for value in conf["fields"].values())


# --- Real outputs, if the machine has them

def known(expected, actual):
    """Return the part of a result that the label covers; a missing key counts as None."""
    if isinstance(expected, dict) and isinstance(actual, dict):
        return {key: known(value, actual.get(key)) for key, value in expected.items()}
    if isinstance(expected, list) and isinstance(actual, list) and len(expected) == len(actual):
        return [known(*pair) for pair in zip(expected, actual)]
    return actual


def test_real_sessions_match_their_labels(corpus):
    samples = sorted((corpus / "hccn_tool").glob("*.txt"))
    assert samples
    for sample in samples:
        expected = json.loads(sample.with_suffix(".expected.json").read_text("utf-8"))
        text = sample.read_bytes().decode("utf-8")
        assert known(expected, parse_session(text)) == expected, sample.name
        if len(expected["queries"]) == 1:
            entry = expected["queries"][0]
            result = hccn_tool.parse(entry["query"], without_commands(text))
            assert known(entry["result"], result) == entry["result"], sample.name


def test_real_conf_files_match_their_labels(corpus):
    samples = sorted((corpus / "files").glob("*hccn.conf*.txt"))
    assert samples
    for sample in samples:
        expected = json.loads(sample.with_suffix(".expected.json").read_text("utf-8"))
        conf = dict(hccn_tool.parse_conf(sample.read_text("utf-8")), kind="hccn_conf")
        assert known(expected, conf) == expected, sample.name
