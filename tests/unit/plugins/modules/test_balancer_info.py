# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another process on the balancer port is reported, and the balancer certificate is checked."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.modules import balancer_info
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority


@pytest.mark.parametrize(("cgroup", "expected"), [
    ("0::/system.slice/ascend-vllm-balancer.service\n", None),
    ("0::/system.slice/ascend-vllm-balancer-watch.service\n", None),
    ("0::/system.slice/ssh.service\n", "process 7 (sshd)"),
    ("", "process 7 (sshd)"),
])
def test_another_process_on_the_port_is_reported(monkeypatch, cgroup, expected):
    monkeypatch.setattr(balancer_info.holders, "open_files", lambda ports: (
        {22: {"pid": 7, "process": "sshd", "cgroup": cgroup}}, {}))
    assert balancer_info.holder(22) == expected
    assert balancer_info.holder(23) is None


class Exit(Exception):
    """Raised by exit_json and fail_json, with the return values."""


@pytest.mark.parametrize(("host", "days", "problem"), [
    ("lb.example", 1, None), ("lb.example", -1, "certificate has expired"),
    ("other.example", 1, "Hostname mismatch, certificate is not valid for 'lb.example'")])
def test_certificate_is_checked_without_a_request(monkeypatch, tmp_path, host, days, problem):
    authority, url = Authority(tmp_path), "https://lb.example:8080"
    files = authority.issue("balancer", host, days)

    class Module:
        params = {"url": url, "port": None, "certificate_files": files, "ca": authority.path.read_text()}

        def __init__(self, **_specification):
            pass

        def exit_json(self, **result):
            raise Exit(result["completion"])

        def fail_json(self, msg):
            raise Exit(msg)

    monkeypatch.setattr(balancer_info, "AnsibleModule", Module)
    monkeypatch.setattr(balancer_info.haproxy, "SOCKET", str(tmp_path / "none"))
    with pytest.raises(Exit) as end:
        balancer_info.main()
    assert end.value.args[0] == (problem and f"The certificate {files[0]} cannot be used for {url}: {problem}. Correct "
                                 "balancer_tls_certificate and balancer_tls_key. The balancer was not changed.")
