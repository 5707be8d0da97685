# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which run of Ansible this is.

PRIVATE to the collection. Every task of every host has a process of its own, forked from the one that loads the action
plugins, and with them this module: so all tasks of one ``ansible-playbook`` see one value, and no other run sees it.
"""

from __future__ import annotations

import time
import uuid

RUN_ID: str = f"{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}-{uuid.uuid4().hex[:8]}"
