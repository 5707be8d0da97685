# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The life cycle of a service. Each test starts in the state in which the previous test left the cluster."""

from __future__ import annotations

import json
import re
import subprocess
import time
from functools import partial

import pytest
import scenario
import yaml
from scenario import (
    BALANCER,
    BED,
    SCENARIO,
    bed,
    changes,
    container_identities,
    containers,
    lost_nothing,
    output_text,
    playbook,
    result,
    states,
    statistics,
    succeeds,
)

NEW_KEY = "the-next-key"
KEY = yaml.safe_load((SCENARIO / "host_vars" / "node1.yml").read_text("utf-8"))["serving_api_key"]
NODES = ("node1", "node2")
NAMES = ("vllm-ascend-qwen25-vl", "vllm-ascend-qwen25-vl-1")
KEPT = tuple(f"{name}-kept" for name in NAMES)
Load = partial(scenario.Load, KEY)


def image_variant(node, name):
    return containers(node)[name]["Config"]["Image"].rpartition("rc1")[2]


def checks(node):
    return {check["id"].split(".")[1]: check for check in result(node)["checks"]}


def seconds_waited_for(server, status, at_most):
    started = time.monotonic()
    while states()[server] != status:
        assert time.monotonic() < started + at_most, f"{server} is {states()[server]}, not {status}"
        time.sleep(0.2)
    return time.monotonic() - started


def completed_requests(node):
    """Return the number of requests that the instances on a node have completed."""
    metrics = bed("exec", node, "curl", "-fsS", "-H", f"Authorization: Bearer {KEY}",
                  "http://127.0.0.1:8888/metrics", "http://127.0.0.1:8889/metrics")
    return sum(float(value) for value in re.findall(r'request_success_total\{[^}]*"length"[^}]*\} (\S+)', metrics))


def test_balancer_requires_the_key_and_uses_all_instances():
    assert states() == {f"{node}:{port}": "UP" for node in NODES for port in (8888, 8889)}
    for node in NODES:
        assert {checks(node)[name]["status"] for name in (
            "balancer_server", "balancer_watch", "up_to_date", "completion")} == {"passed"}
    assert checks("node1")["balancer"]["status"] == "passed"
    urls = [service["url"] for service in result("node1")["observed"]["services"]]
    assert urls == [BALANCER, "http://10.77.0.11:8888", "http://10.77.0.11:8889"]
    assert [status(f"{BALANCER}/v1/models", key) for key in (None, "wrong", KEY)] == ["401", "401", "200"]


def status(url, key=None, *arguments):
    """Send a request, and return the HTTP status as text. Further arguments are passed to curl."""
    header = ["-H", f"Authorization: Bearer {key}"] if key else []
    return bed("run", "--", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}", *header, *arguments, url)


@pytest.mark.parametrize("path", ["/invocations", "/tokenize", "/metrics", "/load", "/version", "/no/such/route"])
def test_every_path_but_health_needs_a_key(path):
    for server in (BALANCER, *(f"http://10.77.0.{host}:{port}" for host in (11, 12) for port in (8888, 8889))):
        assert (status(server + path), status(server + "/health")) == ("401", "200")
        assert status(server + path, "wrong") == "401"


@pytest.mark.parametrize("path", ["/sleep", "/collective_rpc", "/%73leep", "/v1/load_lora_adapter"])
def test_balancer_refuses_control_routes_even_with_the_key(path):
    assert status(BALANCER + path, KEY, "-X", "POST") == "403"


def test_functional_finds_no_open_route():
    succeeds("functional")
    for node in NODES:
        found = [check for check in result(node, "functional")["checks"] if check["id"] == "functional.open_routes"]
        assert [(check["status"], check["actual"]) for check in found] == [("passed", "health: /health")] * 2


def test_system_haproxy_is_not_touched():
    assert bed("exec", "node1", "systemctl", "is-active", "haproxy", "ascend-vllm-balancer",
               "ascend-vllm-balancer-watch").split() == ["active"] * 3
    assert bed("exec", "node1", "dpkg", "--verify", "haproxy") == ""
    assert "ascend-vllm-balancer" not in bed("exec", "node2", "systemctl", "list-unit-files", "ascend*", check=False)


