# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every lie is caught by its check and by no other; the numbers of an honest run are there."""

from __future__ import annotations

import json
import os
from pathlib import Path

import jsonschema
import pytest
import yaml

PROJECT = Path(os.environ["MOLECULE_PROJECT_DIRECTORY"])
HOME = Path(os.environ["MOLECULE_EPHEMERAL_DIRECTORY"])
testinfra_hosts = ["ansible://node1"]
ROUNDS = yaml.safe_load((PROJECT / "molecule/benchmark/vars/rounds.yml").read_text("utf-8"))["rounds"]
VALIDATE = jsonschema.Draft202012Validator(json.loads(
    (PROJECT / "docs/schemas/stage-result-v1.json").read_text("utf-8"))).validate
JUDGED = [(each["name"], role, failed) for each in ROUNDS for role, failed in each["roles"].items()]


def result(name, role):
    return json.loads((HOME / "rounds" / name / "node1" / f"{role}.json").read_text("utf-8"))


def statuses(name, role):
    return {check["id"].split(".")[1]: check["status"] for check in result(name, role)["checks"]}


@pytest.mark.parametrize(("name", "role", "failed"), JUDGED, ids=[f"{name}-{role}" for name, role, _ in JUDGED])
def test_each_lie_fails_its_checks_and_no_other(name, role, failed):
    found = result(name, role)
    VALIDATE(found)
    assert {check for check, status in statuses(name, role).items() if status == "failed"} == set(failed)
    assert found["status"] == ("failed" if failed else "passed")


def test_numbers_of_the_real_vllm():
    observed = result("real_vllm", "benchmark")["observed"]
    run = observed["instances"][0]["runs"][0]
    raw = json.loads((HOME / "rounds" / "real_vllm" / run["file"]).read_text("utf-8"))
    assert (raw["completed"], raw["num_prompts"], raw["instance"]) == (12, 12, "vllm-ascend-qwen25-vl")
    assert run["metrics"]["output_throughput"] == raw["output_throughput"] > 0
    assert {figure["name"]: figure["value"] for figure in observed["figures"]}["Output token throughput"] > 0


def test_score_of_the_real_aisbench():
    score = result("real_vllm", "accuracy")["observed"]["scores"][0]
    assert (score["answered"], score["failed"]) == (3, 0)
    assert score["score"] == pytest.approx(200 / 3, abs=0.01)


def test_a_good_run_is_kept_as_baseline_and_a_bad_one_is_not():
    baselines = list((HOME / "baselines").glob("*.json"))
    assert len(baselines) == 1
    kept = json.loads(baselines[0].read_text("utf-8"))
    assert kept["metrics"]["output_throughput"] == result("real_vllm", "benchmark")[
        "observed"]["instances"][0]["summary"]["output_throughput"]["median"]


def test_a_sweep_ends_at_its_maximum_when_that_meets_the_objective():
    sweep = result("stand_in", "benchmark")["observed"]["instances"][0]["sweep"]
    assert ([point["value"] for point in sweep["points"]], sweep["best"]) == ([16], 16)


def test_every_request_of_a_healthy_server_has_its_latency():
    answers = result("real_vllm", "functional")["observed"]["servers"][0]["answers"]
    assert all(answer["latency_s"] > 0 for answer in answers.values())
    assert answers["streaming"]["time_to_first_token_s"] > 0
    assert answers["long_prompt"]["prompt_tokens"] > 29000


def test_clients_are_gone(host):
    assert host.check_output("docker ps --all --quiet --filter label=ascend.vllm.benchmark-client") == ""


def test_aisbench_left_nothing():
    assert list(Path("/var/tmp").glob("ascend-vllm-accuracy-*")) == []
