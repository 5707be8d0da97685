# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Packet loss of an ``hccn_tool`` ping, in percent."""

from __future__ import annotations

# In place of a percentage: the ping ended with an error and reported no loss.
ERROR = -1


def failed(loss: float) -> bool:
    """True if no reply was received."""
    return loss == ERROR or loss >= 100


def lossy(loss: float) -> bool:
    """True if some replies were received and some were lost."""
    return 0 < loss < 100
