# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The serving stage judges the observation of a node. A check that was not reached never counts as passed."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import judge as serving
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid, valid_group
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import context
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving.containers_case import as_planned

CAUSES = [{"cause": "out_of_memory", "evidence": "NPU out of memory", "remedy": "Use more NPUs."}]
HEALTHY = {"status": "healthy", "failures": 0, "output": "the engine makes progress"}
UNHEALTHY = {"status": "unhealthy", "failures": 10, "output": "engine 0 has 3 requests and made no progress"}


def ready_instance(plan, **changes):
    """Return a ready instance of the plan, with changes."""
    (instance,) = plan["instances"]
    ready = {
        "name": instance["name"], "state": "ready", "reason": None,
        "container": {"hash": instance["hash"], "status": "running", "restarts": 0, "health": HEALTHY,
                      "started_at": "2026-11-30T10:00:00Z"},
        "health": {"status": 200},
        "models": {"status": 200, "models": ["qwen25_vl"]}, "completion": {"status": 200}, "progress": None,
        "causes": [], "log": []}
    return dict(ready, **changes)


def holders(plan, *npus):
    """Return the holders of NPUs for the first instance of a plan, by default of its planned NPUs."""
    (instance, *_others) = plan["instances"]
    return [{"device": npu, "pid": 9, "process": "VLLMWorker",
             "container": {"name": instance["name"], "image_name": "x:1"}} for npu in npus or instance["npus"]]


def node_observation(plan, observed=None, **changes):
    """Return the observation of a node with one instance."""
    return dict({
        "docker_engine_error": None, "image": "sha256:1", "wrong_sources": [], "missing_devices": [],
        "architecture": "aarch64", "image_architecture": "aarch64", "port_holders": [], "device_holders": holders(plan),
        "weights": {"folder": True, "config": True, "shards": 4},
        "certificate_problem": None,
        "outgoing_ports": {"first": 32768, "last": 59999, "reserved": []},
        "instances": [ready_instance(plan, **changes)]}, **observed or {})


def found_checks(plan, observed=None, **changes):
    """Return the checks of a node with one instance."""
    return serving.judge(context(plan, node_observation(plan, observed, **changes)))


def judge(*args, **changes):
    """Return ``{check id: (status, message)}`` of a node with one instance."""
    return {check["id"]: (check["status"], check["message"]) for check in found_checks(*args, **changes)}


def statuses(*args, **changes):
    return {name: status for name, (status, _message) in judge(*args, **changes).items()}


STEPS = ("up_to_date", "running", "health", "key_accepted", "served_name", "completion", "devices_held")


@pytest.fixture
def plan():
    return valid(serving_api_key="set", serving_bind="127.0.0.1", image_digest="sha256:" + 64 * "0",
                 plan_release="v0.18.0", plan_architecture="aarch64")


def test_service_that_runs_as_planned_passes(plan):
    assert set(statuses(plan).values()) == {"passed"}


def test_missing_key_and_warnings_of_the_plan_cause_warnings():
    found = judge(valid(plan_release="v0.18.0"))
    status, message = found["api_key"]
    assert status == "warned"
    assert "everyone who reaches http://192.0.2.11:8888 can" in message
    assert "/pause" in message
    assert found["plan_warnings"][0] == "warned"
    assert "plaintext" not in found


def test_key_without_encryption_causes_a_warning():
    found = statuses(valid(serving_api_key="set", plan_release="v0.18.0", plan_architecture="aarch64",
                           image_digest="sha256:" + 64 * "0"))
    assert [name for name, status in found.items() if status != "passed"] == ["plaintext"]


SECURE = {"serving_tls_certificate": "/c.pem", "serving_tls_key": "/k.pem", "serving_api_key": "set",
          "plan_release": "v0.18.0", "plan_architecture": "aarch64", "image_digest": "sha256:" + 64 * "0"}


def test_service_with_a_certificate_passes():
    found = statuses(valid(**SECURE), health={"status": 200, "certificate_days": 30.0})
    assert set(found.values()) == {"passed"}
    assert {"certificate", "certificate_expiry", "plaintext"} <= set(found)


def test_certificate_that_clients_would_not_accept_fails_before_the_start():
    observed = {"certificate_problem": "certificate has expired", "phase": "before"}
    assert judge(valid(**SECURE), observed)["certificate"] == ("failed", "certificate has expired")


