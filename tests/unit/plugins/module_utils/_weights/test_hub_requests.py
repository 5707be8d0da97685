# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""No error shows the token for the hub. The tests of the modules weights_staging and offline cover the responses."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._weights.hub_requests import HubRequests
from ansible_collections.ascend.vllm.plugins.module_utils._weights.preconditions import StagingError


@pytest.mark.parametrize("token", ["t0k3n\n", "t0k3n\r\nX-Header: 1", "t0k3n\u0142"])
def test_error_does_not_show_the_token(token):
    with pytest.raises(StagingError, match=r"The request to .* failed: ") as failure:
        HubRequests("huggingface", token).get("http://127.0.0.1:9/a")
    assert "t0k3n" not in str(failure.value)
    assert failure.value.__cause__ is None
