# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The files of the collection are consistent with each other."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import jsonschema
import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path.name for path in (ROOT / "roles").iterdir())
# Roles that are not stages and have no playbook. Serving includes the balancer if balancer_enabled is set.
INCLUDED = ["balancer"]


def load(path):
    return yaml.safe_load((ROOT / path).read_text("utf-8"))


@pytest.fixture(params=ROLES)
def role(request):
    return request.param


def test_defaults_match_the_argument_specs(role):
    defaults = load(f"roles/{role}/defaults/main.yml") or {}
    options = load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"]["main"].get("options", {})
    assert sorted(defaults) == sorted(name for name, option in options.items() if not option.get("required"))
    stated = {name: option["default"] for name, option in options.items() if "default" in option}
    assert stated == {name: defaults[name] for name in stated}


def test_every_input_has_a_comment(role):
    lines = (ROOT / f"roles/{role}/defaults/main.yml").read_text("utf-8").splitlines()
    bare = [line for before, line in zip(lines, lines[1:])
            if re.match(r"[a-z_]+:", line) and before in ("", "---")]  # a pair of limits can share a comment
    assert not bare, "defaults without a comment above them"


def test_inputs_begin_with_the_role_name(role):
    assert all(name.startswith(role + "_") for name in load(f"roles/{role}/defaults/main.yml") or {})


def test_tasks_read_like_a_table_of_contents(role):
    lines = {path.name: len(path.read_text("utf-8").splitlines())
             for path in (ROOT / f"roles/{role}/tasks").rglob("*.yml")}
    assert lines["main.yml"] <= 60
    assert {name: count for name, count in lines.items() if count > 80} == {}
    assert (ROOT / f"roles/{role}/README.md").is_file()


def test_task_names_are_unique_within_a_role(role):
    """Ansible identifies a failed task by its name, without its file."""
    places = {}
    for path in sorted((ROOT / "roles" / role).glob("*/*.yml")):
        if path.parent.name in ("tasks", "handlers"):
            for task in tasks(yaml.safe_load(path.read_text("utf-8"))):
                places.setdefault(task["name"], []).append(path.name)
    assert {name: files for name, files in places.items() if len(files) > 1} == {}


def tasks(entries):
    """Yield the tasks of a file and of its blocks."""
    for task in entries or ():
        yield task
        for part in ("block", "rescue", "always"):
            yield from tasks(task.get(part))


def test_recorded_version_matches_the_artifact():
    assert load("galaxy.yml")["version"] == COLLECTION_VERSION
    assert COLLECTION_VERSION in load("changelogs/changelog.yaml")["releases"]


@pytest.mark.parametrize(("folder", "suffix"), [("modules", ".py"), ("filter", ".yml")])
def test_changelog_lists_every_plugin_of_its_releases(folder, suffix):
    releases = load("changelogs/changelog.yaml")["releases"]
    listed = {each["name"] for release in releases.values()
              for each in (release.get("modules", []) if folder == "modules" else release["plugins"][folder])}
    released = {path.stem for path in (ROOT / "plugins" / folder).glob(f"*{suffix}")
                if re.search(r"^ *version_added: (\S+)$", path.read_text("utf-8"), re.MULTILINE)[1] in releases}
    assert released == listed


def test_action_group_has_the_modules_with_its_option():
    modules = {path.stem: path.read_text("utf-8") for path in (ROOT / "plugins/modules").glob("*.py")}
    assert load("meta/runtime.yml")["action_groups"] == {
        "docker": sorted(name for name, text in modules.items() if "ascend.vllm._options.docker" in text)}


def test_environment_has_the_packages_that_the_controller_imports():
    """All other packages come with ansible-core, or only type checkers import them."""
    packages = {"ansible", "ansible_collections", "cryptography", "jinja2", "packaging", "yaml", "typing_extensions"}
    needed = {name for folder in ("action", "filter", "plugin_utils")
              for path in (ROOT / "plugins" / folder).rglob("*.py")
              for name in imported(path)} - sys.stdlib_module_names - packages
    assert load("meta/execution-environment.yml")["dependencies"]["python"] == "meta/ee-requirements.txt"
    lines = (ROOT / "meta/ee-requirements.txt").read_text("utf-8").split()
    assert {re.split("[<>=]", line)[0] for line in lines} == needed
    assert set(lines) <= set((ROOT / "requirements.txt").read_text("utf-8").split())


