# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The packet loss of an ``hccn_tool`` ping, in percent."""

from __future__ import annotations

# A ping of hccn_tool that ended in an error instead of a loss figure.
ERROR = -1


def failed(loss):
    """Whether nothing came back."""
    return loss == ERROR or loss >= 100


def lossy(loss):
    """Whether some packets came back and some did not."""
    return 0 < loss < 100
