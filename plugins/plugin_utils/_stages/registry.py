# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of each stage.

This module is imported only once, by the process from which Ansible forks a worker for each task and host.
"""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.accuracy import judge as accuracy
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import judge as benchmark
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.functional import judge as functional
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.hccl import judge as hccl
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.image import judge as image
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Judge
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.npu_driver import judge as npu_driver
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import judge as serving
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.weights import judge as weights

JUDGES: dict[str, Judge] = {
    "npu_driver": npu_driver, "hccl": hccl, "image": image, "weights": weights, "serving": serving,
    "functional": functional, "accuracy": accuracy, "benchmark": benchmark,
}
