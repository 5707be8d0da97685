# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The results contract: what a check is, what a stage leaves behind, and what follows from it.

A judge (``checks/<stage>.py``) declares its checks once in a table and states for each what it expected and
what it found. This module turns that into the file ``<report_path>/<host>/<stage>.json``; its shape is
``docs/schemas/stage-result-v1.json``. A thing that was not checked is never ``passed``.
"""

from __future__ import annotations

import difflib
from typing import NamedTuple

SCHEMA = "ascend.vllm/stage-result/v1"

# In the order in which a site runs them.
STAGES = ("npu_driver", "hccl", "image", "weights", "serving", "functional", "accuracy", "benchmark")

PASSED, FAILED, WARNED, WAIVED, NOT_RUN, UNSUPPORTED = (
    "passed", "failed", "warned", "waived", "not_run", "unsupported",
)
STATUSES = (PASSED, FAILED, WARNED, WAIVED, NOT_RUN, UNSUPPORTED)

CRITICAL, WARNING, INFO = "critical", "warning", "info"
SEVERITIES = (CRITICAL, WARNING, INFO)


class Check(NamedTuple):
    """One kind of check. ``id`` is stable and unique in its stage; the remedy is what an operator does."""

    id: str
    severity: str
    title: str
    remedy: str


# Every stage can meet these before its own checks come into play.
COMMON = (
    Check("node_reachable", CRITICAL, "The node answers over SSH",
          "Bring the node back or take it out of the inventory, then run again."),
    Check("observation", CRITICAL, "The node could be observed",
          "Read the error above; run again with -vvv for the module's full output."),
)


class Checks:
    """Collects the outcome of checks from one table.

    :param table: the stage's ``CHECKS``; an id that is not in it raises ``KeyError``.
    """

    def __init__(self, table):
        self._table = {check.id: check for check in COMMON + tuple(table)}
        self._found = []

    def expect(self, check_id, ok, expected=None, actual=None, subject=None, message=None, remedy=None):
        """State an outcome: ``ok`` is True, False, or None for «could not be determined» (not_run)."""
        severity = self._table[check_id].severity
        if ok is None:
            status = NOT_RUN
        elif ok:
            status = PASSED
        else:
            status = FAILED if severity == CRITICAL else WARNED
        self._add(check_id, status, expected, actual, subject, message, remedy)
        return ok

    def not_run(self, check_id, why, subject=None):
        """The check was not made; ``why`` is a sentence."""
        self._add(check_id, NOT_RUN, None, None, subject, why, None)

    def unsupported(self, check_id, why, subject=None):
        """This hardware, tool or release does not offer what the check needs."""
        self._add(check_id, UNSUPPORTED, None, None, subject, why, None)

    def _add(self, check_id, status, expected, actual, subject, message, remedy):
        check = self._table[check_id]
        wants_remedy = status not in (PASSED, UNSUPPORTED)
        self._found.append({
            "id": check_id,
            "severity": check.severity,
            "status": status,
            "subject": subject,
            "title": check.title,
            "expected": expected,
            "actual": actual,
            "message": message,
            "remedy": (remedy or check.remedy) if wants_remedy else None,
        })

    def as_list(self):
        """The checks in the order in which they were stated."""
        return list(self._found)


class UnknownCheck(ValueError):
    """A waiver names a check that does not exist."""


def apply_waivers(checks, waive, stage, table):
    """Show failed and warned checks that the site waives as ``waived``, with its reason.

    :param waive: list of check ids (with or without the stage), or of ``{"id": …, "reason": …}``.
    :raises UnknownCheck: for an id that the stage does not have.
    """
    known = {check.id for check in COMMON + tuple(table)}
    reasons = {}
    for entry in waive or []:
        name, reason = (entry["id"], entry.get("reason")) if isinstance(entry, dict) else (entry, None)
        short = name[len(stage) + 1:] if name.startswith(stage + ".") else name
        if short not in known:
            near = difflib.get_close_matches(short, sorted(known), 1)
            raise UnknownCheck("%s_waive names the check '%s', which this stage does not have%s" % (
                stage, name, "; did you mean '%s'?" % near[0] if near else "; docs/checks.md lists them"))
        reasons[short] = reason or "waived by %s_waive, no reason given" % stage
    return [
        dict(check, status=WAIVED,
             message="%s (found: %s)" % (reasons[check["id"]], check["message"] or check["actual"]))
        if check["id"] in reasons and check["status"] in (FAILED, WARNED) else check
        for check in checks
    ]


def renewed(earlier, checks, ids):
    """Return an earlier result's checks with those of some ids taken anew; all of the new ones when there is none.

    :param earlier: a result as `stage_result` made it, or None.
    :param checks: what was found now; of it only the checks of these ids are taken.
    :param ids: without the stage.
    """
    if not earlier:
        return checks
    prefix = earlier["stage"] + "."
    kept = [dict(check, id=check["id"][len(prefix):]) for check in earlier["checks"]]
    return [check for check in kept if check["id"] not in ids] + [check for check in checks if check["id"] in ids]


def stage_status(checks):
    """The worst of the checks: failed, then a critical one not run, warned, unsupported, not run, waived, passed."""
    if not checks:
        return NOT_RUN
    found = {check["status"] for check in checks}
    if FAILED in found:
        return FAILED
    if any(check["status"] == NOT_RUN and check["severity"] == CRITICAL for check in checks):
        return NOT_RUN
    for status in (WARNED, UNSUPPORTED, WAIVED, PASSED):
        if status in found:
            return status
    return NOT_RUN


def stage_result(stage, host, checks, plan=None, observed=None, started_at=None, finished_at=None,
                 duration_s=None, error=None, collection_version=None):
    """One result in the shape of the schema; check ids get their stage."""
    plan = plan or {}
    return {
        "schema": SCHEMA,
        "stage": stage,
        "host": host,
        "status": stage_status(checks),
        "checks": [dict(check, id="%s.%s" % (stage, check["id"])) for check in checks],
        "plan_hash": plan.get("hash"),
        "release": (plan.get("release") or {}).get("id"),
        "model": (plan.get("model") or {}).get("id"),
        "started_at": started_at,
        "finished_at": finished_at,
        "duration_s": duration_s,
        "observed": observed or {},
        "error": error,
        "collection_version": collection_version,
    }


def sentence(check):
    """A check in one line, for people. What was not run needs no remedy: the message says what stood in the way."""
    subject = " (%s)" % check["subject"] if check["subject"] else ""
    body = check["message"] or "expected %s, found %s" % (check["expected"], check["actual"])
    remedy = " " + check["remedy"] if check["remedy"] and check["status"] != NOT_RUN else ""
    return "%s%s: %s.%s" % (check["id"], subject, body.rstrip("."), remedy)


def failures(result):
    """The sentences of every failed check of a result."""
    return [sentence(check) for check in result["checks"] if check["status"] == FAILED]


def selected_stages(run_tags, skip_tags):
    """The stages that a run of site.yml with these tags takes, in order."""
    run, skip = set(run_tags or ["all"]), set(skip_tags or [])
    return [stage for stage in STAGES if (run & {"all", "tagged", stage}) and stage not in skip]


def mistyped_tags(tags):
    """``{tag: stage}`` of the tags that are no stage but nearly one: a typing error would run nothing and look fine."""
    near = {tag: difflib.get_close_matches(tag, STAGES, 1, 0.75) for tag in tags or () if tag not in STAGES}
    return {tag: found[0] for tag, found in near.items() if found}
