# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate changes the plan as expected, and unsuitable inputs are refused."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import tls
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    group_plans,
    plan_with,
    refusal,
    valid,
)

FILES = {"serving_tls_certificate": "/c.pem", "serving_tls_key": "/k.pem"}


def test_api_with_a_certificate_uses_https():
    (plain,), (secure,) = (valid(**inputs)["instances"] for inputs in ({}, FILES))
    assert secure["url"] == plain["url"].replace("http:", "https:")
    assert secure["command"] == [*plain["command"], "--ssl-certfile", "/run/ascend-vllm/certificate.pem",
                                 "--ssl-keyfile", "/run/ascend-vllm/key.pem"]
    assert [mount for mount in secure["mounts"] if mount not in plain["mounts"]] == [
        {"source": source, "target": f"/run/ascend-vllm/{name}.pem", "type": "file", "read_only": True, "origin": "tls"}
        for source, name in (("/c.pem", "certificate"), ("/k.pem", "key"))]
    assert [word for word in secure["health"]["test"] if word not in plain["health"]["test"]] == ["--tls"]
    assert (plain["tls"], secure["tls"]) == (False, True)
    assert secure["hash"] != plain["hash"]


def test_api_key_middleware_remains_the_last_option():
    (instance,) = valid(serving_api_key="set", **FILES)["instances"]
    assert instance["command"][-2] == "--middleware"


def test_only_the_head_of_a_group_has_a_certificate():
    plans = group_plans("data_parallel", **FILES)
    assert [plan["instances"][0]["tls"] for plan in plans.values()] == [True, False]


def test_key_over_https_causes_no_warning():
    found = [[warning["id"] for warning in valid(serving_api_key="set", **inputs)["warnings"]]
             for inputs in ({}, FILES)]
    assert ["serving_api_key.plaintext" in warnings for warnings in found] == [True, False]


@pytest.mark.parametrize(("inputs", "part"), [
    ({"serving_tls_certificate": "/c.pem"}, "serving_tls_key is empty; set both serving_tls_certificate and "),
    ({"serving_tls_key": "/k.pem"}, "serving_tls_certificate is empty; set both"),
    ({**FILES, "serving_tls_key": "-----BEGIN PRIVATE KEY-----\nsesame"}, "serving_tls_key must be the absolute path"),
    ({**FILES, "serving_tls_key": ["sesame"]}, "serving_tls_key must be the absolute path"),
    ({**FILES, "serving_tls_certificate": "certs/node.pem"}, "serving_tls_certificate must be the absolute path"),
    ({"serving_args": {"ssl-keyfile": "/k"}}, "sets ssl-keyfile, which serving_tls_key controls"),
    ({"serving_args": {"ssl_certfile": "/c"}}, "sets ssl-certfile, which serving_tls_certificate controls"),
    ({"serving_args": {"ssl-ca-certs": "/c"}}, "sets ssl-ca-certs, which serving_tls_ca controls"),
    ({"serving_args": {"ssl-cert-reqs": 2}}, "sets ssl-cert-reqs, which serving_tls_ca controls"),
])
def test_unsuitable_input_is_refused(inputs, part):
    assert part in refusal(**inputs)
    assert "sesame" not in str(plan_with(**inputs))


def test_ca_file_is_refused_unless_it_contains_certificates(tmp_path):
    authority = Authority(tmp_path)
    assert tls.ca_certificates("") is None
    assert tls.ca_certificates(str(authority.path)) == authority.path.read_text()
    (tmp_path / "large").write_text(authority.path.read_text() + "#" * tls.MAX_CA_BYTES)
    (tmp_path / "empty").write_text("")
    (tmp_path / "binary").write_bytes(b"\xff\xfe")
    for name in ("missing", "empty", "binary", ".", "large"):
        with pytest.raises(tls.BadCertificates, match=r"^serving_tls_ca must be a file o"):
            tls.ca_certificates(str(tmp_path / name))
