# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The plan: what is deployed on one node, worked out from the catalogue and the inventory's variables alone.

``resolve`` is pure. No host is asked and none is touched before a plan has no refusals.
"""

from __future__ import annotations

import hashlib
import json
import re

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import container, serve_arguments
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import image as plan_image
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import topology as plan_topology
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs

SCHEMA = "ascend.vllm/plan/v1"


def resolve(catalogue, inputs, host=None, members=None):
    """Return the plan of one node.

    No secret may be among the inputs: for serving_api_key any text stands for «there is one».

    :param catalogue: the merged catalogue, as ``catalogue/schema.json`` describes it.
    :param inputs: ``{variable: value}``, the templated inputs of the roles plan, image, weights and serving.
    :param host: the name of the node in the inventory; needed where it serves together with others.
    :param members: ``{host: inputs}`` of the nodes of serving_hosts that the inventory has, in that order.
    :returns: dict of schema ascend.vllm/plan/v1. With refusals it is not to be deployed and may lack instances.
    """
    plan, findings = _resolve(catalogue, inputs, host, members or {})
    if plan["group"] and not findings.refusals:
        _join_hashes(catalogue, plan, members, findings)
    if plan["instances"]:
        plan["hash"] = digest([plan["image"], [instance["hash"] for instance in plan["instances"]]])
    plan.update(warnings=findings.warnings, refusals=findings.refusals)
    return plan


def serving(plan):
    """Return the instances of a plan that answer HTTP: all of them, but for those of a group that is not their head."""
    return [instance for instance in plan["instances"] if instance["serves"]]


def answers_elsewhere(plan):
    """Return why a node without an instance of serving() is not asked or measured by itself."""
    return "%s answers for the whole group, and is asked there" % plan["group"]["members"][0]["host"]


def _resolve(catalogue, inputs, host, members):
    """Return (plan, findings) of one node, its hashes those of the node alone."""
    findings = Findings()
    inputs = Inputs(inputs, findings)
    plan = {"schema": SCHEMA, "hash": None, "hardware": None, "release": None, "model": None, "image": None,
            "instances": [], "patch": None, "group": None, "health_check": None, "driver": container.driver(inputs),
            "docker_socket": inputs.path("plan_docker_socket")}
    chosen = _choose(catalogue, inputs, findings)
    if chosen:
        group = plan_topology.group(catalogue, chosen[1], inputs, findings, host, members)
        plan.update(_deployment(catalogue, chosen, inputs, findings, group, members))
    return plan, findings


def _join_hashes(catalogue, plan, members, findings):
    """Make the hash of every member depend on all of them: a group is replaced as a whole or not at all."""
    group = plan["group"]
    for member in group["members"]:
        other, found = plan, findings
        if member["host"] != group["host"]:
            other, found = _resolve(catalogue, members[member["host"]], member["host"], members)
        if found.refusals:
            findings.refuse(
                "serving_hosts", "%s, which serves with %s, cannot be deployed: %s", member["host"], group["host"],
                found.refusals[0]["message"])
            return
        member["hash"] = other["instances"][0]["hash"]
    whole = digest([member["hash"] for member in group["members"]])
    for member in group["members"]:
        member["hash"] = digest([member["hash"], whole])
    (instance,) = plan["instances"]
    instance["hash"] = group["members"][group["rank"]]["hash"]
    instance["labels"] = {labels.INSTANCE: instance["hash"]}


def digest(value):
    """Return the first 12 hex digits of the SHA-256 of a JSON value, the same for the same content."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _choose(catalogue, inputs, findings):
    """Return (hardware, release, model) of the catalogue with their ids, or None when one of them is unknown."""
    release = lookup.release_id(inputs.text("plan_release"))
    if release != inputs.text("plan_release"):
        findings.warn(
            "plan_release",
            "plan_release is %s; tags of vLLM Ascend begin with v, so it is read as %s.",
            inputs.text("plan_release"), release)
    wanted = (("hardware", "plan_hardware", inputs.text("plan_hardware")), ("releases", "plan_release", release),
              ("models", "plan_model", inputs.text("plan_model")))
    chosen = [_entry(catalogue, section, variable, name, findings) for section, variable, name in wanted]
    if None in chosen:
        return None
    hardware, release, model = chosen
    if release["vllm"] not in catalogue["vllm_versions"]:
        findings.refuse(
            "plan_catalogue",
            "plan_catalogue: release %s has vLLM %s, whose options are not known; add it to vllm_versions.",
            release["id"], release["vllm"])
        return None
    _check_support(hardware, release, model, inputs, findings)
    return chosen