def test_running_server_with_a_certificate_that_is_not_accepted_fails():
    error = "the certificate of the server is not accepted: certificate has expired"
    found = judge(valid(**SECURE), state="failed", reason=error, health={"status": None, "error": error}, models=None,
                  completion=None)
    assert found["running"][0] == "passed"
    assert found["certificate"] == ("failed", error)
    assert {found[step][0] for step in STEPS[2:]} == {"not_run"}


def test_certificate_that_expires_soon_causes_a_warning():
    found = found_checks(valid(**SECURE), health={"status": 200, "certificate_days": 29.9})
    (check,) = [check for check in found if check["id"] == "certificate_expiry"]
    assert (check["status"], check["expected"], check["actual"]) == ("warned", "30 days", "29.9 days")


def test_certificate_is_judged_with_the_address_of_the_node():
    plan = dict(valid(serving_address="fd00::1", serving_bind="::", **SECURE), ca="pem")
    found = serving.prerequisites_arguments(plan, {"serving_api_key": "k"})
    assert {name: found[name] for name in ("certificate_files", "ca", "server_name")} == {
        "certificate_files": ["/c.pem", "/k.pem"], "ca": "pem", "server_name": "fd00::1"}
    assert {"source": "/k.pem", "type": "file"} in found["mounts"]
    without = serving.prerequisites_arguments(valid(), {"serving_api_key": ""})
    assert (without["certificate_files"], without["ca"]) == ([], None)


def test_key_that_the_balancer_receives_without_encryption_causes_a_warning(plan):
    found = balancers()
    found["balancer"]["completions"][0]["item"] = ["node1", {"url": "http://10.0.0.1:8080"}]
    checks = {check["subject"]: check["status"] for check in found_checks(plan, found) if check["id"] == "plaintext"}
    assert checks["http://10.0.0.1:8080"] == "warned"


@pytest.mark.parametrize(("keys", "sent"), [("k", "k"), (["k", "other"], "k"), ("", ""), ([], "")])
def test_requests_contain_the_first_key(plan, keys, sent):
    assert serving.state_arguments(plan, {"serving_api_key": keys})["api_key"] == sent


EXITED = {"state": "failed", "reason": "the container exited with exit code 1", "health": None, "models": None,
          "completion": None}


# (changes to the instance, the step that fails, a part of its message)
@pytest.mark.parametrize(("changes", "failing", "message"), [
    ({"container": None, "state": "missing"}, "up_to_date", None),
    ({"container": {"hash": "older", "status": "running"}}, "up_to_date", None),
    (dict(EXITED, causes=CAUSES), "running", "exit code 1; cause out_of_memory: NPU out of memory. Use more NPUs."),
    (dict(EXITED, causes=[{"cause": "unknown", "evidence": None, "remedy": ""}], log=["a", "the end"]), "running",
     "the end"),
    ({"state": "starting", "health": {"status": None, "error": "refused"}, "models": None, "completion": None,
      "progress": "loading weights, 40 %"}, "health", "loading weights, 40 %"),
    ({"state": "failed", "reason": "the server rejects the API key (401)", "models": {"status": 401, "models": []},
      "completion": None}, "key_accepted", "rejects the API key"),
    ({"state": "failed", "models": {"status": 200, "models": ["other"]}, "completion": None}, "served_name", None),
    ({"state": "failed", "reason": "the completion request failed", "completion": {"status": 500}}, "completion",
     "failed"),
    ({"state": "starting", "reason": "the completion request timed out", "completion": {"status": None}}, "completion",
     "timed out"),
])
def test_first_unsuccessful_step_fails_and_later_steps_are_not_run(plan, changes, failing, message):
    found = judge(plan, **changes)
    reached = STEPS.index(failing)
    assert [found[step][0] for step in STEPS] == (
        ["passed"] * reached + ["failed"] + ["not_run"] * (len(STEPS) - reached - 1))
    assert message is None or message in found[failing][1]


def test_crash_loop_fails_even_if_the_container_is_starting_again(plan):
    crashed = ready_instance(plan, **dict(EXITED, causes=CAUSES))
    now = {"state": "starting", "reason": "", "health": {"status": None}, "models": None, "completion": None}
    found = statuses(plan, {"waited": {"seconds": 3, "failed_instances": [crashed]}}, **now)
    assert found["running"] == "failed"


