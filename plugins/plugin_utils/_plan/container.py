# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What one instance of the service gets: NPUs, mounts, environment, ports.

PRIVATE to the plan.
"""

from __future__ import annotations

import re

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import SECRETS_TARGET

# The model is a local folder, so nothing may ask a hub: without these a closed network costs minutes of retries.
OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}

# Environment that another variable decides, or that holds a secret and must not stand in a container's configuration.
OWNED_ENVIRONMENT = {
    "VLLM_API_KEY": "serving_api_key",
    "HF_TOKEN": "weights_hub_token",
    "MODELSCOPE_API_TOKEN": "weights_hub_token",
    "ASCEND_RT_VISIBLE_DEVICES": "serving_npus",
    "ASCEND_VISIBLE_DEVICES": "serving_npus",
    "HCCL_IF_BASE_PORT": "serving_hccl_port_base",
    "HCCL_HOST_SOCKET_PORT_RANGE": "serving_hccl_port_base",
    "HCCL_NPU_SOCKET_PORT_RANGE": "serving_hccl_npu_port_base",
}

# Sourced by the launcher inside the container: the key is then in no argv and in no output of `docker inspect`.
LAUNCHER = ["/bin/bash", "-c", 'set -a; . "$0" || exit 1; set +a; exec "$@"', SECRETS_TARGET]

# The health check, roles/serving/files/health.py: its digest is in the path, so that another script is another plan.
HEALTH_DIGEST = "02e71bccf18a"
HEALTH_TARGET = "/run/ascend-vllm/health.py"

# Ports that one instance may use for HCCL; the vendor asks for at least one per process on an NPU.
HCCL_PORTS = 16
HCCL_DEFAULT_PORTS = (60000, 60015)
HCCL_FURTHER_PORTS = {"serving_hccl_port_base": 61000, "serving_hccl_npu_port_base": 17000}


def place(devices, hardware, model, inputs, findings):
    """Return the NPUs of each instance, of those that :func:`usable` gives: disjoint lists of device numbers."""
    size = model["npus"]
    if inputs.text("serving_tensor_parallel_size"):
        size = inputs.integer("serving_tensor_parallel_size", 1, 64)
    if model["attention_heads"] % size:
        findings.refuse(
            "serving_tensor_parallel_size",
            "serving_tensor_parallel_size is %d, but must divide the %d attention heads of %s.",
            size, model["attention_heads"], model["name"])
    if inputs.is_auto("serving_replicas"):
        replicas = max(1, len(devices) // size)
    else:
        replicas = inputs.integer("serving_replicas", 1, 64)
    if replicas * size > len(devices):
        findings.refuse(
            "serving_replicas",
            "serving_replicas: %d x %d NPUs are needed, but %d are there (serving_npus on %s).",
            replicas, size, len(devices), hardware["name"])
    return [devices[index * size:(index + 1) * size] for index in range(replicas)]


def npu_devices(hardware):
    """Return the numbers N of the /dev/davinciN of this hardware: one for each chip, of which an A3's NPU has two."""
    return list(range(hardware["npus"] * hardware["chips_per_npu"]))


def driver(inputs):
    """Return where the driver is on the node: ``{"path", "version_file"}``."""
    path = inputs.path("serving_driver_path")
    return {"path": path, "version_file": path + "/version.info"}


def usable(hardware, inputs, findings):
    """Return the device numbers that the deployment may use; all of them where serving_npus is refused."""
    count = len(hardware["npu_devices"])
    if inputs.is_auto("serving_npus"):
        return list(range(count))
    named = [str(item) for item in inputs.items("serving_npus")]
    devices = [int(item) for item in named if item.isdigit() and int(item) < count]
    if devices and len(set(devices)) == len(named):
        return devices
    findings.refuse(
        "serving_npus",
        "serving_npus must be auto or a list of different devices from 0 to %d, but is %s.",
        count - 1, ", ".join(named) or "empty")
    return list(range(count))