def test_only_the_balancer_can_read_the_key():
    files = [f"/etc/ascend-vllm/{name}" for name in ("key.cfg", "watch.json", "balancer.cfg")]
    found = bed("exec", "node1", "stat", "-c", "%a %U %G", *files)
    assert found.splitlines() == ["640 root haproxy", "640 root haproxy", "644 root root"]
    shown = bed("exec", "node1", "cat", "/etc/ascend-vllm/balancer.cfg") + json.dumps(result("node1"))
    for command in (["ps", "axww"], ["journalctl", "--no-pager", "--unit=ascend-vllm*"]):
        shown += bed("exec", "node1", *command)
    assert KEY not in shown
    assert json.dumps(KEY)[1:-1] not in shown


def test_second_run_changes_nothing():
    before = [container_identities(node) for node in NODES]
    assert changes(succeeds("serving")) == dict.fromkeys(NODES, 0)
    assert [container_identities(node) for node in NODES] == before


def test_status_shows_every_instance_and_changes_nothing():
    shown = succeeds("status")
    lines = [line for line in shown.splitlines() if re.match(r"node\d  +vllm", line)]
    assert len(lines) == 4
    assert all(re.search(r" running +ready +0 +0 +0 % +[0-3],[0-3] .* as planned", line) for line in lines), lines
    assert "balancer on node1: node1:8888 UP" in shown
    assert changes(shown) == dict.fromkeys(NODES, 0)


