# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare the documented return values of modules, key by key, with the types of the values that they return."""

from __future__ import annotations

import ast
import re
from importlib import import_module
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
MODULE_UTILS = ROOT / "plugins" / "module_utils"

# {module: (file in module_utils, type of its return values)}
RETURNED = {
    "balancer_info": ("_haproxy.py", "BalancerObservation"),
    "balancer_server": ("_haproxy.py", "NodeState"),
    "benchmark_info": ("_vllm/benchmark.py", "BenchmarkObservation"),
    "chat_info": ("_vllm/client.py", "ChatObservation"),
    "hccn_info": ("_ascend/hccn_query.py", "HccnObservation"),
    "hccn_ping": ("_ascend/hccn_ping.py", "PingObservation"),
    "npu_info": ("_ascend/observation.py", "NpuObservation"),
    "weights_info": ("_weights/observation.py", "WeightsObservation"),
    "weights_transfer_info": ("_weights/staging.py", "TransferObservation"),
}
# Values whose keys another module documents.
REFERS = {"npu_info": {"docker_engine.image", "docker_engine.containers"}}
# Keys of a type that the module never returns: here, the results of pings.
ELSEWHERE = {
    "hccn_info": {"npus": {"transmitted", "received", "loss_percent", "rtt_ms"}},
}


def typed_dicts(path):
    """Return ``{class: {key: annotation}}`` of the TypedDicts of a file and of those that it imports."""
    tree = ast.parse(path.read_text("utf-8"))
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and "module_utils" in (node.module or ""):
            target = MODULE_UTILS / (node.module.partition("module_utils")[2].strip(".").replace(".", "/") + ".py")
            if target.is_file() and target != path:
                found.update(typed_dicts(target))
    for node in [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]:
        bases = [ast.unparse(base) for base in node.bases]
        if any(base == "TypedDict" or base in found for base in bases):
            inherited = {key: kind for base in bases for key, kind in found.get(base, {}).items()}
            found[node.name] = {**inherited, **{
                item.target.id: ast.unparse(item.annotation) for item in node.body if isinstance(item, ast.AnnAssign)}}
    return found


def differences(module, documented, kind, types, path=""):
    """Return the paths of keys that are documented but not returned, or vice versa."""
    elsewhere = ELSEWHERE.get(module, {}).get(path, set())
    found = [f"{path}.{key}: not documented" for key in types[kind] if key not in documented and key not in elsewhere]
    found += [f"{path}.{key}: not returned" for key in documented if key not in types[kind]]
    for key, annotation in types[kind].items():
        below = f"{path}.{key}".lstrip(".")
        inner = [name for name in re.findall(r"\w+", annotation) if name in types]
        contains = documented.get(key, {}).get("contains")
        if inner and contains:
            found += differences(module, contains, inner[0], types, below)
        elif inner and key in documented and below not in REFERS.get(module, ()) and "RV(" not in str(
                documented[key]["description"]) and not re.search(r"C\(\w+\)", str(documented[key]["description"])):
            found.append(f"{below}: a dict without contains")
    return found


@pytest.mark.parametrize("module", sorted(RETURNED))
def test_every_key_is_documented(module):
    file, kind = RETURNED[module]
    documented = yaml.safe_load(
        import_module(f"ansible_collections.ascend.vllm.plugins.modules.{module}").RETURN)
    types = typed_dicts(MODULE_UTILS / file)
    types[kind].pop("changed", None)
    assert differences(module, documented, kind, types) == []


def test_difference_is_found(tmp_path):
    (tmp_path / "a.py").write_text(
        "class Inner(TypedDict):\n    b: int\n\n\nclass Outer(TypedDict):\n    a: list[Inner]\n    c: int\n")
    types = typed_dicts(tmp_path / "a.py")
    documented = {"a": {"description": "", "contains": {"d": {"description": ""}}}}
    assert differences("", documented, "Outer", types) == [
        ".c: not documented", "a.b: not documented", "a.d: not returned"]
    assert differences("", {"a": {"description": ""}, "c": {"description": ""}}, "Outer", types) == [
        "a: a dict without contains"]