def check_memory(hardware, model, size, findings):
    """Refuse a model whose weights alone do not fit into the HBM that vLLM may use of each NPU."""
    try:
        share = float(model["arguments"].get("gpu-memory-utilization", 0.9))
    except ValueError:
        share = 0.0
    if not 0 < share <= 1:
        findings.refuse(
            "serving_args.type",
            "serving_args: gpu-memory-utilization must be above 0 and at most 1, but is %r.",
            model["arguments"]["gpu-memory-utilization"])
        return
    needed, there = model["weights_bytes"] / size / 2**30, hardware["hbm_mb"] / 1024 * share
    if needed >= there:
        findings.refuse(
            "serving_tensor_parallel_size",
            "%s needs %.1f GiB of weights on each of %d NPUs, but %s has %.1f GiB for them; raise "
            "serving_tensor_parallel_size.", model["name"], needed, size, hardware["name"], there)


def mounts(model_path, inputs, findings, fabric=False):
    """Return the mounts of every instance; origin tells who brings the source: host, weights or site.

    :param fabric: whether its NPUs talk to those of other nodes.
    """
    installed, tool = driver(inputs), inputs.path("serving_npu_smi_path")
    found = [
        mount("/usr/local/dcmi", "directory"),
        mount(tool, "file"),
        mount(installed["path"] + "/lib64", "directory"),
        mount(installed["version_file"], "file"),
        mount("/etc/ascend_install.info", "file"),
        mount(model_path, "directory", origin="weights"),
    ]
    if inputs.boolean("serving_mount_hccn_tool") or fabric:
        found += [mount(installed["path"] + "/tools/hccn_tool", "file"), mount("/etc/hccn.conf", "file")]
    return found + _site_mounts(inputs, findings)


def mount(source, kind, target=None, read_only=True, origin="host"):
    """Return one bind mount; kind is file or directory and says what the source has to be."""
    return {"source": source, "target": target or source, "type": kind, "read_only": read_only, "origin": origin}


def _site_mounts(inputs, findings):
    """Return the mounts of serving_mounts: {source, target, type, read_only}, of which only source is required."""
    found = []
    for item in inputs.items("serving_mounts"):
        fields = item if isinstance(item, dict) else {}
        extra = sorted(set(fields) - {"source", "target", "type", "read_only"})
        kind = fields.get("type", "directory")
        paths = [str(fields.get(key, "/")) for key in ("source", "target") if key in fields]
        if extra or "source" not in fields or kind not in ("file", "directory") \
                or not all(path.startswith("/") and ":" not in path for path in paths):
            findings.refuse(
                "serving_mounts",
                "serving_mounts must hold mappings with an absolute source and optional target, type (file or "
                "directory) and read_only, but holds %r.", item)
            continue
        read_only = str(fields.get("read_only", True)).lower() != "false"
        found.append(mount(fields["source"], kind, fields.get("target"), read_only, origin="site"))
    return found


def environment(release, inputs, findings):
    """Return the environment of every instance: offline switches, the release's own, then serving_env by name."""
    merged = dict(OFFLINE)
    merged.update(release["environment"])
    for name, value in inputs.mapping("serving_env").items():
        if not re.match(r"^[A-Za-z_][A-Za-z0-9_]*$", str(name)) or isinstance(value, (bool, dict, list)):
            findings.refuse(
                "serving_env",
                "serving_env must map names of variables to texts or numbers, but %s is %r; quote true and false.",
                name, value)
        elif name in OWNED_ENVIRONMENT:
            findings.refuse(
                "serving_env.owned",
                "serving_env sets %s, which %s decides; set that variable instead.", name, OWNED_ENVIRONMENT[name])
        elif value is None:
            merged.pop(name, None)
        else:
            merged[name] = str(value)
            if name in release["environment_unwanted"]:
                findings.warn(
                    "serving_env.unwanted",
                    "serving_env sets %s, which release %s does not want: %s.",
                    name, release["id"], release["environment_unwanted"][name])
    return merged


