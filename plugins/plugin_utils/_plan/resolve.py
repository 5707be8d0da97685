# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Resolve a plan: derive the deployment on a host from the catalogue and the inventory.

A node is contacted only if its plan has no refusals.
"""

from __future__ import annotations

import hashlib
import ipaddress
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar, cast

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_path
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import base_url, is_loopback
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key, container, serve_arguments, tls, types
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import catalogue as lookup
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import topology as groups
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.image import resolve_image, resolve_patch
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.memory import resolve_memory

SCHEMA = "ascend.vllm/plan/v1"

# These keys are left out of the hash of an instance, because they do not affect its container.
_NOT_HASHED = ("index", "npus", "serves", "url", "hash", "labels", "middleware_path", "tls", "plog_path")

_T = TypeVar("_T")


@dataclass(frozen=True)
class _Common:
    """Parts of the plan that all instances of a host share."""

    hardware: types.Hardware
    model: types.Model
    group: types.Group | None
    settings: types.ContainerSettings
    environment: dict[str, str]
    mounts: list[types.Mount]
    health_check: types.HealthCheck | None
    options: list[str]


def resolve(catalogue: types.Catalogue, inputs: Mapping[str, Any], host: str | None = None,
            members: groups.Members | None = None) -> types.Plan:
    """Return the plan of a host.

    The inputs must not contain secrets: any non-empty value of serving_api_key means that a key is set.

    :param inputs: the templated inputs of the roles plan, image, weights and serving.
    :param host: the inventory name of the host. It is required if the host is in a group.
    :param members: ``{host: inputs}`` of the hosts in serving_hosts that are in the inventory, in that order.
    """
    plan, findings = _resolve(catalogue, inputs, host, members or {})
    if plan["group"] and not findings.refusals:
        _join_hashes(catalogue, plan, plan["group"], members or {}, findings)
    if plan["instances"]:
        plan["hash"] = digest([plan["image"], [instance["hash"] for instance in plan["instances"]]])
    plan["warnings"], plan["refusals"] = findings.warnings, findings.refusals
    return plan


def serving_instances(plan: types.Plan) -> list[types.Instance]:
    """Return the instances of a plan that have an HTTP API. In a group, only the head has an API."""
    return [instance for instance in plan["instances"] if instance["serves"]]


def no_api_reason(plan: types.Plan) -> str:
    """Return the reason why no requests are sent to a host of a group that has no HTTP API."""
    head = cast(types.Group, plan["group"])["members"][0]["host"]
    return "%s serves the whole group and is tested instead of this host." % head


def _resolve(catalogue: types.Catalogue, values: Mapping[str, Any], host: str | None,
             members: groups.Members) -> tuple[types.Plan, Findings]:
    """Return the plan of a host and its findings. The hashes do not yet depend on the other hosts of the group."""
    findings = Findings()
    problems = dict(tls.file_problems("serving", values))
    inputs = Inputs({**values, **dict.fromkeys(problems, "")}, findings)
    chosen = _choose(catalogue, inputs, findings)
    if chosen is None:
        missing = dict.fromkeys(("hash", "hardware", "release", "model", "image", "patch", "group", "ca", "node",
                                 "docker_socket", "state_path", "memory", "health_check"))
        return cast(types.Plan, {"schema": SCHEMA, **missing, "npus": [], "neighbors": {}, "instances": [],
                                 "warnings": [], "refusals": []}), findings
    for name, sentence in problems.items():
        findings.refuse(name, "%s", sentence)
    hardware, release, model = chosen
    group = groups.resolve_group(catalogue, release, inputs, findings, host, members)
    node = inputs.text("plan_node") or host
    if host and host != node and group is None:
        model["container_name"] += "-" + re.sub(r"[^A-Za-z0-9.]+", "-", host)
    plan = _deployment(catalogue, hardware, release, model, group, inputs, members, findings)
    plan["node"] = node
    return plan, findings


def _join_hashes(catalogue: types.Catalogue, plan: types.Plan, group: types.Group, members: groups.Members,
                 findings: Findings) -> None:
    """Make the hash of each member depend on all members, because a group is always replaced as a whole."""
    hashes = []
    for member in group["members"]:
        other, found = plan, findings
        if member["host"] != group["host"]:
            other, found = _resolve(catalogue, members[member["host"]], member["host"], members)
        if found.refusals:
            findings.refuse("serving_hosts", "%s, which is in the same group as %s, cannot be deployed: %s",
                            member["host"], group["host"], found.refusals[0]["message"])
            return
        hashes.append(other["instances"][0]["hash"])
    group_hash = digest(hashes)
    for member, own in zip(group["members"], hashes):
        member["hash"] = digest([own, group_hash])
    (instance,) = plan["instances"]
    instance["hash"] = group["members"][group["rank"]]["hash"]
    instance["labels"] = {labels.INSTANCE: instance["hash"]}


def digest(value: object) -> str:
    """Return the first 12 hexadecimal digits of the SHA-256 of a JSON value."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:12]


