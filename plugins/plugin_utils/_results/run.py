# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The id of this run of Ansible.

PRIVATE to the collection. Ansible forks a worker process per task and host from the process that has loaded the action
plugins and this module. Therefore all tasks of a run of ``ansible-playbook`` have the same id, and no other run has it.
"""

from __future__ import annotations

import time
import uuid

RUN_ID: str = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}"
