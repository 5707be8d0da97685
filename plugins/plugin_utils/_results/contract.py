# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results contract: checks, their outcomes, and the result of a stage.

A judge (``_stages/<stage>/judge.py``) declares its checks in a table, and records what each check expected and what it
found. This module turns these outcomes into the content of ``<report_path>/<host>/<stage>.json``, whose schema is
``docs/schemas/stage-result-v1.json``. A check that was not run is never ``passed``.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, TypedDict

from ansible_collections.ascend.vllm.plugins.plugin_utils import _text
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.renamed_checks import RENAMED

if TYPE_CHECKING:
    from typing_extensions import NotRequired

    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.currency import Deployed

SCHEMA = "ascend.vllm/stage-result/v1"

# In the order of site.yml.
STAGES = ("npu_driver", "hccl", "image", "weights", "serving", "functional", "accuracy", "benchmark")

PASSED, FAILED, WARNED, WAIVED, NOT_RUN, UNSUPPORTED = (
    "passed", "failed", "warned", "waived", "not_run", "unsupported",
)
STATUSES = (PASSED, FAILED, WARNED, WAIVED, NOT_RUN, UNSUPPORTED)
# Only in reports: the result of a stage belongs to something else than what is deployed now, see `currency`.
STALE = "stale"

CRITICAL, WARNING, INFO = "critical", "warning", "info"


class Check(NamedTuple):
    """A check. Its ``id`` is stable and unique within the stage. ``remedy`` is an instruction for the operator.

    If a host can fail this check and the check is critical, ``source`` cites the origin of the limit.
    """

    id: str
    severity: str
    title: str
    remedy: str
    source: str = ""


# Checks that every stage has, for failures that occur before its own checks.
COMMON = (
    Check("node_reachable", CRITICAL, "The node is reachable over SSH",
          "Repair the node or remove it from the inventory, then run again."),
    Check("observation", CRITICAL, "The node can be observed",
          "Read the error above; run again with -vvv to see the whole output of the module."),
)


class CheckOutcome(TypedDict):
    """The outcome of a check for one subject."""

    id: str
    severity: str
    #: One of STATUSES.
    status: str
    #: The part of the host that was checked, such as ``npu 3`` or an instance; None for the host itself.
    subject: str | None
    title: str
    expected: Any
    actual: Any
    message: str | None
    #: None if there is nothing to do.
    remedy: str | None


class Figure(TypedDict):
    """A measured value for the report."""

    name: str
    value: float
    unit: str


class StageResult(TypedDict):
    """The content of ``<report_path>/<host>/<stage>.json``, see docs/schemas/stage-result-v1.json."""

    schema: str
    stage: str
    host: str
    status: str
    checks: list[CheckOutcome]
    plan_hash: str | None
    release: str | None
    model: str | None
    #: UTC, ISO 8601.
    started_at: str | None
    finished_at: str | None
    duration_s: float | None
    observed: Mapping[str, Any]
    #: The reason why there is no observation; None if there is one.
    error: str | None
    collection_version: str | None
    #: The run that wrote the result; missing in older results.
    run_id: NotRequired[str | None]
    #: What a stage that tests a service has tested; missing in all other results.
    deployed: NotRequired[Deployed]


# A file without one of these keys is not a stage result.
RESULT_KEYS = ("stage", "host", "status", "checks", "plan_hash", "release", "model", "finished_at", "observed", "error")


class Checks:
    """Collects the outcomes of checks.

    :param table: the ``CHECKS`` of the stage. Recording a check that is not in this table raises ``KeyError``.
    """

    def __init__(self, table: Iterable[Check]) -> None:
        self._table = {check.id: check for check in COMMON + tuple(table)}
        self._found: list[CheckOutcome] = []

    def expect(self, check_id: str, ok: bool | None, expected: Any = None, actual: Any = None,
               subject: str | None = None, message: str | None = None, remedy: str | None = None) -> bool | None:
        """Record an outcome and return ``ok``. None means that the outcome could not be determined (not_run)."""
        severity = self._table[check_id].severity
        if ok is None:
            status = NOT_RUN
        elif ok:
            status = PASSED
        else:
            status = FAILED if severity == CRITICAL else WARNED
        self._add(check_id, status, expected, actual, subject, message, remedy)
        return ok

    def not_run(self, check_id: str, why: str, subject: str | None = None) -> None:
        """Record that the check was not run. ``why`` is a sentence."""
        self._add(check_id, NOT_RUN, None, None, subject, why, None)

    def not_required(self, check_id: str, why: str) -> None:
        """Record that the check was not run, with severity info, so that the stage can pass without it."""
        self.not_run(check_id, why)
        self._found[-1].update({"severity": INFO, "remedy": None})

    def unsupported(self, check_id: str, why: str, subject: str | None = None) -> None:
        """Record that the hardware, a tool or the release does not support the check; ``why`` is a sentence."""
        self._add(check_id, UNSUPPORTED, None, None, subject, why, None)

    def _add(self, check_id: str, status: str, expected: Any, actual: Any, subject: str | None,
             message: str | None, remedy: str | None) -> None:
        check = self._table[check_id]
        needs_remedy = status not in (PASSED, UNSUPPORTED)
        self._found.append({"id": check_id, "severity": check.severity, "status": status,
                            "subject": None if subject is None else str(subject), "title": check.title,
                            "expected": expected, "actual": actual,
                            "message": None if message is None else str(message),
                            "remedy": (remedy or check.remedy) if needs_remedy else None})

    def as_list(self) -> list[CheckOutcome]:
        """Return the outcomes in the order in which they were recorded."""
        return list(self._found)


class UnknownCheck(ValueError):
    """A waiver names a check that does not exist."""


