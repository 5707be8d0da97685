# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The steps of an upgrade and of a rollback depend on the running containers, not only on the plan."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import replacement
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import valid
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving.containers_case import (
    NAME,
    as_planned,
    containers,
    observed,
)


def names(found):
    return [container["name"] for container in found]


def test_containers_of_other_deployments_are_excluded():
    ours = [NAME, NAME + "-1", NAME + "-12-previous", NAME + "-previous"]
    existing = containers(*ours, NAME + "-x", "other", NAME + "2")
    assert names(replacement.deployment(existing, valid())) == ours
    assert replacement.deployment(containers("aXb"), valid(serving_container_name="a.b")) == []


@pytest.mark.parametrize(("container", "ours"), [
    (None, False), ({"name": NAME}, True), ({"name": NAME + "-7"}, True), ({"name": NAME + "-previous"}, True),
    ({"name": "other"}, False)])
def test_container_is_ours_if_its_name_belongs_to_the_deployment(container, ours):
    assert replacement.is_ours(container, valid()) is ours


@pytest.fixture
def plan():
    return valid(serving_replicas=2)


def test_service_that_runs_as_planned_is_not_replaced(plan):
    existing = as_planned(plan) + containers("other", NAME + "-previous")
    assert replacement.replacement_reasons(observed(existing), plan) == []
    # After a reboot during an upgrade, the previous container is the live service.
    assert replacement.replacement_reasons(observed(existing), plan, live=True) == [
        f"{NAME}-previous is no longer planned"]


@pytest.mark.parametrize(("change", "reasons"), [
    (lambda existing: None, []),
    (lambda existing: existing.extend(containers("other")), []),
    (lambda existing: existing[1].update(restart_policy="no"), [f"{NAME}-1 has another restart policy"]),
    (lambda existing: existing.extend(containers(NAME + "-previous")), [f"{NAME}-previous is left over"]),
])
def test_service_is_changed_without_being_replaced(plan, change, reasons):
    existing = as_planned(plan)
    for container, instance in zip(existing, plan["instances"], strict=True):
        container["restart_policy"] = instance["restart_policy"]
    change(existing)
    assert replacement.replacement_reasons(observed(existing), plan, every=True) == reasons
    assert replacement.replacement_reasons(observed(existing), plan) == []


@pytest.mark.parametrize(("change", "reason"), [
    (lambda existing: existing.pop(), f"{NAME}-1 does not exist"),
    (lambda existing: existing[0].update(hash="older"), f"{NAME} has plan older instead of"),
    (lambda existing: existing[0].update(image="sha256:j"), f"{NAME} runs image sha256:j instead of sha256:i"),
    (lambda existing: existing[1].update(status="exited"), f"{NAME}-1 is exited"),
    (lambda existing: existing.extend(containers(NAME + "-2")), f"{NAME}-2 is no longer planned"),
])
def test_difference_from_the_plan_is_a_reason_to_replace_the_service(plan, change, reason):
    existing = as_planned(plan)
    change(existing)
    (found,) = replacement.replacement_reasons(observed(existing), plan)
    assert found.startswith(reason)
    if_live = [] if reason.endswith(("does not exist", "is exited")) else [found]
    assert replacement.replacement_reasons(observed(existing), plan, live=True) == if_live


@pytest.mark.parametrize(("change", "difference"), [
    (lambda command: (command.__setitem__(command.index("--max-num-seqs") + 1, "60"), command.append("--enable-x")),
     "(--enable-x is set instead of not set, --max-num-seqs is 60 instead of 30)"),
    (lambda command: command.pop(), "(--no-enable-prefix-caching is not set instead of set)"),
    (lambda command: command.insert(command.index("vllm"), "sh"), "(it has another launcher)"),
    (lambda command: command.__setitem__(command.index("serve") + 1, "/b"), "(the model is /b instead of /"),
    (lambda command: None, "(other settings than the options of the command)"),
])
def test_reason_names_what_differs(change, difference):
    plan = valid(serving_args={"max-num-seqs": 30, "enable-prefix-caching": False})
    (existing,) = as_planned(plan)
    existing["hash"] = "older"
    command = existing["command"]
    command.append(command.pop(command.index("--no-enable-prefix-caching")))
    change(command)
    (found,) = replacement.replacement_reasons(observed([existing]), plan)
    assert difference in found


