# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The certificate of an API, and the CA certificates that our clients trust. PRIVATE to the collection."""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ansible_collections.ascend.vllm.plugins.module_utils._host.tls import client_context
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import CaCertificates, Plan

# The files in the container, by the inputs that set their sources.
TARGETS = {"serving_tls_certificate": "/run/ascend-vllm/certificate.pem", "serving_tls_key": "/run/ascend-vllm/key.pem"}
OPTIONS = ["--ssl-certfile", TARGETS["serving_tls_certificate"], "--ssl-keyfile", TARGETS["serving_tls_key"]]
# In the container of a client: the file with the CA certificates.
CA_TARGET = "/run/ascend-vllm/ca.pem"

MAX_CA_BYTES = 4 << 20


def file_problems(role: str, inputs: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield ``(input, sentence)`` for each reason why the files of a role with TLS cannot be used.

    No sentence has the value of an input, which could be the key itself instead of its path.
    """
    certificate, key = role + "_tls_certificate", role + "_tls_key"
    for name, other in ((certificate, key), (key, certificate)):
        value = inputs.get(name)
        if value and not (isinstance(value, str) and value.startswith("/") and value.isprintable()):
            yield name, "%s must be the absolute path of a PEM file, not its content or a relative path." % name
        elif not value and inputs.get(other):
            yield name, "%s is empty, but %s is set; set both for TLS, or neither." % (name, other)


def ca_certificates(path: str, state_path: str) -> CaCertificates | None:
    """Return the content of serving_tls_ca, or None if it is empty.

    :param state_path: serving_state_path.
    :raises ValueError: with a sentence.
    """
    if not path:
        return None
    try:
        with Path(path).open(encoding="utf-8") as file:
            text = file.read(MAX_CA_BYTES)
        client_context(text or "none")
    except (OSError, ValueError, ssl.SSLError) as error:
        raise ValueError("serving_tls_ca must be a file on the controller with CA certificates as PEM, but %r cannot "
                         "be used: %s." % (path, error)) from error
    return {"text": text, "path": state_path.rstrip("/") + "/ca.pem"}


def ca_text(plan: Plan) -> str | None:
    """Return the CA certificates that a client of the plan trusts, for the option ``ca`` of modules."""
    return plan["ca"]["text"] if plan["ca"] else None
