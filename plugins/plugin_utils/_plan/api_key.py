# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The API key of a server: the environment file, the middleware that requires the key, and settings that bypass it."""

from __future__ import annotations

import shlex
from collections.abc import Mapping
from typing import Any
from urllib.parse import urlsplit

from ansible_collections.ascend.vllm.plugins.module_utils._docker.labels import SECRETS_TARGET
from ansible_collections.ascend.vllm.plugins.module_utils._host.addresses import is_loopback
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.inputs import Findings, Inputs
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Instance
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import api_keys

# Version of roles/serving/files/ascend_vllm_api_key.py. It is part of the path on the node.
MIDDLEWARE_VERSION = "97cbf3bdcfca"
MIDDLEWARE_FOLDER = "/run/ascend-vllm/python"
MIDDLEWARE_TARGET = MIDDLEWARE_FOLDER + "/ascend_vllm_api_key.py"

# The launcher sources the environment file inside the container, so neither argv nor `docker inspect` shows the key.
# The image itself sets PYTHONPATH, which an environment variable of the container would replace.
LAUNCHER = ["/bin/bash", "-c", 'set -a; . "$0" || exit 1; PYTHONPATH=%s${PYTHONPATH:+:$PYTHONPATH}; set +a; exec "$@"'
            % MIDDLEWARE_FOLDER, SECRETS_TARGET]

# {whether /metrics needs the key: middleware}
_MIDDLEWARES = {True: "ascend_vllm_api_key.ApiKey", False: "ascend_vllm_api_key.ApiKeyExceptMetrics"}
FIRST_KEY, FURTHER_KEYS = "VLLM_API_KEY", "ASCEND_VLLM_API_KEY_"

# Options that make vLLM listen on a port that does not require the key.
_BYPASSES = ("grpc", "grpc-port")
# Values of weights_source for which weights_hub_token is not sent.
_WITHOUT_HUB = ("local", "quantize")


def environment_file(keys: Any) -> str:
    """Return the content of the environment file with the API keys of a server. The launcher sources it in a shell.

    :param keys: the input serving_api_key.
    """
    return "".join("%s=%s\n" % (FURTHER_KEYS + str(number) if number > 1 else FIRST_KEY, shlex.quote(key))
                   for number, key in enumerate(api_keys(keys), 1))


def middleware_path(state_path: str) -> str:
    """Return the path of the middleware on the node."""
    return "%s/middleware/%s/ascend_vllm_api_key.py" % (state_path, MIDDLEWARE_VERSION)


def middleware_options(metrics_key_required: bool) -> list[str]:
    """Return the options of ``vllm serve`` that load the middleware.

    They must be the last options. vLLM runs the last middleware first, so no middleware of serving_args can then
    respond to a request before the key is checked.
    """
    return ["--middleware", _MIDDLEWARES[metrics_key_required]]


def open_paths(instance: Instance) -> list[str]:
    """Return the HTTP paths that need no key on an instance that has a key."""
    return ["/health"] + (["/metrics"] if _MIDDLEWARES[False] in instance["command"] else [])


def check_exposure(inputs: Inputs, arguments: Mapping[str, Any], has_api: bool, findings: Findings) -> None:
    """Check whether unauthorized clients can use the server or read its secrets.

    Refuse settings that bypass the API key or allow any client to run code. Warn about a server that can be
    used over the network without a key, and about secrets that are sent without encryption.

    :param has_api: whether the host has an HTTP API. In a group, only the head has an API.
    """
    bind, has_key = inputs.text("serving_bind"), bool(inputs.text("serving_api_key"))
    public = not is_loopback(bind)
    if has_api and public and not has_key:
        findings.warn("serving_api_key", "The service listens on %s without an API key, so anyone who reaches the port "
                      "can use it; set serving_api_key from a vault, or serving_bind to a protected address.", bind)
    if (has_key or public) and str(inputs.mapping("serving_env").get("VLLM_SERVER_DEV_MODE") or "0") != "0":
        findings.refuse("serving_env.dev_mode", "serving_env sets VLLM_SERVER_DEV_MODE, with which every client can "
                        "run code in the engine and stop it; remove it. It is accepted only without serving_api_key "
                        "and with a loopback address as serving_bind.")
    for option in _BYPASSES if has_key else ():
        if arguments.get(option):
            findings.refuse("serving_args.owned", "serving_args sets %s, but the gRPC server of vLLM does not require "
                            "serving_api_key; remove it, or serve without a key.", option)
    if has_api and has_key and public and not inputs.text("serving_tls_certificate"):
        findings.warn("serving_api_key.plaintext", "The API key and all requests are sent to %s over HTTP without "
                      "encryption, so anyone who can read this traffic has the key; set serving_tls_certificate and "
                      "serving_tls_key, or use only a protected network.", bind)
    hub = _plaintext_host(inputs.text("weights_hub_endpoint"))
    if hub and inputs.text("weights_hub_token") and inputs.text("weights_source") not in _WITHOUT_HUB:
        findings.warn("weights_hub_token.plaintext", "weights_hub_token is sent to %s over HTTP without encryption, so "
                      "anyone who can read this traffic has the token; set weights_hub_endpoint to a URL with https.",
                      hub)


def _plaintext_host(url: str) -> str | None:
    """Return the host of a URL if requests to it cross a network unencrypted, otherwise None."""
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        return None
    return host if parts.scheme == "http" and not is_loopback(host) else None
