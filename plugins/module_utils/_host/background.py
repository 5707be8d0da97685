# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Starts what outlives the call of a module; a later call watches it."""

from __future__ import annotations

import subprocess


def start(command, folder, environment):
    """Start ``command`` in ``folder`` in a session of its own, without input and output; returns its process id."""
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid
