# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

import base64
import struct
import subprocess
import zlib

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import bench_options
from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import BadInput
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.benchmark import statistics, vllm_bench
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import CATALOGUE
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._stages.context_case import defaults

INPUTS = defaults("benchmark")
PLAN = {"hash": "0123456789ab", "model": {"served_name": "qwen25_vl", "path": "/data/model"},
        "image": {"reference": "registry/vllm-ascend:v0.11.0rc1"}, "release": {"id": "v0.11.0rc1"},
        "ca": None}
INSTANCE = {
    "name": "vllm", "url": "http://10.0.0.1:8888", "secrets_path": None,
    "devices": ["/dev/davinci0"],
    "mounts": [{"source": source, "target": source, "read_only": True, "origin": origin} for source, origin in (
        ("/usr/local/dcmi", "host"), ("/data/model", "weights"), ("/var/patch.py", "patch"), ("/site", "site"))],
}
RUN = {"id": "vllm-serve-1", "repeat": 1, "seed": 7, "target": "instance"}
KNOWN = bench_options(CATALOGUE, "0.11.0", "serve")


def options(known=KNOWN, **inputs):
    argv = vllm_bench.command(known, PLAN, INSTANCE["url"], dict(INPUTS, **inputs), RUN)
    assert argv[:3] == ["vllm", "bench", "serve"]
    return {name: value for name, value in zip(argv, argv[1:]) if name.startswith("--")}


def test_defaults_result_in_the_measurement_of_the_tutorial():
    found = options()
    assert {name: found["--" + name] for name in ("base-url", "model", "served-model-name", "num-prompts",
                                                  "request-rate", "random-input-len", "temperature", "seed")} == {
        "base-url": "http://10.0.0.1:8888", "model": "/data/model", "served-model-name": "qwen25_vl",
        "num-prompts": "200", "request-rate": "1", "random-input-len": "200", "temperature": "0", "seed": "7"}
    assert float(found["--ready-check-timeout-sec"]) > 0
    assert "--max-concurrency" not in found
    assert not [name for name in found if name.startswith("--random-mm")]


@pytest.mark.parametrize("release", sorted(CATALOGUE["releases"]))
@pytest.mark.parametrize("dataset", ["random", "random-mm", "custom"])
def test_every_release_has_the_required_options(release, dataset):
    known = bench_options(CATALOGUE, CATALOGUE["releases"][release]["vllm"], "serve")
    found = options(known, benchmark_dataset=dataset, benchmark_dataset_path="/d/p.jsonl", benchmark_max_concurrency=2)
    assert {name[2:] for name in found} <= set(known) | {"metadata"}


def test_custom_prompts_are_sent_without_a_template():
    for version, skip in (("0.11.0", "--custom-skip-chat-template"), ("0.12.0", "--skip-chat-template")):
        found = options(bench_options(CATALOGUE, version, "serve"), benchmark_dataset="custom",
                        benchmark_dataset_path="/d/p.jsonl")
        assert skip in found
        assert (found["--custom-output-len"], found["--endpoint"]) == ("128", "/v1/chat/completions")
        assert "--random-input-len" not in found


def test_warm_up_of_the_client_is_disabled():
    assert "--num-warmups" not in options()
    assert options(bench_options(CATALOGUE, "0.23.0", "serve"))["--num-warmups"] == "0"


def test_benchmark_args_are_added():
    found = options(benchmark_args={"goodput": ["ttft:100", "tpot:20"], "top-p": 0.9, "disable-tqdm": True,
                                    "no-stream": False})
    assert (found["--goodput"], found["--top-p"]) == ("ttft:100", "0.9")
    assert "--disable-tqdm" in found
    assert "--no-stream" not in found


@pytest.mark.parametrize(("args", "sentence"), [
    ({"num-prompts": 3}, "which another input of the role controls"),
    ({"metadata": "a=b"}, "which another input of the role controls"),
    ({"num-warmups": 3}, r"release v0\.11\.0rc1 has no option num-warmups"),
    ({"max-concurency": 3}, "did you mean max-concurrency"),
    ({"disable-tqdm": "yes"}, "disable-tqdm is a switch"),
    ({"top-p": True}, "top-p must have a value"),
])
def test_invalid_benchmark_args_are_refused(args, sentence):
    with pytest.raises(BadInput, match=sentence):
        options(benchmark_args=args)


def test_release_without_a_required_option_is_refused():
    with pytest.raises(BadInput, match="no option base-url"):
        options({name: kind for name, kind in KNOWN.items() if name != "base-url"})


def test_images_are_sent_to_the_chat_endpoint():
    found = options(benchmark_dataset="random-mm", benchmark_max_concurrency=4)
    assert (found["--backend"], found["--endpoint"]) == ("openai-chat", "/v1/chat/completions")
    assert found["--random-mm-bucket-config"] == "{(720, 1280, 1): 1.0}"
    assert found["--max-concurrency"] == "4"


