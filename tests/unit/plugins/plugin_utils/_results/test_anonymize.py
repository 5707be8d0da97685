# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import ipaddress
import json
import re
import time

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_tool, npu_smi, version_files
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.anonymize import Anonymizer

BOARD = """\
\tNPU ID                         : 3
\tSerial Number                  : 1025C9048791
\tSoftware Version               : 24.1.0.3
\tFirmware Version               : 7.5.0.5.220
\tVDie ID                        : 42C711D4 20B03704 4A10C8D4 14CC040A D2102003
\tPCB ID                         : NA
\tPCIe Bus Info                  : 0000:C1:00.0
"""
LLDP = """\
Chassis ID TLV
\tMAC: 00:1e:10:2a:3b:4c
Port ID TLV
\tIfname: 400GE1/0/5:1
Port Description TLV
\tto pluto17 NPU 3
Time to Live TLV
\t120
System Name TLV
\tleaf-berlin-3
System Description TLV
\tVersatile Routing Platform
Rack 17, Acme GmbH

Management Address TLV
\tIPv4: 10.20.0.1
\tIfindex: 1
End of LLDPDU TLV
"""
PROCESSES = """\
+---------------------------+---------------+----------------------------------------------------+
| NPU     Chip              | Process id    | Process name             | Process memory(MB)      |
+===========================+===============+====================================================+
| 0       0                 | 4711          | acmetrainer              | 5175                    |
| 1       0                 | 4712          | VLLMWorker_TP0           | 5175                    |
+===========================+===============+====================================================+
"""
TLS = """\
dev_id:0, tls switch[1](0:disable, 1:enable), tls preconfigured[0](0:non-preset, 1:preset)
dev_id:0, [pub cert] info:
\t subject[/C=DE/O=Acme GmbH/CN=pluto17]
\t issuer[/C=DE/O=Acme GmbH/CN=Root]
"""
OPTICAL = "optical info:\npresent : present\nvendor serial number : V8BD6H25033\nHost SNR Lane0 : 23.1 dB\n"
CONF = ("address_0=10.20.1.17\nnetmask_0=255.255.0.0\ngateway_0=10.20.0.1\n"
        "arp_0=-i eth0 -ip 10.20.1.18 -mac 02:1e:10:00:00:01\n")
INSTALL = "UserName=hwsupport\nUserGroup=HwHiAiUser\nDriver_Install_Path_Param=/home/hwsupport/Ascend\n"
VERSION = "Version=24.1.0.3\nascendhal_version=7.35.23\ncompatible_version_fw=[7.0.0.1,7.5.99.1]\n"
ERROR = ("no answer from 10.20.1.17 to pluto17.example.com, device 001E-102a-3B4C, fe80::21e:10ff:fe2a:3b4c, "
         "0000:0000:0000:0000:0000:ffff:0a14:0111, 1025c9048791\n")
# Parts of the values that must be replaced, in lower case and without separators.
IDENTIFYING = ("1025c9048791", "42c711d4", "001e102a3b4c", "021e10000001", "1020117", "1020118", "102001", "pluto",
               "berlin", "acme", "v8bd6h25033", "hwsupport", "fe8021e10fffe2a3b4c", "0a140111", "rack", "routing")


def command(output, *arguments, stderr=""):
    return {"argv": ["hccn_tool", *arguments], "rc": 0, "stdout": output, "stderr": stderr}


def recording(*commands, files=None, names=("pluto17.example.com",), kernel="5.10.0-1.pluto17"):
    return json.dumps({"names": list(names), "kernel": kernel, "architecture": "aarch64", "devices": [0],
                       "commands": list(commands), "files": files or {}})


def anonymized(*commands, by=None, **values):
    return json.loads((by or Anonymizer(["pluto17", "pluto18"])).recording(recording(*commands, **values)))


def text_of(output, *arguments, by=None):
    return anonymized(command(output, *arguments), by=by)["commands"][0]["stdout"]


EVERYTHING = (command(BOARD), command(LLDP, "-lldp"), command(PROCESSES), command(TLS), command(OPTICAL, stderr=ERROR))
FILES = {"/etc/hccn.conf": CONF, "/etc/ascend_install.info": INSTALL, "/driver/version.info": VERSION}


def test_no_identifying_value_remains_in_any_form():
    raw = recording(*EVERYTHING, files=FILES)
    anonymized_text = Anonymizer(["pluto17", "pluto18"]).recording(raw).lower().replace("\\t", " ")
    for text, expected in ((raw.lower(), set(IDENTIFYING)), (anonymized_text, set())):
        plain = re.sub(r"[^a-z0-9]", "", text)
        assert {each for each in IDENTIFYING if each in plain} == expected