@pytest.mark.parametrize(("label", "reasons"), [
    ("1.5", []), ("changed", [f"{NAME} was started with other API keys or another certificate"]),
    (None, [f"{NAME} was started with other API keys or another certificate"])])
@pytest.mark.parametrize("inputs", [
    {"serving_api_key": "set"}, {"serving_tls_certificate": "/c.pem", "serving_tls_key": "/k.pem"}])
def test_service_is_replaced_if_api_keys_or_certificate_differ(label, reasons, inputs):
    plan = valid(**inputs)
    existing = [{**container, "secrets": "1.5"} for container in as_planned(plan)]
    assert replacement.replacement_reasons(observed(existing), plan, label) == reasons


def renames(*pairs):
    return [{"from": old, "to": new} for old, new in pairs]


@pytest.mark.parametrize(("existing", "remove", "rename"), [
    ((NAME, NAME + "-1"), [], renames((NAME, NAME + "-previous"), (NAME + "-1", NAME + "-1-previous"))),
    ((NAME, NAME + "-previous"), [NAME], []),  # an interrupted upgrade
    ((NAME + "-previous",), [], []),
    (("other",), [], []),
])
def test_upgrade_keeps_the_containers_that_were_verified_last(existing, remove, rename):
    steps = replacement.upgrade_steps(containers(*existing), valid())
    assert (steps["remove"], steps["rename"]) == (remove, rename)


@pytest.mark.parametrize("existing", [(NAME, NAME + "-1"), (NAME, NAME + "-previous", NAME + "-1")])
def test_reboot_starts_the_previous_containers_until_the_new_ones_are_verified(existing):
    steps = replacement.upgrade_steps(containers(*existing), valid(serving_restart_policy="unless-stopped"))
    assert [(step["name"], step["restart_policy"]) for step in steps["policies"]] == [
        (NAME, "unless-stopped"), (NAME + "-previous", "no"), (NAME + "-1-previous", "no")]


@pytest.mark.parametrize(("replicas", "ours", "unplanned"), [
    (1, [NAME], []),
    (2, [NAME, NAME + "-1", NAME + "-3"], [NAME + "-3"]),
    (1, ["other", "other-1", NAME + "-x", NAME + "-1-2"], []),
    (2, [NAME, NAME + "-previous", NAME + "-1-previous", "other-previous"], [NAME + "-previous", NAME + "-1-previous"]),
])
def test_unplanned_containers_are_listed(replicas, ours, unplanned):
    plan = valid(serving_replicas=replicas)
    assert replacement.unplanned_containers(ours, plan) == unplanned
    assert replacement.unplanned_containers(ours, plan, True) == [
        name for name in unplanned if not name.endswith("-previous")]


def renamed(**former):
    """Return containers from ``{name: former name}``. A container whose former name is None did not exist before."""
    return [container for name, before in former.items() for container in containers(name, id=before or f"new {name}")]


