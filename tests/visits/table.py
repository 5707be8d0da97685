#!/usr/bin/env python3
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Compare what the tests have visited with everything that exists: print a table, and write coverage.json.

Usage: table.py [--unit-only] FOLDER…, where each FOLDER is $ASCEND_VLLM_VISITS of a test run. The exit code is 1 if a
share is below its floor. floors.yml contains the floors, and the exceptions with their reasons. With --unit-only, only
the rows of `make test` that are below their floors are printed, with what is missing, and coverage.json is not written.
"""

from __future__ import annotations

import ast
import itertools
import json
import os
import sys
from collections import defaultdict
from collections.abc import Iterable, Iterator
from fnmatch import fnmatchcase
from pathlib import Path

import yaml
from ansible.utils.collection_loader._collection_finder import _AnsibleCollectionFinder

ROOT = Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests" / "quality")]

from messages import messages

from visits import catalogue, record

CODE = ("plugins/action/*.py", "plugins/filter/*.py", "plugins/modules/*.py", "plugins/module_utils/**/*.py",
        "plugins/plugin_utils/**/*.py", "roles/*/files/*.py")
# Kinds of messages that are printed in one place; titles and remedies are printed with their checks.
PRINTED = ("refusal", "warning", "failure", "cause", "reason", "message")

# Keywords and actions that only contain or include tasks, and do not count as tasks.
STATIC = ("block", "import_tasks", "import_role", "import_playbook", "include_tasks", "include_role", "meta")


def yaml_tasks(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, name) of each task in a tasks file or playbook, except tasks that only contain or include others."""
    def walk(node):
        if isinstance(node, yaml.SequenceNode):
            for item in node.value:
                yield from walk(item)
        elif isinstance(node, yaml.MappingNode):
            content = {key.value: value for key, value in node.value}
            names = {name.rpartition(".")[2] for name in content}
            if not names & set(STATIC) and "hosts" not in names:
                yield node.start_mark.line + 1, content["name"].value
            for name in ("tasks", "pre_tasks", "post_tasks", "handlers", "block", "rescue", "always"):
                if name in content:
                    yield from walk(content[name])

    root = yaml.compose(path.read_text("utf-8"))
    yield from walk(root) if root else ()


def tasks() -> dict[str, str]:
    """Return ``{"file:line", as in the records: "file: name"}``."""
    files = [*ROOT.glob("roles/*/tasks/*.yml"), *ROOT.glob("roles/*/handlers/*.yml"), *ROOT.glob("playbooks/*.yml")]
    return {f"{path.relative_to(ROOT)}:{line}": f"{path.relative_to(ROOT)}: {name}"
            for path in files for line, name in yaml_tasks(path)}


def entry_points() -> set[str]:
    return {f"{path.parts[-3]}.{name}" for path in ROOT.glob("roles/*/meta/argument_specs.yml")
            for name in yaml.safe_load(path.read_text("utf-8"))["argument_specs"]}


def site_tags() -> set[str]:
    found = set()

    def walk(value):
        if isinstance(value, dict):
            tags = value.get("tags", [])
            found.update([tags] if isinstance(tags, str) else tags)
        for item in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
            walk(item)

    walk(yaml.safe_load((ROOT / "playbooks" / "site.yml").read_text("utf-8")))
    return found - {"always", "never"}


def documentation(name: str) -> dict[str, dict]:
    """Return ``{module: DOCUMENTATION or RETURN}``."""
    found = {}
    for path in sorted((ROOT / "plugins" / "modules").glob("*.py")):
        for node in ast.parse(path.read_text("utf-8")).body:
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == name:
                found[path.stem] = yaml.safe_load(ast.literal_eval(node.value)) or {}
    return found


def options() -> set[str]:
    fragments = {path.stem: yaml.safe_load(ast.literal_eval(next(
        node.value for node in ast.walk(ast.parse(path.read_text("utf-8")))
        if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "DOCUMENTATION"))) or {}
        for path in (ROOT / "plugins" / "doc_fragments").glob("[!_]*.py")}
    found = set()
    for module, documented in documentation("DOCUMENTATION").items():
        wanted = documented.get("extends_documentation_fragment", [])
        names = [each.rpartition(".")[2] for each in ([wanted] if isinstance(wanted, str) else wanted)]
        for each in (documented, *(fragments[name] for name in names if name in fragments)):
            found |= {f"{module}.{option}" for option in each.get("options") or {}}
    return found


