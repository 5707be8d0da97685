# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renamed inputs. An inventory that still sets an old name is refused, because the variable would be ignored."""

from __future__ import annotations

from collections.abc import Iterable

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Finding

# {old name: new name}
RENAMED: dict[str, str] = {
    "accuracy_packages": "accuracy_requirements",
    "hccl_collective_enabled": "hccl_collective_policy",
    "hccl_collective_min_bus_bandwidth_gbs": "hccl_collective_bus_bandwidth_minimum_gbs",
    "hccl_record_baseline": "hccl_baseline_save",
    "npu_driver_engine_maximum": "npu_driver_docker_engine_maximum",
    "npu_driver_engine_minimum": "npu_driver_docker_engine_minimum",
    "npu_driver_engine_socket": "plan_docker_socket",
    "npu_driver_tool_wedged_s": "npu_driver_tool_timeout_s",
    **{"serving_" + name: name for name in (
        "balancer_bind", "balancer_enabled", "balancer_hosts", "balancer_max_connections", "balancer_nodes",
        "balancer_path", "balancer_port", "balancer_timeout_s", "balancer_watch_interval_s", "balancer_watch_port",
        "balancer_watch_retries")},
}


def renamed(variables: Iterable[str]) -> list[Finding]:
    """Return one refusal for each old name among the variables, in alphabetical order."""
    return [{"id": name, "message": f"The variable {name} is now named {RENAMED[name]}; rename it in the inventory."}
            for name in sorted(RENAMED.keys() & set(variables))]
