# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Connect the verifier to the nodes of the scenario's bed over plain SSH. testinfra's Ansible backend would start
Ansible for each command, which takes a second."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest

pytest.register_assert_rewrite("scenario")
TESTBED = Path(__file__).parent / "testbed"
NAME = os.environ["MOLECULE_SCENARIO_NAME"].replace("_", "-")
CACHE = Path(os.environ.get("ASCEND_VLLM_CACHE") or "/var/cache/ascend-vllm-testbed").absolute()
NODES = pytest.StashKey[list]()
CONFIG = """\
Host *
  ProxyCommand "{testbed}/bed" -n {name} run -- "{testbed}/connect" %h %p
  ControlPath "{cache}/beds/{name}/verify-%n"
Include "{cache}/ssh/config"
"""


def pytest_configure(config):
    status = subprocess.run([TESTBED / "bed", "status", "--json"], capture_output=True, check=True)
    bed = json.loads(status.stdout).get(NAME)
    if not bed:
        raise pytest.UsageError(f"there is no bed {NAME} to verify; run `molecule converge` first")
    config.stash[NODES] = list(bed["nodes"])
    path = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"], "ssh_config")
    path.write_text(CONFIG.format(testbed=TESTBED, name=NAME, cache=CACHE), "utf-8")
    config.option.ssh_config = str(path)


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc):
    """Run tests on every node of the bed unless their module names hosts."""
    if not hasattr(metafunc.module, "testinfra_hosts"):
        metafunc.module.testinfra_hosts = [f"ssh://{node}" for node in metafunc.config.stash[NODES]]
