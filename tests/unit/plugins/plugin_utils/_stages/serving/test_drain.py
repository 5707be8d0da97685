# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Servers with unfinished requests are named, and so are NPUs in use and the processes that use them."""

from __future__ import annotations

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.serving import drain
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.serving.containers_case import (
    NAME,
    containers,
)


@pytest.mark.parametrize(("load", "clause"), [
    ({"running": 2, "waiting": 1, "kv_cache_usage": None}, f"{NAME} has requests: 2 running, 1 waiting"),
    ({"running": 0, "waiting": 1, "kv_cache_usage": None}, f"{NAME} has requests: 0 running, 1 waiting"),
    ({"error": "/metrics: timed out"}, f"the number of requests of {NAME} is unknown (/metrics: timed out)"),
    ({"running": 0, "waiting": 0, "kv_cache_usage": None}, None),
    (None, None),
])
def test_servers_with_unfinished_requests_are_named(load, clause):
    assert drain.requests_left(containers(NAME, load=load)) == ([clause] if clause else [])


def npus(error=None, holders=(), **used):
    return {"npu_smi": {"error": error, "chips": [{"device": int(name[1:]), "hbm_used_mb": mb}
                                                  for name, mb in used.items()]}, "holders": list(holders)}


@pytest.mark.parametrize(("observed", "clauses"), [
    (npus(d0=3400, d1=3500, d2=60000), []),
    (npus(d0=60000, d1=3500), ["NPU 0 is not free, but no process that uses it was found (60000 MB of HBM in use)"]),
    (npus(d0=3400), ["npu-smi does not show NPU 1"]),
    (npus(d0=3400, d1=None), ["NPU 1 is not free, but no process that uses it was found (HBM usage unknown)"]),
    (npus({"message": "npu-smi info: timed out"}),
     ["it is unknown whether the NPUs are free: npu-smi info: timed out"]),
    (npus(None, [{"device": 1, "pid": 7, "process": "python3", "memory_mb": None,
                  "container": {"name": "train", "image_name": "t:1"}},
                 {"device": 4, "pid": 8, "process": "python3", "container": None}], d0=1, d1=9000),
     ["NPU 1 is held by process 7 (python3) in container train (t:1) (9000 MB of HBM in use)"]),
])
def test_npus_in_use_are_named_with_their_processes(observed, clauses):
    assert drain.npus_held(observed, [1, 0], 6144) == clauses
