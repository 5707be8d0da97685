# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract, wording
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    current,
    result,
    summary,
)


@pytest.mark.parametrize(("results", "status", "headline"), [
    ([], "not_run", "Nothing was run"),
    ([result("npu_driver", "node1"), result("npu_driver", "node2")], "passed", "1 of 8 stages passed on all 2 hosts"),
    ([result("npu_driver", "node1")], "passed", "0 of 8 stages passed on all 2 hosts"),
    ([result("npu_driver", "node1"), result("npu_driver", "node2", cool=False)], "warned",
     "1 of 8 stages passed on all 2 hosts, with warnings"),
    ([result("npu_driver", "node1", ok=False), result("npu_driver", "node2")], "failed", "1 of 2 hosts failed: node1"),
])
def test_headline_summarizes_the_results(results, status, headline):
    found = summary(*results)
    assert (found["status"], wording.headline(found)) == (status, headline)


def test_headline_names_a_single_host():
    found = summary(result("npu_driver", "node1"), hosts=("node1",))
    assert wording.headline(found) == "1 of 8 stages passed on node1"


@pytest.mark.parametrize(("seconds", "expected"), [
    (0, "0 s"), (59, "59 s"), (60, "1 min"), (3600, "1 h"), (86399, "23 h"), (8 * 86400, "8 d")])
def test_age_is_short(seconds, expected):
    assert wording.age(seconds) == expected


def at(found, finished, run_id="now"):
    return {**found, "finished_at": finished, "run_id": run_id}


EARLIER = at(result("hccl", "node2"), "2026-11-15T12:00:00Z", "before")
RECENT = at(result("hccl", "node1"), "2026-11-23T11:00:00Z")


@pytest.mark.parametrize(("results", "options", "expected"), [
    ([RECENT, EARLIER], {"run": ("other", None)}, "No node was queried. The results are 1 h to 8 d old."),
    ([RECENT], {"run": ("other", None), "current": {"node1": current(observed_at="2026-11-23T10:00:00Z")}},
     "No node was queried. The results are 1 h old. The containers were observed 2 h ago."),
    ([], {}, "No node was queried."),
    ([RECENT, EARLIER], {"run": ("now", None)},
     "This run covered hccl on node1. All other results are 8 d old."),
    ([RECENT], {"run": ("now", None), "hosts": ("node1",), "left_out": ("node2", "node3")},
     "This run covered hccl on node1. 2 of 3 hosts are not in this report (--limit)."),
    ([at(result(stage, host), "2026-11-23T12:00:00Z") for stage in contract.STAGES for host in ("node1", "node2")],
     {"run": ("now", None)}, "This run covered all stages on all 2 hosts."),
])
def test_report_says_what_the_run_has_covered(results, options, expected):
    assert wording.coverage(summary(*results, **options)) == expected


def test_headline_counts_stale_results():
    results = [result("hccl", "node1"), result("image", "node1")]
    found = summary(*results, hosts=("node1",), current={"node1": current("ba9876543210")})
    assert wording.headline(found) == "0 of 8 stages passed on node1, 2 results are stale"


def test_deployment_is_named_after_its_node():
    found = summary(hosts=("node1", "node2", "text"), nodes={"node1": "node1", "text": "node1"})
    assert [wording.place(found, host) for host in found["hosts"]] == ["node1 / node1", "node1 / text", "node2"]