def test_cause_of_a_crash_is_reported_while_the_container_starts_again(plan):
    crashed = ready_instance(plan, **{
        **EXITED, "reason": "the container was restarted while it was starting", "causes": CAUSES,
        "health": {"status": None, "error": "refused"}})
    now = {"state": "starting", "health": {"status": None}, "models": None, "completion": None}
    found = judge(plan, {"waited": {"seconds": 2, "failed_instances": [crashed]}}, **now)
    assert found["running"][0] == "failed"
    assert "cause out_of_memory" in found["running"][1]


def test_instance_that_is_ready_after_a_crash_passes(plan):
    crashed = ready_instance(plan, **dict(EXITED, causes=CAUSES))
    assert statuses(plan, {"waited": {"seconds": 3, "failed_instances": [crashed]}})["running"] == "passed"


NGINX = {"pid": 9, "process": "nginx", "container": None}
OTHER = {"pid": 40, "process": None, "container": {"name": "other", "image_name": "x:1", "labels": {}}}


@pytest.mark.parametrize(("observed", "changes", "failing"), [
    ({"image": None}, {}, "image_present"),
    ({"wrong_sources": [{"source": "/data/x", "expected": "directory", "found": "nothing"}]}, {}, "mount_sources"),
    ({"missing_devices": ["/dev/davinci1"]}, {}, "devices"),
    ({}, {"container": {"hash": None, "status": "running"}}, "name_free"),
    ({"image_architecture": "x86_64"}, {}, "image_architecture"),
    ({"weights": {"folder": False, "config": False, "shards": 0}}, {}, "weights_present"),
    ({"weights": {"folder": True, "config": True, "shards": 0}}, {}, "weights_present"),
    ({"weights": {"folder": True, "config": False, "shards": 4}}, {}, "weights_present"),
    ({"port_holders": [dict(NGINX, port=8888)]}, {}, "port_free"),
    ({"port_holders": [dict(OTHER, port=60015)]}, {}, "hccl_ports_free"),
    ({"device_holders": [dict(NGINX, device=1)]}, {}, "devices_free"),
    ({"device_holders": [dict(OTHER, device=0)]}, {}, "devices_free"),
])
def test_missing_prerequisite_fails_before_the_start(plan, observed, changes, failing):
    found = statuses(plan, dict(observed, phase="before"), **changes)
    assert found.pop(failing) == "failed"
    if observed.get("image", "an id") is None:
        assert found.pop("image_architecture") == "not_run"
    assert set(found.values()) == {"passed"}
    assert not set(found) & set(STEPS)


@pytest.mark.parametrize(("label", "status"), [("1.5", "passed"), ("changed", "failed")])
def test_running_container_that_would_be_replaced_fails_before_the_start(plan, label, status):
    (running,) = as_planned(plan)
    observed = {"phase": "before", "secrets": label, "containers": [{**running, "secrets": "1.5"}], "image": "sha256:i"}
    (check,) = [check for check in found_checks(plan, observed) if check["id"] == "outage"]
    assert (check["status"], check["severity"]) == (status, "critical")
    assert ("was started with other API keys" in check["actual"]) is (status == "failed")
    assert "upgrade.yml" in (check["remedy"] or "upgrade.yml")


@pytest.mark.parametrize(("state", "status"), [("ready", "passed"), ("failed", "failed")])
def test_restore_of_the_previous_service_is_verified(plan, state, status):
    assert judge(plan, {"phase": "restored"}, state=state, reason="it has exited") == {
        "upgrade": (status, "it has exited"), "docker_engine": ("passed", None)}


def test_free_name_and_port_pass(plan):
    found = statuses(plan, {"phase": "before"}, container=None, state="missing")
    assert set(found.values()) == {"passed"}


@pytest.mark.parametrize("name", ["vllm-ascend-qwen25-vl", "vllm-ascend-qwen25-vl-3"])
def test_ports_and_npus_that_the_deployment_holds_count_as_free(plan, name):
    ours = {"pid": 9, "process": "vllm", "container": {"name": name, "image_name": "x:1"}}
    found = statuses(plan, {"phase": "before", "device_holders": [dict(ours, device=0)],
                            "port_holders": [dict(ours, port=8888), dict(ours, port=60000)]})
    assert set(found.values()) == {"passed"}


