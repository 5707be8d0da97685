# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of an API, and the CA certificates that our clients trust."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.ascend.vllm.plugins.module_utils._host.tls import client_context

# The files in the container, by the inputs that set their sources.
TARGETS = {"serving_tls_certificate": "/run/ascend-vllm/certificate.pem", "serving_tls_key": "/run/ascend-vllm/key.pem"}
OPTIONS = ["--ssl-certfile", TARGETS["serving_tls_certificate"], "--ssl-keyfile", TARGETS["serving_tls_key"]]
# A client gets the certificates in an environment variable, which can contain at most 128 KiB.
MAX_CA_BYTES = 100_000


class BadCertificates(ValueError):
    """The CA certificates cannot be used. The message is one sentence that names the input."""


def file_problems(role: str, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield ``(input, sentence)`` for each bad path. The sentence omits the path, which could be the key itself."""
    values = {name: inputs.get(name) for name in (role + "_tls_certificate", role + "_tls_key")}
    for name, value in values.items():
        if value and not (isinstance(value, str) and value.startswith("/") and value.isprintable()):
            yield name, "%s must be the absolute path of a PEM file, not its content or a relative path." % name
        elif not value and any(values.values()):
            yield name, "%s is empty; set both %s for TLS, or neither." % (name, " and ".join(values))


def ca_certificates(path: str) -> str | None:
    """Return the content of serving_tls_ca, or None if the path is empty.

    :raises BadCertificates: if the file cannot be used.
    """
    if not path:
        return None
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_CA_BYTES + 1)
        if len(text) > MAX_CA_BYTES:
            raise ValueError("it has more than %d bytes" % MAX_CA_BYTES)
        client_context(text or "none")
    except (OSError, ValueError) as error:
        raise BadCertificates("serving_tls_ca must be a file on the controller with CA certificates in PEM format, but "
                              "%r cannot be used: %s." % (path, error)) from error
    return text
