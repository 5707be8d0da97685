# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Renamed checks. A waiver that contains an old name is refused, and the message shows the new name."""

from __future__ import annotations

# {"<stage>.<old id>": new id}
RENAMED: dict[str, str] = {
    "benchmark.together": "clients_overlap",
    "npu_driver.engine": "docker_engine",
    "npu_driver.engine_version": "docker_engine_version",
    "npu_driver.isolated_pages_some": "isolated_pages_warning",
    "npu_driver.lease": "npus_free",
    "npu_driver.tool_wedged": "tool_hung",
    "serving.engine": "docker_engine",
    "serving.engine_goes_on": "engine_progress",
}