@pytest.mark.parametrize("npus", [(0,), (0, 1, 4), (4, 5)])
def test_instance_that_holds_other_npus_than_planned_fails(plan, npus):
    (check,) = [check for check in found_checks(plan, {"device_holders": holders(plan, *npus)})
                if check["id"] == "devices_held"]
    assert (check["status"], check["severity"]) == ("failed", "critical")
    assert (check["expected"], check["actual"]) == ([0, 1], list(npus))


def test_npus_without_processes_of_the_instance_are_not_compared(plan):
    unused = [dict(holder, process=None) for holder in holders(plan)]  # the container has the devices
    others = [dict(NGINX, device=7), dict(OTHER, process="python3", device=7)]
    assert statuses(plan, {"device_holders": unused + others})["devices_held"] == "unsupported"


def test_shared_devices_and_other_npus_do_not_count(plan):
    holders = [dict(NGINX, device=None), dict(NGINX, device=7)]
    assert statuses(plan, {"phase": "before", "device_holders": holders})["devices_free"] == "passed"


def test_processes_that_hold_ports_and_npus_are_named(plan):
    web = {"name": "web", "image_name": "x:1"}
    found = judge(plan, {"phase": "before", "port_holders": [dict(NGINX, port=8888, container=web)],
                         "device_holders": [dict(OTHER, device=0)]})
    assert found["port_free"][1] == "port 8888 is held by process 9 (nginx) in container web (x:1)"
    assert found["devices_free"][1] == "/dev/davinci0 is held by container other (x:1)"


@pytest.mark.parametrize(("label", "remedy"), [
    (labels.INSTANCE, "or set serving_container_name to the name of this container"),
    ("com.example.service", "Stop the process or container that the message names"),
])
def test_another_deployment_on_the_npus_can_be_replaced(plan, label, remedy):
    container = dict(OTHER["container"], labels={label: "1"})
    found = found_checks(plan, {"phase": "before", "device_holders": [dict(OTHER, device=0, container=container)]})
    [check] = [each for each in found if each["id"] == "devices_free"]
    assert check["status"] == "failed"
    assert remedy in check["remedy"]


def test_deployment_on_the_same_node_that_has_the_npus_is_named(plan):
    container = dict(OTHER["container"], labels={labels.INSTANCE: "1"}, name="other-1-previous")
    found = found_checks({**plan, "neighbors": {"node1-text": "other"}}, {
        "phase": "before", "device_holders": [dict(OTHER, device=0, container=container)]})
    [check] = [each for each in found if each["id"] == "devices_free"]
    assert check["remedy"].startswith("This container is of node1-text on the same node")


@pytest.mark.parametrize(("outgoing", "status", "message"), [
    ({"first": 32768, "last": 60999, "reserved": []}, "warned", "HCCL of vllm-ascend-qwen25-vl (60000-60015)"),
    ({"first": 32768, "last": 60010, "reserved": []}, "warned", "(60000-60010)"),
    ({"first": 32768, "last": 60999, "reserved": [[60000, 60015]]}, "passed", None),
    ({"first": 8000, "last": 9000, "reserved": []}, "warned", "the API of vllm-ascend-qwen25-vl (8888)"),
    (None, "not_run", "does not show"),
])
def test_ports_in_the_range_for_outgoing_connections_cause_a_warning(plan, outgoing, status, message):
    found = judge(plan, {"phase": "before", "outgoing_ports": outgoing})["ports_reserved"]
    assert found[0] == status
    assert message is None or message in found[1]


def test_ports_of_all_replicas_are_checked():
    plan = valid(serving_replicas="auto")
    arguments = serving.prerequisites_arguments(plan, {"serving_api_key": ""})
    assert len(plan["instances"]) == 4
    assert {8888, 8889, 8890, 8891, 60000, 60015, 61016, 61063} <= set(arguments["ports"])
    assert len(arguments["ports"]) == 4 + 4 * 16


def test_hung_engine_is_detected_by_the_health_check(plan):
    container = {"hash": plan["instances"][0]["hash"], "status": "running", "restarts": 0, "health": UNHEALTHY}
    hung = {"state": "failed", "reason": "the completion request timed out", "completion": {"status": None}}
    found = judge(plan, container=container, **hung)
    assert found["engine_progress"] == (
        "failed", "10 consecutive health checks failed, the last one: engine 0 has 3 requests and made no progress")
    assert found["completion"][0] == "failed"
    assert judge(plan, container=container)["engine_progress"][0] == "passed"  # the instance has responded since then


