# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The catalogue's option table and the plan's commands match the real vLLM's argument parser."""

from __future__ import annotations

import json
import subprocess

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.catalogue import (
    bench_options,
    engine_options,
    releases_of,
    serve_options,
)
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.topology import GROUPED
from ansible_collections.ascend.vllm.tests.unit.plugins.plugin_utils._plan.plan_case import (
    CATALOGUE,
    group_plans,
    valid,
)

from .conftest import ENGINE

pytestmark = pytest.mark.engine

# Reads a list of commands from standard input, and prints
# {"version", "options": {name: kind}, "bench": {command: {name: kind}}, "parsed": [values or error per command]}.
PARSE = """
import argparse, importlib, json, sys, vllm
from vllm.entrypoints.launchers.cli_args import make_arg_parser
from vllm.utils.argparse_utils import FlexibleArgumentParser

class Parser(FlexibleArgumentParser):
    def error(self, message):
        raise ValueError(message)

def options_of(parser):
    options = {}
    for action in parser._actions:
        kind = "switch" if isinstance(action, argparse.BooleanOptionalAction) else "value"
        for name in action.option_strings:
            if name.startswith("--") and not name.startswith("--no-"):
                options[name[2:].replace("_", "-")] = "flag" if action.nargs == 0 and kind == "value" else kind
    return options

parser = make_arg_parser(Parser(add_help=False))
bench = {}
for command in ("serve", "latency", "throughput"):
    bench_parser = Parser(add_help=False)
    importlib.import_module("vllm.benchmarks." + command).add_cli_args(bench_parser)
    bench[command] = options_of(bench_parser)
parsed = []
for arguments in json.load(sys.stdin):
    try:
        values = vars(parser.parse_args(arguments))
        parsed.append({name: value for name, value in values.items()
                       if value is None or isinstance(value, (str, int, float, list))})
    except ValueError as error:
        parsed.append({"error": str(error)})
found = {"version": vllm.__version__, "options": options_of(parser), "bench": bench, "parsed": parsed}
print(json.dumps(found, default=str))
"""
HARDWARE = {"A2": "atlas_800_a2", "A3": "atlas_800_a3"}
TUTORIAL_MODELS = ("qwen2_5_vl_32b_instruct_w8a8", "qwen2_5_vl_32b_instruct")


def inputs_of(release, model):
    return {"plan_release": release, "plan_model": model,
            "plan_hardware": HARDWARE[CATALOGUE["models"][model]["series"][0]]}


def supported(model):
    entry = CATALOGUE["models"][model]
    return releases_of(CATALOGUE, CATALOGUE["hardware"][HARDWARE[entry["series"][0]]], entry)


COMMANDS = [(release, model) for model, entry in CATALOGUE["models"].items() if entry["minimum_nodes"] == 1
            for release in supported(model)]
# (release, model, topology, host), without pipelines for releases that do not support them.
MEMBERS = [
    (release, model, topology, host)
    for model, entry in CATALOGUE["models"].items()
    if model in TUTORIAL_MODELS or entry["minimum_nodes"] > 1
    for release in supported(model)
    for topology in (GROUPED if model in TUTORIAL_MODELS else ("data_parallel",))
    for host in ("node1", "node2")
    if topology != "pipeline" or "nnodes" in serve_options(CATALOGUE, CATALOGUE["releases"][release]["vllm"])
]


def member_command(release, model, topology, host):
    """Return the `vllm serve` arguments of a node of a group; None if the node only joins a Ray cluster."""
    found = group_plans(topology, **inputs_of(release, model))[host]
    assert found["refusals"] == []
    command = found["instances"][0]["command"]
    return command[2:] if command[0] == "vllm" else None


