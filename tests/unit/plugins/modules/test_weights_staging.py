# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The file with the token for the hub is always removed."""

from __future__ import annotations

import os
import time

from ansible_collections.ascend.vllm.plugins.modules.weights_staging import remove_later


def wait_until(condition, timeout_s=60):
    end = time.monotonic() + timeout_s
    while not condition() and time.monotonic() < end:
        time.sleep(0.1)
    return condition()


def test_credentials_file_is_removed_after_the_time_limit(tmp_path):
    path = tmp_path / "credentials; touch x"
    path.write_text("token")
    remove_later(str(path), 1)
    assert path.exists()
    assert wait_until(lambda: not path.exists())
    assert list(tmp_path.iterdir()) == []


def test_credentials_file_of_a_later_run_is_not_removed(tmp_path):
    path, other = tmp_path / "credentials", tmp_path / "other"
    path.write_text("token")
    other.write_text("token")
    remove_later(str(path), 3)
    time.sleep(2)  # so that the process has started, even on a busy machine
    new = tmp_path / "new"
    new.write_text("another token")
    os.replace(new, path)
    remove_later(str(other), 5)
    assert wait_until(lambda: not other.exists())
    assert path.read_text() == "another token"


def test_missing_credentials_file_is_not_an_error(tmp_path):
    remove_later(str(tmp_path / "credentials"), 0)
