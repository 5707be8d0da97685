# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet loss decides whether a ping failed or is lossy."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import ping_loss


@pytest.mark.parametrize(("loss", "failed", "lossy"), [
    (0, False, False), (33.33, False, True), (99.9, False, True), (100, True, False), (ping_loss.ERROR, True, False)])
def test_total_loss_is_a_failure_and_partial_loss_is_lossy(loss, failed, lossy):
    assert (ping_loss.failed(loss), ping_loss.lossy(loss)) == (failed, lossy)
