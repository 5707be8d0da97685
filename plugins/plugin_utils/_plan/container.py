# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The container of one instance: its NPUs, mounts, environment, health check and ports."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import reachable
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import types
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.api_key import FURTHER_KEYS
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.memory import split_problem

# The model is a local folder. Without these variables, vLLM retries for minutes to reach a hub in a closed network.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

# Environment variables that an input controls, or that hold a secret and must not be in the container's configuration.
OWNED_ENVIRONMENT = {
    "VLLM_API_KEY": "serving_api_key",
    "HF_TOKEN": "weights_hub_token", "MODELSCOPE_API_TOKEN": "weights_hub_token",
    "ASCEND_RT_VISIBLE_DEVICES": "serving_npus", "ASCEND_VISIBLE_DEVICES": "serving_npus",
    "HCCL_IF_BASE_PORT": "serving_hccl_port_base", "HCCL_HOST_SOCKET_PORT_RANGE": "serving_hccl_port_base",
    "HCCL_NPU_SOCKET_PORT_RANGE": "serving_hccl_npu_port_base",
}

# A privileged container has all NPUs of the node, so only these variables select some of them. Either of them alone was
# not sufficient (vllm-ascend issue 6942).
VISIBLE_NPUS = ("ASCEND_VISIBLE_DEVICES", "ASCEND_RT_VISIBLE_DEVICES")

# Version of the health check, roles/serving/files/health.py. It is part of the path on the node, so that a new version
# changes the plan and running containers are replaced. Otherwise they would keep the old script until a restart.
HEALTH_VERSION = "02e71bccf18a"
HEALTH_TARGET = "/run/ascend-vllm/health.py"

# The folder to which CANN writes plog and vLLM Ascend its own log. CANN limits the files of a running process (10 files
# of 20 MB), but not those of earlier processes. The launcher removes these, starting with the oldest.
PLOG_TARGET = "/root/ascend/log"
_PLOG_LAUNCHER = ["/bin/bash", "-c",
                  'find "$0" -type f -printf "%T@ %s %p\\n" | sort -rn | while read -r _ size path; do '
                  '(((used += size) > $1)) && rm -f -- "$path"; done; shift; exec "$@"']

# The number of ports reserved for HCCL per instance. The vendor requires at least one port per process on an NPU.
HCCL_PORTS = 16
HCCL_DEFAULT_PORTS: types.Ports = (60000, 60015)
HCCL_DEFAULT_NPU_PORTS: types.Ports = (16666, 16666)
HCCL_FURTHER_PORTS = {"serving_hccl_port_base": 61000, "serving_hccl_npu_port_base": 17000}


def usable_npus(hardware: types.Hardware, inputs: Inputs, findings: Findings) -> list[int]:
    """Return the numbers of the NPUs that the deployment may use. If serving_npus is refused, return all NPUs."""
    devices = hardware["npu_devices"]
    if inputs.is_auto("serving_npus"):
        return list(devices)
    named = [str(item) for item in inputs.items("serving_npus")]
    wanted = [int(item) for item in named if item.isdigit() and int(item) in devices]
    if wanted and len(set(wanted)) == len(named):
        return wanted
    findings.refuse("serving_npus", "serving_npus must be auto or a list of different NPU numbers from %d to %d, but "
                    "is %s.", devices[0], devices[-1], ", ".join(named) or "empty")
    return list(devices)


