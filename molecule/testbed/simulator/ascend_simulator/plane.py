# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The NPU plane: real addresses on a real interface of the node, real ICMP between them."""
from __future__ import annotations

import json
import socket
import subprocess

PACKETS = 3
_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def is_ipv4(text: str) -> bool:
    """Whether `text` is a dotted IPv4 address."""
    try:
        socket.inet_pton(socket.AF_INET, text)
    except OSError:
        return False
    return True


def ping(source: str, target: str, size: int) -> list[float | None] | None:
    """Round-trip time in ms of each packet of `size` bytes, None for a lost one; None when nothing can be sent."""
    command = ["ping", "-n", "-I", source, "-c", str(PACKETS), "-i", "0.01", "-W", "1", "-s", str(size), target]
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _PATH, "LC_ALL": "C"})
    return None if result.returncode > 1 else parse(result.stdout)


def parse(text: str) -> list[float | None]:
    """The times in what iputils ping printed, by icmp_seq (which counts from 1)."""
    times: list[float | None] = [None] * PACKETS
    for line in text.splitlines():
        fields = dict(field.split("=", 1) for field in line.split() if "=" in field)
        if "icmp_seq" in fields and "time" in fields and "(DUP!)" not in line:
            times[int(fields["icmp_seq"]) - 1] = float(fields["time"])
    return times


def interface_of(address: str) -> tuple[str, int] | None:
    """(interface, prefix length) that holds an address, or None."""
    shown = subprocess.run(["ip", "-json", "-4", "address", "show"], capture_output=True, text=True, check=True,
                           env={"PATH": _PATH})
    for link in json.loads(shown.stdout):
        for held in link["addr_info"]:
            if held["local"] == address:
                return link["ifname"], held["prefixlen"]
    return None


def run(*command: str) -> None:
    """Run `ip` or `iptables`; RuntimeError holds what it said."""
    result = subprocess.run(command, capture_output=True, text=True, check=False, env={"PATH": _PATH})
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)}: {result.stderr.strip()}")


def succeeds(*command: str) -> bool:
    """Whether a command that only asks something says yes."""
    return subprocess.run(command, capture_output=True, check=False, env={"PATH": _PATH}).returncode == 0