def test_engine_progress_does_not_pass_without_a_health_check():
    plan = valid(serving_health_interval_s=0)
    (instance,) = plan["instances"]
    container = {"hash": instance["hash"], "status": "running", "restarts": 0, "health": None}
    assert judge(plan, container=container)["engine_progress"][0] == "unsupported"
    plan = valid()
    container["hash"] = plan["instances"][0]["hash"]
    assert judge(plan, container=container)["engine_progress"][0] == "not_run"


def test_only_the_docker_engine_is_judged_if_it_does_not_respond(plan):
    assert statuses(plan, {"docker_engine_error": "no response", "instances": []}) == {"docker_engine": "failed"}


def test_checks_are_not_run_in_check_mode(plan):
    found = statuses(plan, {"check_mode": True}, container=None, state="missing")
    assert [found[step] for step in STEPS] == ["not_run"] * len(STEPS)


def test_check_mode_of_the_first_run_does_not_fail(plan):
    """The stages before this one got neither the image nor the model."""
    absent = {"image": None, "weights": None}
    found = judge(plan, {"check_mode": True, **absent}, container=None, state="missing")
    assert "failed" not in [status for status, _message in found.values()]
    name = plan["instances"][0]["name"]
    assert found["up_to_date"][1] == f"Without --check, the run would start {name}."
    found = judge(plan, {"check_mode": True}, container={"hash": "other", "status": "running", "restarts": 0})
    assert found["up_to_date"][1] == f"Without --check, the run would replace {name}."
    failed = {check for check, status in statuses(plan, absent).items() if status == "failed"}
    assert failed == {"image_present", "weights_present"}


def test_cause_of_a_failed_task_is_reported(plan):
    message = judge(plan, {"failure": "OCI runtime create failed: exec format error"})["start"][1]
    assert "cause architecture_unsupported" in message


def test_failed_task_fails_the_stage_even_if_the_service_runs(plan):
    found = judge(plan, {"failure": "Something else went wrong"})
    assert found["start"] == ("failed", "Something else went wrong")


def test_arguments_do_not_include_mounts_that_the_role_provides(plan):
    arguments = serving.prerequisites_arguments(plan, {"serving_api_key": "k"})
    sources = [mount["source"] for mount in arguments["mounts"]]
    assert arguments["weights"] == "/data/Qwen2.5-VL-32B-Instruct-w8a8"
    assert arguments["weights"] not in sources  # another check covers it
    assert "/usr/local/dcmi" in sources
    assert plan["health_check"]["host_path"] not in sources
    assert plan["instances"][0]["secrets_path"] not in sources
    assert "/dev/davinci1" in arguments["devices"]


def balancers(status="UP", completion=200, server=None, **changes):
    """Return the results of the tasks that loop over two balancers. This host manages one of the balancers."""
    found = {"name": "node1:8888", "status": status, "check": "L7OK", "watched": True, "engine": "up", **(server or {})}
    servers = [{"item": name, "error": None, "servers": [found], **changes} for name in ("node1", "lb")]
    front = {"item": ["node1", {"url": "https://10.0.0.1:8080"}], "error": None, "completion": {"status": completion}}
    return {"balancer": {"servers": servers, "completions": [front]}}


def test_balancer_that_uses_the_node_passes(plan):
    assert set(statuses(plan, balancers()).values()) == {"passed"}


@pytest.mark.parametrize(("found", "failing"), [
    (balancers(status="DOWN"), "balancer_server"),
    (balancers(status="DRAIN"), "balancer_server"),
    (balancers(servers=[]), "balancer_server"),
    (balancers(error="the balancer does not respond", servers=[]), "balancer_server"),
    (balancers(unreachable=True, msg="no route", servers=[]), "balancer_server"),
    (balancers(completion=503), "balancer"),
])
def test_balancer_that_does_not_use_the_node_fails(plan, found, failing):
    assert [name for name, status in statuses(plan, found).items() if status == "failed"] == [failing]