def health_check(inputs, findings):
    """Return what Docker's health check of every instance has in common, or None when there is to be none.

    :returns: ``{"host_path", "interval_s", "timeout_s", "retries", "start_period_s", "restart"}``; restart tells
        whether the check ends a hung server, so that Docker starts it again.
    """
    interval = inputs.integer("serving_health_interval_s", 0, 3600)
    restart = inputs.boolean("serving_restart_hung")
    policy = inputs.text("serving_restart_policy")
    if restart and not interval:
        findings.refuse(
            "serving_restart_hung",
            "serving_restart_hung is true, but serving_health_interval_s is 0: without a health check no hang is seen.")
    if restart and policy not in ("always", "unless-stopped"):
        findings.refuse(
            "serving_restart_hung",
            "serving_restart_hung is true, but with serving_restart_policy %s a server that was ended stays down; use "
            "always or unless-stopped.", policy)
    if not interval:
        return None
    return {
        "host_path": "%s/health/%s/health.py" % (inputs.path("serving_state_path"), HEALTH_DIGEST),
        "interval_s": interval,
        "timeout_s": inputs.integer("serving_health_timeout_s", 1, 3600),
        "retries": inputs.integer("serving_health_retries", 1, 1000),
        "start_period_s": inputs.integer("serving_ready_timeout_s", 1, 864000),
        "restart": restart,
    }


def health(check, instance, served_name):
    """Return the health check of one instance as Docker takes it, durations with their unit.

    None without a check, and for an instance that has no API.
    """
    if check is None or instance["port"] is None:
        return None
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(instance["bind"], instance["bind"])
    # Isolated (-I) and without site packages (-S): it starts in a moment and cannot be led astray by the image's own.
    command = ["python3", "-IS", HEALTH_TARGET, "--host", host, "--port", str(instance["port"]), "--model", served_name,
               "--timeout", str(check["timeout_s"])]
    if check["restart"]:
        command += ["--restart-after", str(check["retries"])]
    return {
        "test": ["CMD", *command],
        "interval": "%ds" % check["interval_s"],
        # Three answers may each take their time, and the interpreter some.
        "timeout": "%ds" % (3 * check["timeout_s"] + 5),
        "retries": check["retries"],
        "start_period": "%ds" % check["start_period_s"],
    }


def hccl_ports(index, inputs, findings):
    """Return the HCCL port ranges of an instance as ``{"host": (first, last), "npu": (first, last)}``, or None.

    None stands for HCCL's own defaults (host 60000-60015, NPU 16666). The first instance keeps them while
    serving_hccl_port_base is empty, and so does not change when others join it; two on the defaults would clash
    (vllm-ascend issue 11968).
    """
    if index == 0 and not inputs.text("serving_hccl_port_base"):
        return None
    ranges = {}
    for key, name in (("host", "serving_hccl_port_base"), ("npu", "serving_hccl_npu_port_base")):
        base = inputs.integer(name, 1024, 65535) if inputs.text(name) else HCCL_FURTHER_PORTS[name]
        first = base + index * HCCL_PORTS
        ranges[key] = (first, first + HCCL_PORTS - 1)
        if ranges[key][1] > 65535:
            findings.refuse(
                name,
                "%s: the HCCL ports of instance %d end at %d, above 65535; lower it.", name, index, ranges[key][1])
    return ranges


def hccl_environment(ports):
    """Return the environment that keeps HCCL within the ports of hccl_ports()."""
    if ports is None:
        return {}
    return {
        "HCCL_IF_BASE_PORT": str(ports["host"][0]),
        "HCCL_HOST_SOCKET_PORT_RANGE": "%d-%d" % ports["host"],
        "HCCL_NPU_SOCKET_PORT_RANGE": "%d-%d" % ports["npu"],
    }