def apply_waivers(checks: Sequence[CheckOutcome], waive: Iterable[Any] | None, stage: str,
                  table: Iterable[Check]) -> list[CheckOutcome]:
    """Return the checks, with the status ``waived`` for checks that failed or warned and are listed in ``waive``.

    :param waive: ids of checks (with or without the stage) or ``{"id": …, "reason": …}``.
    :raises UnknownCheck: for an id that the stage does not have.
    """
    known = {check.id for check in COMMON + tuple(table)}
    reasons = {}
    for entry in waive or []:
        name, reason = (entry["id"], entry.get("reason")) if isinstance(entry, dict) else (entry, None)
        short = name[len(stage) + 1:] if name.startswith(stage + ".") else name
        if short not in known:
            raise UnknownCheck("%s_waive names the check '%s', which %s" % (stage, name, _unknown(stage, short, known)))
        reasons[short] = reason or "waived by %s_waive, no reason given" % stage
    return [
        {**check, "status": WAIVED,
         "message": "%s (found: %s)" % (reasons[check["id"]], check["message"] or check["actual"])}
        if check["id"] in reasons and check["status"] in (FAILED, WARNED) else check
        for check in checks
    ]


def _unknown(stage: str, name: str, known: Iterable[str]) -> str:
    renamed = RENAMED.get("%s.%s" % (stage, name))
    if renamed:
        return "is now named '%s.%s'" % (stage, renamed)
    similar = difflib.get_close_matches(name, sorted(known), 1)
    return "this stage does not have%s" % (
        "; did you mean '%s'?" % similar[0] if similar else "; docs/checks.md lists them")


def renewed(earlier: StageResult | None, checks: Sequence[CheckOutcome], ids: Collection[str]) -> list[CheckOutcome]:
    """Return the checks of an earlier result, with new outcomes for some of them.

    :param earlier: an earlier `stage_result`; if it is None, all new outcomes are returned.
    :param checks: the new outcomes.
    :param ids: the ids of the checks to renew, without the stage. Other new outcomes are ignored.
    """
    if not earlier:
        return list(checks)
    prefix = earlier["stage"] + "."
    kept: list[CheckOutcome] = [{**check, "id": check["id"][len(prefix):]} for check in earlier["checks"]]
    return [check for check in kept if check["id"] not in ids] + [check for check in checks if check["id"] in ids]


def stage_status(checks: Iterable[CheckOutcome]) -> str:
    """Return the worst status, in the order failed, not_run of a critical check, warned, unsupported, waived, passed.

    Return not_run if no check has any of these.
    """
    checks = list(checks)
    found = {check["status"] for check in checks}
    if FAILED in found:
        return FAILED
    if any(check["status"] == NOT_RUN and check["severity"] == CRITICAL for check in checks):
        return NOT_RUN
    return next((status for status in (WARNED, UNSUPPORTED, WAIVED, PASSED) if status in found), NOT_RUN)


def stage_result(stage: str, host: str, checks: Sequence[CheckOutcome], plan: Mapping[str, Any] | None = None,
                 observed: Mapping[str, Any] | None = None, started_at: str | None = None,
                 finished_at: str | None = None, duration_s: float | None = None, error: str | None = None,
                 collection_version: str | None = None, run_id: str | None = None) -> StageResult:
    """Return the result of a stage; the ids of its checks are prefixed with the stage."""
    plan = plan or {}
    return {
        "schema": SCHEMA,
        "stage": stage,
        "host": host,
        "status": stage_status(checks),
        "checks": [{**check, "id": "%s.%s" % (stage, check["id"])} for check in checks],
        "plan_hash": plan.get("hash"),
        "release": (plan.get("release") or {}).get("id"),
        "model": (plan.get("model") or {}).get("id"),
        "started_at": started_at,
        "finished_at": finished_at,
        "duration_s": duration_s,
        "observed": observed or {},
        "error": error,
        "collection_version": collection_version,
        "run_id": run_id,
    }


def no_result(stage: str, host: str, why: str) -> StageResult:
    """Return a result for a stage whose file is damaged; ``why`` names the file and the damage."""
    checks = Checks(())
    checks.not_run("observation", f"{why}, so the stage counts as not run.")
    return stage_result(stage, host, checks.as_list(), error=why)


def sentence(check: CheckOutcome) -> str:
    """Return a check as one printable line. The remedy is omitted if the check was not run."""
    subject = " (%s)" % check["subject"] if check["subject"] else ""
    body = check["message"] or "expected %s, found %s" % (check["expected"], check["actual"])
    remedy = " " + check["remedy"] if check["remedy"] and check["status"] != NOT_RUN else ""
    return _text.one_line("%s%s: %s.%s" % (check["id"], subject, _text.one_line(body).rstrip("."), remedy))


def failures(result: StageResult) -> list[str]:
    """Return one line of text per failed check in a result."""
    return [sentence(check) for check in result["checks"] if check["status"] == FAILED]


def selected_stages(run_tags: Iterable[str] | None, skip_tags: Iterable[str] | None) -> list[str]:
    """Return the stages that site.yml runs with these tags, in order."""
    run, skip = set(run_tags or ["all"]), set(skip_tags or [])
    return [stage for stage in STAGES if (run & {"all", "tagged", stage}) and stage not in skip]


def mistyped_tags(tags: Iterable[str] | None) -> dict[str, str]:
    """Return ``{tag: stage}`` for tags that resemble the name of a stage.

    A run with a mistyped tag would do nothing and look successful.
    """
    similar = {tag: difflib.get_close_matches(tag, STAGES, 1, 0.75) for tag in tags or () if tag not in STAGES}
    return {tag: found[0] for tag, found in similar.items() if found}
