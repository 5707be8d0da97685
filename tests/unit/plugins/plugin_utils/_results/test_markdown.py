# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import markdown, terminal, wording
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._results.report_case import (
    IMAGE,
    MODEL,
    SERVICE,
    accuracy,
    benchmark,
    image,
    result,
    serving,
    summary,
    weights,
)


def test_markdown_contains_host_check_and_remedy():
    text = markdown.to_markdown(summary(result("npu_driver", "node1", ok=False), serving("node2"), benchmark("node2")))
    assert "- **node1** npu_driver.health (npu 3): expected OK, found Alarm. Replace the card." in text
    assert f"- {SERVICE}, since 2026-11-23T10:00:00Z\n" in text
    assert "| node2 | output throughput | 1235 | token/s |" in text
    assert "| node1 | FAILED 0 s | not run |" in text


def test_finding_of_several_hosts_is_listed_once():
    hosts = ("node1", "node2", "node3")
    text = markdown.to_markdown(summary(
        result("npu_driver", "node1", ok=False, cool=False), result("npu_driver", "node2", ok=False, cool=False),
        result("npu_driver", "node3", cool=False), hosts=hosts))
    assert "- **node1, node2** npu_driver.health (npu 3): expected OK, found Alarm. Replace the card." in text
    assert "- **all 3 hosts** npu_driver.temperature: expected < 90 °C, found 95 °C. Check the fans." in text
    assert text.count("npu_driver.temperature") == 1


def test_check_that_was_not_run_has_no_remedy():
    text = markdown.to_markdown(summary(result("npu_driver", "node1", ok=None), hosts=("node1",)))
    assert "- **node1** npu_driver.health (npu 3): expected OK, found Alarm.\n" in text


def test_pins_can_be_copied_to_the_inventory():
    text = markdown.to_markdown(summary(image("node1"), image("node2"), weights("node1")))
    block = text.partition("```yaml\n")[2].partition("```")[0]
    assert yaml.safe_load(block) == {"image_digest": IMAGE, "weights_digest": MODEL}
    assert f'image_digest: "{IMAGE}"  # all 2 hosts\nweights_digest: "{MODEL}"  # node1\n' in text


@pytest.mark.parametrize(("delta", "verdict", "shown"), [
    (-0.5, "passed", "within the limit"), (-3.0, "failed", "TOO LOW"), (-3.0, "inconclusive", "inconclusive")])
def test_scores_of_two_models_are_compared_in_a_table(delta, verdict, shown):
    found = summary(accuracy("node1", delta, verdict))
    (row,) = found["comparisons"]
    assert row == {"host": "node1", "dataset": "textvqa", "metric": "accuracy", "compared_with": "bf16", "before": 76.0,
                   "model": "w8a8", "after": 76.0 + delta, "delta": delta, "verdict": verdict,
                   "interval": [delta - 1, delta + 1]}
    assert (f"| node1 | textvqa, accuracy | bf16 | 76 | w8a8 | {76 + delta:.4g} | {delta:+.4g} | "
            f"{delta - 1:+.3g} to {delta + 1:+.3g} | {shown} |") in (
        markdown.to_markdown(found))


HOSTILE = ["a\x1b[2Jb", "a\r\n\n# All passed", "a | b | c", "<script>alert(1)</script>", "[x](http://evil)", "**x**",
           "a\u202eb", "a\ud800b", "`x`", "x" * 100_000]


def with_hostile(data, hostile, path=()):
    """Yield copies of the data, each with one string or one host name replaced with the hostile text."""
    if isinstance(data, dict):
        for key, value in data.items():
            for changed in with_hostile(value, hostile, (*path, key)):
                yield {**data, key: changed}
            if path == ("hosts",):
                yield {hostile if name == key else name: each for name, each in data.items()}
    elif isinstance(data, list):
        for at, value in enumerate(data):
            for changed in with_hostile(value, hostile, (*path, at)):
                yield [*data[:at], changed, *data[at + 1:]]
    elif isinstance(data, str) and path[-1] not in ("status", "severity"):  # fixed values of this collection
        yield hostile


@pytest.mark.parametrize("hostile", HOSTILE, ids=range(len(HOSTILE)))
def test_hostile_text_in_any_field_does_not_change_the_structure(hostile):
    """Even if one of its strings is hostile, the report keeps its lines and columns, and no line is forged."""
    harmless = summary(result("npu_driver", "node1", ok=False), result("hccl", "node1", cool=False), serving("node2"),
                       accuracy("node1"), benchmark("node1"))
    lines = markdown.to_markdown(harmless).split("\n")
    count = 0
    for changed in with_hostile(harmless, hostile):
        count += 1
        text = markdown.to_markdown(changed)
        found = text.split("\n")
        # A finding that two hosts share is one line, and becomes two lines if one host differs.
        assert abs(len(found) - len(lines)) <= 1
        assert [line for line in found if line.startswith("##")] == [line for line in lines if line.startswith("##")]
        assert [line for line in found if line.startswith("# ")] == found[:1]
        assert {line[:2] for line in found if line[:2] not in ("- ", "| ", "##", "# ")} <= {"", "Th"}
        columns = {line.replace(r"\|", "").count("|") for line in lines}
        assert {line.replace(r"\|", "").count("|") for line in found} <= columns
        assert "<script" not in text
        assert "](http" not in text
        assert max(map(len, found)) < 10_000
        shown = [*terminal.table(changed), *wording.services(changed), wording.headline(changed)]
        assert len(terminal.table(changed)) == len(terminal.table(harmless))
        for line in [*found, *shown]:
            assert line.isprintable(), line
    assert count > 30
