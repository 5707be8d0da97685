# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Containers as ``ascend.vllm.serving_info`` returns them."""

from __future__ import annotations

NAME = "vllm-ascend-qwen25-vl"


def containers(*names, **changes):
    """Return running containers with these names, which are also their ids."""
    return [dict({"id": name, "name": name, "status": "running", "hash": "h", "image": "sha256:i", "port": 8888,
                  "bind": "0.0.0.0", "tls": False, "served_name": "qwen25_vl",
                  "load": {"running": 0, "waiting": 0, "kv_cache_usage": 0.0}, "devices": [0, 1], "created_s": 50,
                  "started_s": 100, "image_digest": None, "restart_policy": "always", "command": []}, **changes)
            for name in names]


def observed(existing, **changes):
    """Return the state of a node with these containers."""
    return dict({"containers": existing, "image": "sha256:i", "docker_engine_error": None, "instances": [], "now_s": 0},
                **changes)


def as_planned(plan):
    """Return the containers of a plan."""
    return [container for instance in plan["instances"]
            for container in containers(
                instance["name"], hash=instance["hash"], port=instance["port"],
                command=[*instance["launcher"], *instance["command"]])]