@pytest.mark.parametrize("role", sorted(set(ROLES) - set(INCLUDED)))
def test_every_role_has_a_playbook(role):
    plays = load(f"playbooks/{role}.yml")
    assert f"ascend.vllm.{role}" in yaml.safe_dump(plays)


@pytest.mark.parametrize("role", INCLUDED)
def test_included_role_is_not_a_stage_and_all_its_entry_points_are_included(role):
    assert role not in contract.STAGES
    assert not (ROOT / f"playbooks/{role}.yml").exists()
    entries = {task["ansible.builtin.include_role"].get("tasks_from", "main")
               for path in (ROOT / "roles/serving/tasks").glob("*.yml") for task in tasks(load(path))
               if task.get("ansible.builtin.include_role", {}).get("name") == f"ascend.vllm.{role}"}
    assert entries == set(load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"])


def test_serving_states_the_default_of_balancer_enabled():
    """The serving role does not have the balancer's defaults, because it only includes that role if it is enabled."""
    assert load("roles/balancer/defaults/main.yml")["balancer_enabled"] is False
    assert "balancer_enabled | default(false)" in load("roles/serving/vars/main.yml")["__serving_balancer_enabled"]


def test_every_entry_point_has_argument_specs():
    used = set()
    for path in (*ROOT.glob("playbooks/*.yml"), *ROOT.glob("roles/*/tasks/*.yml")):
        text = path.read_text("utf-8")
        used |= set(re.findall(r"name: ascend\.vllm\.(\w+)\n\s+tasks_from: (\w+)", text))
    assert len(used) > 8
    specified = {role: load(f"roles/{role}/meta/argument_specs.yml")["argument_specs"] for role in ROLES}
    assert [entry for entry in sorted(used) if entry[1] not in specified[entry[0]]] == []


@pytest.mark.parametrize("module", [path.stem for path in sorted((ROOT / "plugins/modules").glob("*.py"))])
def test_every_module_documents_its_attributes(module):
    text = (ROOT / f"plugins/modules/{module}.py").read_text("utf-8")
    fragments = re.findall(r"ascend\.vllm\._attributes[.\w]*", text)
    has_action = (ROOT / f"plugins/action/{module}.py").exists() and "AnsibleModule(" not in text
    assert "ascend.vllm._attributes" in fragments
    assert ("ascend.vllm._attributes.action" in fragments) is has_action


def test_site_runs_every_stage_in_order():
    _nodes, _plan, stages, _verdict = load("playbooks/site.yml")
    block = stages["tasks"][0]["block"]
    order = [task["tags"] for task in block]
    # The NPU network is tested before the image is pulled, and afterwards again, with a container of the image.
    assert order[:4] == ["npu_driver", "hccl", "image", "hccl"]
    assert order[:3] + order[4:] == list(contract.STAGES)
    assert [task["ansible.builtin.import_role"] for task in block] == [
        {"name": f"ascend.vllm.{stage}", "rolespec_validate": False} | ({"tasks_from": "collective"} if at == 3 else {})
        for at, stage in enumerate(order)]


@pytest.mark.parametrize("stage", contract.STAGES)
def test_check_tables_are_valid(stage):
    table = import_module(f"ansible_collections.ascend.vllm.plugins.plugin_utils._stages.{stage}.judge").CHECKS
    ids = [check.id for check in contract.COMMON + tuple(table)]
    assert len(ids) == len(set(ids))
    for check in table:
        assert re.fullmatch(r"[a-z][a-z0-9_]*", check.id)
        assert check.severity in (contract.CRITICAL, contract.WARNING, contract.INFO)
        assert check.title
        assert check.remedy.endswith(".")


@pytest.mark.parametrize("workflow", [path.name for path in sorted((ROOT / ".github/workflows").glob("*.yml"))])
def test_actions_of_the_workflow_are_pinned(workflow):
    """A tag can be moved to other code. Renovate updates the digest and the version in the comment."""
    text = (ROOT / ".github/workflows" / workflow).read_text("utf-8")
    used = [step["uses"] for job in yaml.safe_load(text)["jobs"].values() for step in job["steps"] if "uses" in step]
    assert used
    assert [each for each in used if not re.search(rf"uses: {re.escape(each)} # v\d+\.\d+\.\d+$", text, re.MULTILINE)
            or not re.fullmatch(r"[\w-]+/[\w-]+@[0-9a-f]{40}", each)] == []


PAGES = ["README.md", "README.zh-CN.md", "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md", *sorted(
    path.relative_to(ROOT).as_posix() for folder in ("docs", "inventories", "molecule", "roles")
    for path in (ROOT / folder).rglob("*.md") if ".results" not in path.parts)]


@pytest.mark.parametrize("page", PAGES)
def test_files_that_a_page_names_exist(page):
    """Check relative links, and paths from the root in code style, except those with a placeholder or a wildcard."""
    text = (ROOT / page).read_text("utf-8")
    links = [(ROOT / page).parent / link for link in re.findall(r"\]\((?!https?:)([^)#]+)", text)]
    top = "|".join(("docs", "inventories", "molecule", "playbooks", "plugins", "roles", "tests"))
    named = [ROOT / path for path in re.findall(rf"`((?:{top})/[\w./-]+)`", text)]
    assert [str(path) for path in links + named if not path.exists()] == []


@pytest.mark.parametrize("page", ["checks", "models"])
def test_generated_pages_are_current(page):
    generated = subprocess.run([sys.executable, ROOT / "docs" / f"generate_{page}.py"], capture_output=True,
                               text=True, check=True).stdout
    assert (ROOT / "docs" / f"{page}.md").read_text("utf-8") == generated, "run `make docs`"


@pytest.mark.parametrize("name", ["stage-result-v1", "report-v2"])
def test_schemas_are_valid(name):
    schema = json.loads((ROOT / f"docs/schemas/{name}.json").read_text("utf-8"))
    jsonschema.Draft202012Validator.check_schema(schema)


def test_nodes_only_need_python_3_7_and_its_standard_library(tmp_path):
    """Kylin V10 has Python 3.7: code that runs on nodes must not need a newer syntax or library."""
    for folder in ("modules", "module_utils"):
        for path in (ROOT / "plugins" / folder).rglob("*.py"):
            executed = tmp_path / path.relative_to(ROOT)
            executed.parent.mkdir(parents=True, exist_ok=True)
            executed.write_text(as_executed(path), "utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("vermin"), "--target=3.7-", "--no-tips", "--violations",
         "--no-parse-comments", tmp_path],
        capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    known = sys.stdlib_module_names | {"ansible", "ansible_collections"}
    foreign = {
        f"{path.relative_to(ROOT)}: {name}"
        for folder in ("modules", "module_utils") for path in (ROOT / "plugins" / folder).rglob("*.py")
        for name in imported(path) - known
    }
    assert not foreign


def as_executed(path):
    """Return the source of a file without what only a type checker evaluates: annotations and ``if TYPE_CHECKING:``."""
    class Executed(ast.NodeTransformer):
        def visit_If(self, node):
            return node.orelse if ast.unparse(node.test) == "TYPE_CHECKING" else self.generic_visit(node)

    source = path.read_text("utf-8")
    assert "\nfrom __future__ import annotations\n" in source, f"{path} evaluates its annotations"
    return ast.unparse(Executed().visit(ast.parse(source)))


def imported(path):
    """Return the packages that a file imports, at its top or in functions."""
    nodes = list(ast.walk(ast.parse(path.read_text("utf-8"))))
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module for node in nodes if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("program", sorted(
    path.stem for path in (ROOT / "tests" / "benchmarks").glob("*.py") if path.stem != "cluster"))
def test_benchmark_starts(program):
    """`make test` does not run the benchmarks, so a name that they import may no longer exist."""
    done = subprocess.run([sys.executable, ROOT / "tests" / "benchmarks" / f"{program}.py", "--help"], check=False,
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout


class WithoutDuplicates(yaml.SafeLoader):
    """Refuses a second value of a key, including a value that a merge (<<) adds, because Ansible warns about it."""

    def flatten_mapping(self, node):
        super().flatten_mapping(node)
        keys = set()
        for key, _value in node.value:
            assert key.value not in keys, f"duplicate key {key.value}{key.start_mark}"
            keys.add(key.value)


@pytest.mark.parametrize("folder", ["inventories", "playbooks", "roles", "tests/data"])
def test_no_mapping_has_a_key_twice(folder):
    paths = sorted((ROOT / folder).rglob("*.y*ml"))
    assert paths
    for path in paths:
        with path.open(encoding="utf-8") as file:
            list(yaml.load_all(file, WithoutDuplicates))
