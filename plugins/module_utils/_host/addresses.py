# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Write addresses with ports and URLs, of IPv4, IPv6 and names."""

from __future__ import annotations

# Addresses that a server listens on for requests to any address of its node; with :: Linux accepts those to IPv4, too.
EVERY_ADDRESS = ("0.0.0.0", "::")


def host_port(host: str, port: int | str) -> str:
    """Return ``host:port``; an IPv6 address is put in brackets."""
    return "%s:%s" % ("[%s]" % host if ":" in host else host, port)


def base_url(host: str, port: int | str) -> str:
    """Return the base URL of a server, such as ``http://10.0.0.1:8888`` or ``http://[fd00::1]:8888``."""
    return "http://%s" % host_port(host, port)


def reachable(bind: str, otherwise: str | None = None) -> str:
    """Return the address for requests to a server that listens on ``bind``.

    :param otherwise: the address of its node; by default that of the node itself, for requests from there.
    """
    if bind not in EVERY_ADDRESS:
        return bind
    return otherwise or ("127.0.0.1" if bind == "0.0.0.0" else "::1")