@pytest.mark.parametrize(("server", "status", "actual"), [
    ({"engine": "down (3 consecutive checks failed)"}, "passed", "down (3 consecutive checks failed)"),
    ({"watched": False, "engine": "Connection refused"}, "warned", "Connection refused"),
    ({"watched": None, "engine": ""}, "unsupported", None),
])
def test_watchdog_that_does_not_respond_causes_a_warning(plan, server, status, actual):
    found = [check for check in found_checks(plan, balancers(server=server)) if check["id"] == "balancer_watch"]
    assert [(check["subject"], check["status"], check["actual"]) for check in found] == [
        ("node1:8888 on node1", status, actual), ("node1:8888 on lb", status, actual)]


def test_reason_why_the_balancer_does_not_use_an_instance_is_shown(plan):
    found = found_checks(plan, balancers(status="DOWN", server={"engine": "down (3 consecutive checks failed)"}))
    assert {check["actual"] for check in found if check["id"] == "balancer_server"} == {
        "DOWN L7OK engine down (3 consecutive checks failed)"}


def test_unreachable_balancer_is_named(plan):
    checks = found_checks(plan, balancers(unreachable=True, msg="no route", servers=[]))
    assert [(check["subject"], check["actual"]) for check in checks if check["id"] == "balancer_server"] == [
        ("node1:8888 on node1", "no route"), ("node1:8888 on lb", "no route")]


@pytest.mark.parametrize(("instances", "message"), [
    ([{"state": "ready"}], "the previous service (image sha256:0123456789ab) is serving again; the new one was not "
     "verified: 2 checks failed"),
    ([{"state": "failed", "reason": "the completion request failed"}],
     "the previous service does not respond either (vllm-ascend-qwen25-vl: the completion request failed)"),
    ([], "there was no previous service"),
])
def test_result_of_a_rollback_is_reported(plan, instances, message):
    container = {"image": "sha256:0123456789abcdef", "hash": "older"}
    found = judge(plan, {"phase": "rolled_back", "failure": "2 checks failed.", "instances": [
        ready_instance(plan, container=container, **changes) for changes in instances]})
    assert found["upgrade"][0] == "failed"
    assert message in found["upgrade"][1]
    assert not set(found) & set(STEPS)


GROUP = valid_group("data_parallel", serving_api_key="set", plan_release="v0.18.0", image_digest="sha256:" + 64 * "0")


def node(host, observed=None, **changes):
    """Return the observation of a node in a group."""
    plan = GROUP[host]
    answers = {} if host == "node1" else {"health": None, "models": None, "completion": None}
    common = {"forks": 5, "play_hosts": 2, "addresses": [
        {"interface": "eth0", "address": plan["instances"][0]["address"]}], **(observed or {})}
    return node_observation(plan, common, **dict(answers, **changes))


def group_checks(host, observed, peers=None):
    """Return ``{check id: (status, message)}`` of a node in a group."""
    found = serving.judge(context(GROUP[host], observed, host=host, survey=peers))
    return {check["id"]: (check["status"], check["message"]) for check in found}


@pytest.mark.parametrize("host", ["node1", "node2"])
def test_group_passes_if_all_its_nodes_can_start(host):
    peers = {name: node(name) for name in GROUP}
    found = group_checks(host, dict(peers[host], phase="before"), peers)
    assert {status for status, _message in found.values()} == {"passed"}
    assert {"group", "interface"} <= set(found)


@pytest.mark.parametrize(("peer", "own", "beginning"), [
    (None, {}, "node2 is not in this run: it has failed before, or --limit excludes it"),
    (node("node2", {"image": None}), {}, "node2 cannot start: image_present: expected quay.io"),
    (node("node2", {"docker_engine_error": "no Docker"}), {}, "node2 cannot start: no Docker"),
    (node("node2", {"addresses": []}), {}, "node2 cannot start: interface: no interface has 192.0.2.12"),
    (node("node2", container={"hash": None}), {}, "node2 cannot start: name_free (vllm-ascend-qwen25-vl)"),
    (node("node2", {"port_holders": [{"port": 60003, "pid": 7, "process": "sshd", "container": None}]}), {},
     "node2 cannot start: hccl_ports_free (vllm-ascend-qwen25-vl): port 60003 is held by process 7 (sshd)"),
    (node("node2"), {"forks": 5, "play_hosts": 6}, "forks is 5, but all 6 hosts of this run have to be watched"),
])
def test_group_fails_if_one_of_its_nodes_cannot_start(peer, own, beginning):
    peers = {"node2": peer} if peer else {}
    status, message = group_checks("node1", node("node1", dict(own, phase="before")), peers)["group"]
    assert status == "failed"
    assert message.startswith(beginning)


