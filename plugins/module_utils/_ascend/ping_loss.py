# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet loss of an ``hccn_tool`` ping, in percent."""

from __future__ import annotations

# This value instead of a percentage means that the ping failed with an error and reported no loss.
ERROR = -1


def failed(loss: float) -> bool:
    """Return whether no reply was received."""
    return loss == ERROR or loss >= 100


def lossy(loss: float) -> bool:
    """Return whether some packets were lost and others were received."""
    return 0 < loss < 100
