# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Format addresses and URLs with IPv4 addresses, IPv6 addresses and host names."""

from __future__ import annotations

import ipaddress


def host_port(host: str, port: int | str) -> str:
    """Return ``host:port``, with brackets around an IPv6 address."""
    return "%s:%s" % ("[%s]" % host if ":" in host else host, port)


def base_url(host: str, port: int | str, tls: bool = False) -> str:
    """Return the base URL of a server, such as ``http://10.0.0.1:8888`` or ``https://[fd00::1]:8888``."""
    return "%s://%s" % ("https" if tls else "http", host_port(host, port))


def is_loopback(host: str) -> bool:
    """Return whether an address or name is that of the loopback interface, which only the node itself can reach."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reachable(bind: str) -> str:
    """Return the address at which the node itself reaches a server that listens on ``bind``."""
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(bind, bind)