def test_group_port_of_the_head_has_to_be_free():
    assert 13389 in serving.prerequisites_arguments(GROUP["node1"], {"serving_api_key": ""})["ports"]
    assert 13389 not in serving.prerequisites_arguments(GROUP["node2"], {"serving_api_key": ""})["ports"]
    in_use = {"phase": "before", "port_holders": [{"port": 13389, "pid": 7, "process": "sshd", "container": None}]}
    status, message = group_checks("node1", node("node1", in_use), {"node2": node("node2")})["port_free"]
    assert (status, message) == ("failed", "port 13389 is held by process 7 (sshd)")


def test_address_that_the_node_does_not_have_fails_the_node():
    found = group_checks("node1", node("node1", {"phase": "before", "addresses": []}), {"node2": node("node2")})
    assert found["interface"][0] == "failed"
    assert "serving_group_address" in next(check for check in serving.CHECKS if check.id == "interface").remedy


NODE2_FAILED = {"waited": {"seconds": 9, "failed_instances": [], "failed_members": [
    {"host": "node2", "state": "failed", "reason": "the container exited with exit code 137"}]}}


def test_group_that_became_ready_passes():
    ready = {"waited": {"seconds": 9, "failed_instances": [], "failed_members": []}}
    head = group_checks("node1", node("node1", ready))
    assert {name for name, (status, _message) in head.items() if status != "passed"} == {"plan_warnings", "plaintext"}
    other = group_checks("node2", node("node2", ready))
    assert [other[step][0] for step in ("group", "up_to_date", "running")] == ["passed"] * 3
    assert not {"health", "served_name", "completion", "api_key"} & set(other)


def test_node_that_failed_is_named_on_all_nodes():
    message = "node2: the container exited with exit code 137; the group was stopped"
    exited = {**EXITED, "reason": "the container exited with exit code 143"}
    head = group_checks("node1", node("node1", NODE2_FAILED, **exited))
    assert head["group"] == ("failed", message)
    assert {head[step][0] for step in STEPS} == {"not_run"}
    failed = [{**ready_instance(GROUP["node2"]), **EXITED, "reason": "the container exited with exit code 137"}]
    waited = dict(NODE2_FAILED["waited"], failed_instances=failed)
    node2 = group_checks("node2", node("node2", {"waited": waited}, **EXITED))
    assert node2["group"] == ("failed", message)
    assert node2["running"][0] == "failed"
    assert "exit code 137" in node2["running"][1]


def test_first_fault_of_a_group_is_named_with_its_consequences():
    memory = "(Worker_TP3 pid=9) ERROR 11-20 10:01:00 [x.py:1] torch.OutOfMemoryError: NPU out of memory"
    link = "[ERROR] HCCL(7,vllm):2026-11-20-10:02:00.000.000 [x.cc:1] wait socket establish timeout, role[1]"
    members = [{"host": host, "state": "failed", "reason": "exit code 1", "causes": diagnose(line), "clock_offset_s": 0}
               for host, line in (("node1", link), ("node2", memory))]
    waited = {"seconds": 9, "failed_instances": [], "failed_members": members}
    status, message = group_checks("node1", node("node1", {"waited": waited}, **EXITED))["group"]
    assert status == "failed"
    assert "The first fault is on node2 (Worker_TP3 pid=9, 11-20 10:01:00): out_of_memory: " in message
    assert message.endswith("Consequences: node1 (link_timeout, 11-20 10:02:00).")


def test_group_that_is_not_ready_in_time_is_not_reported_as_stopped():
    observed = {"waited": {"seconds": 9, "failed_instances": [], "failed_members": [
        {"host": "node1", "state": "late", "reason": "/health does not return 200"}]}}
    assert group_checks("node2", node("node2", observed))["group"] == ("failed", "node1: /health does not return 200")


def test_group_check_is_not_run_if_the_role_did_not_wait_for_the_group():
    assert group_checks("node1", node("node1", {"failure": "No space left"}))["group"][0] == "not_run"
    waited = {"seconds": 0, "failed_instances": [], "failed_members": []}
    assert group_checks("node1", node("node1", {"check_mode": True, "waited": waited}))["group"][0] == "not_run"
