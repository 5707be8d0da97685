# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Return the relevant properties of containers and their logs, with secrets masked.

No other file interprets the output of ``docker inspect``. The labels, environments and commands of other containers are
not returned, because they can contain secrets.
"""

from __future__ import annotations

import calendar
import re
import shlex
import time
from typing import TYPE_CHECKING
from urllib.parse import quote

from ansible_collections.ascend.vllm.plugins.module_utils._ascend.npu_devices import device_number, visible_devices
from ansible_collections.ascend.vllm.plugins.module_utils._docker import labels
from ansible_collections.ascend.vllm.plugins.module_utils._docker.engine import DockerEngine, DockerError
from ansible_collections.ascend.vllm.plugins.module_utils._host.facts import read_text
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import is_secret, redact

if TYPE_CHECKING:
    from typing import Any, Iterable, TypedDict

    class ContainerHealth(TypedDict):
        """The result of Docker's health check."""

        status: str  # starting, healthy or unhealthy
        failures: int  # the number of consecutive failed checks
        output: str  # the first characters of the last output; empty for a container that is not of this collection

    class ContainerState(TypedDict):
        """A container. The environment is omitted, because it can contain secrets."""

        id: str
        name: str
        image: str  # the id of the image
        image_name: str  # the name from which the container was created
        labels: dict[str, str]  # the labels of this collection
        hash: str | None  # the hash of the planned instance; None if the container is not of this collection
        secrets: str | None  # identifies the API key of the container without containing the key
        interface: str | None  # the network interface for the traffic within a group
        status: str  # created, running, paused, restarting, removing, exited or dead
        running: bool  # whether the main process exists; also true for a paused container
        pid: int  # the process id of the main process, or 0 if there is no process
        exit_code: int
        oom_killed: bool
        error: str | None  # why the container could not be started; None if it is not of this collection
        created_s: float  # in seconds since the epoch
        started_at: str  # in the format of Docker, such as 2026-01-02T03:04:05.678901234Z
        started_s: float | None  # the same time in seconds since the epoch; None if it was never started
        finished_s: float | None  # in seconds since the epoch; None if it has never exited
        restarts: int
        health: ContainerHealth | None  # None if there is no health check
        restart_policy: str
        privileged: bool
        devices: list[int]  # the numbers N of /dev/davinciN in the container
        ports: list[int]  # the TCP ports of the host that the container publishes
        command: list[str]  # empty if the container is not an instance of this collection
        # The options of `vllm serve` in the command of the container.
        bind: str
        port: int | None
        tls: bool
        served_name: str | None
        shutdown_timeout_s: int


# The states of a container whose process has exited. A restarting container waits for its next start.
ENDED = ("exited", "dead", "restarting")

_SIGNALS = {134: ", killed by SIGABRT", 137: ", killed by SIGKILL", 139: ", killed by SIGSEGV",
            143: ", terminated by SIGTERM"}
# Runtimes that ignore ASCEND_VISIBLE_DEVICES.
_OTHER_RUNTIMES = re.compile(
    r"(?:io\.containerd\.)?(?:runc|crun|youki|runsc|kata[\w-]*|runtime)(?:\.v\d+(?:\.linux)?)?\Z")
_SECRET_NAMES = ("KEY", "TOKEN", "SECRET", "PASSWORD")
# A switch or a number, such as TOKENIZERS_PARALLELISM=false. It is not masked, because it occurs in many strings.
_NO_SECRET = re.compile(r"(?i)(?:true|false|none|null|on|off|yes|no|auto|[\d.]*)$")


def inspect(docker: DockerEngine, name: str) -> ContainerState | None:
    """Return the container with a name or id, or None if there is no such container. Raise DockerError on failure."""
    inspected = docker.get(inspect_query(name))
    try:
        return read(inspected) if inspected else None
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DockerError("the Docker engine returns the container %s in an unknown format (%r)" % (
            name, error)) from error


def inspect_query(name: str) -> str:
    """Return the path in the Docker API that describes a container."""
    return "/containers/%s/json" % quote(name, safe="")


def find(docker: DockerEngine, label: str | None = None, every_state: bool = False) -> list[ContainerState]:
    """Return the containers that `labels.list_query` selects, sorted by name. Raise DockerError on failure."""
    listed = docker.get(labels.list_query(label, every_state)) or ()
    found = [inspect(docker, each["Id"]) for each in listed]
    # A container that was removed after the list was returned is None.
    return sorted((each for each in found if each), key=lambda each: each["name"])


def read(inspected: dict[str, Any]) -> ContainerState:
    """Return the relevant properties from the output of ``docker inspect``."""
    config, host, state = inspected["Config"], inspected["HostConfig"], inspected["State"]
    own, environment = labels.own(config.get("Labels") or {}), _environment(config)
    options = _options(config.get("Cmd") or [])
    return {
        "id": inspected["Id"], "name": inspected["Name"].lstrip("/"),
        "image": inspected["Image"], "image_name": config["Image"],
        "labels": own, "hash": own.get(labels.INSTANCE), "secrets": own.get(labels.SECRETS),
        "interface": environment.get("GLOO_SOCKET_IFNAME"),
        "status": state["Status"], "running": state["Running"], "pid": state["Pid"],
        "exit_code": state["ExitCode"], "oom_killed": state["OOMKilled"],
        # The error of a container that is not of this collection can contain its command.
        "error": (_masked(state.get("Error") or "", inspected) or None) if own else None,
        "created_s": seconds(inspected["Created"]) or 0,
        "started_at": state["StartedAt"], "started_s": seconds(state["StartedAt"]),
        "finished_s": seconds(state["FinishedAt"]),
        "restarts": inspected["RestartCount"],
        "health": _health(state.get("Health"), inspected if own else None),
        "restart_policy": (host.get("RestartPolicy") or {}).get("Name") or "no",
        "privileged": bool(host.get("Privileged")),
        "devices": _devices(host, environment),
        "ports": _published_ports(inspected.get("NetworkSettings") or {}),
        "command": list(config.get("Cmd") or ()) if labels.INSTANCE in own else [],
        "bind": options.get("--host", "0.0.0.0"), "port": _number(options.get("--port")),
        "tls": "--ssl-certfile" in options,
        "served_name": options.get("--served-model-name"),
        "shutdown_timeout_s": _number(options.get("--shutdown-timeout")) or 0,
    }


