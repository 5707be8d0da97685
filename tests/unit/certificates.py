# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Certificates for tests. Command line: ``certificates.py FOLDER NAME=HOST[@DAYS] …`` (see `Authority`)."""

from __future__ import annotations

import datetime
import ipaddress
import sys
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID


class Authority:
    """A CA that signs server certificates. Its own certificate is ``<folder>/<name>.pem``."""

    def __init__(self, folder, name="ca"):
        self.folder, self.path = Path(folder), Path(folder) / f"{name}.pem"
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"test {name}")])
        self._id = x509.SubjectKeyIdentifier.from_public_key(self._key.public_key())
        usage = x509.KeyUsage(False, False, False, False, False, True, False, False, False)
        self._write(self.path, self._sign(self._name, self._key, 3650, [
            (x509.BasicConstraints(True, None), True), (usage, True), (self._id, False)]))

    def issue(self, name, host, days=365):
        """Write ``<name>.pem`` and ``<name>.key`` for a host name or IP address.

        :param days: the number of days until the certificate expires; negative if it has expired.
        """
        key = ec.generate_private_key(ec.SECP256R1())
        try:
            entry = x509.IPAddress(ipaddress.ip_address(host))
        except ValueError:
            entry = x509.DNSName(host)
        issuer = x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(self._id)
        paths = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        self._write(paths[0], self._sign(x509.Name([]), key, days, [
            (x509.SubjectAlternativeName([entry]), True), (issuer, False)]))
        self._write(paths[1], key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
        return tuple(map(str, paths))

    def _sign(self, subject, key, days, extensions):
        now = datetime.datetime.now(datetime.timezone.utc)
        builder = x509.CertificateBuilder(
            self._name, subject, key.public_key(), x509.random_serial_number(),
            now - datetime.timedelta(days=400), now + datetime.timedelta(days=days))
        for extension, critical in extensions:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def _write(path, content):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        path.chmod(0o600 if path.suffix == ".key" else 0o644)


if __name__ == "__main__":
    authority = Authority(sys.argv[1])
    for argument in sys.argv[2:]:
        file, _equals, rest = argument.partition("=")
        server, _at, valid_days = rest.partition("@")
        authority.issue(file, server, int(valid_days or 365))
    Authority(sys.argv[1], "other")
