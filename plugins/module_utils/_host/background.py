# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Start a process that continues to run after the module has exited."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping


def start(command: list[str], folder: str, environment: Mapping[str, str]) -> int:
    """Start a command in a new session without stdin, stdout and stderr, and return the process id."""
    return subprocess.Popen(command, cwd=folder, env=environment, start_new_session=True, stdin=subprocess.DEVNULL,
                            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL).pid