def _entry(catalogue, section, variable, name, findings):
    """Return a copy of a catalogue entry with its id, or refuse with the nearest known name."""
    entries = catalogue[section]
    if name in entries:
        return dict(entries[name], id=name)
    close = lookup.nearest(name, entries)
    findings.refuse(
        variable,
        "%s is %s, which the catalogue does not have; %s.",
        variable, name or "empty",
        "the nearest is " + close if close else "choose one of " + ", ".join(sorted(entries)))
    return None


def _check_support(hardware, release, model, inputs, findings):
    """Refuse combinations that the catalogue rules out, and tell what it knows to be wrong with the others."""
    releases = model["releases"]
    if release["id"] in releases["undocumented"]:
        findings.warn(
            "release.undocumented",
            "%s runs with release %s, but upstream no longer documents or tests it there; the last documented one is "
            "%s.", model["name"], release["id"], releases["documented"][-1])
    elif release["id"] not in releases["documented"]:
        findings.refuse(
            "plan_release",
            "plan_release is %s, with which %s is not supported; choose one of %s.",
            release["id"], model["name"], ", ".join(releases["documented"]))

    topology = inputs.choice("serving_topology", plan_topology.TOPOLOGIES)
    if topology in model["unsupported"]:
        findings.refuse(
            "serving_topology",
            "serving_topology is %s, which is not supported for %s: %s (catalogue entry models.%s.unsupported.%s).",
            topology, model["name"], model["unsupported"][topology], model["id"], topology)

    architecture = inputs.text("plan_architecture")
    if architecture and architecture not in set(release["architectures"]) & set(hardware["architectures"]):
        findings.refuse(
            "plan_architecture",
            "plan_architecture is %s, but release %s has images for %s only.",
            architecture, release["id"], ", ".join(release["architectures"]))
    for name, bug in sorted(release["known_bugs"].items()):
        concerned = not architecture or architecture in bug.get("architectures", [architecture])
        if concerned and "mitigated_by" not in bug:
            findings.warn("known_bug." + name, "%s (%s).", bug["summary"].rstrip("."), bug["source"])


def _deployment(catalogue, chosen, inputs, findings, group, members):
    """Return hardware, release, model, image, patch, health check, group and instances of the plan."""
    hardware, release, model = chosen
    hardware["npu_devices"] = container.npu_devices(hardware)
    image = plan_image.image(hardware, release, inputs, findings)
    patch = plan_image.patch(release, inputs, findings)
    model["path"] = inputs.path("weights_path").rstrip("/") + "/" + model["directory"]
    model["served_name"] = inputs.text("serving_served_model_name") or model["served_name"]

    environment = container.environment(release, inputs, findings)
    arguments = serve_arguments.merge(catalogue, release, model, inputs.mapping("serving_args"), findings)
    serve_arguments.set_weight_nz(arguments, environment, inputs.text("serving_weight_nz"), release, findings)
    serve_arguments.set_shutdown_timeout(
        catalogue, release, arguments, inputs.mapping("serving_args"),
        inputs.integer("serving_drain_timeout_s", 0, 86400))
    serve_arguments.check(arguments, release, model, findings)
    overrides = serve_arguments.names(inputs.mapping("serving_args"))
    plan_topology.check(group, release, model, arguments, overrides, findings)
    model["arguments"] = arguments
    npus = container.usable(hardware, inputs, findings)
    placement = container.place(npus, hardware, model, inputs, findings)
    instances_npus = plan_topology.join(placement, group, hardware, model, members, findings)
    spread = plan_topology.npus_per_copy(group, placement)
    container.check_memory(hardware, model, spread or model["npus"], findings)

    common = _common(inputs, findings, group)
    common.update(environment=environment,
                  mounts=container.mounts(model["path"], inputs, findings, fabric=group is not None))
    if patch:
        common["mounts"].append(container.mount(patch["host_path"], "file", patch["target"], origin="patch"))
    check = container.health_check(inputs, findings)
    if group and check and check["restart"]:
        findings.refuse(
            "serving_restart_hung",
            "serving_restart_hung is true, but a node that serves with others cannot come back alone (serving_topology "
            "%s); take it out.", group["topology"])
    if check:
        common["mounts"].append(
            container.mount(check["host_path"], "file", container.HEALTH_TARGET, origin="health"))
    instances = []
    for index, own in enumerate(instances_npus):
        instance = _instance(index, own, hardware, common, inputs, findings, group)
        options = serve_arguments.render(catalogue, release, arguments)
        launcher, instance["command"] = plan_topology.command(model, instance, group, options)
        instance["launcher"] = launcher + instance["launcher"]
        instance["health"] = container.health(check, instance, model["served_name"])
        instance["hash"] = _instance_hash(instance, image, inputs.text("weights_digest"))
        instance["labels"] = {labels.INSTANCE: instance["hash"]}
        instances.append(instance)
    _check_ports(instances, group, findings)
    return {"hardware": hardware, "release": release, "model": model, "image": image, "patch": patch, "group": group,
            "npus": npus, "health_check": check, "instances": instances}