def _choose(catalogue: types.Catalogue, inputs: Inputs,
            findings: Findings) -> tuple[types.Hardware, types.Release, types.Model] | None:
    """Return hardware, release and model of the deployment, or None if the catalogue lacks one of them."""
    wanted, hardware_id, model_id = (inputs.text(name) for name in ("plan_release", "plan_hardware", "plan_model"))
    release_name = lookup.release_id(wanted)
    if release_name != wanted:
        findings.warn("plan_release", "plan_release is %s, but the tags of vLLM Ascend start with v; %s is used.",
                      wanted, release_name)
    profile = _entry(catalogue["hardware"], "plan_hardware", hardware_id, findings)
    models = catalogue["models"]
    if {release_name, lookup.base_release(release_name)} & set(catalogue["releases"]):
        models = {name: entry for name, entry in models.items() if lookup.support(entry, release_name)}
    model_entry = catalogue["models"].get(model_id) or _entry(models, "plan_model", model_id, findings)
    usable = list(catalogue["releases"])
    if profile and model_entry:
        usable = lookup.releases_of(catalogue, profile, model_entry)
    release_entry = _release(catalogue["releases"], release_name, usable, findings)
    if profile is None or release_entry is None or model_entry is None:
        return None
    if release_entry["vllm"] not in catalogue["vllm_versions"]:
        findings.warn("plan_release", "Release %s contains vLLM %s, whose options the catalogue does not list, so "
                      "those of the preceding version are used; add the version to vllm_versions in plan_catalogue "
                      "when you have compared its options.", release_name, release_entry["vllm"])
    hardware = _hardware(hardware_id, profile, inputs)
    release: types.Release = {**release_entry, "id": release_name,
                              "routes": lookup.routes(catalogue, release_entry["vllm"]), "usable": usable}
    model = _model(catalogue, model_id, lookup.model_for(model_entry, profile, release_name), inputs)
    _check_support(hardware, release, model, inputs, findings)
    return hardware, release, model


def _release(releases: Mapping[str, types.ReleaseEntry], name: str, usable: list[str], findings: Findings
             ) -> types.ReleaseEntry | None:
    """Return the entry of a release, or that of its base for a post-release or a nightly image."""
    base = lookup.base_release(name)
    if name not in releases and base in releases:
        findings.warn("plan_release", "plan_release is %s, which is not in the catalogue, so it is planned as %s, on "
                      "which it is based.", name, base)
        return releases[str(base)]
    return _entry(releases, "plan_release", name, findings, lookup.nearest_release(name, usable), usable)


def _entry(entries: Mapping[str, _T], variable: str, name: str, findings: Findings, close: str | None = None,
           choices: Iterable[str] = ()) -> _T | None:
    """Return an entry of the catalogue, or refuse the variable with the nearest known name."""
    if name in entries:
        return entries[name]
    close = close or lookup.nearest(name, choices or entries)
    findings.refuse(variable, "%s is %s, which is not in the catalogue; %s.", variable, name or "empty",
                    "the nearest is " + close if close else "choose one of " + ", ".join(choices or sorted(entries)))
    return None


def _hardware(name: str, profile: types.HardwareProfile, inputs: Inputs) -> types.Hardware:
    driver = inputs.path("serving_driver_path")
    devices = profile.get("device_numbers") or list(range(profile["npus"] * profile["chips_per_npu"]))
    return {**profile, "id": name, "npu_devices": devices,
            "driver_path": driver, "driver_version_file": driver + "/version.info"}


