# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Anonymize recordings of the vendor's tools. Equal values get the same replacement.

Addresses of one subnet stay in one subnet. IPv4 addresses are mapped to 240.0.0.0/5, which is reserved, IPv6 addresses
to 2001:db8::/32, and MAC addresses to 02:00:00. Serial numbers keep their format.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import os
import re
from collections.abc import Iterable
from typing import Any

_VERSION = r"(?:npu-smi|version\w*)[ \t]*[:=]?[ \t]*[\[\d][\[\]\w.,]*"
_MAC = (r"(?<![0-9A-Z])(?:[0-9A-F]{2}(?:[:-][0-9A-F]{2}){5,7}|[0-9A-F]{4}(?:[.-][0-9A-F]{4}){2})"
        r"(?![0-9A-F]|[:.-][0-9A-F])")
_IPV6 = r"(?<![\w.])(?=[0-9A-F]{0,4}:)[0-9A-F:.]{1,44}[0-9A-F:]"
_IPV4 = r"(?<![\d.])(?:\d{1,3}\.){3}\d{1,3}(?!\d|\.\d)"
_TOKEN = re.compile(r"(?i)(?P<version>%s)|(?P<mac>%s)|(?P<ipv6>%s)|(?P<ipv4>%s)" % (_VERSION, _MAC, _IPV6, _IPV4))
_SERIAL = re.compile(
    r"(?im)^[^\n:=|]{0,60}(?<![a-z])(?:serial|s/?n|[a-z]?die|uuid|guid|asset|barcode)(?![a-z])[^\n:=|]{0,60}[:=]([^\n|]+)")
# Names: in certificate subjects, as the user of the driver, in home directories, and in a column of the process table.
_NAME = re.compile(
    r"(?im)((?:subject|issuer)\[|^User(?:Name|Group)=|/home/|^\|[ \d]+\|[ ]*\d+[ ]*\|[ ]+)"
    r"(?!HwHiAiUser$|(?:python[\d.]*|vllm\S*|ray(?:::\S*)?)[ ])"
    r"((?<=\[)[^\]\n]+|(?<==).+|(?<=/)[\w.-]+|(?<=[ ])\S[^|\n]*?(?=[ ]*\|))([ ]*)")
_PORT = re.compile(r"(?i)Ifname: \d*[a-z-]*\d+(?:/\d+)*(?::\d+)?|(?:\w+: )?\d+")
# The parts of the LLDP output that describe only the switch port.
_PUBLIC_TLVS = ("", "Time to Live TLV", "System Capabilities TLV", "Maximum Frame Size TLV", "End of LLDPDU TLV")
# Words that the tools print. They are kept even if they are also host names.
_WORDS = ("localhost", "npu", "chip", "node", "host", "device", "ascend", "version", "link")
# Shorter values, such as NA, are not serial numbers.
_MIN_SERIAL_LENGTH = 6


