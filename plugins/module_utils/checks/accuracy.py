# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The accuracy stage: whether the scores are scores, and whether they are good enough."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.module_utils.results import CRITICAL, Check, Checks

CHECKS = (
    Check("score", CRITICAL, "The model's score on the data set is a number",
          "Set accuracy_enabled to true to measure it; a score that is missing has its reason in the tool's logs."),
)


def judge(context):
    """State what was not measured."""
    checks = Checks(CHECKS)
    checks.not_run("score", "accuracy_enabled is false: it takes a data set on the site and, for most, hours")
    return checks.as_list()
