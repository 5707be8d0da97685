# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every client reaches every server over HTTPS and IPv6. Each test starts in the state that the previous test left."""

from __future__ import annotations

import pytest
from scenario import (
    INVENTORY,
    bed,
    changes,
    container_identities,
    containers,
    output_text,
    playbook,
    result,
    states,
    succeeds,
)

NODES = ("node1", "node2")
KEY = "key-of-the-scenario"
CERTIFICATES, ON_NODE = INVENTORY.parent / "certificates", "/etc/ssl/test"
BALANCER = "https://[fd77::11]:8080"
SERVERS = {"node1": "https://[fd77::11]:8888", "node2": "https://[fd77::12]:8888"}


def checks(node, stage="serving"):
    """Return {check ID without the stage: {subject: check}}."""
    found = {}
    for check in result(node, stage)["checks"]:
        found.setdefault(check["id"].split(".")[1], {})[check["subject"]] = check
    return found


def status(url, *arguments, node="node2", ca="/tmp/ca.pem"):
    """Send a request from a node, and return the HTTP status as text, or 000 if there is no response."""
    bed("exec", node, "sh", "-c", f"cat > /tmp/ca.pem << 'END'\n{(CERTIFICATES / 'ca.pem').read_text()}END")
    return bed("exec", node, "curl", "-g", "-s", "-m", "20", "--cacert", ca, "-o", "/dev/null", "-w", "%{http_code}",
               *arguments, url, check=False)


def test_servers_and_balancer_only_use_https_on_ipv6_addresses():
    for url in (BALANCER, *SERVERS.values()):
        assert status(f"{url}/v1/models", "-H", f"Authorization: Bearer {KEY}") == "200"
        assert status(f"{url}/v1/models") == "401"
        assert status(f"{url}/health", ca="/etc/ssl/certs/ca-certificates.crt") == "000"
        assert status(url.replace("https", "http") + "/health") in ("000", "400")


@pytest.mark.parametrize("node", NODES)
def test_serving_passes_with_the_certificate(node):
    found = checks(node)
    urls = [service["url"] for service in result(node)["observed"]["services"]]
    assert urls == [*([BALANCER] if node == "node1" else []), SERVERS[node]]
    names = ("certificate", "completion", "balancer_server", "balancer_watch", "plaintext", "engine_progress")
    assert {name: {check["status"] for check in found[name].values()} for name in names} == {
        name: {"passed"} for name in names}
    assert states() == {"node1:8888": "UP", "node2:8888": "UP"}


def test_certificate_that_expires_within_30_days_causes_a_warning():
    days = {url: check for node in NODES for url, check in checks(node)["certificate_expiry"].items()}
    service = "vllm-ascend-qwen25-vl"
    assert {url: check["status"] for url, check in checks("node1")["certificate_expiry"].items()} == {
        service: "warned", BALANCER: "passed"}
    assert checks("node2")["certificate_expiry"][service]["status"] == "passed"
    assert days[BALANCER]["actual"].startswith("36")


def test_private_key_is_in_no_output():
    key = (CERTIFICATES / "node1.key").read_text().splitlines()[1]
    found = bed("exec", "node1", "stat", "-c", "%a %U %G", "/etc/ascend-vllm/balancer.pem.key")
    assert found.strip() == "640 root haproxy"
    shown = "".join(path.read_text() for path in (INVENTORY / ".results").rglob("*.json"))
    for command in (["ps", "axww"], ["docker", "inspect", "vllm-ascend-qwen25-vl"], ["journalctl", "--no-pager"]):
        shown += bed("exec", "node1", *command)
    assert key not in shown
    mounts = {mount["Source"]: mount["RW"] for mount in containers("node1")["vllm-ascend-qwen25-vl"]["Mounts"]}
    assert mounts["/etc/ssl/test/node1.key"] is False


def test_second_run_changes_nothing():
    before = [container_identities(node) for node in NODES]
    assert changes(succeeds("serving")) == dict.fromkeys(NODES, 0)
    assert [container_identities(node) for node in NODES] == before


def test_status_reads_the_metrics():
    lines = [line for line in succeeds("status").splitlines() if "vllm-ascend-qwen25-vl" in line]
    assert len(lines) == 2
    assert all(" ready " in line and "0 %" in line and "as planned" in line for line in lines), lines


def test_functional_passes():
    succeeds("functional")
    for node in NODES:
        found = [check["status"] for each in checks(node, "functional").values() for check in each.values()]
        assert set(found) == {"passed"}


def test_vllm_bench_measures_instances_and_balancer():
    succeeds("benchmark")
    found = [each for node in NODES for each in result(node, "benchmark")["observed"]["measurements"]]
    assert {url for each in found for url in each["urls"]} == {BALANCER, *SERVERS.values()}
    assert all(run["metrics"]["completed"] == each["num_prompts"] for each in found for run in each["runs"])


def test_wrong_ca_fails_before_anything_is_changed():
    before = [container_identities(node) for node in NODES]
    done = playbook("serving", "-e", f"serving_tls_ca={CERTIFICATES}/other.pem")
    assert done.returncode != 0
    assert [checks(node)["certificate"][None]["message"] for node in NODES] == [
        "unable to get local issuer certificate"] * 2
    assert [container_identities(node) for node in NODES] == before
    shown = succeeds("status", "-e", f"serving_tls_ca={CERTIFICATES}/other.pem")
    assert shown.count("certificate not accepted") == 2


@pytest.mark.parametrize(("name", "key", "message"), [
    ("expired", "expired", "certificate has expired"),
    ("elsewhere", "elsewhere", "IP address mismatch, certificate is not valid for 'fd77::11'"),
    ("renewed", "node1", "the key does not belong to the certificate")])
def test_unusable_certificate_fails_before_anything_is_changed(name, key, message):
    before = container_identities("node1")
    done = playbook("serving", "--limit", "node1", "-e", f"serving_tls_certificate={ON_NODE}/{name}.pem",
                    "-e", f"serving_tls_key={ON_NODE}/{key}.key")
    assert done.returncode != 0
    assert checks("node1")["certificate"][None]["message"] == message
    assert container_identities("node1") == before
    assert states()["node1:8888"] == "UP"


def test_unusable_balancer_certificate_is_refused():
    done = playbook("serving", "--limit", "node1", "-e", f"balancer_tls_certificate={ON_NODE}/expired.pem",
                    "-e", f"balancer_tls_key={ON_NODE}/expired.key")
    assert done.returncode != 0
    assert (f"The certificate {ON_NODE}/expired.pem cannot be used for {BALANCER}: certificate has expired."
            in output_text(done))
    assert status(f"{BALANCER}/health") == "200"


def test_upgrade_replaces_only_the_instance_with_a_renewed_certificate():
    before = {node: container_identities(node) for node in NODES}
    for extension in ("pem", "key"):
        bed("exec", "node1", "mv", f"{ON_NODE}/renewed.{extension}", f"{ON_NODE}/node1.{extension}")
    succeeds("upgrade")
    assert container_identities("node2") == before["node2"]
    assert container_identities("node1") != before["node1"]
    assert checks("node1")["certificate_expiry"]["vllm-ascend-qwen25-vl"]["status"] == "passed"


def test_balancer_without_tls_keeps_no_private_key():
    succeeds("serving", "-e", "balancer_tls_certificate= balancer_tls_key=")
    url = BALANCER.replace("https", "http")
    assert status(f"{url}/v1/models", "-H", f"Authorization: Bearer {KEY}") == "200"
    assert bed("exec", "node1", "sh", "-c", "ls /etc/ascend-vllm | grep pem", check=False).split() == ["ca.pem"]
