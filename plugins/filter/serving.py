# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What the role serving asks of the plan."""

from __future__ import annotations

from ansible.errors import AnsibleFilterError

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import is_instance
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import topology
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import group, replacement
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import patch as patching


def patched(text, patch):
    """Return the text of a file with the patch of the plan applied."""
    try:
        return patching.patched(text, patch)
    except patching.PatchError as error:
        raise AnsibleFilterError(str(error)) from error


def bind_mounts(instance):
    """Return the mounts of an instance as community.docker.docker_container takes them.

    Mounts of type bind, unlike volumes, fail for a source that is not there instead of making an empty folder.
    """
    return [{"type": "bind", "source": mount["source"], "target": mount["target"], "read_only": mount["read_only"]}
            for mount in instance["mounts"]]


def container_environment(instance, observed):
    """Return the environment of the container of an instance.

    In a group the network interface is added that was found on the node, or that serving_interface names.
    """
    if "address" not in instance:
        return instance["environment"]
    name, missing = group.interface(instance, observed["addresses"])
    if missing:
        raise AnsibleFilterError(missing)
    return dict(instance["environment"], **topology.interface_environment(name))


def superfluous(ours, plan):
    """Return those of our containers that are instances of this deployment and that the plan no longer has.

    Other deployments on the node have another serving_container_name and are left alone.
    """
    planned = [instance["name"] for instance in plan["instances"]]
    return [name for name in ours if is_instance(name, planned[0]) and name not in planned]


def why(result):
    """Return the messages of a task that failed: of a loop those of its items, which Ansible does not put together."""
    items = [item for item in result.get("results", ()) if item.get("failed") or item.get("unreachable")]
    return " ".join(str(each["msg"]) for each in items or [result] if each.get("msg")) or "no reason was given"


class FilterModule:
    """The filters by name."""

    def filters(self):
        """Return them."""
        return {"bind_mounts": bind_mounts, "container_environment": container_environment, "patched": patched,
                "superfluous": superfluous, "aside": replacement.aside, "outdated": replacement.outdated,
                "put_aside": replacement.put_aside, "restoration": replacement.restoration,
                "served": replacement.served, "why": why}
