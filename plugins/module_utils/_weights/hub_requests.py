# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query the source of a model over HTTP."""

from __future__ import annotations

from http.client import HTTPException
from typing import TYPE_CHECKING
from urllib.error import HTTPError

from ansible.module_utils.urls import open_url

from ansible_collections.ascend.vllm.plugins.module_utils._host.commands import within
from ansible_collections.ascend.vllm.plugins.module_utils._host.http_request import read_limited
from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import mask_known
from ansible_collections.ascend.vllm.plugins.module_utils._weights import hub
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError

if TYPE_CHECKING:
    from http.client import HTTPResponse
    from typing import Callable, TypeVar

    Result = TypeVar("Result")

TIMEOUT_S = 30
# The limits of a whole response. The listing of a model with 10,000 files has 5 MB.
RESPONSE_S = 300
MAX_LISTING_BYTES = 64 << 20


class HubRequests:
    """HTTP requests to the source, with the token of the source and the proxies of the environment."""

    def __init__(self, kind: str, token: str) -> None:
        self._token = token
        self._headers = hub.token_headers(kind, token)

    def get(self, url: str) -> str:
        """Return the body of a response as text."""
        return self._within(url, lambda: read_limited(self._open(url), MAX_LISTING_BYTES)).decode("utf-8", "replace")

    def size(self, url: str) -> int:
        """Return the Content-Length of a file."""
        length = self._within(url, lambda: self._open(url, "HEAD").headers["Content-Length"])
        if length is None:
            raise StagingError(
                "The response for %s has no Content-Length; set weights_hub_endpoint to a server that sends it." % url)
        return int(length)

    def _within(self, url: str, call: Callable[[], Result]) -> Result:
        """Return the result of a request. Raise StagingError if it fails, or if the response is late or too large."""
        try:
            return within(RESPONSE_S, call)
        except (OSError, HTTPException, ValueError) as error:  # ValueError: http.client refuses the token as a header
            raise StagingError("The request to %s failed: %s" % (
                url, mask_known(str(error), [self._token], 1))) from None

    def _open(self, url: str, method: str = "GET") -> HTTPResponse:
        try:
            return open_url(url, method=method, headers=self._headers, timeout=TIMEOUT_S,
                            unredirected_headers=list(self._headers))
        except HTTPError as error:
            hint = "; set weights_hub_token to a token with read access." if error.code in (401, 403) else ""
            raise StagingError("The request to %s failed: HTTP error %d %s%s" % (
                url, error.code, error.reason, hint)) from error
