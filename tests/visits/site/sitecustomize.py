# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measure the coverage of every Python process of `make coverage`, whose PYTHONPATH contains this folder."""

import sys

if sys.version_info >= (3, 10):  # what coverage.py supports; old control nodes are tested, too
    import coverage

    coverage.process_startup()
