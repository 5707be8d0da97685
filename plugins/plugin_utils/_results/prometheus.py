# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The report as metrics for the textfile collector of Prometheus' node exporter.

The format is https://prometheus.io/docs/instrumenting/exposition_formats (text, version 0.0.4).
"""

from __future__ import annotations

from collections import Counter

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Report, Results, epoch

# In the order of the file; all samples of a metric must be together.
_METRICS = ("report_timestamp_seconds", "stage", "stage_timestamp_seconds", "check")


def to_prometheus(report: Report, results: Results) -> str:
    """Return the metrics: the time of the report, the status and time of each stage, and the number of subjects of each
    check that have the same status."""
    found: dict[str, list[str]] = {name: [] for name in _METRICS}

    def sample(metric: str, value: int, **labels: str) -> None:
        pairs = ",".join(f'{name}="{_escaped(text)}"' for name, text in labels.items())
        found[metric].append(f"ascend_vllm_{metric}{{{pairs}}} {value}\n")

    sample("report_timestamp_seconds", epoch(report["generated_at"]), status=report["status"])
    for host, cells in report["hosts"].items():
        for stage, cell in cells.items():
            sample("stage", 1, host=host, stage=stage, status=cell["status"])
            result = results.get(host, {}).get(stage)
            if result is None or cell["age_s"] is None:
                continue
            sample("stage_timestamp_seconds", epoch(str(cell["finished_at"])), host=host, stage=stage)
            counts = Counter((check["id"], check["severity"], contract.STALE if cell["status"] == contract.STALE
                              else check["status"]) for check in result["checks"])
            for (check, severity, status), number in counts.items():
                sample("check", number, host=host, stage=stage, check=check, severity=severity, status=status)
    return "".join(f"# TYPE ascend_vllm_{name} gauge\n{''.join(lines)}" for name, lines in found.items())


def _escaped(text: str) -> str:
    return _text.one_line(text).replace("\\", r"\\").replace('"', r'\"')