def _model(catalogue: types.Catalogue, name: str, entry: types.ModelEntry, inputs: Inputs) -> types.Model:
    folder = inputs.path("weights_path").rstrip("/")
    original = catalogue["models"].get(entry["sources"]["quantize"]["from"]) if "quantize" in entry["sources"] else None
    quantize_from = inputs.path("weights_quantize_from") if inputs.text("weights_quantize_from") else (
        folder + "/" + original["directory"] if original else None)
    return {
        **entry,
        "id": name,
        "path": folder + "/" + entry["directory"],
        "container_name": "vllm-ascend-" + re.sub(r"[^A-Za-z0-9.]+", "-", entry["served_name"]),
        "served_name": inputs.text("serving_served_model_name") or entry["served_name"],
        "quantize_from_path": quantize_from,
    }


def _check_support(hardware: types.Hardware, release: types.Release, model: types.Model, inputs: Inputs,
                   findings: Findings) -> None:
    """Refuse combinations that the catalogue rules out, and warn about known problems of the combination."""
    status = lookup.support(model, release["id"])
    if status == "unstated":
        findings.warn("release.undocumented", "The catalogue does not state which releases support %s; release %s may "
                      "not support it.", model["name"], release["id"])
    elif status == "undocumented":
        documented = [name for name in release["usable"] if lookup.support(model, name) == "documented"]
        findings.warn("release.undocumented", "No documentation or test of upstream is known for %s with release %s; "
                      "the last documented release is %s.", model["name"], release["id"],
                      documented[-1] if documented else "unknown")
    elif status is None:
        findings.refuse("plan_release", "plan_release is %s, which does not support %s; choose one of %s.",
                        release["id"], model["name"], ", ".join(release["usable"]))

    if hardware["series"] not in model["series"]:
        findings.warn("plan_hardware", "Upstream documents %s for %s, but plan_hardware is %s.", model["name"],
                      ", ".join(model["series"]), hardware["id"])
    topology, nodes = inputs.choice("serving_topology", groups.TOPOLOGIES), model["minimum_nodes"]
    if nodes > max(1, len(inputs.items("serving_hosts")) if topology in groups.GROUPED else 1):
        findings.refuse("serving_topology", "%s needs at least %d nodes, but serving_topology is %s; set it to "
                        "data_parallel, and serving_hosts to %d nodes.", model["name"], nodes, topology, nodes)
    if topology in model["unsupported"]:
        findings.refuse("serving_topology", "serving_topology is %s, which is not supported for %s: %s (catalogue "
                        "entry models.%s.unsupported.%s); choose another topology.", topology, model["name"],
                        model["unsupported"][topology], model["id"], topology)

    architecture = inputs.text("plan_architecture")
    if architecture and architecture not in set(release["architectures"]) & set(hardware["architectures"]):
        findings.refuse("plan_architecture", "plan_architecture is %s, but release %s has images for %s only; correct "
                        "plan_architecture or choose another release.", architecture, release["id"],
                        ", ".join(release["architectures"]))
    for name, bug in sorted(release["known_bugs"].items()):
        applies = not architecture or architecture in bug.get("architectures", [architecture])
        if applies and lookup.concerns(bug, model) and "mitigated_by" not in bug:
            findings.warn("known_bug." + name, "%s (%s).", bug["summary"].rstrip("."), bug["source"])


