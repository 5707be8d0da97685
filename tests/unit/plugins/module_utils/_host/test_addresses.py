# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of either family in URLs, and the address by which a node reaches its own servers."""

from __future__ import annotations

from urllib.parse import urlsplit

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import addresses


@pytest.mark.parametrize(("host", "text"), [
    ("10.0.0.1", "10.0.0.1:8888"), ("node1", "node1:8888"), ("fd00::1", "[fd00::1]:8888"), ("::", "[::]:8888")])
def test_ipv6_address_before_a_port_is_in_brackets(host, text):
    assert addresses.host_port(host, 8888) == text
    url = urlsplit(addresses.base_url(host, 8888))
    assert (url.scheme, url.netloc, url.hostname, url.port) == ("http", text, host, 8888)


@pytest.mark.parametrize(("bind", "address", "loopback"), [
    ("0.0.0.0", "127.0.0.1", False), ("::", "::1", False), ("10.0.0.1", "10.0.0.1", False),
    ("fd00::1", "fd00::1", False), ("127.0.0.1", "127.0.0.1", True), ("127.1.2.3", "127.1.2.3", True),
    ("::1", "::1", True), ("localhost", "localhost", True), ("127.example.org", "127.example.org", False)])
def test_address_by_which_the_node_reaches_itself(bind, address, loopback):
    assert addresses.reachable(bind) == address
    assert addresses.is_loopback(bind) == loopback