def _instance_hash(instance, image, weights_digest):
    """Return the hash whose change makes a running container out of date.

    Left out is what does not reach the container (index, url) and the digest of the image: pinning what already runs
    must not restart it, and another image under the same name is seen by its id. Nor does more patience with a start.
    """
    deployed = {key: value for key, value in instance.items() if key not in ("index", "npus", "serves", "url")}
    if deployed["health"]:
        deployed["health"] = {key: value for key, value in deployed["health"].items() if key != "start_period"}
    return digest([image["reference"], weights_digest, deployed])


def _common(inputs, findings, group):
    """Return what all instances of the node share."""
    bind, keyed = inputs.text("serving_bind"), bool(inputs.text("serving_api_key"))
    if not bind:
        findings.refuse("serving_bind", "serving_bind is empty; give the address to listen on, 0.0.0.0 for all.")
    answers = group is None or group["rank"] == 0
    if answers and not keyed and not bind.startswith("127."):
        findings.warn(
            "serving_api_key",
            "The service listens on %s without an API key: whoever reaches the port can use it. Set serving_api_key "
            "from a vault, or serving_bind.", bind)
    shm_size = inputs.text("serving_shm_size") or ("16g" if group else "1g")
    if not re.match(r"^[1-9][0-9]*[kmg]?$", shm_size, re.IGNORECASE):
        findings.refuse("serving_shm_size", "serving_shm_size must be a size such as 1g, but is %r.", shm_size)
    if inputs.boolean("serving_privileged"):
        findings.warn(
            "serving_privileged",
            "serving_privileged is true: the containers have every right on their node.")
    policy = inputs.choice("serving_restart_policy", ("always", "unless-stopped", "on-failure", "no"))
    return {
        "bind": bind,
        "shm_size": shm_size,
        "privileged": inputs.boolean("serving_privileged"),
        "cap_drop": [str(name) for name in inputs.items("serving_cap_drop")],
        # A member that comes back by itself does not find its place in a group that went on, or ended, without it.
        "restart_policy": "no" if group else policy,
        "log_max_size": inputs.text("serving_log_max_size"),
        "log_max_files": inputs.integer("serving_log_max_files", 1, 1000),
    }


def _instance(index, npus, hardware, common, inputs, findings, group):
    """Return one instance without its command."""
    name = inputs.text("serving_container_name")
    if not re.match(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", name):
        findings.refuse(
            "serving_container_name",
            "serving_container_name must be letters, digits, _ . and -, but is %r.", name)
    name = labels.instance_name(name, index)
    port = inputs.integer("serving_port", 1, 65535) + index
    address = common["bind"] if common["bind"].startswith("127.") else inputs.text("serving_address")
    hccl_ports = container.hccl_ports(index, inputs, findings)
    instance = dict(
        common, index=index, name=name, npus=npus, port=port, url="http://%s:%d" % (address, port),
        devices=[device_path(npu) for npu in npus] + hardware["devices"], mounts=list(common["mounts"]),
        hccl_ports=hccl_ports, environment=dict(common["environment"], **container.hccl_environment(hccl_ports)),
        secrets_path=None, launcher=[], serves=group is None or group["rank"] == 0)
    if group:
        found, interface = plan_topology.environment(group, npus, inputs, findings)
        instance["environment"].update(found)
        instance.update(address=group["members"][group["rank"]]["address"], interface=interface,
                        group_port=None if group["rank"] else group["port"])
    if not instance["serves"]:
        instance.update(port=None, url=None)
    elif inputs.text("serving_api_key"):
        path = inputs.path("serving_state_path") + "/secrets.env"
        instance.update(secrets_path=path, launcher=container.LAUNCHER)
        instance["mounts"].append(container.mount(path, "file", container.SECRETS_TARGET, origin="secrets"))
    return instance


def _check_ports(instances, group, findings):
    """Refuse instances of which two would listen on one port of the host."""
    taken = [("serving_group_port", (group["port"], group["port"]))] if group and not group["rank"] else []
    for instance in instances:
        ranges = [("serving_port", (instance["port"], instance["port"]))] if instance["serves"] else []
        host = instance["hccl_ports"]["host"] if instance["hccl_ports"] else container.HCCL_DEFAULT_PORTS
        ranges.append(("serving_hccl_port_base", host))
        for variable, (first, last) in ranges:
            for other, (low, high) in taken:
                if first <= high and low <= last:
                    findings.refuse(
                        variable,
                        "%s gives instance %d the ports %d-%d, which %s gives away too; move one of them.",
                        variable, instance["index"], first, last, other)
            taken.append((variable, (first, last)))
        if instance["serves"] and instance["port"] > 65535:
            findings.refuse(
                "serving_port",
                "serving_port: instance %d would listen on %d, above 65535; lower it.",
                instance["index"], instance["port"])