class Anonymizer:
    """Anonymizes the recordings of a run. Each run uses different replacements.

    :param names: the names of the hosts.
    """

    def __init__(self, names: Iterable[str] = ()) -> None:
        self._key = os.urandom(16)
        self._names: dict[str, str] = {}
        self._hosts: set[str] = set()
        self._add_hosts(names)

    def recording(self, text: str) -> str:
        """Return a JSON recording without its addresses, names and serial numbers."""
        try:
            return json.dumps(self._recording(json.loads(text)), indent=1) + "\n"
        except (ValueError, LookupError, TypeError, AttributeError) as error:  # for example, the file is truncated
            return json.dumps({"error": f"The recording of this node is damaged: {type(error).__name__}."}) + "\n"

    def _recording(self, recording: dict[str, Any]) -> dict[str, Any]:
        self._add_hosts(recording.pop("names"))
        outputs = [(each, stream) for each in recording["commands"] for stream in ("stdout", "stderr")]
        texts = [*(each[stream] for each, stream in outputs), *recording["files"].values()]
        serials = {self._plain(match[1]) for each in texts for match in _SERIAL.finditer(each)}
        patterns = [re.compile("(?i)" + "[ :-]?".join(map(re.escape, serial)))
                    for serial in sorted(serials, key=len, reverse=True)
                    if len(serial) >= _MIN_SERIAL_LENGTH and len(set(serial)) > 1 and re.search("[0-9]", serial)]
        for each, stream in outputs:
            output = self._lldp(each[stream]) if "-lldp" in each["argv"] else each[stream]
            each[stream] = self._text(output, patterns)
        return {**recording, "files": {name: self._text(each, patterns) for name, each in recording["files"].items()},
                "kernel": self._text(recording["kernel"], patterns)}

    def _add_hosts(self, names: Iterable[str]) -> None:
        for name in names:
            for each in (name.lower(), name.lower().partition(".")[0]):
                if len(each) > 2 and each not in _WORDS and not re.fullmatch(_IPV4, name):
                    self._hosts.add(each)
                    self._name("host", each)

    def _text(self, text: str, patterns: Iterable[re.Pattern[str]]) -> str:
        for pattern in patterns:
            text = pattern.sub(lambda match: self._serial(match[0]), text)
        hosts = "|".join(map(re.escape, sorted(self._hosts, key=len, reverse=True))) or "$."
        text = re.sub(f"(?i)(?<![a-z0-9])(?:{hosts})(?![a-z0-9])", lambda match: self._name("host", match[0]), text)
        text = _NAME.sub(lambda match: match[1] + self._name("name", match[2]).ljust(
            len(match[2] + match[3]) if match[3] else 0), text)
        return _TOKEN.sub(self._token, text)

    def _lldp(self, text: str) -> str:
        """Replace the strings in which the switch describes itself, except the names of its ports."""
        title, lines = "", []
        for line in text.split("\n"):
            body = line.strip()
            label = "".join(re.findall(r"\A\w+: ", body))
            value = body[len(label):]
            if body.endswith(" TLV"):
                title = body
            elif body and (title not in _PUBLIC_TLVS or label == "Ifname: ") and not (
                    _PORT.fullmatch(body) or _TOKEN.fullmatch(value)):
                line = line[:len(line) - len(line.lstrip())] + label + self._name("name", value)
            lines.append(line)
        return "\n".join(lines)

    def _name(self, kind: str, value: str) -> str:
        return self._names.setdefault(value.lower(), "%s-%d" % (kind, len(self._names) + 1))

    def _bytes(self, value: str, length: int) -> bytes:
        return hashlib.shake_128(self._key + value.encode()).digest(length)

    @staticmethod
    def _plain(value: str) -> str:
        return re.sub(r"[\W_]", "", value).upper()

    def _serial(self, value: str) -> str:
        """Return another serial number in the same format."""
        stream = iter(self._bytes(self._plain(value), len(value)))
        return "".join(char if not char.isalnum() else "%d" % (next(stream) % 10) if char.isdigit()
                       else ("ABCDEF" if char.isupper() else "abcdef")[next(stream) % 6] for char in value)

    def _token(self, match: re.Match[str]) -> str:
        kind, value = match.lastgroup, match[0]
        return value if kind == "version" else self._mac(value) if kind == "mac" else self._ipv6(
            value) if kind == "ipv6" else self._ipv4(value)

    def _mac(self, value: str) -> str:
        plain = self._plain(value)
        if len(set(plain)) == 1:  # all zeros, or broadcast
            return value
        digits = iter("020000" + self._bytes(plain, 5).hex())
        return re.sub(r"[0-9A-Fa-f]", lambda _digit: next(digits), value)

    def _ipv4(self, value: str) -> str:
        """Return a replacement with the same last octet. Replacements share a prefix if the original addresses do."""
        octets = [int(octet) for octet in value.split(".")]
        if max(octets) > 255 or octets[0] in (0, 127) or octets[0] >= 224:  # a netmask, or otherwise not a host address
            return value
        bits = "".join(f"{octet:08b}" for octet in octets)
        prefix = "11110" + "".join(str(int(bits[at]) ^ self._bytes(bits[:at], 1)[0] & 1) for at in range(5, 24))
        return str(ipaddress.IPv4Address(int(prefix + bits[24:], 2)))

    def _ipv6(self, value: str) -> str:
        try:
            address = ipaddress.IPv6Address(value)
        except ValueError:  # another value with colons, such as a PCI address
            return re.sub(_IPV4, lambda match: self._ipv4(match[0]), value)
        if address.ipv4_mapped:
            return "::ffff:" + self._ipv4(str(address.ipv4_mapped))
        if int(address) < 2:
            return value
        network, interface = address.exploded[:19], address.exploded[20:]
        return str(ipaddress.IPv6Address(b"\x20\x01\x0d\xb8" + self._bytes(network, 4) + self._bytes(interface, 8)))