def _deployment(catalogue: types.Catalogue, hardware: types.Hardware, release: types.Release, model: types.Model,
                group: types.Group | None, inputs: Inputs, members: groups.Members, findings: Findings) -> types.Plan:
    """Return the plan for a hardware profile, release and model. Its hashes depend only on this host."""
    image, patch = resolve_image(hardware, release, inputs, findings), resolve_patch(release, model, inputs, findings)
    environment = container.base_environment(release, model, inputs, findings)
    overrides = inputs.mapping("serving_args")
    arguments = serve_arguments.merge_arguments(catalogue, release, model, overrides, findings)
    serve_arguments.set_weight_nz(arguments, environment, inputs.text("serving_weight_nz"), release, findings)
    serve_arguments.set_draft(arguments, model, inputs.text("weights_source"),
                              inputs.text("weights_hub_endpoint"))
    serve_arguments.restrict_media(arguments, overrides, findings)
    serve_arguments.set_shutdown_timeout(catalogue, release, arguments, overrides,
                                         inputs.integer("serving_drain_timeout_s", 0, 86400))
    serve_arguments.check_arguments(catalogue, arguments, release, model, findings)
    api_key.check_exposure(inputs, arguments, group is None or group["rank"] == 0, findings)
    groups.resolve_conflicts(group, release, model, arguments, serve_arguments.option_names(overrides), findings)
    model["arguments"] = arguments

    npus = container.usable_npus(hardware, inputs, findings)
    placement = container.place_instances(npus, hardware, model, inputs, findings)
    npus_of_instances = groups.join_placement(placement, group, hardware, model, members, findings)
    memory = resolve_memory(hardware, model, group, len(placement[0]) or model["npus"],
                            inputs.integer("plan_request_tokens", 1, 1 << 24), findings)

    settings = _container_settings(inputs, findings, group)
    check = container.resolve_health_check(inputs, findings)
    if group and check and check["restart"]:
        findings.refuse("serving_restart_hung", "serving_restart_hung is true, but a restarted host cannot rejoin its "
                        "group (serving_topology is %s); set it to false.", group["topology"])
    common = _Common(hardware, model, group, settings, environment,
                     mounts=container.instance_mounts(hardware, model, patch, check, group, inputs, findings),
                     health_check=check,
                     options=serve_arguments.render(catalogue, release, arguments))
    instances = []
    for index, own in enumerate(npus_of_instances):
        instance = _instance(index, own, common, inputs, findings)
        instance["hash"] = _instance_hash(instance, image, inputs.text("weights_digest"))
        instance["labels"] = {labels.INSTANCE: instance["hash"]}
        instances.append(instance)
    _check_ports(instances, group, findings)
    return {"schema": SCHEMA, "hash": None, "hardware": hardware, "release": release, "model": model, "image": image,
            "patch": patch, "group": group, "ca": None, "docker_socket": inputs.path("plan_docker_socket"),
            "state_path": inputs.path("serving_state_path"), "node": None, "neighbors": {}, "npus": npus,
            "memory": memory, "health_check": check, "instances": instances, "warnings": [], "refusals": []}


def _instance_hash(instance: types.Instance, image: types.Image, weights_digest: str) -> str:
    """Return the hash of an instance. A running container with a different hash is out of date.

    The hash does not include the digest of the image. If you pin the image that already runs, the instance must not be
    restarted, and another image with the same name is recognized by its id. The hash does not include the time allowed
    for the start (start_period) either.
    """
    deployed: dict[str, Any] = {key: value for key, value in instance.items() if key not in _NOT_HASHED}
    if instance["health"]:
        deployed["health"] = {key: value for key, value in instance["health"].items() if key != "start_period"}
    return digest([image["reference"], weights_digest, deployed])


def _container_settings(inputs: Inputs, findings: Findings, group: types.Group | None) -> types.ContainerSettings:
    """Return the settings that all containers of the host share."""
    bind = inputs.text("serving_bind")
    if not bind:
        findings.refuse(
            "serving_bind", "serving_bind is empty; set it to the address to listen on, 0.0.0.0 for all addresses.")
    address = inputs.text("serving_address")
    for variable, value in (("serving_bind", bind), ("serving_address", address)):
        if value and not _is_host(value):
            findings.refuse(variable, "%s must be a host name, an IPv4 address or an IPv6 address, without brackets, "
                            "port and zone, but is %r.", variable, value)
    if bind == "0.0.0.0" and ":" in address and _is_host(address):
        findings.refuse("serving_bind", "serving_address is the IPv6 address %s, but serving_bind is 0.0.0.0, which is "
                        "every IPv4 address; set serving_bind to ::, which is every address.", address)
    shm_size = inputs.text("serving_shm_size") or ("16g" if group else "1g")
    if not re.match(r"^[1-9][0-9]*[kmg]?$", shm_size, re.IGNORECASE):
        findings.refuse("serving_shm_size", "serving_shm_size must be a size such as 1g, but is %r.", shm_size)
    if inputs.boolean("serving_privileged"):
        findings.warn("serving_privileged", "serving_privileged is true, so the containers have full access to their "
                      "node.")
    policy = inputs.choice("serving_restart_policy", ("always", "unless-stopped", "on-failure", "no"))
    return {
        "bind": bind,
        "shm_size": shm_size,
        "privileged": inputs.boolean("serving_privileged"),
        "cap_drop": [str(name) for name in inputs.items("serving_cap_drop")],
        "security_opts": [str(option) for option in inputs.items("serving_security_opts")],
        # A restarted member cannot rejoin a group that has continued or stopped without it.
        "restart_policy": "no" if group else policy,
        "log_max_size": inputs.text("serving_log_max_size"),
        "log_max_files": inputs.integer("serving_log_max_files", 1, 1000),
    }


def _is_host(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return re.match(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_])?\.?\Z", text) is not None
    return "%" not in text  # An IPv6 zone is valid on one host only.


