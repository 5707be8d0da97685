# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NPU network: the NPUs have real addresses on a real interface of the node, and their pings are real ICMP."""
from __future__ import annotations

import json
import socket
import subprocess

PACKETS = 3
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def is_ipv4(text: str) -> bool:
    """Return whether `text` is a dotted IPv4 address."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        return False
    return True


def ping(source: str, target: str, size: int) -> list[float | None] | None:
    """Return the round-trip time of each packet in ms (None for a lost packet), or None if no packet can be sent."""
    command = ["ping", "-n", "-I", source, "-c", str(PACKETS), "-i", "0.01", "-W", "1", "-s", str(size), target]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _PATH, "LC_ALL": "C"})
    return None if result.returncode > 1 else parse(result.stdout)


def parse(text: str) -> list[float | None]:
    """Return the time of each packet in the output of iputils ping, sorted by icmp_seq."""
    times: list[float | None] = [None] * PACKETS
    for line in text.splitlines():
        fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
        if "icmp_seq" in fields and "time" in fields and "(DUP!)" not in line:
            times[int(fields["icmp_seq"]) - 1] = float(fields["time"])
    return times


def interface_of(address: str) -> tuple[str, int] | None:
    """Return (interface, prefix length) of an address, or None."""
    shown = subprocess.run(["ip", "-json", "-4", "address", "show"], capture_output=True, text=True, check=True,
                           env={"PATH": _PATH})
    for link in json.loads(shown.stdout):
        for entry in link["addr_info"]:
            if entry["local"] == address:
                return link["ifname"], entry["prefixlen"]
    return None


def run(*command: str) -> None:
    """Run `ip` or `iptables`; if it fails, raise RuntimeError with its error output."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _PATH})
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")


def succeeds(*command: str) -> bool:
    """Return whether a command exits with 0."""
    return subprocess.run(command, capture_output=True, check=False, env={"PATH": _PATH}).returncode == 0