@pytest.fixture(scope="module")
def parser(tmp_path_factory):
    """Return the output of `PARSE` for all commands. It is run only once, because importing vLLM takes seconds."""
    environment = subprocess.run([ENGINE / "build", "environment"], stdout=subprocess.PIPE, text=True, check=True)
    commands = [
        valid(**inputs_of(release, model))["instances"][0]["command"][2:] for release, model in COMMANDS
    ]
    commands += [command for command in (member_command(*member) for member in MEMBERS) if command]
    invalid = [*commands[0], "--max-num-sequences", "3"]
    done = subprocess.run(
        [f"{environment.stdout.strip()}/bin/python", "-c", PARSE],
        input=json.dumps([*commands, invalid]),
        text=True,
        capture_output=True,
        check=False,
        cwd="/",
        env={"PATH": "/usr/bin:/bin", "HF_HUB_OFFLINE": "1", "VLLM_LOGGING_LEVEL": "ERROR",
             "HOME": str(tmp_path_factory.mktemp("home"))},
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_catalogue_lists_the_options_of_vllm_serve(parser):
    version = parser["version"].partition("+")[0]
    assert serve_options(CATALOGUE, version) == parser["options"]


@pytest.mark.parametrize("command", ["serve", "latency", "throughput"])
def test_catalogue_lists_the_options_of_vllm_bench(parser, command):
    version = parser["version"].partition("+")[0]
    # The catalogue lists --no-reranker and the like as separate options.
    known = {name: kind for name, kind in bench_options(CATALOGUE, version, command).items()
             if not name.startswith("no-")}
    found = parser["bench"][command]
    assert {name: found.get(name) for name in known} == known
    others = set(found) - set(known)
    if command == "serve":
        assert not others
    else:
        engine = engine_options(CATALOGUE) & set(serve_options(CATALOGUE, version))
        assert others - {"enable-log-requests"} == engine - set(known)  # only throughput has --enable-log-requests


@pytest.mark.parametrize("index", range(len(COMMANDS)), ids=["-".join(command) for command in COMMANDS])
def test_command_is_parsed_as_intended(parser, index):
    found = parser["parsed"][index]
    release, name = COMMANDS[index]
    plan = valid(**inputs_of(release, name))
    model = plan["model"]
    # The installed vLLM lacks options of older releases, for which the catalogue has the recorded ones.
    removed = set(model["arguments"]) - set(serve_options(CATALOGUE, parser["version"].partition("+")[0]))
    if removed:
        assert removed <= set(serve_options(CATALOGUE, plan["release"]["vllm"]))
        assert found == {"error": "unrecognized arguments: " + " ".join(
            f"--{option} {model['arguments'][option]}" for option in removed)}
        return
    assert "error" not in found
    expected = {
        "model_tag": f"/data/{model['directory']}",
        "port": 8888,
        "host": "0.0.0.0",
        "tensor_parallel_size": model["npus"],
        "trust_remote_code": model["arguments"].get("trust-remote-code", False),
        "served_model_name": [model["served_name"]],
        "quantization": model["quantization"],
    }
    for option, value in model["arguments"].items():
        if option != "shutdown-timeout" and isinstance(value, (int, float, str)):
            expected[option.replace("-", "_")] = value
    if name in TUTORIAL_MODELS:
        assert (found["max_model_len"], found["max_num_seqs"], found["enable_prefix_caching"]) == (30000, 30, False)
    assert {name: found[name] for name in expected} == expected


def test_group_commands_are_parsed_as_intended(parser):
    members = [member for member in MEMBERS if member_command(*member)]
    parsed = parser["parsed"][len(COMMANDS) : -1]
    assert len(members) == len(parsed) > 100
    for (release, name, topology, host), found in zip(members, parsed, strict=True):
        assert "error" not in found, (release, name, topology, host, found)
        rank, model = int(host == "node2"), CATALOGUE["models"][name]
        expected = {"headless": bool(rank), "tensor_parallel_size": model["npus"],
                    "max_num_seqs": model["arguments"]["max-num-seqs"]}
        if topology == "data_parallel":
            expected.update(
                data_parallel_size=2 * model["replicas"],
                data_parallel_size_local=model["replicas"],
                data_parallel_address="192.0.2.11",
                data_parallel_rpc_port=13389,
                data_parallel_start_rank=model["replicas"] if rank else None,
            )
        elif topology == "pipeline":
            expected.update(
                nnodes=2,
                node_rank=rank,
                master_addr="192.0.2.11",
                master_port=13389,
                pipeline_parallel_size=2,
                distributed_executor_backend="mp",
            )
        else:
            expected.update(pipeline_parallel_size=2, distributed_executor_backend="ray")
        assert {name: found[name] for name in expected} == expected, (release, topology, host)


def test_parser_refuses_an_unknown_option(parser):
    assert "--max-num-sequences" in parser["parsed"][-1]["error"]