def test_list_of_requests_is_replayed_by_the_client(tmp_path):
    path = tmp_path / "t.jsonl"
    path.write_text('{"timestamp_s": 0, "input_tokens": 3, "output_tokens": 2}\n'
                    '{"timestamp_s": 1, "input_tokens": 4, "output_tokens": 5, "images": 1}\n')
    inputs = {"benchmark_dataset": "trace", "benchmark_trace_path": str(path), "benchmark_num_prompts": 1}
    found = options(**inputs)
    assert (found["--dataset-name"], found["--request-rate"], found["--backend"]) == ("random", "inf", "openai")
    inputs["benchmark_num_prompts"] = 2
    assert options(**inputs)["--endpoint"] == "/v1/chat/completions"
    client = vllm_bench.client(PLAN, INSTANCE, ["vllm", "bench"], dict(INPUTS, **inputs), replays=True)
    assert (client["command"][:2], client["command"][-2:]) == (["python3", "-c"], ["vllm", "bench"])
    assert client["env"]["ASCEND_VLLM_PICTURE_WIDTH"] == "1280"
    assert vllm_bench.client(PLAN, INSTANCE, ["vllm"], dict(INPUTS, **inputs))["command"] == ["vllm"]
    first, second = vllm_bench.warm_up(PLAN, dict(INPUTS, **inputs, benchmark_warmup_prompts=2))
    assert (len(first["body"]["prompt"]), first["body"]["max_tokens"]) == (3, 2)
    assert (second["endpoint"], second["body"]["max_tokens"]) == ("/v1/chat/completions", 5)


def test_no_option_is_repeated():
    names = [word for word in vllm_bench.command(KNOWN, PLAN, "http://a:1", dict(INPUTS,
                                                                                 benchmark_dataset="random-mm"), RUN)
             if word.startswith("--")]
    assert len(names) == len(set(names))


def test_client_has_no_npu_and_only_read_only_mounts():
    found = vllm_bench.client(PLAN, INSTANCE, ["vllm"], INPUTS)
    assert not {"devices", "privileged", "shm_size"} & set(found)
    assert [mount["source"] for mount in found["mounts"]] == ["/usr/local/dcmi", "/data/model"]
    assert all(mount["read_only"] for mount in found["mounts"])
    assert found["env"]["no_proxy"] == "*"
    assert found["command"] == ["vllm"]


def test_client_trusts_the_ca_of_the_plan_and_has_no_tls_key():
    server = {"source": "/k.pem", "target": "/run/ascend-vllm/key.pem", "read_only": True, "origin": "tls"}
    print_ca = ["bash", "-c", 'cat "$SSL_CERT_FILE"']
    found = vllm_bench.client(dict(PLAN, ca="a\nb%s$(id)"), dict(INSTANCE, mounts=[server]), print_ca, INPUTS)
    assert found["mounts"] == []
    printed = subprocess.run(found["command"], env={"PATH": "/usr/bin:/bin", **found["env"]}, capture_output=True,
                             text=True, check=True).stdout
    assert printed == "a\nb%s$(id)"


def test_client_that_sends_no_requests_has_neither_ca_nor_api_key():
    instance = dict(INSTANCE, secrets_path="/x.env")
    found = vllm_bench.client(dict(PLAN, ca="ca"), instance, ["vllm"], INPUTS, with_key=False)
    assert found["command"] == ["vllm"]


def test_prompt_file_is_mounted():
    found = vllm_bench.client(PLAN, INSTANCE, ["vllm"], dict(INPUTS, benchmark_dataset_path="/d/p.jsonl",
                                                             benchmark_client_image="mine"))
    assert found["mounts"][-1] == {"type": "bind", "source": "/d/p.jsonl", "target": vllm_bench.DATASET_TARGET,
                                   "read_only": True}
    assert found["image"] == "mine"


def test_secrets_file_is_the_only_source_of_the_api_key():
    secret = {"source": "/var/lib/x.env", "target": "/run/x.env", "read_only": True, "origin": "secrets"}
    instance = dict(INSTANCE, secrets_path="/var/lib/x.env", mounts=[secret])
    found = vllm_bench.client(PLAN, instance, ["vllm", "bench"], INPUTS)
    assert found["mounts"][0]["source"] == "/var/lib/x.env"
    assert "OPENAI_API_KEY" not in found["env"]
    assert found["command"][-2:] == ["vllm", "bench"]
    assert "OPENAI_API_KEY" in found["command"][2]


