# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import currency
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    image,
    result,
    serving,
    weights,
)

BEFORE, AFTER = "2026-11-23T10:00:00.123Z", "2026-11-23T11:00:00.123Z"
DEPLOYED = {"image": "sha256:" + "9" * 64, "weights": "2" * 64, "containers": {"a": BEFORE},
            "observed_at": "2026-11-23T12:00:00Z"}


def benchmark(started, finished="2026-11-23T13:00:00Z"):
    snapshots = [{"a": {"started_at": "x"}}, {"a": {"started_at": started}}]
    return {**result("benchmark", "node1", observed={"snapshots": snapshots}), "finished_at": finished}


def test_newest_observations_are_read_from_the_results():
    found = currency.newest({each["stage"]: each for each in (image("node1"), weights("node1"), serving("node1"))})
    assert found == DEPLOYED


@pytest.mark.parametrize(("results", "status", "expected"), [
    ([], None, {}),
    ([serving("node1")], None, {"a": BEFORE}),
    ([serving("node1"), benchmark(AFTER)], None, {"a": AFTER}),
    ([serving("node1"), benchmark(AFTER, "2026-11-23T11:59:59Z")], None, {"a": BEFORE}),
    ([serving("node1")], {"observed_at": "2026-11-23T12:00:01Z", "containers": {"a": AFTER}}, {"a": AFTER}),
    ([serving("node1")], {"observed_at": "2026-11-23T11:59:59Z", "containers": {"a": AFTER}}, {"a": BEFORE}),
    ([serving("node1")], {"observed_at": "2026-11-23T12:00:01Z", "containers": {"a": None}}, {"a": None}),
])
def test_containers_are_those_of_the_newest_observation(results, status, expected):
    assert currency.newest({each["stage"]: each for each in results}, status)["containers"] == expected


@pytest.mark.parametrize("observed", [
    {"instances": [{}]}, {"instances": 3}, {"instances": [{"name": "a", "container": 4}]}])
def test_observation_in_an_unknown_format_shows_no_containers(observed):
    assert currency.newest({"serving": result("serving", "node1", observed=observed)})["containers"] == {}


@pytest.mark.parametrize(("now", "expected"), [
    ({}, []),
    ({"plan": "ba9876543210"}, [("plan", "0123456789ab", "ba9876543210")]),
    ({"plan": None}, []),
    ({"image": "sha256:" + "8" * 64}, [("image", "sha256:" + "9" * 64, "sha256:" + "8" * 64)]),
    ({"weights": "3" * 64}, [("weights", "2" * 64, "3" * 64)]),
    ({"containers": {"a": AFTER}}, [("start of container a", BEFORE, AFTER)]),
    ({"containers": {"a": None}}, [("start of container a", BEFORE, "none")]),
    ({"containers": {"b": AFTER}, "image": None, "weights": None}, []),
])
def test_each_change_since_a_result_is_found(now, expected):
    tested = {**result("benchmark", "node1"), "deployed": DEPLOYED}
    found = currency.changes(tested, {"plan": "0123456789ab", **DEPLOYED, **now})
    assert [(each["what"], each["was"], each["now"]) for each in found] == expected


def test_result_of_an_older_version_is_compared_with_the_plan_only():
    older = result("benchmark", "node1")
    del older["run_id"]
    assert currency.changes(older, {"plan": "0123456789ab", **DEPLOYED}) == []
    assert len(currency.changes(older, {"plan": "ba9876543210", **DEPLOYED})) == 1


def test_changes_are_described_with_short_digests():
    assert currency.sentence([{"what": "image", "was": "sha256:" + "9" * 64, "now": "sha256:" + "8" * 64}]) == (
        "the image was 999999999999 and is now 888888888888.")
