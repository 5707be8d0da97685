# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A certificate is usable only if clients would accept it. Otherwise, the problem is described in one clause."""

from __future__ import annotations

import os
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._host import tls
from ansible_collections.ascend.vllm.tests.unit.certificates import Authority


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.mark.parametrize(("host", "days", "name", "problem"), [
    ("node1.example", 1, "node1.example", None),
    ("10.0.0.1", 1, "10.0.0.1", None),
    ("fd00::1", 1, "fd00::1", None),
    ("node1.example", -1, "node1.example", "certificate has expired"),
    ("node1.example", 1, "node2.example", "Hostname mismatch, certificate is not valid for 'node2.example'"),
    ("10.0.0.1", 1, "10.0.0.2", "IP address mismatch, certificate is not valid for '10.0.0.2'"),
])
def test_server_certificate_must_be_current_and_valid_for_the_name(authority, host, days, name, problem):
    certificate, key = authority.issue("server", host, days)
    assert tls.certificate_problem((certificate, key), authority.path.read_text(), name) == problem


def test_certificate_from_an_untrusted_ca_is_refused(authority):
    files = authority.issue("server", "a.example")
    other = Authority(authority.folder, "other").path.read_text()
    for ca in (other, None, ""):
        assert tls.certificate_problem(files, ca, "a.example") == "unable to get local issuer certificate"
    assert tls.certificate_problem(files, other + authority.path.read_text(), "a.example") is None
    assert "does not contain a certificate" in tls.certificate_problem(files, "none", "a.example")


def test_key_that_every_user_can_read_is_refused(authority):
    certificate, key = authority.issue("server", "a.example")
    os.chmod(key, 0o644)
    assert tls.certificate_problem((certificate, key), authority.path.read_text(), "a.example") == (
        f"every user can read the key {key}; set its mode to 0600")


def test_key_that_does_not_match_or_cannot_be_read_is_refused(authority):
    ca, (certificate, key) = authority.path.read_text(), authority.issue("server", "a.example")
    _other, other_key = authority.issue("another", "a.example")
    assert tls.certificate_problem((certificate, other_key), ca, "a.example") == (
        "the key does not belong to the certificate")
    encrypted = authority.folder / "encrypted.key"
    subprocess.run(["openssl", "pkey", "-in", key, "-aes256", "-passout", "pass:sesame", "-out", encrypted], check=True)
    for files in ((key, key), (certificate, certificate), (certificate, str(encrypted)), ("/none", key)):
        assert tls.certificate_problem(files, ca, "a.example").startswith(
            "certificate and key cannot be read: they must be PEM files, the key without a password (")
