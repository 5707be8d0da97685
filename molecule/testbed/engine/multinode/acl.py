# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The part of CANN's Python module that Ray calls. Without it, Ray logs a traceback for each of its processes."""

from __future__ import annotations


def get_soc_name() -> str:
    """Return the type of the NPU."""
    return "Ascend910B3"
