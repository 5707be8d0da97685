# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""`hccn_tool -ping` and the network faults, with real ICMP and real firewall rules in a separate network namespace.

This file runs itself inside the namespace, where one interface has the addresses of two nodes.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

SIMULATOR = Path(__file__).resolve().parents[2] / "molecule" / "testbed" / "simulator"
OWN, PEER, UNUSED = "10.78.3.11", "10.78.3.12", "10.78.3.77"


def measure() -> dict[str, list]:
    """Return the ping times of each case; runs only inside the namespace."""
    sys.path.insert(0, str(SIMULATOR))
    from ascend_simulator import faults, npu_network
    from ascend_simulator import state as node_state

    for command in ("link set lo up", "link add npu0 type veth peer name far", "link set npu0 up", "link set far up",
                    f"address add {OWN}/24 dev npu0", f"address add {PEER}/24 dev npu0"):
        subprocess.run(["ip", *command.split()], check=True)

    def times_with(fault: str, value: str, *pings: tuple[str, str]) -> list:
        state = node_state.new_state("25.3.rc1", "atlas_800_a2", 8, 1)
        faults.FAULTS[fault].apply(faults.Context("/", state, state["chips"][3]), value)
        times = [npu_network.ping(source, target, 64) for source, target in pings]
        for step in reversed(state["undo"]):
            faults._undo(step)
        return times

    return {
        "healthy": [npu_network.ping(OWN, PEER, 4096)],
        "unused address": [npu_network.ping(OWN, UNUSED, 64)],
        "foreign address": [npu_network.ping("10.78.9.9", PEER, 64)],
        "link down": times_with("link", "down", (OWN, PEER), (PEER, OWN)),
        "one direction": times_with("drop", PEER, (OWN, PEER), (PEER, OWN)),
        "moved": times_with("ip", "10.78.3.99", ("10.78.3.99", PEER), (PEER, "10.78.3.99"), (PEER, OWN)),
        "afterwards": [npu_network.ping(*pair, 64) for pair in ((OWN, PEER), (PEER, OWN), (PEER, "10.78.3.99"))],
    }


@pytest.fixture(scope="module")
def times() -> dict[str, list]:
    missing = [program for program in ("unshare", "ip", "iptables", "ping") if not shutil.which(program)]
    if os.geteuid() != 0 or missing:
        pytest.skip(f"needs root and {', '.join(missing) or 'nothing else'} on this machine")
    done = subprocess.run(["unshare", "--net", sys.executable, __file__], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def arrives(times: list[float | None]) -> bool:
    assert len(times) == 3
    assert all(time is None for time in times) or all(0 < time < 100 for time in times)
    return times[0] is not None


@pytest.mark.parametrize(("case", "expected"), [
    ("healthy", [True]),
    ("unused address", [False]),
    ("link down", [False, False]),
    ("one direction", [False, True]),
    ("moved", [True, True, False]),
    ("afterwards", [True, True, False]),
])
def test_only_the_expected_pings_arrive(times, case, expected):
    assert [arrives(ping) for ping in times[case]] == expected


def test_nothing_is_sent_from_an_address_that_the_node_does_not_have(times):
    assert times["foreign address"] == [None]


if __name__ == "__main__":
    print(json.dumps(measure()))
