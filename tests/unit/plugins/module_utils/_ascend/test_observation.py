# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""npu-smi is queried for its table and for the details of every chip."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from ansible_collections.ascend.vllm.plugins.module_utils._ascend import observation as npu_observation
from ansible_collections.ascend.vllm.plugins.module_utils._host import commands as tools

SAMPLES = Path(__file__).parent / "npu_smi"


def runner(table, details):
    """Return a command runner that prints the table or these details. All other commands time out."""
    def run_all(commands):
        outcomes = {}
        for key, argv in commands.items():
            text = table if argv[1:] == ["info"] else details.get(" ".join(argv[2:]))
            outcomes[key] = tools.Outcome(argv, None if text is None else 0, text or "", "", 0.1, text is None,
                                          None if text is not None else "no answer within 5 s")
        return outcomes
    return run_all


def test_query_reads_the_error_codes_of_chips_that_are_not_healthy():
    table = (SAMPLES / "910b.txt").read_text()
    observation, outcomes = npu_observation.query(runner(table, {
        "-t health -i 3 -c 0": "\tHealth Status : Alarm\n\tError Code : 80E01801 81078603\n\tError Information : x\n",
        "-t ecc -i 0": "\tNPU ID : 0\n\n\tHBM Double Bit Isolated Pages Count : 2\n\tChip ID : 0\n",
        "-t board -i 0": "\tNPU ID : 0\n\tSoftware Version : 25.3.rc1\n\tCompatibility : OK\n",
    }), "/usr/local/bin/npu-smi")
    assert observation["error"] is None
    first, second = observation["chips"]
    assert (first["device"], first["error_codes"], second["error_codes"]) == (0, None, ["80E01801", "81078603"])
    assert first["ecc"]["HBM Double Bit Isolated Pages Count"] == "2"
    assert first["board"]["Compatibility"] == "OK"
    assert (second["ecc"], second["board"]) == (None, None)
    commands = [" ".join(outcome.argv[1:]) for outcome in outcomes]
    assert commands == ["info", "info -t ecc -i 0", "info -t board -i 0", "info -t health -i 3 -c 0",
                        "info -t ecc -i 3", "info -t board -i 3"]


def test_query_distinguishes_the_chips_of_one_npu():
    observation, outcomes = npu_observation.query(runner((SAMPLES / "a3_wide.txt").read_text(), {
        "-t ecc -i 6": "\tNPU ID : 6\n\tChip Count : 2\n\n\tHBM Double Bit Error Count : 0\n\tChip ID : 0\n\n"
                       "\tHBM Double Bit Error Count : 9\n\tChip ID : 1\n",
    }), "npu-smi")
    assert [chip["device"] for chip in observation["chips"]] == [12, 13]
    assert [chip["ecc"]["HBM Double Bit Error Count"] for chip in observation["chips"]] == ["0", "9"]
    assert len(outcomes) == 3


@pytest.mark.parametrize(("table", "message", "code"), [
    (None, "npu-smi info: no answer within 5 s", None),
    ("dcmi module initialize failed. ret is -8005\n", "dcmi module initialize failed. ret is -8005", -8005),
    ("gibberish", "npu-smi info cannot be read: npu-smi info printed no table and no known error: 'gibberish'", None),
])
def test_query_returns_the_error_of_a_tool_that_fails(table, message, code):
    observation, outcomes = npu_observation.query(runner(table, {}), "npu-smi")
    assert observation["error"] == {"message": message, "code": code}
    assert observation["chips"] == []
    assert len(outcomes) == 1


def test_query_reports_a_missing_tool():
    observation, outcomes = npu_observation.query(None, None)
    assert observation["error"] == {"message": "npu-smi was not found", "code": None}
    assert outcomes == []


DETAILS = "\tNPU ID : 0\n\tHealth Status : Alarm\n\tError Code : 80E01801\n\tChip Count : 2\n\n\tChip ID : 0\n"


def mutated(text, rng):
    """Return a text with changed, missing, repeated and inserted bytes, as a tool could print it."""
    raw = bytearray(text.encode())
    for _change in range(rng.choice((1, 3, 30))):
        at = rng.randrange(len(raw) + 1)
        kind = rng.random()
        if kind < 0.4:
            raw[at:at + 1] = bytes([rng.randrange(256)])
        elif kind < 0.6:
            del raw[at:at + rng.choice((1, 80, 2000))]
        elif kind < 0.8:
            raw[at:at] = raw[max(0, at - 200):at]
        else:
            raw[at:at] = rng.choice((b"|", b"\n", b"-", b"9" * 5000, b"\x1b[2J", b"\0", "\u4f60\u00b2".encode()))
    return bytes(raw).decode("utf-8", "replace")


@pytest.mark.parametrize("sample", sorted(path.name for path in SAMPLES.glob("*.txt")))
def test_damaged_output_causes_no_crash(sample):
    rng, table = random.Random(sample), (SAMPLES / sample).read_text()
    for text in ("", "\0", "\ufffd" * 1000, "|" * 100000, "\n" * 100000, table * 20):
        npu_observation.query(runner(text, {}), "npu-smi")
    for _mutation in range(100):
        def run_all(commands):
            return {key: tools.Outcome(argv, 0, mutated(table if argv[1:] == ["info"] else DETAILS, rng), "", 0.1,
                                       False, None) for key, argv in commands.items()}

        observation, _outcomes = npu_observation.query(run_all, "npu-smi")
        assert observation["error"] is None or observation["error"]["message"]
        assert isinstance(observation["chips"], list)
