# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the requests in standard input, `{"url", "requests"}`, with the collection's client, and print the responses."""

from __future__ import annotations

import json
import sys

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import Server, send_all

job = json.load(sys.stdin)
json.dump(send_all("tiny", Server(job["url"]), job["requests"]), sys.stdout)
