# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Contexts for judge tests."""

from __future__ import annotations

import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Context
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import ROOT

# Keys that tests put into an observation, and the Context field that each one sets (None: it goes into `measured`).
FIELDS = {"phase": "phase", "failure": "failure", "check_mode": "check_mode", "forks": "forks",
          "play_hosts": "play_hosts", "waited": None, "balancer": None, "probe": None, "archive": None, "secrets": None,
          "stager": None, "shared": None, "pending": None}


def defaults(role):
    """Return the defaults of a role, before templating."""
    return yaml.safe_load((ROOT / "roles" / role / "defaults" / "main.yml").read_text("utf-8"))


def context(plan, observed=None, inputs=None, host="node1", survey=None):
    """Return a context. ``observed`` may also contain the keys of FIELDS."""
    values = dict(observed or {})
    fields = {FIELDS[name]: values.pop(name) for name in list(values) if FIELDS.get(name)}
    measured = {name: values.pop(name) for name in list(values) if name in FIELDS}
    return Context(host=host, plan=plan, inputs=inputs or {}, observed=values, measured=measured, survey=survey,
                   **fields)