def _instance(index: int, npus: list[int], common: _Common, inputs: Inputs, findings: Findings) -> types.Instance:
    """Return an instance whose hash and labels are empty."""
    group, model, bind = common.group, common.model, common.settings["bind"]
    name = inputs.text("serving_container_name") or model["container_name"]
    if not re.match(r"^[a-zA-Z0-9][a-zA-Z0-9_.-]*$", name):
        findings.refuse("serving_container_name", "serving_container_name must start with a letter or digit and "
                        "contain only letters, digits, '_', '.' and '-', but is %r.", name)
    port = inputs.integer("serving_port", 1, 65535) + index
    serves = group is None or group["rank"] == 0
    state_path = inputs.path("serving_state_path")
    with_tls = serves and bool(inputs.text("serving_tls_certificate"))
    client_address = bind if is_loopback(bind) else inputs.text("serving_address")
    hccl = container.hccl_ports(index, inputs, findings)
    launcher, command = groups.instance_command(model, group, bind, port, npus, common.options)
    membership: types.Membership = {} if group is None else {
        "address": group["members"][group["rank"]]["address"], "interface": inputs.text("serving_interface") or None,
        "group_port": None if group["rank"] else group["port"]}
    instance: types.Instance = {
        **common.settings,
        **membership,
        "index": index,
        "name": labels.instance_name(name, index),
        "npus": npus,
        "serves": serves,
        "port": port if serves else None,
        "url": base_url(client_address, port, with_tls) if serves else None,
        "devices": [device_path(npu) for npu in npus] + common.hardware["shared_devices"],
        "mounts": list(common.mounts),
        "environment": {**common.environment, **container.hccl_environment(hccl)},
        "hccl_ports": hccl,
        "secrets_path": None,
        "middleware_path": None,
        "plog_path": None,
        "tls": with_tls,
        "launcher": launcher,
        "command": list(command),
        "health": container.docker_health_check(
            common.health_check, bind, port if serves else None, model["served_name"], with_tls),
        "hash": "",
        "labels": {},
    }
    if group:
        instance["environment"].update(groups.group_environment(group, npus, inputs, findings))
    if instance["privileged"]:
        instance["environment"].update(dict.fromkeys(container.VISIBLE_NPUS, ",".join(map(str, npus))))
    if with_tls:
        instance["command"] += tls.OPTIONS
        instance["mounts"] += [container.bind_mount(inputs.text(name), "file", target, origin="tls")
                               for name, target in tls.TARGETS.items()]
    if serves and inputs.text("serving_api_key"):
        instance["secrets_path"] = secrets = state_path + "/secrets.env"
        instance["middleware_path"] = middleware = api_key.middleware_path(state_path)
        instance["launcher"] = launcher + api_key.LAUNCHER
        instance["command"] += api_key.middleware_options(inputs.boolean("serving_metrics_key_required"))
        instance["mounts"] += [container.bind_mount(middleware, "file", api_key.MIDDLEWARE_TARGET, origin="middleware"),
                               container.bind_mount(secrets, "file", labels.SECRETS_TARGET, origin="secrets")]
    container.keep_plog(instance, state_path, inputs.integer("serving_plog_max_mb", 0, 1 << 20))
    return instance


def _check_ports(instances: list[types.Instance], group: types.Group | None, findings: Findings) -> None:
    """Refuse a plan with two listeners on the same port of the host."""
    taken: list[tuple[str, types.Ports]] = []
    if group and not group["rank"]:
        taken.append(("serving_group_port", (group["port"], group["port"])))
    for instance in instances:
        port = instance["port"]
        ranges = [] if port is None else [("serving_port", (port, port))]
        host = instance["hccl_ports"]["host"] if instance["hccl_ports"] else container.HCCL_DEFAULT_PORTS
        ranges.append(("serving_hccl_port_base", host))
        for variable, (first, last) in ranges:
            for other, (low, high) in taken:
                if first <= high and low <= last:
                    ports = "port %d" % first if first == last else "ports %d-%d" % (first, last)
                    findings.refuse(variable, "%s assigns %s to instance %d, but this overlaps with %s; change one of "
                                    "the two variables.", variable, ports, instance["index"], other)
            taken.append((variable, (first, last)))
        if port is not None and port > 65535:
            findings.refuse("serving_port", "serving_port: instance %d would listen on port %d, which is above 65535; "
                            "set a lower serving_port.", instance["index"], port)
