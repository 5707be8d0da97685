# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Filters of the roles serving and weights."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from ansible.errors import AnsibleFilterError

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key, topology
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.container import docker_mounts
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import first_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group, replacement
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving.patch import patched
from ansible_collections.ascend.vllm.plugins.plugin_utils._text import NO_REASON

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm.prerequisites import ServingObservation

# Messages of Ansible that say neither which command failed nor why.
_OF_A_COMMAND = re.compile(r"non-zero return code|Error executing command\.")


def container_environment(instance: Instance, observed: ServingObservation) -> dict[str, str]:
    """Return the environment of a container. In a group, it names the network interface with the address of the node.

    :raises AnsibleFilterError: if no interface has this address, or serving_interface names a different interface.
    """
    if "address" not in instance:
        return instance["environment"]
    name, missing = group.interface(instance["address"], instance["interface"], observed["addresses"])
    if name is None:
        raise AnsibleFilterError(missing)
    return dict(instance["environment"], **topology.interface_environment(name))


def failure_message(result: Mapping[str, Any]) -> str:
    """Return the message of ``ansible_failed_result``, or the messages of the failed items if the task has a loop."""
    items = [item for item in result.get("results", ()) if item.get("failed") or item.get("unreachable")]
    return " ".join(dict.fromkeys(_reason(each) for each in items or [result] if each.get("msg"))) or NO_REASON


def _reason(result: Mapping[str, Any]) -> str:
    """Return the message of a failed task or item, and the command and the last line of its error if it ran one."""
    message = str(result["msg"])
    if not _OF_A_COMMAND.fullmatch(message):
        return message
    command = result.get("cmd", "")
    words = command if isinstance(command, str) else " ".join(map(str, command))
    return "%.200s: %s" % (words, (str(result.get("stderr") or "").strip() or message).splitlines()[-1])


class FilterModule:
    def filters(self) -> dict[str, Callable[..., Any]]:
        return {"bind_mounts": docker_mounts, "container_environment": container_environment,
                "failure_message": failure_message, "first_key": first_key, "kept_steps": replacement.kept_steps,
                "key_environment": api_key.environment_file, "patched": patched,
                "plan_of_running": replacement.plan_of_running, "replacement_reasons": replacement.replacement_reasons,
                "restore_steps": replacement.restore_steps, "rollback_steps": replacement.rollback_steps,
                "unplanned_containers": replacement.unplanned_containers, "upgrade_steps": replacement.upgrade_steps,
                "without_neighbors": replacement.without_neighbors}