def place_instances(npus: list[int], hardware: types.Hardware, model: types.Model, inputs: Inputs,
                    findings: Findings) -> list[list[int]]:
    """Return the NPUs of each instance.

    :param npus: the result of :func:`usable_npus`.
    """
    size = model["npus"]
    if inputs.text("serving_tensor_parallel_size"):
        size = inputs.integer("serving_tensor_parallel_size", 1, 64)
    problem = split_problem(model, size, model["arguments"])
    if problem:
        findings.refuse(
            "serving_tensor_parallel_size", "serving_tensor_parallel_size must %s, but is %d.", problem, size)
    if inputs.is_auto("serving_replicas"):
        replicas = max(1, len(npus) // size)
    elif not inputs.text("serving_replicas"):
        replicas = model["replicas"]
    else:
        replicas = inputs.integer("serving_replicas", 1, 64)
    if replicas * size > len(npus):
        findings.refuse("serving_replicas", "serving_replicas: %d x %d NPUs are needed, but only %d are available "
                        "(serving_npus on %s); lower it.", replicas, size, len(npus), hardware["name"])
    return [npus[index * size:(index + 1) * size] for index in range(replicas)]


def docker_mounts(mounts: Iterable[types.Mount]) -> list[dict[str, Any]]:
    """Return the mounts in the format of community.docker.docker_container.

    A mount of type bind fails if its source does not exist, whereas a volume would create an empty folder.
    """
    return [{"type": "bind", "source": mount["source"], "target": mount["target"], "read_only": mount["read_only"]}
            for mount in mounts]


def instance_mounts(hardware: types.Hardware, model: types.Model, patch: types.Patch | None,
                    check: types.HealthCheck | None, group: types.Group | None, inputs: Inputs,
                    findings: Findings) -> list[types.Mount]:
    """Return the mounts that all instances of a host share."""
    driver = hardware["driver_path"]
    found = [bind_mount("/usr/local/dcmi", "directory"), bind_mount(inputs.path("serving_npu_smi_path"), "file"),
             bind_mount(driver + "/lib64", "directory"), bind_mount(hardware["driver_version_file"], "file"),
             bind_mount("/etc/ascend_install.info", "file"), bind_mount(model["path"], "directory", origin="weights")]
    if inputs.boolean("serving_mount_hccn_tool") or group:
        found += [bind_mount(driver + "/tools/hccn_tool", "file"), bind_mount("/etc/hccn.conf", "file")]
    found += _site_mounts(inputs, findings)
    if "draft" in model:
        found.append(bind_mount(model["draft"]["path"], "directory", origin="weights"))
    if patch:
        found.append(bind_mount(patch["host_path"], "file", patch["target"], origin="patch"))
    if check:
        found.append(bind_mount(check["host_path"], "file", HEALTH_TARGET, origin="health"))
    return found


def bind_mount(source: str, kind: types.SourceType, target: str | None = None, read_only: bool = True,
               origin: types.MountOrigin = "host") -> types.Mount:
    """Return a bind mount. The default target is the same path as the source."""
    return {"source": source, "target": target or source, "type": kind, "read_only": read_only, "origin": origin}


def keep_plog(instance: types.Instance, state_path: str, max_mb: int) -> None:
    """Mount a folder of the node for plog, which keeps it after the container is removed, and limit its size.

    :param max_mb: maximum size of the files that are kept from earlier processes. With 0, plog stays in the container.
    """
    target = instance["environment"].get("ASCEND_PROCESS_LOG_PATH", PLOG_TARGET)
    if max_mb and target not in {mount["target"] for mount in instance["mounts"]}:
        instance["plog_path"] = path = "%s/plog/%s" % (state_path, instance["name"])
        instance["mounts"].append(bind_mount(path, "directory", target, read_only=False, origin="plog"))
        instance["launcher"] = [*_PLOG_LAUNCHER, target, str(max_mb << 20), *instance["launcher"]]


def _site_mounts(inputs: Inputs, findings: Findings) -> list[types.Mount]:
    """Return the mounts of serving_mounts: ``{source, target, type, read_only}``, of which only source is required."""
    found = []
    for item in inputs.items("serving_mounts"):
        fields: dict[str, Any] = item if isinstance(item, dict) else {}
        extra = sorted(set(fields) - {"source", "target", "type", "read_only"})
        kind = fields.get("type", "directory")
        paths = [str(fields.get(key, "/")) for key in ("source", "target") if key in fields]
        if extra or "source" not in fields or kind not in ("file", "directory") \
                or not all(path.startswith("/") and ":" not in path for path in paths):
            findings.refuse("serving_mounts", "serving_mounts must be a list of mappings with an absolute source and "
                            "optionally target, type (file or directory) and read_only, but contains %r.", item)
            continue
        read_only = str(fields.get("read_only", True)).lower() != "false"
        found.append(bind_mount(fields["source"], kind, fields.get("target"), read_only, origin="site"))
    return found


def base_environment(release: types.Release, model: types.Model, inputs: Inputs, findings: Findings) -> dict[str, str]:
    """Return the environment of every instance: those of the release and the model, and serving_env over them."""
    merged = {**OFFLINE, **release["environment"], **model["environment"]}
    for name, value in inputs.mapping("serving_env").items():
        if not re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", str(name)) or isinstance(value, (bool, dict, list)):
            findings.refuse("serving_env", "serving_env must map names of variables to strings or numbers, but %s is "
                            "%r; quote true and false.", name, value)
        elif name in OWNED_ENVIRONMENT or name.startswith(FURTHER_KEYS):
            findings.refuse("serving_env.owned", "serving_env sets %s, which %s controls; set that variable instead.",
                            name, OWNED_ENVIRONMENT.get(name, "serving_api_key"))
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = str(value)
            if name in release["environment_unwanted"]:
                findings.warn("serving_env.unwanted", "serving_env sets %s, which should not be set with release %s: "
                              "%s.", name, release["id"], release["environment_unwanted"][name])
    return merged


def resolve_health_check(inputs: Inputs, findings: Findings) -> types.HealthCheck | None:
    """Return the settings of the health checks of all instances, or None if health checks are disabled."""
    interval = inputs.integer("serving_health_interval_s", 0, 3600)
    restart = inputs.boolean("serving_restart_hung")
    policy = inputs.text("serving_restart_policy")
    if restart and not interval:
        findings.refuse("serving_restart_hung", "serving_restart_hung is true, but serving_health_interval_s is 0, and "
                        "without a health check a hang is not detected; set an interval.")
    if restart and policy not in ("always", "unless-stopped"):
        findings.refuse("serving_restart_hung", "serving_restart_hung is true, but with serving_restart_policy %s "
                        "Docker does not restart a terminated server; set the policy to always or unless-stopped.",
                        policy)
    if not interval:
        return None
    return {"host_path": "%s/health/%s/health.py" % (inputs.path("serving_state_path"), HEALTH_VERSION),
            "interval_s": interval, "timeout_s": inputs.integer("serving_health_timeout_s", 1, 3600),
            "retries": inputs.integer("serving_health_retries", 1, 1000),
            "start_period_s": inputs.integer("serving_ready_timeout_s", 1, 864000), "restart": restart}


def docker_health_check(check: types.HealthCheck | None, bind: str, port: int | None, served_name: str,
                        tls: bool = False) -> types.DockerHealthCheck | None:
    """Return the options of Docker for the health check of an instance.

    Return None if health checks are disabled, or if the instance has no API (port is None).
    """
    if check is None or port is None:
        return None
    # In isolated mode (-I) without site packages (-S), Python starts fast, and modules of the image cannot interfere.
    command = ["python3", "-IS", HEALTH_TARGET, "--host", reachable(bind), "--port", str(port), "--model", served_name,
               "--timeout", str(check["timeout_s"])]
    if tls:
        command.append("--tls")
    if check["restart"]:
        command += ["--restart-after", str(check["retries"])]
    return {
        "test": ["CMD", *command],
        "interval": "%ds" % check["interval_s"],
        # The script makes up to three requests, and the interpreter needs a moment to start.
        "timeout": "%ds" % (3 * check["timeout_s"] + 5),
        "retries": check["retries"],
        "start_period": "%ds" % check["start_period_s"],
    }


def hccl_ports(index: int, inputs: Inputs, findings: Findings) -> types.HcclPorts | None:
    """Return the HCCL ports of an instance, or None for the defaults of HCCL (host 60000-60015, NPU 16666).

    Unless serving_hccl_port_base is set, the first instance keeps the defaults, so that it does not change when
    instances are added. Two instances with the default ports would conflict (vllm-ascend issue 11968).
    """
    if index == 0 and not inputs.text("serving_hccl_port_base"):
        return None
    return {"host": _hccl_range("serving_hccl_port_base", index, inputs, findings),
            "npu": _hccl_range("serving_hccl_npu_port_base", index, inputs, findings)}


def _hccl_range(name: str, index: int, inputs: Inputs, findings: Findings) -> types.Ports:
    base = inputs.integer(name, 1024, 65535) if inputs.text(name) else HCCL_FURTHER_PORTS[name]
    first = base + index * HCCL_PORTS
    last = first + HCCL_PORTS - 1
    if last > 65535:
        findings.refuse(name, "%s: the HCCL ports of instance %d end at %d, which is above 65535; set a lower value.",
                        name, index, last)
    return first, last


def hccl_environment(ports: types.HcclPorts | None) -> dict[str, str]:
    """Return the environment that restricts HCCL to these ports."""
    if ports is None:
        return {}
    return {"HCCL_IF_BASE_PORT": str(ports["host"][0]), "HCCL_HOST_SOCKET_PORT_RANGE": "%d-%d" % ports["host"],
            "HCCL_NPU_SOCKET_PORT_RANGE": "%d-%d" % ports["npu"]}
