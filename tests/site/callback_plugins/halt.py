# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A callback plugin for tests that reports the start of a task, and can halt the run there."""

from __future__ import annotations

DOCUMENTATION = """
name: halt
type: notification
short_description: Report the start of a task to a test
description:
  - Creates the file E(HALT_FILE) when the task E(HALT_AT) begins. If E(HALT) is set, it then waits to be killed.
  - For the tests of this collection, which enable it with E(ANSIBLE_CALLBACKS_ENABLED).
options: {}
"""

import os
import time
from pathlib import Path

from ansible.plugins.callback import CallbackBase


class CallbackModule(CallbackBase):
    CALLBACK_VERSION = 2.0
    CALLBACK_TYPE = "notification"
    CALLBACK_NAME = "halt"
    CALLBACK_NEEDS_ENABLED = True

    def v2_playbook_on_task_start(self, task, is_conditional):
        if task.name == os.environ["HALT_AT"]:
            Path(os.environ["HALT_FILE"]).touch()
            if os.environ.get("HALT"):
                time.sleep(600)