@pytest.mark.parametrize(("before", "now", "expected"), [
    ((NAME,), {NAME: None, NAME + "-previous": NAME}, {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # with more instances than before
    ((NAME,), {NAME: None, NAME + "-1": None, NAME + "-previous": NAME},
     {"remove": [NAME, NAME + "-1"], "rename": [NAME], "start": [NAME]}),
    # failed before anything was renamed: stopped containers are started again, nothing is removed
    ((NAME, NAME + "-1"), {NAME: NAME, NAME + "-1": NAME + "-1"},
     {"remove": [], "rename": [], "start": [NAME, NAME + "-1"]}),
    # failed between two renames
    ((NAME, NAME + "-1"), {NAME + "-previous": NAME, NAME + "-1": NAME + "-1"},
     {"remove": [], "rename": [NAME], "start": [NAME, NAME + "-1"]}),
    # the verified container is restored after an interrupted upgrade
    ((NAME, NAME + "-previous"), {NAME: NAME, NAME + "-previous": NAME + "-previous"},
     {"remove": [NAME], "rename": [NAME], "start": [NAME]}),
    # a first deployment
    ((), {NAME: None}, {"remove": [NAME], "rename": [], "start": []}),
    ((NAME, "other"), {NAME: NAME, "other": "other"}, {"remove": [], "rename": [], "start": [NAME]}),
])
def test_rollback_restores_the_containers_from_before_the_upgrade(before, now, expected):
    plan = valid(serving_restart_policy="unless-stopped")
    found = replacement.rollback_steps(renamed(**now), containers(*before), plan)
    assert dict(found, start=names(found["start"])) == dict(
        expected, stop=[], rename=renames(*((name + "-previous", name) for name in expected["rename"])))
    assert {container["restart_policy"] for container in found["start"]} <= {"always"}


def before_upgrade(*described):
    """Return containers described as (name suffix, status, restart policy)."""
    return [container for suffix, status, policy in described
            for container in containers(NAME + suffix, status=status, restart_policy=policy)]


@pytest.mark.parametrize(("before", "policies"), [
    # each container gets its former policy, neither the current one (stopping set it to "no") nor the planned one
    ([("", "running", "always"), ("-1", "running", "on-failure")], ["always", "on-failure"]),
    ([("", "running", "no")], ["no"]),
    ([("", "restarting", "always")], ["always"]),
    # stopped before the upgrade, so its former policy is unknown
    ([("", "exited", "no")], ["unless-stopped"]),
    ([("", "exited", "on-failure")], ["on-failure"]),
    # an interrupted upgrade had stopped the previous container
    ([("", "running", "always"), ("-previous", "exited", "no")], ["unless-stopped"]),
])
def test_rollback_starts_containers_with_the_restart_policy_from_before_the_upgrade(before, policies):
    before = before_upgrade(*before)
    now = [dict(container, status="exited", restart_policy="no") for container in before]
    found = replacement.rollback_steps(now, before, valid(serving_restart_policy="unless-stopped"))
    assert [container["restart_policy"] for container in found["start"]] == policies


KEPT = NAME + "-kept"


@pytest.mark.parametrize(("existing", "keep", "remove", "rename"), [
    ((NAME + "-previous", KEPT), True, [KEPT], renames((NAME + "-previous", KEPT))),
    ((NAME + "-1-previous", "other-previous", "other-kept"), True, [],
     renames((NAME + "-1-previous", NAME + "-1-kept"))),
    ((NAME + "-previous", KEPT), False, [KEPT, NAME + "-previous"], []),
    ((NAME,), True, [], []),
])
def test_verified_upgrade_keeps_the_containers_that_it_replaced(existing, keep, remove, rename):
    assert replacement.kept_steps(existing, valid(), keep) == {"remove": remove, "rename": rename}


def test_kept_containers_are_not_instances(plan):
    existing = as_planned(plan) + containers(KEPT, status="exited")
    assert replacement.replacement_reasons(observed(existing), plan) == []
    assert replacement.unplanned_containers(names(existing), plan) == []
    assert replacement.upgrade_steps(existing, plan)["remove"] == []


def test_restore_of_kept_containers_exchanges_the_names():
    existing = containers(NAME, NAME + "-1", "other-kept") + containers(KEPT, status="exited", port=9000)
    steps = replacement.restore_steps(existing, valid(serving_restart_policy="on-failure"))
    assert steps["rename"] == renames(
        (NAME, NAME + "-previous"), (NAME + "-1", NAME + "-1-previous"), (KEPT, NAME))
    assert steps["start"] == [{"name": NAME, "restart_policy": "no"}]
    assert [(each["name"], each["port"]) for each in steps["containers"]] == [(NAME, 9000)]
    assert [(each["name"], each["restart_policy"]) for each in steps["policies"]] == [
        (NAME, "on-failure"), (NAME + "-previous", "no"), (NAME + "-1-previous", "no")]
    assert steps["keep"] == renames((NAME + "-previous", KEPT), (NAME + "-1-previous", NAME + "-1-kept"))
    assert replacement.restore_steps(containers(NAME, "other-kept"), valid())["start"] == []


SECOND, SECOND_KEPT = NAME + "-1", NAME + "-1-kept"


@pytest.mark.parametrize(("older", "newer", "rename"), [
    ((KEPT, SECOND_KEPT), (NAME + "-previous", SECOND),
     renames((SECOND, SECOND + "-previous"), (KEPT, NAME), (SECOND_KEPT, SECOND))),
    ((NAME, SECOND_KEPT), (NAME + "-previous", SECOND + "-previous"), renames((SECOND_KEPT, SECOND))),
    ((NAME, SECOND), (NAME + "-previous", SECOND + "-previous"), []),
])
def test_interrupted_restore_is_completed(older, newer, rename):
    steps = replacement.restore_steps(containers(*older, created_s=10) + containers(*newer), valid())
    assert steps["rename"] == rename
    assert [each["name"] for each in steps["start"]] == [each["name"] for each in steps["containers"]]
    assert {(each["name"], each["created_s"]) for each in steps["containers"]} == {(NAME, 10), (SECOND, 10)}
    assert steps["keep"] == renames((NAME + "-previous", KEPT), (SECOND + "-previous", SECOND_KEPT))


def test_interrupted_upgrade_is_not_undone_by_a_restore():
    existing = containers(NAME + "-previous", KEPT, created_s=10) + containers(NAME)
    assert replacement.restore_steps(existing, valid())["start"] == []


@pytest.mark.parametrize(("before", "now", "expected"), [
    # a restore has failed before, during and after the exchange of the names
    ((NAME, KEPT), {NAME: NAME, KEPT: KEPT}, {"stop": [], "rename": []}),
    ((NAME, KEPT), {NAME + "-previous": NAME, KEPT: KEPT}, {"stop": [], "rename": renames((NAME + "-previous", NAME))}),
    ((NAME, KEPT), {NAME: KEPT, NAME + "-previous": NAME},
     {"stop": [NAME], "rename": renames((NAME, KEPT), (NAME + "-previous", NAME))}),
    # a restore has failed after the current container was kept
    ((NAME, KEPT), {NAME: KEPT, KEPT: NAME},
     {"stop": [NAME], "rename": renames((KEPT, NAME + "-previous"), (NAME, KEPT), (NAME + "-previous", NAME))}),
    # an upgrade has failed before and after the previous container was kept
    ((NAME, KEPT), {NAME: NAME, NAME + "-1": None, KEPT: KEPT}, {"stop": [], "remove": [NAME + "-1"], "rename": []}),
    ((NAME, KEPT), {NAME: None, KEPT: NAME},
     {"stop": [], "remove": [NAME], "rename": renames((KEPT, NAME + "-previous"), (NAME + "-previous", NAME))}),
])
def test_rollback_exchanges_the_current_and_the_kept_containers_again(before, now, expected):
    found = replacement.rollback_steps(renamed(**now), containers(*before), valid())
    assert dict(found, start=names(found["start"])) == {"remove": [], "start": [NAME], **expected}


def test_plan_of_running_containers_has_their_names_and_ports():
    before = containers(NAME + "-previous", port=9000, served_name="old") + containers(NAME + "-1", port=9001)
    found = replacement.plan_of_running(before, [NAME], "10.0.0.1")
    assert [(each["name"], each["port"], each["url"]) for each in found["instances"]] == [
        (NAME, 9000, "http://10.0.0.1:9000")]
    (secure,) = replacement.plan_of_running(containers("a", tls=True), ["a"], "fd00::1")["instances"]
    assert secure["url"] == "https://[fd00::1]:8888"
    assert (found["model"], found["image"]) == ({"served_name": "old"}, {"reference": "sha256:i"})
    assert replacement.plan_of_running([], [], "10.0.0.1") == {"instances": []}


def test_containers_of_neighbors_are_excluded():
    ours = ["vision", "vision-1-kept", "text", "text-1", "text-kept", "text-1-previous", "text-2024a", "lost"]
    plan = {**valid(), "neighbors": {"node1-text": "text"}}
    assert replacement.without_neighbors(ours, plan) == ["vision", "vision-1-kept", "text-2024a", "lost"]
    assert replacement.without_neighbors(ours, valid()) == ours
