# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the report except ``report.html``. They are generated from the report and the results."""

from __future__ import annotations

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import junit, markdown, prometheus
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.report import Report, Results
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import to_json


def forms(report: Report, results: Results) -> list[tuple[str, str]]:
    """Return ``(name of the file, its content)`` for each form. If the content is empty, there must not be a file."""
    return [
        ("report.json", to_json(report, sort_keys=False)),
        ("report.md", markdown.to_markdown(report)),
        ("junit.xml", junit.to_junit(report, results)),
        ("report.prom", prometheus.to_prometheus(report, results)),
        # Ansible reads an empty file after --limit @ as no limit, so there must be no file.
        ("hosts_passed.txt", "".join(f"{host}\n" for host in report["passing_hosts"])),
        ("hosts_failed.txt", "".join(f"{host}\n" for host in report["failing_hosts"])),
    ]
