# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Requests to a hub that cannot be sent."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError
from ansible_collections.ascend.vllm.plugins.module_utils._weights.staging import Source
from ansible_collections.ascend.vllm.plugins.modules.weights_staging import HubRequests


@pytest.mark.parametrize("token", ["t0k3n\n", "t0k3n\r\nX-Header: 1", "t0k3n\u0142"])
def test_exception_shows_no_token(token):
    source = Source("huggingface", "owner/name", "main", "", token, 0)
    with pytest.raises(StagingError, match=r"The request to .* failed: ") as failure:
        HubRequests(source).get("http://127.0.0.1:9/a")
    assert "t0k3n" not in str(failure.value)
    assert failure.value.__cause__ is None
