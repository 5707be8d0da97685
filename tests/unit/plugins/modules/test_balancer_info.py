# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The process that listens on the port of the balancer."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.modules import balancer_info


@pytest.mark.parametrize(("cgroup", "expected"), [
    ("0::/system.slice/ascend-vllm-balancer.service\n", None),
    ("0::/system.slice/ascend-vllm-balancer-watch.service\n", None),
    ("0::/system.slice/ssh.service\n", "process 7 (sshd)"),
    ("", "process 7 (sshd)"),
])
def test_another_process_on_the_port(monkeypatch, cgroup, expected):
    monkeypatch.setattr(balancer_info.holders, "open_files", lambda ports: (
        {22: {"pid": 7, "process": "sshd", "cgroup": cgroup}}, {}))
    assert balancer_info.holder(22) == expected
    assert balancer_info.holder(23) is None