def returns() -> set[str]:
    return {f"{module}.{key}" for module, documented in documentation("RETURN").items() for key in documented}


def checks() -> set[str]:
    from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import COMMON
    from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.registry import JUDGES

    return {f"{stage}.{check.id}" for stage, judge in JUDGES.items() for check in (*COMMON, *judge.CHECKS)}


class Visits:
    """The records of all test processes."""

    def __init__(self, lines: Iterable[dict]) -> None:
        self.tasks, self.inputs, self.options, self.returns = set(), set(), set(), set()
        self.playbooks, self.tags, self.default_runs, self.set_runs = set(), set(), set(), set()
        self.checks, self.catalogue = defaultdict(set), set()
        site = set(bed_inputs())
        for line in lines:
            kind = line["kind"]
            if kind == "task":
                self.tasks.add(f"{line['path']}:{line['line']}")
            elif kind == "input":
                self.inputs.add(line["name"])
            elif kind == "catalogue":
                self.catalogue.add(line["name"])
            elif kind == "module":
                self.options |= {f"{line['name']}.{name}" for name in line["options"]}
                self.returns |= {f"{line['name']}.{name.partition('.')[0]}" for name in line["returned"]}
            elif kind == "check":
                self.checks["unit" if line["by"] == "unit" else "nodes"].add((line["id"], line["status"]))
            elif kind == "playbook":
                self.inputs |= set(line["inputs"])
                if line["path"].startswith("playbooks/") and not line["check"]:
                    given = set(line["inputs"]) - site
                    if given:
                        self.set_runs.add(line["path"])
                    elif not line["failed"]:  # Every playbook refuses an inventory without nodes.
                        self.default_runs.add(line["path"])
                    self.tags |= set(line["tags"])

    def with_status(self, by: str, *statuses: str) -> set[str]:
        """Return the IDs of the checks that had one of the statuses."""
        return {name for name, status in self.checks[by] if status in statuses}


def bed_inputs() -> list[str]:
    """Return the inputs that the inventory of the simulated nodes sets for every run."""
    found = {}
    for path in (ROOT / "inventories" / "simulated").rglob("*.yml"):
        found.update(yaml.safe_load(path.read_text("utf-8")) or {})
    return record.changed(found)


def entry_visits(visited: Visits) -> set[str]:
    """Return the entry points of which at least one task was executed."""
    def files(role, name):
        path = ROOT / "roles" / role / "tasks" / f"{name}.yml"
        return [f"{path.relative_to(ROOT)}:{line}" for line, _name in yaml_tasks(path)], path.read_text("utf-8")

    found = set()
    for each in entry_points():
        role, _dot, name = each.partition(".")
        own, text = files(role, name)
        if visited.tasks & set(own) or (not own and any(
                path.split(":")[0].startswith(f"roles/{role}/") and Path(path.split(":")[0]).name in text
                for path in visited.tasks)):
            found.add(each)
    return found


