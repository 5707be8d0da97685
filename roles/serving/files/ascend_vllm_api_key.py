# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""ASGI middleware of vLLM that demands an API key. Runs in the container; Python >= 3.7, standard library only.

vLLM itself demands its key only below some prefixes, such as /v1; /invocations, /tokenize, /pause and others need no
key. With ``--middleware`` the class below is the outermost middleware of vLLM, so every request passes it before a
route or vLLM's own check.
"""

from __future__ import annotations

import hashlib
import hmac
import os

# vLLM itself checks the first key, because it accepts only one key from the environment.
FIRST_KEY = "VLLM_API_KEY"
FURTHER_KEYS = "ASCEND_VLLM_API_KEY_"

_UNAUTHORIZED = b'{"error":"Unauthorized"}'
_POLICY_VIOLATION = 1008


class ApiKey:
    """Demands one of the API keys in the environment for every request except those to `OPEN_PATHS`."""

    OPEN_PATHS = ("/health",)

    def __init__(self, app):
        self.app = app
        keys = [os.environ.get(FIRST_KEY, "")]
        keys += [value for name, value in os.environ.items() if name.startswith(FURTHER_KEYS)]
        if not all(keys):
            raise ValueError("%s and the variables %s* must not be empty" % (FIRST_KEY, FURTHER_KEYS))
        self.digests = [_digest(key.encode("utf-8")) for key in keys]
        self.first = b"Bearer " + keys[0].encode("utf-8")

    async def __call__(self, scope, receive, send):
        if scope["type"] == "lifespan" or self._is_open(scope):
            await self.app(scope, receive, send)
        elif self._has_key(scope):
            # vLLM's own check, which stays in place, must accept the other keys, too.
            headers = [header for header in scope["headers"] if header[0] != b"authorization"]
            await self.app(dict(scope, headers=[*headers, (b"authorization", self.first)]), receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": _POLICY_VIOLATION, "reason": "Unauthorized"})
        else:
            await send({"type": "http.response.start", "status": 401, "headers": [
                (b"content-type", b"application/json"), (b"www-authenticate", b"Bearer"),
                (b"content-length", b"%d" % len(_UNAUTHORIZED))]})
            await send({"type": "http.response.body", "body": _UNAUTHORIZED})

    def _is_open(self, scope):
        if scope["type"] != "http":
            return False
        # The server has already decoded the path. Depending on its version, it starts with the option --root-path.
        if scope["path"] in self.OPEN_PATHS + tuple(scope.get("root_path", "") + path for path in self.OPEN_PATHS):
            return True
        # A browser sends no key with the preflight request of a cross-origin request. vLLM's CORSMiddleware responds to
        # preflight requests itself, and only to these.
        names = [name for name, _value in scope["headers"]]
        return scope["method"] == "OPTIONS" and b"origin" in names and b"access-control-request-method" in names

    def _has_key(self, scope):
        """Return whether the request has one of the keys, in a time that does not depend on the keys."""
        given = [value for name, value in scope["headers"] if name == b"authorization"]
        if len(given) != 1:
            return False
        scheme, _space, key = given[0].partition(b" ")
        digest = _digest(key.strip(b" "))
        matches = [hmac.compare_digest(digest, known) for known in self.digests]
        return scheme.lower() == b"bearer" and any(matches)


class ApiKeyExceptMetrics(ApiKey):
    """Demands an API key like `ApiKey`, but not for /metrics."""

    OPEN_PATHS = ("/health", "/metrics")


def _digest(key):
    return hashlib.sha256(key).digest()
