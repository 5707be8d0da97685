# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations


class ModuleDocFragment:
    """The option of the modules that use the Docker engine."""

    DOCUMENTATION = r"""
options:
  docker_socket: {type: path, default: /var/run/docker.sock, description: "The path of the Unix socket of the Docker
    engine on the node. The roles of this collection set this option to their input C(plan_docker_socket)."}
attributes:
  action_group:
    description: C(module_defaults) can set the options of all modules in this group.
    support: full
    membership: [ascend.vllm.docker]
"""