def rows(visited: Visits) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield (name of the row, all items, visited items)."""
    playbooks = {str(path.relative_to(ROOT)) for path in ROOT.glob("playbooks/*.yml")}
    every, all_tasks = checks(), tasks()
    yield "playbooks with default inputs", playbooks, visited.default_runs
    yield "playbooks with inputs set", playbooks, visited.set_runs
    yield "role entry points", entry_points(), entry_visits(visited)
    yield "tags of site.yml", site_tags(), visited.tags
    yield "tasks", set(all_tasks.values()), {all_tasks[each] for each in visited.tasks & set(all_tasks)}
    yield "inputs", set(record.defaults()), visited.inputs
    yield "checks failed or warned", every, visited.with_status("unit", "failed", "warned") | visited.with_status(
        "nodes", "failed", "warned")
    yield "checks passed", every, visited.with_status("unit", "passed") | visited.with_status("nodes", "passed")
    yield "checks failed on nodes", every, visited.with_status("nodes", "failed", "warned")
    yield "module options", options(), visited.options
    yield "module return values", returns(), visited.returns
    yield "catalogue", catalogue.entries(), visited.catalogue


def code_rows(folder: Path) -> Iterator[tuple[str, set[str], set[str]]]:
    """Yield the rows about code, from the coverage.py data in a folder of `make coverage`."""
    sys.path.insert(0, str(folder / "site"))
    os.environ["ASCEND_VLLM_COVERAGE"] = str(folder)
    from coverage import Coverage

    os.chdir(ROOT)  # paths in coverage.ini are relative to this folder
    measured = Coverage(data_file=str(folder / "combined"), config_file=str(Path(__file__).with_name("coverage.ini")))
    measured.combine(map(str, folder.glob("data.*")), keep=True)
    lines, seen_lines, branches, seen_branches, printed, seen_printed = (set() for _set in range(6))
    executed = {}
    for path in sorted(path for pattern in CODE for path in ROOT.glob(pattern)):
        name = str(path.relative_to(ROOT))
        executed[name] = set(measured.get_data().lines(str(path)) or ())
        # The public reports of coverage.py do not list all branches.
        found = measured._analyze(str(path))
        lines |= {f"{name}:{line}" for line in found.statements}
        seen_lines |= {f"{name}:{line}" for line in found.statements - found.missing}
        missing = {(start, end) for start, ends in found.missing_branch_arcs().items() for end in ends}
        every = {(start, end) for start, ends in found.executed_branch_arcs().items() for end in ends} | missing
        branches |= {f"{name}:{start}->{end}" for start, end in every}
        seen_branches |= {f"{name}:{start}->{end}" for start, end in every - missing}
    for each in messages():
        if each.kind in PRINTED and each.file in executed:
            printed.add(f"{each.file}: {each.text}")
            if executed[each.file] & set(each.lines):
                seen_printed.add(f"{each.file}: {each.text}")
    yield "lines", lines, seen_lines
    yield "branches", branches, seen_branches
    yield "messages", printed, seen_printed


def main(*arguments: str) -> int:
    unit_only, folders = "--unit-only" in arguments, [each for each in arguments if each != "--unit-only"]
    _AnsibleCollectionFinder(paths=[str(ROOT / "playbooks" / "collections")])._install()
    floors = yaml.safe_load(Path(__file__).with_name("floors.yml").read_text("utf-8"))
    visited = Visits(itertools.chain.from_iterable(map(record.read, folders)))
    below, report = False, {}
    if not unit_only:
        print(f"{'what':32}{'visited':>9}{'of':>6}{'share':>8}{'floor':>8}")
    code_folders = [Path(folder, "coverage") for folder in folders if list(Path(folder, "coverage").glob("data.*"))]
    for row, items, visited_items in itertools.chain(rows(visited), *map(code_rows, code_folders)):
        rule = floors[row]
        if unit_only and not rule.get("unit_tests_suffice"):
            continue
        patterns = rule.get("except", {})
        excepted = {name for name in items if any(fnmatchcase(name, pattern) for pattern in patterns)}
        stale = sorted(pattern for pattern in patterns if not any(
            fnmatchcase(name, pattern) and name not in visited_items for name in items))
        wanted = items - excepted
        share = len(wanted & visited_items) / max(len(wanted), 1)
        missing = sorted(wanted - visited_items)
        low = share < rule["floor"] or bool(stale)
        below = below or low
        report[row] = {"of": len(wanted), "share": round(share, 4), "floor": rule["floor"], "missing": missing,
                       "excepted": patterns, "needless_exceptions": stale}
        if low or not unit_only:
            print(f"{row:32}{len(wanted & visited_items):9}{len(wanted):6}{share:8.1%}{rule['floor']:8.0%}"
                  f"{'  below' if low else ''}")
        for name in missing if unit_only and low else ():
            print(f"  {name}")
    if unit_only:
        return int(below)
    Path(ROOT, "coverage.json").write_text(json.dumps(report, indent=2) + "\n", "utf-8")
    if not code_folders:
        print("Lines, branches and messages were not measured; `make coverage` measures them.")
    print("coverage.json lists what is missing.")
    return int(below)


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
