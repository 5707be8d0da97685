# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The verdict of playbooks/verify.yml, from the results of its stages."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CheckOutcome, StageResult

# Each verdict with its exit code, the worst first. A run without a verdict has the exit code 1.
FAILED, REGRESSION, UNREACHABLE, NO_BASELINE, INCONCLUSIVE, HEALTHY = (
    "failed", "regression", "unreachable", "no_baseline", "inconclusive", "healthy")
EXIT_CODES = {FAILED: 2, REGRESSION: 3, UNREACHABLE: 4, NO_BASELINE: 5, INCONCLUSIVE: 6, HEALTHY: 0}
_COMPARING = ("benchmark.regression", "accuracy.gate", "accuracy.delta")


class Verification(TypedDict):
    """The content of ``verify_result_path``."""

    verdict: str
    exit_code: int
    #: One sentence for each finding, the worst first.
    reasons: list[str]
    #: The path of the report.
    report: str


def judge(found: Mapping[str, Mapping[str, StageResult]], stages: Sequence[str], run_id: str, report: str
          ) -> Verification:
    """Return the verdict on the results that the run ``run_id`` wrote.

    :param found: ``{host: {stage: result}}``.
    :param stages: the stages of the run. A host with neither a result of a stage nor another finding has failed.
    """
    reasons: dict[str, list[str]] = {verdict: [] for verdict in EXIT_CODES}
    for host, results in found.items():
        own = {stage: result for stage, result in results.items() if result.get("run_id") == run_id}
        findings = [each for result in own.values() for check in result["checks"] for each in _finding(result, check)]
        missing = [stage for stage in stages if stage not in own]
        if missing and not any(verdict in (FAILED, UNREACHABLE) for verdict, _reason in findings):
            findings.append((FAILED, f"{', '.join(missing)} wrote no result"))
        for verdict, reason in findings:
            reasons[verdict].append(f"{host}: {reason}")
    if not found:
        reasons[FAILED].append("No node was verified.")
    verdict = next((verdict for verdict in EXIT_CODES if reasons[verdict]), HEALTHY)
    return {"verdict": verdict, "exit_code": EXIT_CODES[verdict], "report": report,
            "reasons": [reason for each in reasons.values() for reason in each]}


def _finding(result: StageResult, check: CheckOutcome) -> Iterator[tuple[str, str]]:
    """Yield the verdict to which a check contributes, and the reason; nothing for a check that does not matter."""
    name, status = check["id"].rpartition(".")[2], check["status"]
    identifier = f"{result['stage']}.{name}"
    about = f"{identifier}{' (' + check['subject'] + ')' if check['subject'] else ''}: " + str(
        check["message"] or f"expected {check['expected']}, found {check['actual']}")
    if status == contract.NOT_RUN and identifier == "accuracy.delta":
        yield INCONCLUSIVE, about
    elif status == contract.NOT_RUN and identifier == "accuracy.reference" and not any(
            each["id"].endswith("delta") and each["subject"] == check["subject"] for each in result["checks"]):
        yield NO_BASELINE, about
    elif status == contract.FAILED and identifier == "benchmark.verdict":
        invalid = str(check["actual"]).startswith("an invalid run")
        yield FAILED if invalid else NO_BASELINE if check["actual"] == "no baseline" else INCONCLUSIVE, about
    elif status == contract.FAILED:
        yield (UNREACHABLE if name == "node_reachable" else REGRESSION if identifier in _COMPARING else FAILED), about