@pytest.mark.parametrize(("name", "value"), [
    ("dataset_path", "/d/p.jsonl"), ("dataset_path", "p.jsonl"), ("request_rate", "fast"), ("request_rate", 0),
    ("request_rate", "-1"), ("request_rate", "nan"), ("slo", {"p42_ttft_ms": 1}), ("sweep_compare_with", "/nowhere"),
    ("sweep_minimum", 16)])
def test_message_names_the_invalid_input(name, value):
    inputs = dict(INPUTS, **{"benchmark_" + name: value})
    if name.startswith("sweep"):
        inputs.update(benchmark_sweep="request_rate", benchmark_slo={"p99_ttft_ms": 1})
    if value == "p.jsonl":
        inputs.update(benchmark_dataset="custom")
    (sentence,) = vllm_bench.check_inputs(inputs)
    assert sentence.startswith("benchmark_" + name)


def test_warm_up_requests_resemble_those_of_the_measurement():
    (text,) = vllm_bench.warm_up(PLAN, dict(INPUTS, benchmark_warmup_prompts=1, benchmark_random_input_len_tokens=5))
    assert (text["endpoint"], len(text["body"].pop("prompt"))) == ("/v1/completions", 5)
    assert text["body"] == {"model": "qwen25_vl", "max_tokens": 128, "temperature": 0, "ignore_eos": True}
    (images,) = vllm_bench.warm_up(PLAN, dict(INPUTS, benchmark_warmup_prompts=1, benchmark_dataset="random-mm",
                                              benchmark_images_per_request=2,
                                              benchmark_image_width_px=3, benchmark_image_height_px=2))
    first, *others = images["body"]["messages"][0]["content"]
    assert (images["endpoint"], first["type"], len(others)) == ("/v1/chat/completions", "text", 2)
    image = base64.b64decode(others[0]["image_url"]["url"].partition(",")[2])
    assert struct.unpack(">II", image[16:24]) == (3, 2)
    assert len(zlib.decompress(image[image.index(b"IDAT") + 4:-16])) == 4 * 2


@pytest.mark.parametrize("rate", [1, "inf", 0.5, "12"])
def test_valid_rate_is_accepted(rate):
    assert list(vllm_bench.check_inputs(dict(INPUTS, benchmark_request_rate=rate))) == []


def test_repeats_differ_in_seed_and_id():
    found = vllm_bench.runs("vllm-serve", "instance", dict(INPUTS, benchmark_repeats=3, benchmark_seed=5))
    assert [run["seed"] for run in found] == [5, 6, 7]
    assert len({run["id"] for run in found}) == 3


def test_figures_are_medians_per_instance():
    def instance(name, *values):
        runs = [{"metrics": {"request_throughput": value}} for value in values]
        return {"name": name, "summary": statistics.summarize(runs), "sweep": None}

    assert vllm_bench.figures([instance("a", 1, 5, 2)]) == [
        {"name": "Request throughput", "value": 2, "unit": "req/s"}]
    assert [figure["name"] for figure in vllm_bench.figures([instance("a", 1), instance("b", 2)])] == [
        "Request throughput (a)", "Request throughput (b)"]


def test_result_of_a_sweep_is_reported_as_a_figure():
    sweep = {"variable": "request_rate", "best": 4.5, "objective": {"p99_ttft_ms": 1}, "knee": 2}
    best, knee = ({"name": name, "value": value, "unit": "req/s"} for name, value in (
        ("Highest request rate within the objective", 4.5), ("Knee of the curve", 2)))
    assert vllm_bench.figures([{"name": "a", "summary": {}, "sweep": sweep}]) == [best, knee]
    assert vllm_bench.figures([{"name": "a", "summary": {}, "sweep": {**sweep, "objective": {}}}]) == [knee]


def test_concurrency_sweep_sends_all_requests_at_once():
    assert vllm_bench.at_point(dict(INPUTS, benchmark_sweep="max_concurrency"), 8)["benchmark_request_rate"] == "inf"
    assert vllm_bench.at_point(dict(INPUTS, benchmark_sweep="request_rate"), 8)["benchmark_request_rate"] == 8
    assert vllm_bench.sweep(dict(INPUTS, benchmark_sweep="max_concurrency", benchmark_sweep_minimum=1.0)).integers


@pytest.mark.parametrize(("name", "value", "option", "expected"), [
    ("ready_timeout_s", 7, "ready-check-timeout-sec", "7"), ("num_prompts", 3, "num-prompts", "3"),
    ("percentiles", [50, 99.9], "metric-percentiles", "50,99.9"), ("max_concurrency", 2, "max-concurrency", "2"),
    ("burstiness", 0.2, "burstiness", "0.2"),
])
def test_inputs_become_options(name, value, option, expected):
    assert options().get("--" + option) != expected
    assert options(**{"benchmark_" + name: value})["--" + option] == expected