def test_hung_engine_receives_no_requests_until_it_recovers():
    """In this scenario, the watchdog checks every second. Three checks must fail. /health still returns 200."""
    fault = ["exec", "node2", "docker", "exec", NAMES[0], "sh", "-c"]
    with Load() as stuck:  # its requests to the hung engine wait until the engine recovers
        bed(*fault, "echo '{\"hang\": true}' > /run/vllm-light.json")
        detected = seconds_waited_for("node2:8888", "DOWN (agent)", 20)
        assert bed("exec", "node2", "curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                   "http://127.0.0.1:8888/health") == "200"
        with Load() as load:
            time.sleep(3)
        shown = succeeds("status")
        bed(*fault, "rm /run/vllm-light.json")
        recovered = seconds_waited_for("node2:8888", "UP", 20)
    print(f"detected after {detected:.1f} s, recovered after {recovered:.1f} s")
    assert load.found["lost"] == []
    assert load.found["complete"] > 8
    assert load.found["longest_s"] < 3, "a request was sent to the hung engine"
    lost_nothing(stuck)
    assert stuck.found["longest_s"] > detected, "no request was sent to the hung engine"
    assert "node2:8888 DOWN" in shown
    assert "engine down (" in shown
    journal = bed("exec", "node1", "journalctl", "--no-pager", "--unit=ascend-vllm-balancer")
    assert "consecutive checks failed" in journal


def test_busy_engine_does_not_count_as_hung():
    before = {server: row["lastchg"] for server, row in statistics().items()}
    with Load(workers=96) as load:
        time.sleep(8)
        found = statistics()
    assert load.found["lost"] == []
    assert load.found["complete"] > 96
    assert {row["status"] for row in found.values()} == {"UP"}
    assert all(int(row["lastchg"]) >= int(before[server]) + 7 for server, row in statistics().items())


def test_balancer_works_without_its_watchdog():
    bed("exec", "node1", "systemctl", "stop", "ascend-vllm-balancer-watch")
    with Load() as load:
        time.sleep(5)  # HAProxy queries the watchdog every two seconds
        found = statistics().values()
    lost_nothing(load)
    assert {(row["status"], row["agent_status"]) for row in found} == {("UP", "L4CON")}


def test_configuration_change_loses_no_request():
    pid = bed("exec", "node1", "systemctl", "show", "--property=MainPID", "ascend-vllm-balancer")
    with Load() as load:
        succeeds("serving", "-e", "balancer_timeout_s=1800")
    lost_nothing(load)
    assert "timeout server 1800s" in bed("exec", "node1", "cat", "/etc/ascend-vllm/balancer.cfg")
    assert bed("exec", "node1", "systemctl", "is-active", "ascend-vllm-balancer-watch") == "active\n"
    assert checks("node1")["balancer_watch"]["status"] == "passed"
    assert bed("exec", "node1", "systemctl", "show", "--property=MainPID", "ascend-vllm-balancer") == pid


def test_port_in_use_is_refused_and_the_balancer_keeps_running():
    with Load() as load:
        done = playbook("serving", "-e", "balancer_port=22")
    assert done.returncode != 0
    assert "balancer_port is 22, which is in use on node1 by process" in output_text(done)
    assert "(sshd)" in output_text(done)
    lost_nothing(load)


def test_restore_is_refused_without_kept_containers():
    before = [container_identities(node) for node in NODES]
    done = playbook("upgrade", "-e", "serving_restore_previous=true")
    assert done.returncode != 0
    assert f"node1 has no containers of {NAMES[0]} from before an upgrade" in " ".join(output_text(done).split())
    assert [container_identities(node) for node in NODES] == before


def test_rolling_upgrade_loses_no_request():
    before = {node: container_identities(node) for node in NODES}
    with Load() as load:
        succeeds("upgrade", "-e", "image_tag=v0.11.0rc1-second")
    lost_nothing(load)
    for node in NODES:
        after = container_identities(node)
        assert after["foreign"] == before[node]["foreign"]
        assert set(after) == {*NAMES, *KEPT, "foreign"}
        assert all(after[name][0] != before[node][name][0] for name in NAMES)
        assert [after[name][0] for name in KEPT] == [before[node][name][0] for name in NAMES]
        assert {image_variant(node, name) for name in NAMES} == {"-second"}
        assert completed_requests(node) > 10
    assert set(states().values()) == {"UP"}


def test_repeated_upgrade_changes_nothing():
    before = [container_identities(node) for node in NODES]
    assert changes(succeeds("upgrade", "-e", "image_tag=v0.11.0rc1-second")) == dict.fromkeys(NODES, 0)
    assert [container_identities(node) for node in NODES] == before


CHANGED = ("-e", json.dumps({"image_tag": "v0.11.0rc1-second", "serving_args": {"max-num-seqs": 7}}))


@pytest.mark.parametrize("arguments", [["serving"], ["site", "--tags", "serving"]])
def test_changed_argument_does_not_take_the_live_service_down(arguments):
    before = [container_identities(node) for node in NODES]
    with Load() as load:
        done = playbook(*arguments, *CHANGED)
    assert done.returncode != 0
    lost_nothing(load)
    assert [container_identities(node) for node in NODES] == before
    for node in NODES:
        outage = checks(node)["outage"]
        assert outage["status"] == "failed"
        assert all(f"{each} has plan" in outage["actual"] for each in NAMES)
        assert re.search(r"--max-num-seqs is \d+ instead of 7", outage["actual"])
    assert "playbooks/upgrade.yml" in output_text(done)


def test_upgrade_and_restore_lose_no_request():
    before = [container_identities(node) for node in NODES]
    with Load() as load:
        succeeds("upgrade", *CHANGED)
    lost_nothing(load)
    changed = [container_identities(node) for node in NODES]
    with Load() as load:
        succeeds("upgrade", "-e", "serving_restore_previous=true")
    lost_nothing(load)
    for earlier, between, node in zip(before, changed, NODES):
        after = container_identities(node)
        assert [after[name][0] for name in NAMES] == [between[name][0] for name in KEPT] == [
            earlier[name][0] for name in NAMES]
        assert [after[name][0] for name in KEPT] == [between[name][0] for name in NAMES]
        found = containers(node)
        assert [found[name]["HostConfig"]["RestartPolicy"]["Name"] for name in (*NAMES, *KEPT)] == [
            "always", "always", "no", "no"]
        assert checks(node)["upgrade"]["status"] == "passed"
    assert set(states().values()) == {"UP"}
    assert changes(succeeds("upgrade", "-e", "image_tag=v0.11.0rc1-second")) == dict.fromkeys(NODES, 0)


def test_failed_restore_starts_the_current_service_again():
    before = {node: container_identities(node) for node in NODES}
    bed("exec", "node1", "sh", "-ec", "echo 'exit 3' > /root/vllm; chmod 755 /root/vllm")
    for name in KEPT:
        bed("exec", "node1", "docker", "cp", "/root/vllm", f"{name}:/usr/local/bin/vllm")
    with Load() as load:
        done = playbook("upgrade", "-e", "serving_restore_previous=true")
    assert done.returncode != 0
    lost_nothing(load)
    assert "is serving again" in output_text(done)
    assert {name: identity[0] for name, identity in container_identities("node1").items()} == {
        name: identity[0] for name, identity in before["node1"].items()}
    found = containers("node1")
    assert [found[name]["HostConfig"]["RestartPolicy"]["Name"] for name in (*NAMES, *KEPT)] == [
        "always", "always", "no", "no"]
    assert [found[name]["State"]["Status"] for name in (*NAMES, *KEPT)] == ["running", "running", "exited", "exited"]
    assert container_identities("node2") == before["node2"]
    assert set(states().values()) == {"UP"}
    assert checks("node1")["upgrade"]["status"] == "failed"


@pytest.mark.parametrize(("variant", "reason"), [("broken", "out_of_memory"), ("wrong", "functional.expected_words")])
def test_upgrade_that_cannot_be_verified_is_rolled_back(variant, reason):
    before = {node: container_identities(node) for node in NODES}
    with Load() as load:
        # The restart policy only changes for the new service.
        done = playbook("upgrade", "-e", f"image_tag=v0.11.0rc1-{variant}", "-e", "serving_restart_policy=on-failure")
    assert done.returncode != 0
    output, image = output_text(done), containers("node1")[NAMES[0]]["Image"]
    assert f"the previous service (image {image[:19]}) is serving again" in output
    assert reason in output
    lost_nothing(load)
    # On node1, the same containers run as before, and node2 was not touched.
    assert {name: identity[0] for name, identity in container_identities("node1").items()} == {
        name: identity[0] for name, identity in before["node1"].items()}
    assert {each["HostConfig"]["RestartPolicy"]["Name"] for name, each in containers("node1").items()
            if name in NAMES} == {"always"}
    assert container_identities("node2") == before["node2"]
    assert set(states().values()) == {"UP"}
    assert checks("node1")["upgrade"]["status"] == "failed"
    assert reason in checks("node1")["upgrade"]["message"]


def test_stop_waits_for_the_last_request_and_stops_only_the_containers_of_the_service():
    before = container_identities("node2")
    body = json.dumps({"model": "qwen25_vl", "prompt": "Hello", "max_tokens": 900, "ignore_eos": True, "stream": True})
    long_request = subprocess.Popen(
        [*BED, "run", "--", "curl", "-sSN", "-H", f"Authorization: Bearer {KEY}", "-d", body,
         "http://10.77.0.12:8888/v1/completions"], stdout=subprocess.PIPE, text=True)
    time.sleep(1)
    stopped = succeeds("stop", "--limit", "node2", "-e", "image_tag=v0.11.0rc1-second")
    assert "vllm-ascend-qwen25-vl has requests: 1 running" in stopped
    answer = long_request.communicate(timeout=30)[0]
    assert answer.count("data: ") == 901
    assert answer.rstrip().endswith("[DONE]")
    after = containers("node2")
    assert {name: after[name]["State"]["Status"] for name in NAMES} == dict.fromkeys(NAMES, "exited")
    assert container_identities("node2") == before  # not removed, and no other container was restarted
    assert after["foreign"]["State"]["Status"] == "running"


def test_last_node_is_not_drained():
    before = container_identities("node1")
    done = playbook("restart", "--limit", "node1", "-e", "image_tag=v0.11.0rc1-second")
    assert done.returncode != 0
    assert "no other node could take its requests" in output_text(done)
    assert container_identities("node1") == before


def test_status_shows_stopped_containers_and_drift():
    lines = [line for line in succeeds("status").splitlines() if re.match(r"node\d  +vllm", line)]
    assert sum(" drift " in line for line in lines) == 4  # the inventory does not contain the second image's tag
    assert sum("exited" in line for line in lines) == 2


def test_stop_names_an_npu_that_stays_busy():
    bed("exec", "node2", "ascend-fault", "set", "npu=2", "hbm_used=20000")
    done = playbook("stop", "--limit", "node2", "-e", "serving_npu_free_timeout_s=1")
    bed("exec", "node2", "ascend-fault", "clear")
    assert done.returncode != 0
    assert "NPU 2 is not free, but no process that uses it was found" in output_text(done)
    assert "NPU 0" not in output_text(done)


def test_serving_starts_stopped_containers():
    before = {name: identity[0] for name, identity in container_identities("node2").items()}
    succeeds("serving", "--limit", "node2", "-e", "image_tag=v0.11.0rc1-second")
    assert {name: identity[0] for name, identity in container_identities("node2").items()} == before
    assert set(states().values()) == {"UP"}


def test_restart_loses_no_request():
    before = {node: container_identities(node) for node in NODES}
    with Load() as load:
        succeeds("restart", "-e", "image_tag=v0.11.0rc1-second")
    lost_nothing(load)
    for node in NODES:
        after = container_identities(node)
        assert all(after[name][1] != before[node][name][1] for name in NAMES)


def node2_is_back(earlier_starts):
    """Return whether the containers on node2 were started again and the balancer uses them."""
    found = bed("exec", "node2", "docker", "inspect", "--format", "{{.State.StartedAt}}", *NAMES, check=False).split()
    return len(found) == 2 and not set(found) & earlier_starts and set(states().values()) == {"UP"}


def test_service_starts_after_a_reboot():
    before = {started for _id, started in container_identities("node2").values()}
    bed("fault", "reboot", "node2")
    deadline = time.monotonic() + 90
    while not node2_is_back(before) and time.monotonic() < deadline:
        time.sleep(0.5)
    assert node2_is_back(before)
    with Load() as load:
        time.sleep(2)
    assert load.found["lost"] == []
    assert completed_requests("node2") > 5


def rotate(*keys):
    """Deploy the keys with upgrade.yml, one node at a time. A second upgrade must change nothing."""
    inputs = json.dumps({"serving_api_key": list(keys), "image_tag": "v0.11.0rc1-second"})
    before = [container_identities(node) for node in NODES]
    succeeds("upgrade", "-e", inputs)
    for node, earlier in zip(NODES, before):
        current = container_identities(node)
        assert all(current[name][0] != earlier[name][0] for name in NAMES), "a container still has the previous keys"
    after = [container_identities(node) for node in NODES]
    assert changes(succeeds("upgrade", "-e", inputs)) == dict.fromkeys(NODES, 0)
    assert [container_identities(node) for node in NODES] == after


def accepted_keys():
    """Return the keys that all instances and the balancer accept."""
    servers = (BALANCER, *(f"http://10.77.0.{host}:{port}" for host in (11, 12) for port in (8888, 8889)))
    return [key for key in (KEY, NEW_KEY) if {status(f"{server}/v1/models", key) for server in servers} == {"200"}]


def test_key_rotation_loses_no_request():
    """The first upgrade adds the new key, and the second one removes the old key. Clients change keys in between."""
    with Load() as load:
        rotate(KEY, NEW_KEY)
    lost_nothing(load)
    assert accepted_keys() == [KEY, NEW_KEY]
    with scenario.Load(NEW_KEY) as load:
        rotate(NEW_KEY)
    lost_nothing(load)
    assert accepted_keys() == [NEW_KEY]
    assert status(f"{BALANCER}/v1/models", KEY) == "401"


def test_live_service_is_replaced_without_an_upgrade_if_an_outage_is_allowed():
    before = container_identities("node1")
    inputs = {"serving_api_key": NEW_KEY, "serving_allow_outage": True, "serving_args": {"max-num-seqs": 7}}
    succeeds("serving", "-e", json.dumps({**inputs, "image_tag": "v0.11.0rc1-second"}))
    after = container_identities("node1")
    assert all(after[name][0] != before[name][0] for name in NAMES)


def test_host_that_runs_the_balancer_of_other_nodes_is_not_removed():
    before = container_identities("node1")
    done = playbook("remove", "--limit", "node1")
    assert done.returncode != 0
    assert "node1 runs the balancer of node2" in " ".join(output_text(done).split())
    assert container_identities("node1") == before
    assert set(states().values()) == {"UP"}


def test_remove_leaves_nothing_that_the_collection_installed():
    foreign = [container_identities(node)["foreign"] for node in NODES]
    succeeds("remove")
    again = succeeds("remove")
    assert changes(again) == dict.fromkeys(NODES, 0)
    for node, other in zip(NODES, foreign):
        assert container_identities(node) == {"foreign": other}
        found = bed("exec", node, "find", "/", "-xdev", "-iname", "*ascend*vllm*", "-not", "-path", "/proc/*", "-not",
                    "-path", "/var/lib/docker/*", "-not", "-path", "/var/log/*", check=False)
        assert found == ""
        assert "ascend-vllm" not in bed("exec", node, "systemctl", "list-units", "--all", "--no-legend", check=False)
        assert "v0.11.0rc1-second" in bed("exec", node, "docker", "images")
        assert bed("exec", node, "ls", "/data/Qwen2.5-VL-32B-Instruct-w8a8/config.json")
    assert bed("exec", "node1", "systemctl", "is-active", "haproxy") == "active\n"
