# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Verify certificates as the clients of a service do."""

from __future__ import annotations

import contextlib
import os
import ssl
import time
from collections.abc import Sequence


def client_context(ca: str | None) -> ssl.SSLContext:
    """Return the settings of a client, which verifies the certificate and the host name of a server.

    :param ca: the trusted CA certificates as PEM. By default, the CA certificates of the system are trusted.
    """
    return ssl.create_default_context(cadata=ca or None)


def certificate_problem(files: Sequence[str], ca: str | None, name: str) -> str | None:
    """Return why clients would not accept a server with this certificate and key, or None if they would.

    :param files: the paths of two PEM files: the certificate, followed by the certificates of intermediate CAs, and its
        key.
    :param ca: see `client_context`.
    :param name: the name or IP address to which clients connect.
    """
    server_context, (certificate, key) = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), files
    try:
        # Without this function, OpenSSL would ask for the password of an encrypted key on the terminal.
        server_context.load_cert_chain(certificate, key, lambda: b"")
        if os.stat(key).st_mode & 0o004:
            return "every user can read the key %s; set its mode to 0600" % key
    except (OSError, ValueError) as error:
        if getattr(error, "reason", None) == "KEY_VALUES_MISMATCH":
            return "the key does not belong to the certificate"
        return "certificate and key cannot be read: they must be PEM files, the key without a password (%s)" % error
    # A connection in memory.
    to_client, to_server = ssl.MemoryBIO(), ssl.MemoryBIO()
    try:
        client = client_context(ca).wrap_bio(to_client, to_server, server_hostname=name)
        server = server_context.wrap_bio(to_server, to_client, server_side=True)
        for side in (client, server, client):
            with contextlib.suppress(ssl.SSLWantReadError):
                side.do_handshake()
    except ssl.SSLCertVerificationError as error:
        return rejection(error)
    except (ssl.SSLError, ValueError) as error:
        return "a TLS connection with the certificate fails: %s" % error
    return None


def rejection(error: ssl.SSLCertVerificationError) -> str:
    """Return the reason why a client rejects a certificate, without a period."""
    return error.verify_message.rstrip(".")


def days_left(connection: ssl.SSLSocket) -> float:
    """Return the number of days until the verified certificate of the server expires."""
    expires_s = ssl.cert_time_to_seconds(str((connection.getpeercert() or {})["notAfter"]))
    return round((expires_s - time.time()) / 86400, 1)
