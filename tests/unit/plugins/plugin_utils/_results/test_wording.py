# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import wording
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
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