def test_values_that_the_parsers_read_are_kept():
    texts = anonymized(*EVERYTHING, files=FILES)
    board, lldp, processes, tls, optical = (each["stdout"] for each in texts["commands"])
    (read,) = npu_smi.parse_blocks(board)
    assert (read["Software Version"], read["Firmware Version"], read["PCB ID"], read["PCIe Bus Info"]) == (
        "24.1.0.3", "7.5.0.5.220", "NA", "0000:C1:00.0")
    assert re.fullmatch("[0-9]{4}[A-F][0-9]{7}", read["Serial Number"])
    assert re.fullmatch("(?:[0-9A-F]{8} ?){5}", read["VDie ID"])
    neighbor = hccn_tool.parse("lldp", lldp)
    assert neighbor["ifname"] == "400GE1/0/5:1"
    assert neighbor["tlvs"].keys() == hccn_tool.parse("lldp", LLDP)["tlvs"].keys()
    assert re.match(r"MAC: 02:00:00:", neighbor["tlvs"]["Chassis ID TLV"])
    assert [len(line) for line in processes.splitlines()] == [98] * 6
    assert "| VLLMWorker_TP0           |" in processes
    assert hccn_tool.parse("tls", tls) == {"enabled": True}
    assert hccn_tool.parse("optical", optical) == {"present": True, "Host SNR Lane0": 23.1}
    conf = hccn_tool.parse_conf(texts["files"]["/etc/hccn.conf"])["devices"]["0"]
    assert conf["netmask"] == "255.255.0.0"
    assert version_files.parse(texts["files"]["/driver/version.info"]) == version_files.parse(VERSION)
    assert "UserGroup=HwHiAiUser" in texts["files"]["/etc/ascend_install.info"]
    assert texts["kernel"].startswith("5.10.0-1.host-")


def test_value_has_the_same_replacement_on_every_node():
    by = Anonymizer(["pluto17", "pluto18"])
    first, second = (anonymized(command(BOARD + LLDP, "-lldp"), files=FILES, by=by) for _node in range(2))
    assert first == second
    assert text_of("10.20.1.17 00:1e:10:2a:3b:4c", by=by) == text_of("10.20.1.17 00:1E:10:2A:3B:4C", by=by).lower()
    assert text_of("001e-102a-3b4c", by=by).replace("-", "") == text_of("00:1e:10:2a:3b:4c", by=by).replace(":", "")
    assert text_of("::ffff:10.20.1.17", by=by) == "::ffff:" + text_of("10.20.1.17", by=by)
    assert text_of("pluto17 PLUTO17.example.com", by=by).split()[0] == text_of("Pluto17", by=by)
    assert len({text_of(name, by=by) for name in ("pluto17", "pluto18")}) == 2
    assert text_of(BOARD) != text_of(BOARD), "two runs must not use the same replacements"


@pytest.mark.parametrize("prefix", range(5, 33))
def test_addresses_in_the_same_subnet_remain_in_the_same_subnet(prefix):
    addresses = ["10.20.1.17", "10.20.1.18", "10.20.3.17", "10.21.1.17", "10.148.1.1", "10.20.1.1", "14.20.1.17"]
    replaced = text_of(" ".join(addresses)).split()
    assert len(set(replaced)) == len(addresses)
    assert all(ipaddress.ip_address(each) in ipaddress.ip_network("240.0.0.0/5") for each in replaced)

    def networks(found):
        return [str(ipaddress.ip_network(f"{each}/{prefix}", strict=False)) for each in found]
    before, after = networks(addresses), networks(replaced)
    in_same_network = [[one == other for other in before] for one in before]
    assert [[one == other for other in after] for one in after] == in_same_network


@pytest.mark.parametrize("text", [
    "netmask:255.255.0.0", "0.0.0.0", "127.0.0.1", "Version: 24.1.0.3", "npu-smi 24.1.0.3", "fw 7.5.0.5.220", "::1",
    "0000:C1:00.0", "10:20:30", "00:00:00:00:00:00", "ff:ff:ff:ff:ff:ff", "Serial Number : NA", "400.1.2.3", "a::b::c",
    "Mon Nov 23 12:00:00 2026", "link status: UP", "Error Code : 80E01801",
])
def test_text_that_identifies_nothing_is_kept(text):
    assert text_of(text) == text


@pytest.mark.parametrize("text", [
    "ipaddr:10.20.1.17", "(10.20.1.17)", "10.20.1.17.", "10.20.1.17/24", "eth0_10.20.1.17", "[10.20.1.17]:80",
    "IPv6:fd00::7", "fd00:1:2:3:4:5:6:7", "MAC:aa:bb:cc:dd:ee:0f", "aabb.ccdd.ee0f", "00:11:22:33:44:55:66:77",
    "serial_number=ABC123456", "SN: ABC123456", "UUID : 123e4567-e89b-12d3-a456-426614174000",
])
def test_identifying_text_is_replaced(text):
    value = re.search(r"[0-9A-Fa-f]+(?:[.:-]{1,2}[0-9A-Fa-f]+)+|ABC123456", text).group()
    assert value not in text_of(text)


def test_words_in_tool_output_are_kept_even_if_they_are_host_names():
    assert text_of("| NPU | node |", by=Anonymizer(["npu", "node", "10.0.0.1"])) == "| NPU | node |"


@pytest.mark.parametrize("text", ["", "{", "[]", '{"names": []}', "{}", json.dumps({"names": [], "commands": [7]})])
def test_damaged_recording_is_replaced_by_an_error(text):
    assert list(json.loads(Anonymizer().recording(text))) == ["error"]


def test_processing_time_of_hostile_output_is_linear():
    for piece in (":", "a:", "1.", "| 1 ", "serial ", "a-", "/home/", "subject["):
        started = time.monotonic()
        text_of(piece * (200_000 // len(piece)))
        assert time.monotonic() - started < 20, piece
