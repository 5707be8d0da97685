#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: diagnostics_bundle
short_description: Collect data about a failure on a node, and return its likely causes
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Collects the output of C(npu-smi) and C(hccn_tool), and the state of the host and of Docker. For the containers of
    this collection, it also collects the state, the log, the metrics, plog and vLLM Ascend's own log. The action plugin
    saves these files for the archive of the run. Nothing is written on the node.
  - Each command and each response has a timeout. If a tool hangs or Docker does not respond, only the data from this
    tool or from Docker are missing. The logs of containers are then read from Docker's data folder.
  - Secrets are masked on the node. For containers that this collection did not create, only the state is included,
    without the labels and the command.
  - The logs are searched for known causes. For each log, the most likely cause is returned first.
extends_documentation_fragment:
  - ascend.vllm._attributes
  - ascend.vllm._ca
  - ascend.vllm._docker
options:
  server_name: {type: str, description: "The name in the certificate of the engines. By default, it is their address."}
  log_lines: {type: int, default: 5000, description: "The lines to collect from the end of each container's log."}
  timeout_s: {type: int, default: 20, description: "The timeout in seconds of each command and of each response."}
  limit_s: {type: int, default: 300, description: "The number of seconds after which no more data are collected."}
  size_limit_mb: {type: int, default: 64, description: "The maximum size of the collected files in MB. The most
    important files are collected first. If a file is large, only its end is returned, at most a quarter of this size."}
  cards: {type: list, elements: int, default: [], description: "The NPU IDs with which C(npu-smi) is queried."}
  npus: {type: list, elements: int, default: [], description: "The numbers N of C(/dev/davinciN) to query."}
  record:
    description: Whether to add C(recording.json) with the output of all queries of C(npu-smi) and C(hccn_tool) and the
      files of the driver. M(ascend.vllm.report) anonymizes it.
    type: bool
    default: false
  controller_time_s: {type: float, default: 0, description: "The time on the controller, in seconds since the epoch.
    With V(0), the clocks are not compared."}
  driver_path: {type: path, default: /usr/local/Ascend/driver, description: "The installation directory of the driver."}
  state_path: {type: path, default: /var/lib/ascend-vllm, description: "The state directory of the role serving."}
attributes: {check_mode: {support: full}, diff_mode: {support: none}}
"""

EXAMPLES = r"""
- name: Collect data about the failure
  ascend.vllm.diagnostics_bundle:
    cards: [0, 1, 2, 3, 4, 5, 6, 7]
    npus: [0, 1, 2, 3, 4, 5, 6, 7]
"""

RETURN = r"""
files:
  description: The files, with the name of the file as key. C(rc) is the exit code of the command, 0 if a file or a
    response was read, and null if nothing was read. C(problem) is the reason why content is missing, or null. C(size)
    is the number of characters.
  type: dict
  returned: success
diagnosis: {type: list, elements: dict, returned: success, description: "The likely causes, each with its evidence, a
  remedy and the log that contains the evidence."}
clock_offset_s: {type: float, returned: success, description: "The number of seconds by which the clock of the node is
  ahead of O(controller_time_s). It includes the time to start the module on the node."}
"""

import base64
import glob
import json
import os
import time
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import hccn_query, observation
from ansible_collections.ascend.vllm.plugins.module_utils._docker import containers, labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host import collecting, facts, http_request
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import base_url, reachable
from ansible_collections.ascend.vllm.plugins.module_utils._host.collecting import Collected
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import redact, redact_in
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_causes import UNKNOWN
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import diagnose

if TYPE_CHECKING:
    from typing import Any, Callable, Iterator

    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.log_triage import Diagnosis

    class SourcedDiagnosis(Diagnosis):
        """A cause, and the file of the archive in which the cause was found."""

        source: str


# The commands that are run on a node, after the containers have been read. The most important command is first.
COMMANDS = {
    "npu-smi/info.txt": ["npu-smi", "info"],
    "npu-smi/mapping.txt": ["npu-smi", "info", "-m"],
    "npu-smi/version.txt": ["npu-smi", "-v"],
    "host/kernel.log": ["dmesg", "--ctime"],
    "host/docker.log": ["journalctl", "--unit=docker", "--unit=containerd", "--lines=2000", "--no-pager"],
    "host/disks.txt": ["df", "-hT"],
    "host/inodes.txt": ["df", "-i"],
    "host/memory.txt": ["free", "-m"],
    "host/addresses.txt": ["ip", "address"],
    "host/routes.txt": ["ip", "route"],
    "host/ports.txt": ["ss", "-antup"],
    "host/processes.txt": ["ps", "-eo", "pid,ppid,user,stat,etime,rss,wchan:32,comm"],
    "host/kernel-version.txt": ["uname", "-a"],
}
DAEMON = "/etc/docker/daemon.json"
# {file: path}, where %s is the folder of the driver.
FILES = {
    "versions/driver.txt": "%s/version.info",
    "versions/firmware.txt": "%s/../firmware/version.info",
    "versions/ascend-install.txt": "/etc/ascend_install.info",
    "versions/system.txt": "/etc/os-release",
    "host/hccn.conf": "/etc/hccn.conf",
    "docker/daemon.json": DAEMON,
}
DOCKER = {"docker/info.json": "/info", "docker/version.json": "/version"}
# Queries of npu-smi for each card, and of hccn_tool for each chip.
CARD = ("board", "health", "ecc", "usages", "memory", "common", "power", "temp")
FABRIC = (*hccn_query.QUERIES, "stat")
# Folders in a container: plog and the log of vLLM Ascend, and the log of ATB.
CONTAINER_LOGS = ("/root/ascend/log", "/root/atb/log")
# Maximum number of bytes from each file in these folders.
MAX_FILE_BYTES = 4 << 20
EVENTS_S = 3600
# The collected keys of each container in Docker's list. The command is omitted, because it can contain secrets.
LISTED = ("Id", "Names", "Image", "ImageID", "Created", "State", "Status", "Ports", "Mounts", "NetworkSettings")
# The collected attributes of an event. Others are labels, which can contain secrets of other users.
EVENT = ("name", "image", "exitCode", "signal", "container", "type", "driver", "oldName")


def query(request: Callable[..., Any], *arguments: Any) -> collecting.Files:
    """Return a response of Docker as text."""
    found = request(*arguments)
    # Secrets are masked before the text is encoded as JSON, which escapes line ends and quotation marks.
    return {"": Collected(found if isinstance(found, str) else json.dumps(redact_in(found), indent=2) + "\n")}


def list_containers(docker: DockerEngine) -> list[dict[str, Any]]:
    """Return all containers, without their commands and unrelated labels, which can contain secrets of other users.

    Containers of other users are included because they can use NPUs and ports.
    """
    listed = docker.get(labels.list_query(every_state=True)) or ()
    return [dict({key: each[key] for key in LISTED if key in each}, Labels=labels.own(each.get("Labels") or {}))
            for each in listed]


def events(docker: DockerEngine) -> str:
    """Return Docker's events of the last hour, one per line, without the commands of health checks."""
    now = int(time.time())
    lines = []
    for event in docker.get_lines("/events?" + urlencode({"since": now - EVENTS_S, "until": now})):
        action, attributes = str(event.get("Action")), (event.get("Actor") or {}).get("Attributes") or {}
        if not action.startswith("exec_"):
            lines.append("%s %s %s %s\n" % (
                time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(event.get("time") or 0)), event.get("Type"), action,
                " ".join("%s=%s" % (key, attributes[key]) for key in EVENT if key in attributes)))
    return "".join(lines)


def our_containers(docker: DockerEngine) -> list[dict[str, Any]]:
    """Return the inspected containers of this collection, or an empty list if Docker does not respond."""
    try:
        listed = docker.get(labels.list_query(labels.INSTANCE, every_state=True)) or ()
        found = [docker.get(containers.inspect_query(each["Id"])) for each in listed]
    except DockerError:
        return []
    return [each for each in found if each]


def stored_containers() -> list[tuple[dict[str, Any], str]]:
    """Return (configuration, folder) of our containers from Docker's data folder, for when Docker does not respond."""
    root = _parsed(facts.read_text(DAEMON)).get("data-root", "/var/lib/docker")
    found = [(_parsed(facts.read_text(path)), os.path.dirname(path))
             for path in sorted(glob.glob(os.path.join(root, "containers", "*", "config.v2.json")))]
    return [(stored, folder) for stored, folder in found
            if labels.INSTANCE in ((stored.get("Config") or {}).get("Labels") or {})]


def stored_log(folder: str, lines: int) -> collecting.Files:
    """Return the end of a log as Docker stores it: a JSON object with the key ``log`` for each line."""
    text = facts.read_end(os.path.join(folder, os.path.basename(folder) + "-json.log"), collecting.MAX_BYTES)
    return {"": Collected("".join(_parsed(line).get("log", "") for line in text.splitlines()[-lines:]))}


def _parsed(text: str) -> dict[str, Any]:
    """Return the object in a JSON string, or an empty object if the string is invalid, such as a truncated line."""
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def metrics(docker: DockerEngine, inspected: dict[str, Any], options: dict[str, Any]) -> collecting.Files:
    """Return the metrics of a running engine."""
    container = containers.read(inspected)
    if not container["running"] or container["port"] is None:
        return {}
    key = containers.api_key(docker, container["id"])
    url = base_url(reachable(container["bind"]), container["port"], container["tls"]) + "/metrics"
    with http_request.request(url, options["timeout_s"], collecting.MAX_BYTES, ca=options["ca"],
                              headers={"Authorization": "Bearer " + key} if key else None,
                              server_name=options["server_name"]) as response:
        text = response.read().decode("utf-8", "replace")
        return {"": Collected(text, 0, "status %d" % response.status if response.status != 200 else None)}


def log_files(docker: DockerEngine, inspected: dict[str, Any], path: str) -> Iterator[collecting.LogFile]:
    """Yield the files of a folder in a container, unless the folder is mounted from the node."""
    if not any(mount.get("Destination") == path for mount in inspected.get("Mounts") or ()):
        for name, entry, content in docker.files(inspected["Id"], path):
            yield name, entry.mtime, entry.size, content


def sources(docker: DockerEngine, ours: list[dict[str, Any]], stored: list[tuple[dict[str, Any], str]],
            commands: collecting.Commands, options: dict[str, Any]) -> dict[str, collecting.Source]:
    """Return ``{name of the file or folder: function}``, the most important first.

    :param stored: our containers, if Docker does not respond.
    """
    max_bytes = options["size_limit_mb"] << 20
    found: dict[str, collecting.Source] = {}
    for each in ours:
        name = "containers/" + each["Name"].lstrip("/")
        found[name + ".log"] = partial(query, containers.log, docker, each["Id"], options["log_lines"])
        found[name + ".json"] = partial(query, docker.get, containers.inspect_query(each["Id"]))
        found[name + "-metrics.txt"] = partial(metrics, docker, each, options)
    for configuration, folder in stored:
        name = "containers/" + configuration["Name"].lstrip("/")
        found[name + ".log"] = partial(stored_log, folder, options["log_lines"])
        found[name + ".json"] = partial(query, lambda value: value, configuration)
    found["docker/containers.json"] = partial(query, list_containers, docker)
    found["docker/events.txt"] = partial(query, events, docker)
    found.update((name, partial(query, docker.get, resource)) for name, resource in DOCKER.items())

    tools = dict(COMMANDS)
    tools.update(("npu-smi/%d-%s.txt" % (card, kind), ["npu-smi", "info", "-t", kind, "-i", str(card)])
                 for kind in CARD for card in options["cards"])
    tools.update(("hccn_tool/%d-%s.txt" % (npu, item), ["hccn_tool", "-i", str(npu), "-" + item, "-g"])
                 for item in FABRIC for npu in options["npus"])
    found.update((name, partial(commands.run, argv)) for name, argv in tools.items())
    found.update((name, partial(collecting.file, path.replace("%s", options["driver_path"])))
                 for name, path in FILES.items())

    plog_on_node = collecting.folder(os.path.join(options["state_path"], "plog"), MAX_FILE_BYTES)
    found["plog/"] = partial(collecting.newest, plog_on_node, max_bytes, MAX_FILE_BYTES)
    for each in ours:
        for path in CONTAINER_LOGS:
            found["plog/%s/%s/" % (each["Name"].lstrip("/"), path.split("/")[2])] = partial(
                collecting.newest, log_files(docker, each, path), max_bytes // 4, MAX_FILE_BYTES)
    return found


def recording(commands: collecting.Commands, found: collecting.Files, options: dict[str, Any]) -> collecting.Files:
    """Return what the vendor's tools print for the queries of our modules, and the files of the driver."""
    host = os.uname()
    # The queries of hccn_info are among those of this module.
    observation.query(lambda queries: {key: commands.outcome(argv) for key, argv in queries.items()}, "npu-smi")
    return {"": Collected(json.dumps(redact_in({
        "names": [host.nodename], "kernel": host.release, "architecture": host.machine,
        "devices": hccn_query.device_npus(os.listdir("/dev")),
        "files": {os.path.normpath(path.replace("%s", options["driver_path"])): found[name].text
                  for name, path in FILES.items() if path != DAEMON and found[name].rc == 0},
        "commands": [{"argv": each.argv, "rc": each.rc, "stdout": each.stdout, "stderr": each.stderr}
                     for each in list(commands.outcomes.values())
                     if each.argv[0] in observation.OWN_TOOLS and (each.timed_out or not each.error)]}), indent=1))}


def collect(options: dict[str, Any]) -> collecting.Files:
    """Return the files of the bundle, within the limits of time and size, with secrets masked."""
    docker, timeout_s = DockerEngine(options["docker_socket"], options["timeout_s"]), options["timeout_s"]
    ours, commands, started = our_containers(docker), collecting.Commands(timeout_s), time.monotonic()
    stored = [] if ours else stored_containers()
    found = collecting.collect(sources(docker, ours, stored, commands, options), timeout_s, options["limit_s"])
    if options["record"]:
        left_s = options["limit_s"] + started - time.monotonic()
        recorded = {observation.RECORDING: partial(recording, commands, found, options)}
        found = {**collecting.collect(recorded, left_s, left_s), **found}
    found = collecting.bounded(found, options["size_limit_mb"] << 20)
    secrets = [secret for each in [*ours, *(configuration for configuration, _folder in stored)]
               for secret in containers.secret_values(each)]
    secrets += containers.secrets_in(facts.read_text(os.path.join(options["state_path"], "secrets.env"))).values()
    # The lines of JSON files are not truncated, because the files would no longer be valid JSON.
    return {name: each._replace(text=redact(each.text, secrets, line_limit=not name.endswith(".json")),
                                problem=each.problem and redact(each.problem, secrets)) for name, each in found.items()}


def triage(found: collecting.Files) -> list[SourcedDiagnosis]:
    """Return the causes in the logs, ranked per log. The evidence of an unknown cause is an error in the log.

    In plog, only known causes count, because CANN also reports errors there that it has handled.
    """
    return [
        {**diagnosis, "source": name}
        for name, each in sorted(found.items()) if name.startswith(("containers/", "plog/")) and name.endswith(".log")
        for diagnosis in diagnose(each.text) if diagnosis["cause"] != "startup_ok" and diagnosis["evidence"]
        and (diagnosis["cause"] != UNKNOWN or name.startswith("containers/"))
    ]


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "log_lines": {"type": "int", "default": 5000},
        "timeout_s": {"type": "int", "default": 20},
        "limit_s": {"type": "int", "default": 300},
        "size_limit_mb": {"type": "int", "default": 64},
        "cards": {"type": "list", "elements": "int", "default": []},
        "npus": {"type": "list", "elements": "int", "default": []},
        "record": {"type": "bool", "default": False},
        "ca": {"type": "str"},
        "server_name": {"type": "str"},
        "driver_path": {"type": "path", "default": "/usr/local/Ascend/driver"},
        "state_path": {"type": "path", "default": "/var/lib/ascend-vllm"},
        "controller_time_s": {"type": "float", "default": 0},
        "docker_socket": {"type": "path", "default": "/var/run/docker.sock"},
    })
    options = module.params
    ahead = round(time.time() - options["controller_time_s"], 1) if options["controller_time_s"] else 0.0
    # On a fresh installation of the driver, hccn_tool is not on root's PATH.
    os.environ["PATH"] += ":/usr/local/bin:/usr/local/sbin:" + os.path.join(options["driver_path"], "tools")
    found = collect(options)
    archive = collecting.pack((name, each.text) for name, each in found.items() if each.text or each.problem is None)
    module.exit_json(
        changed=False, diagnosis=triage(found), clock_offset_s=ahead, archive=base64.b64encode(archive).decode("ascii"),
        files={name: {"rc": each.rc, "size": len(each.text), "problem": each.problem} for name, each in found.items()})


if __name__ == "__main__":
    main()