def seconds(stamp: str) -> float | None:
    """Convert a time in the format of Docker to seconds since the epoch, or to None for the year 1 (never)."""
    date_time, _dot, fraction = stamp.rstrip("Z").partition(".")
    try:
        since_epoch_s = calendar.timegm(time.strptime(date_time, "%Y-%m-%dT%H:%M:%S")) + float("0." + (fraction or "0"))
    except ValueError:
        return None
    return since_epoch_s if since_epoch_s > 0 else None


def exit_reason(container: ContainerState) -> str:
    """Return a clause that describes how a container exited."""
    code = container["exit_code"]
    how = ", killed because memory ran out" if container["oom_killed"] else _SIGNALS.get(code, "")
    return "the container exited with exit code %d%s" % (code, how)


def log(docker: DockerEngine, name: str, lines: int, since_s: float | None = None, secrets: Iterable[str] = ()) -> str:
    """Return the end of the log of a container (see `DockerEngine.log`), with secrets masked.

    :param secrets: known secrets, in addition to those of the container.
    :raises DockerError: if Docker does not respond.
    """
    return _masked(docker.log(name, lines, since_s), docker.get(inspect_query(name)) or {}, secrets)


def _masked(text: str, inspected: dict[str, Any], secrets: Iterable[str] = ()) -> str:
    return redact(text, [*secrets, *secret_values(inspected)]) if text else text


def secret_values(inspected: dict[str, Any]) -> list[str]:
    """Return the secrets in the environment and the secrets file of a container (the output of ``docker inspect``)."""
    secrets = [value for name, value in _environment(inspected.get("Config") or {}).items()
               if is_secret(name, value)
               or (any(word in name.upper() for word in _SECRET_NAMES) and not _NO_SECRET.match(value))]
    return secrets + list(_secrets_file(inspected).values())


def api_key(docker: DockerEngine, name: str) -> str | None:
    """Return the API key with which a container of this collection runs, or None. Raise DockerError on failure."""
    return _secrets_file(docker.get(inspect_query(name)) or {}).get("VLLM_API_KEY")


def _secrets_file(inspected: dict[str, Any]) -> dict[str, str]:
    """Return the variables in the secrets file of a container, which its launcher reads."""
    return secrets_in("".join(read_text(mount["Source"]) for mount in inspected.get("Mounts") or ()
                              if mount.get("Destination") == labels.SECRETS_TARGET))


def secrets_in(text: str) -> dict[str, str]:
    """Return the variables in the content of a secrets file."""
    try:
        words = shlex.split(text)
    except ValueError:  # a closing quotation mark is missing
        words = text.split()
    return {name: value for name, _equals, value in (word.partition("=") for word in words)}


def _environment(config: dict[str, Any]) -> dict[str, str]:
    return {name: value for name, _equals, value in (entry.partition("=") for entry in config.get("Env") or ())}


def _options(words: list[str]) -> dict[str, str]:
    return {word: value for word, value in zip(words, words[1:]) if word.startswith("--")}


def _number(text: str | None) -> int | None:
    return int(text) if text is not None and re.match(r"[0-9]{1,9}\Z", text) else None


def _health(health: dict[str, Any] | None, inspected: dict[str, Any] | None) -> ContainerHealth | None:
    """Return the result of the health check. Without ``inspected``, its output is omitted."""
    if not health or health["Status"] == "none":
        return None
    checks = health.get("Log") or ()
    output = _masked(checks[-1].get("Output", "").strip(), inspected)[:200] if checks and inspected else ""
    return {"status": health["Status"], "failures": health.get("FailingStreak", 0), "output": output}


def _devices(host: dict[str, Any], environment: dict[str, str]) -> list[int]:
    numbers = {device_number(device["PathOnHost"]) for device in host.get("Devices") or ()}
    # "Runtime" is also set for a container with the default runtime. The name of Ascend Docker Runtime differs between
    # sites, so the runtimes that ignore the variable are excluded. A privileged container has all devices with any
    # runtime, and the variable contains the devices that it uses.
    # With the option VIRTUAL, the numbers are those of /dev/vdavinciN, which are parts of NPUs.
    virtual = "VIRTUAL" in environment.get("ASCEND_RUNTIME_OPTIONS", "")
    if not virtual and (host.get("Privileged") or not _OTHER_RUNTIMES.match(host.get("Runtime") or "")):
        numbers |= visible_devices(environment.get("ASCEND_VISIBLE_DEVICES", ""))
    return sorted(number for number in numbers if number is not None)


def _published_ports(network: dict[str, Any]) -> list[int]:
    published = {binding["HostPort"] for port, bindings in (network.get("Ports") or {}).items()
                 if port.endswith("/tcp") for binding in bindings or ()}
    return sorted(int(port) for port in published if port.isdigit())
