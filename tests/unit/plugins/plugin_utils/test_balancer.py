# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The servers behind the balancer are derived from the plans, and unsuitable settings are reported."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils import _balancer as balancer
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid


@pytest.mark.parametrize(("balancers", "host", "play_hosts_all", "play_hosts", "expected"), [
    (["n1"], "n1", ["n1", "n2"], ["n1", "n2"], ["n1"]),
    (["n1"], "n2", ["n1", "n2"], ["n1", "n2"], []),
    (["n1"], "n2", ["n1", "n2"], ["n2"], []),  # n1 has failed, and no other host of the play manages its balancer
    (["n1"], "n2", ["n2", "n3"], ["n2", "n3"], ["n1"]),
    (["lb1", "lb2"], "n2", ["n1", "n2"], ["n2"], ["lb1", "lb2"]),
    (["lb1"], "n2", ["n1", "n2"], ["n1", "n2"], []),
])
def test_balancer_is_managed_by_its_own_or_the_first_host(balancers, host, play_hosts_all, play_hosts, expected):
    assert balancer.managed(balancers, host, play_hosts_all, play_hosts) == expected


def settings(bind, certificate=""):
    return {"balancer_bind": bind, "balancer_port": 8080, "balancer_tls_certificate": certificate}


@pytest.mark.parametrize(("bind", "url"), [
    ("0.0.0.0", "http://10.0.0.1:8080"), ("::", "http://10.0.0.1:8080"), ("10.9.9.9", "http://10.9.9.9:8080"),
    ("fd00::9", "http://[fd00::9]:8080")])
def test_url_contains_an_address_that_clients_can_reach(bind, url):
    assert balancer.url(settings(bind), "10.0.0.1") == url
    assert balancer.url(settings(bind, "/c.pem"), "10.0.0.1") == url.replace("http", "https")


def test_server_with_a_certificate_uses_tls():
    (server,) = balancer.servers({"n1": valid(serving_tls_certificate="/c.pem", serving_tls_key="/k.pem")})
    assert server["tls"] is True


def test_ipv6_address_has_brackets_only_in_the_url():
    (server,) = balancer.servers({"n1": valid(serving_address="fd00::1", serving_bind="::")})
    assert (server["name"], server["address"], server["port"]) == ("n1:8888", "fd00::1", 8888)
    assert balancer.url(settings("::"), "fd00::1") == "http://[fd00::1]:8080"


@pytest.mark.parametrize(("bind", "address", "message"), [
    ("0.0.0.0", "10.0.0.1", None), ("*", "lb", None), ("::", "fd00::1", None), ("fd00::1", "fd00::1", None),
    ("[::]", "10.0.0.1", "balancer_bind must be an IPv4 address, an IPv6 address without brackets"),
    ("fe80::1%eth0", "10.0.0.1", "balancer_bind must be"), ("10.0.0.1:80", "10.0.0.1", "balancer_bind must be"),
    ("0.0.0.0", "fd00::1", "serving_address of n1 is the IPv6 address fd00::1, but balancer_bind is 0.0.0.0"),
])
def test_unsuitable_address_of_a_balancer_is_reported(bind, address, message):
    problems = balancer.problems(["n1"], [], [], {}, bind, {"n1": address})
    assert len(problems) == bool(message)
    assert message is None or message in problems[0]


def plans(**changes):
    return {name: valid(serving_address=address, **changes.get(name, {}))
            for name, address in (("n1", "10.0.0.1"), ("n2", "10.0.0.2"))}


def test_servers_are_the_instances_with_an_api():
    planned = plans(n2={"serving_replicas": 2})
    planned["n1"]["instances"].append(dict(planned["n1"]["instances"][0], serves=False))  # without an API
    assert [(each["name"], each["address"], each["port"]) for each in balancer.servers(planned)] == [
        ("n1:8888", "10.0.0.1", 8888), ("n2:8888", "10.0.0.2", 8888), ("n2:8889", "10.0.0.2", 8889)]


@pytest.mark.parametrize(("changes", "port", "message"), [
    ({}, 8080, None),
    ({}, 8888, "balancer_port is 8888, which instance vllm-ascend-qwen25-vl on n1 uses too"),
    ({}, 60003, "balancer_port is 60003"),
    ({"n1": {"serving_hccl_port_base": 9000}}, 9015, "balancer_port is 9015"),
    ({"n1": {"serving_hccl_port_base": 8070}}, 8090, "balancer_watch_port is 8079, which instance"),
    ({}, 8079, "balancer_port and balancer_watch_port are both 8079"),
    ({"n2": {"serving_served_model_name": "other"}}, 8080, "serve different models (other, qwen25_vl)"),
    ({"n2": {"serving_bind": "127.0.0.1"}}, 8080, "serving_bind of n2 is 127.0.0.1, which the balancer on n1"),
])
def test_unsuitable_settings_are_reported(changes, port, message):
    planned = plans(**changes)
    ports = [{"name": "balancer_port", "port": port}, {"name": "balancer_watch_port", "port": 8079}]
    sentences = balancer.problems(["n1"], ports, balancer.servers(planned), planned, "0.0.0.0", {})
    assert len(sentences) == bool(message)
    assert message is None or message in sentences[0]


def test_port_of_another_deployment_on_the_node_of_the_balancer_is_refused():
    text = {**valid(serving_port=9000), "neighbors": {"node1": "vision"}}
    ports = [{"name": "balancer_port", "port": 9000}]
    (sentence,) = balancer.problems(["node1"], ports, [], {"text": text}, "0.0.0.0", {})
    assert sentence == ("balancer_port is 9000, which instance vllm-ascend-qwen25-vl on node1 uses too; choose another "
                        "port.")
    assert balancer.problems(["node2"], ports, [], {"text": text}, "0.0.0.0", {}) == []
