# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The limit of inotify instances, the only kernel parameter that beds change. The last bed restores it."""

from __future__ import annotations

from pathlib import Path

from .machine import cache

# The kernel allows each user 128 by default; a node uses eight or nine, so sixteen nodes could not boot.
INSTANCES = Path("/proc/sys/fs/inotify/max_user_instances")
ENOUGH = 8192


def recorded_path() -> Path:
    return cache() / "inotify-instances"


def raise_limit() -> None:
    """Allow many nodes to watch files. The caller holds the lock ``guard``."""
    before = INSTANCES.read_text()
    if int(before) < ENOUGH:
        recorded_path().write_text(before)
        INSTANCES.write_text(str(ENOUGH))


def restore() -> None:
    """Restore the recorded limit. The caller holds the lock ``guard``."""
    if recorded_path().exists():
        INSTANCES.write_text(recorded_path().read_text())
        recorded_path().unlink()
