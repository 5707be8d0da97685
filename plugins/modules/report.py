# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# The action plugin of the same name does the work on the controller.
from __future__ import annotations

DOCUMENTATION = r"""
module: report
short_description: Write the report on the results of all stages
version_added: 0.9.0
description:
  - Reads C(<report_path>/<host>/<stage>.json) of the given hosts, and writes the report to C(<report_path>) as
    C(report.html), C(report.md), C(report.json), C(junit.xml) and in other forms.
  - Runs on the controller and reads only these files. A stage without a file is reported as C(not_run).
extends_documentation_fragment: [ascend.vllm._attributes.action, ascend.vllm._attributes]
options:
  phase:
    description:
      - V(begin) removes the results of earlier runs for the stages that the tags of this run select, so that a host
        that becomes unreachable does not keep old results.
      - V(end) writes the report.
      - V(diagnostics) writes what M(ascend.vllm.diagnostics_bundle) has returned in this run, and the plans and the
        results of these nodes, into one archive, which only its owner can read. Its first file, C(index.md), lists
        the failed checks, the causes found in the logs, and the files that are missing, with the reason for each. The
        beginning of C(index.md) is also printed.
      - V(verify) writes the verdict on the results of this run, and fails unless it is V(healthy).
    type: str
    choices: [begin, end, diagnostics, verify]
    default: end
  hosts: {type: list, elements: str, required: true, description: "All expected hosts, in the order of the report."}
  stages: {type: list, elements: str, choices: [npu_driver, hccl, image, weights, serving, functional, accuracy,
    benchmark], description: "With O(phase=begin) and O(phase=verify), the stages of the run. By default, the tags of
    the run select them."}
  path: {type: path, description: "With O(phase=diagnostics), the folder for C(diagnostics-<run>.tar.gz). With
    O(phase=verify), the file for the verdict."}
  size_limit_mb: {type: int, default: 64, description: "The maximum size in MB of each node's files in the archive."}
attributes:
  check_mode: {details: ["No report is printed, and no file is written or removed."]}
"""

EXAMPLES = r"""
- name: Write the report
  ascend.vllm.report:
    hosts: "{{ ansible_play_hosts_all }}"
  run_once: true
"""

RETURN = r"""
msg: {type: str, sample: 8 of 8 stages passed on all 2 hosts, returned: when O(phase=end) or O(phase=diagnostics),
  description: "The verdict in one sentence, or the first fault on any node. Tables are printed as well."}
path: {type: str, returned: when O(phase=end) or O(phase=diagnostics), description: "The path of C(report.md), or of the
  archive with O(phase=diagnostics)."}
status: {type: str, sample: passed, returned: when O(phase=end), description: "The worst status of all results."}
failing_host: {type: str, returned: when O(phase=end) and there is such a host, description: "The first host with a
  status that is in C(report_fail_on)."}
query: {type: raw, returned: when O(phase=end) with C(report_query), description: "The result of the expression."}
ansible_stats: {type: dict, returned: when O(phase=end), description: "The summary, as the custom statistic
  C(ascend_vllm)."}
verdict: {type: str, returned: when O(phase=verify), sample: regression, description: "V(failed), V(regression),
  V(unreachable), V(no_baseline), V(inconclusive) or V(healthy): the worst of all findings."}
exit_code: {type: int, returned: when O(phase=verify), sample: 3, description: "The exit code of the service that the
  timer of P(ascend.vllm.verify#role) starts. It is different for each verdict."}
reasons: {type: list, elements: str, returned: when O(phase=verify), description: "One sentence for each finding."}
report: {type: str, returned: when O(phase=verify), description: "The path of C(report.html)."}
stages:
  {type: list, elements: str, returned: when O(phase=begin), description: "The stages whose results were removed."}
"""
