# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The table that ``playbooks/status.yml`` prints."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, NamedTuple

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import PREVIOUS
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import REJECTED
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.wording import age
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.replacement import deployment

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm import serving_state


class Row(NamedTuple):
    """The cells of one instance. A cell without a value contains a dash."""

    host: str
    instance: str
    #: Status of the container, or the reason why there is no more information.
    container: str
    state: str = ""
    running: str = ""
    waiting: str = ""
    kv_cache: str = ""
    npus: str = ""
    up_for: str = ""
    plan: str = ""
    image: str = ""


HEADER = Row("host", "instance", "container", "state", "running", "waiting", "KV cache", "NPUs", "up for", "plan",
             "image")


def rows(host: str, plan: Plan, observed: serving_state.ServingState) -> list[Row]:
    """Return a row for each planned or deployed instance of the host. ``observed`` must include the load."""
    if observed["docker_engine_error"]:
        return [Row(host, "-", observed["docker_engine_error"])]
    planned = {instance["name"]: instance for instance in plan["instances"]}
    states = {instance["name"]: _state(instance) for instance in observed["instances"]}
    ours = {container["name"]: container for container in deployment(observed["containers"], plan)}
    found = []
    for name in [*planned, *(name for name in ours if name not in planned)]:
        if name in ours:
            found.append(_row(host, ours[name], planned.get(name), states.get(name), observed))
        else:
            container = "none" if states.get(name, "missing") == "missing" else "not ours"
            found.append(Row(host, name, container, "-", "-", "-", "-", _numbers(planned[name]["npus"]), "-",
                             "not deployed", "-"))
    return found


def _row(host: str, container: serving_state.DeployedContainer, instance: Instance | None, state: str | None,
         observed: serving_state.ServingState) -> Row:
    load: Any = container.get("load") or {}
    usage = load.get("kv_cache_usage")
    running = container["status"] == "running"
    return Row(host=host, instance=container["name"], container=container["status"],
               state=(state or "-") if running else "stopped", running=str(load.get("running", "-")),
               waiting=str(load.get("waiting", "-")), kv_cache="-" if usage is None else "%.0f %%" % (100 * usage),
               npus=_numbers(container["devices"]),
               up_for=age(max(0, int(observed["now_s"] - (container["started_s"] or 0)))) if running else "-",
               plan=_plan(container, instance, observed["image"]),
               image=(container.get("image_digest") or container["image"])[:19])


def _plan(container: serving_state.DeployedContainer, instance: Instance | None, image: str | None) -> str:
    """Return how a container differs from the plan."""
    if instance is None:
        return "kept by an upgrade" if container["name"].endswith(PREVIOUS) else "no longer planned"
    if container["hash"] != instance["hash"]:
        return "drift %s" % container["hash"]
    return "as planned" if container["image"] == image else "other image"


def _state(instance: serving_state.InstanceState) -> str:
    """Return the state of an instance, which is hung if it is not ready and Docker reports it as unhealthy."""
    container = instance["container"]
    if (instance["reason"] or "").startswith(REJECTED):
        return "certificate not accepted"
    unhealthy = (container is not None and container["status"] == "running" and container["health"] is not None
                 and container["health"]["status"] == "unhealthy")
    return "hung" if unhealthy and instance["state"] != "ready" else instance["state"]


def _numbers(devices: Iterable[int]) -> str:
    return ",".join(map(str, devices)) or "-"
