# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check where code is and what it imports. CONTRIBUTING.md describes the folders.

Each rule is a function that takes the root of a collection and returns one sentence per violation, so that it can also
run on a small tree with an added violation.
"""

from __future__ import annotations

import ast
from fnmatch import fnmatchcase
from pathlib import Path, PurePosixPath

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = "ansible_collections.ascend.vllm."
MIRRORED = ("module_utils", "plugin_utils", "action", "filter")

# From the top to the bottom. A file may import from lower levels, and from its folder on the same level. A pattern
# without wildcards takes precedence.
LEVELS = (
    ("plugins/action/*.py", "plugins/filter/*.py"),
    ("plugins/plugin_utils/_stages/*.py",),
    ("plugins/plugin_utils/_stages/*/*.py", "plugins/plugin_utils/_balancer.py"),
    ("plugins/plugin_utils/_stages/judging.py",),
    ("plugins/plugin_utils/_plan/*.py",),
    ("plugins/plugin_utils/_results/*.py",),
    ("plugins/plugin_utils/*.py",),
    ("plugins/modules/*.py", "plugins/doc_fragments/*.py"),
    ("plugins/module_utils/*.py", "plugins/module_utils/*/*.py"),
)
# A stage result contains parts of a plan, so its type refers to the type of the plan.
TYPES_ONLY = ("plugins/plugin_utils/_results/*", "plugins/plugin_utils/_plan/*")

# Files without a test file at the mirrored path, and the test file that covers them.
COVERED_BY = {
    "plugins/action/weights_staging.py": "tests/unit/plugins/action/test_lease.py",
    "plugins/module_utils/_weights/observation.py": "tests/unit/plugins/plugin_utils/_stages/weights/test_judge.py",
    "plugins/module_utils/_weights/preconditions.py": "tests/unit/plugins/module_utils/_weights/test_staging.py",
    "plugins/plugin_utils/_plan/from_inventory.py": "tests/unit/plugins/action/test_plan.py",
    "plugins/plugin_utils/_results/version.py": "tests/quality/test_collection.py",
    "plugins/plugin_utils/_stages/judging.py": "tests/unit/plugins/plugin_utils/_stages/test_registry.py",
}
# Test files for several files, and their subject.
TESTS_OF_SEVERAL_FILES = {
    "tests/unit/plugins/plugin_utils/_plan/test_pitfalls.py": "docs/pitfalls.md, row by row",
    "tests/unit/plugins/plugin_utils/_plan/test_models.py": "roles/plan/files/catalogue/models.yml, entry by entry",
}


def files(root, pattern):
    """Return the files of a tree that match the pattern, as paths relative to its root."""
    return sorted(path.relative_to(root).as_posix() for path in root.glob(pattern))


def imports(root, file):
    """Return ``{imported file: whether only type checkers see the import}``, for the imports from the collection."""
    tree = ast.parse((root / file).read_text("utf-8"))
    for_types = {id(node) for block in ast.walk(tree) if isinstance(block, ast.If) and "TYPE_CHECKING" in
                 ast.unparse(block.test) for statement in block.body for node in ast.walk(statement)}
    found = {}
    for node in ast.walk(tree):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):  # absolute, as ruff requires
            names = [f"{node.module}.{alias.name}" for alias in node.names]
        for name in names:
            if name.startswith(PACKAGE):
                path = PurePosixPath(name[len(PACKAGE):].replace(".", "/"))
                for target in (path.with_suffix(".py"), path.parent.with_suffix(".py")):
                    if (root / target).is_file():
                        found[str(target)] = found.get(str(target), True) and id(node) in for_types
                        break
    return found


def reached(root, first):
    """Return the files of the collection that these files import, directly or through others."""
    found, pending = set(), list(first)
    while pending:
        new = set(imports(root, pending.pop())) - found
        found |= new
        pending += new
    return found


def level(file):
    """Return the index of a file's level in LEVELS; None if it has none."""
    matching = [(("*" in pattern), index) for index, patterns in enumerate(LEVELS) for pattern in patterns
                if pattern.count("/") == file.count("/") and fnmatchcase(file, pattern)]
    return min(matching)[1] if matching else None


def module_utils_are_used_on_nodes(root):
    """Every file in module_utils is imported by a module, directly or through others."""
    used = reached(root, files(root, "plugins/modules/*.py"))
    return [f"{file}: no module imports it; what only the controller needs belongs in plugin_utils"
            for file in files(root, "plugins/module_utils/**/*.py") if file not in used]


def nodes_need_no_code_of_the_controller(root):
    """No module reaches a file in plugin_utils."""
    return [f"{module} reaches {target}, which nodes do not have"
            for module in files(root, "plugins/modules/*.py") for target in sorted(reached(root, [module]))
            if target.startswith("plugins/plugin_utils/")]


def imports_run_downwards(root):
    """Every import is from a lower level or from the same folder, and no file imports a module."""
    violations = []
    for file in files(root, "plugins/**/*.py"):
        if level(file) is None:
            violations.append(f"{file}: no level in LEVELS covers this folder")
            continue
        for target, for_types in imports(root, file).items():
            same_folder = PurePosixPath(file).parent == PurePosixPath(target).parent
            both_in_module_utils = level(file) == level(target) == len(LEVELS) - 1
            if level(target) == level(file) and (same_folder or both_in_module_utils):
                continue
            if for_types and fnmatchcase(file, TYPES_ONLY[0]) and fnmatchcase(target, TYPES_ONLY[1]):
                continue
            if target.startswith("plugins/modules/"):
                violations.append(f"{file} imports {target}, but no file may import a module")
            elif level(target) is not None and level(target) <= level(file):
                violations.append(f"{file} imports {target}, which is not below it")
    return violations


def stages_do_not_import_each_other(root):
    """A stage does not import the code of another stage."""
    return [f"{file} imports {target}: a stage must not use the code of another"
            for file in files(root, "plugins/plugin_utils/_stages/*/*.py") for target in imports(root, file)
            if fnmatchcase(target, "plugins/plugin_utils/_stages/*/*.py")
            and PurePosixPath(target).parent != PurePosixPath(file).parent]


def source_of(root, test):
    """Return the file that a test file tests: the one whose name is its longest prefix; None if there is none."""
    folder, name = PurePosixPath(test.replace("tests/unit/", "", 1)).parent, PurePosixPath(test).stem[len("test_"):]
    matching = [file for file in files(root, f"{folder}/*.py")
                if f"{name}_".startswith(PurePosixPath(file).stem.lstrip("_") + "_")]
    return max(matching, key=len, default=None)


def every_test_has_a_file(root, several=None):
    """``tests/unit/plugins/a/test_x.py`` or ``test_x_<topic>.py`` tests ``plugins/a/x.py`` or ``_x.py``."""
    several = TESTS_OF_SEVERAL_FILES if several is None else several
    without = [test for test in files(root, "tests/unit/plugins/**/test_*.py") if not source_of(root, test)]
    return [f"{test}: there is no file at the mirrored path in plugins" for test in without if test not in several] + [
        f"{test}: remove it from TESTS_OF_SEVERAL_FILES" for test in several if test not in without]


def every_file_has_tests(root, covered_by=None):
    """Every file has a test file at the mirrored path, or is covered by the one that COVERED_BY names."""
    covered_by = COVERED_BY if covered_by is None else covered_by
    tested = {source_of(root, test) for test in files(root, "tests/unit/plugins/**/test_*.py")}
    without = [file for folder in MIRRORED for file in files(root, f"plugins/{folder}/**/*.py") if file not in tested]
    violations = [f"{file}: there is no test file at the mirrored path in tests/unit"
                  for file in without if file not in covered_by]
    for file, test in covered_by.items():
        if file not in without:
            violations.append(f"{file}: remove it from COVERED_BY")
        elif not (root / test).is_file() or (test.startswith("tests/") and file not in reached(root, [test])):
            violations.append(f"{file}: {test}, which COVERED_BY names, does not import it")
    return violations


RULES = (module_utils_are_used_on_nodes, nodes_need_no_code_of_the_controller, imports_run_downwards,
         stages_do_not_import_each_other, every_test_has_a_file, every_file_has_tests)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_collection_obeys_the_rule(rule):
    violations = rule(ROOT)
    assert not violations, "\n".join(violations)


# A small collection that obeys all rules: {file: what it imports}.
VALID = {
    "plugins/action/stage.py": ["plugin_utils._stages.registry", "plugin_utils._role_inputs"],
    "plugins/filter/serving.py": ["plugin_utils._plan.resolve"],
    "plugins/plugin_utils/_stages/registry.py": ["plugin_utils._stages.hccl.judge", "plugin_utils._stages.judging"],
    "plugins/plugin_utils/_stages/hccl/judge.py": ["plugin_utils._stages.hccl.ports", "plugin_utils._stages.judging"],
    "plugins/plugin_utils/_stages/hccl/ports.py": ["plugin_utils._plan.resolve", "module_utils._host.facts"],
    "plugins/plugin_utils/_stages/image/judge.py": ["plugin_utils._stages.judging"],
    "plugins/plugin_utils/_stages/judging.py": ["plugin_utils._results.contract"],
    "plugins/plugin_utils/_plan/resolve.py": ["plugin_utils._results.contract", "plugin_utils._role_inputs"],
    "plugins/plugin_utils/_results/contract.py": [],
    "plugins/plugin_utils/_role_inputs.py": [],
    "plugins/modules/host_info.py": ["module_utils._host.facts"],
    "plugins/module_utils/_host/facts.py": ["module_utils._docker.engine"],
    "plugins/module_utils/_docker/engine.py": [],
}


@pytest.fixture
def tree(tmp_path):
    """Return a function that adds files with their tests to a valid collection and returns its root."""
    def grow(added, tested=True):
        for file, names in added.items():
            text = names if isinstance(names, str) else "".join(
                f"from {PACKAGE}plugins.{name.rpartition('.')[0]} import {name.rpartition('.')[2]}\n" for name in names)
            path, test = tmp_path / file, tmp_path / "tests" / "unit" / file
            for each in (path, test):
                each.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, "utf-8")
            if tested and file.startswith("plugins/"):
                test.with_name(f"test_{path.stem.lstrip('_')}.py").touch()
        return tmp_path

    grow(VALID)
    return grow


def violations(rule, root):
    """Return the violations of a rule in a tree, without the exceptions of this collection."""
    return rule(root, {}) if rule in (every_test_has_a_file, every_file_has_tests) else rule(root)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_valid_tree_has_no_violation(tree, rule):
    assert violations(rule, tree({})) == []


TYPES = f"if TYPE_CHECKING:\n    from {PACKAGE}plugins.plugin_utils._plan.resolve import Plan\n"


@pytest.mark.parametrize(("rule", "added", "expected"), [
    (module_utils_are_used_on_nodes, {"plugins/module_utils/_host/spare.py": []},
     "plugins/module_utils/_host/spare.py: no module imports it; what only the controller needs "
     "belongs in plugin_utils"),
    (nodes_need_no_code_of_the_controller, {"plugins/module_utils/_docker/engine.py": ["plugin_utils._role_inputs"]},
     "plugins/modules/host_info.py reaches plugins/plugin_utils/_role_inputs.py, which nodes do not have"),
    (imports_run_downwards, {"plugins/module_utils/_docker/engine.py": ["plugin_utils._role_inputs"]},
     "plugins/module_utils/_docker/engine.py imports plugins/plugin_utils/_role_inputs.py, which is not below it"),
    (imports_run_downwards, {"plugins/filter/serving.py": ["action.stage"]},
     "plugins/filter/serving.py imports plugins/action/stage.py, which is not below it"),
    (imports_run_downwards, {"plugins/plugin_utils/_plan/resolve.py": ["plugin_utils._stages.hccl.ports"]},
     "plugins/plugin_utils/_plan/resolve.py imports plugins/plugin_utils/_stages/hccl/ports.py, which is not below it"),
    (imports_run_downwards, {"plugins/plugin_utils/_stages/judging.py": ["plugin_utils._stages.hccl.judge"]},
     "plugins/plugin_utils/_stages/judging.py imports plugins/plugin_utils/_stages/hccl/judge.py, "
     "which is not below it"),
    (imports_run_downwards, {"plugins/plugin_utils/_stages/hccl/judge.py": ["plugin_utils._stages.registry"]},
     "plugins/plugin_utils/_stages/hccl/judge.py imports plugins/plugin_utils/_stages/registry.py, "
     "which is not below it"),
    (imports_run_downwards, {"plugins/plugin_utils/_balancer.py": ["plugin_utils._stages.hccl.ports"]},
     "plugins/plugin_utils/_balancer.py imports plugins/plugin_utils/_stages/hccl/ports.py, which is not below it"),
    (imports_run_downwards, {"plugins/plugin_utils/_results/contract.py": ["plugin_utils._plan.resolve"]},
     "plugins/plugin_utils/_results/contract.py imports plugins/plugin_utils/_plan/resolve.py, which is not below it"),
    (imports_run_downwards, {"plugins/plugin_utils/_role_inputs.py": TYPES},
     "plugins/plugin_utils/_role_inputs.py imports plugins/plugin_utils/_plan/resolve.py, which is not below it"),
    (imports_run_downwards, {"plugins/action/stage.py": f"import {PACKAGE}plugins.modules.host_info\n"},
     "plugins/action/stage.py imports plugins/modules/host_info.py, but no file may import a module"),
    (imports_run_downwards, {"plugins/plugin_utils/_new/a.py": []},
     "plugins/plugin_utils/_new/a.py: no level in LEVELS covers this folder"),
    (stages_do_not_import_each_other,
     {"plugins/plugin_utils/_stages/image/judge.py": ["plugin_utils._stages.hccl.ports"]},
     "plugins/plugin_utils/_stages/image/judge.py imports plugins/plugin_utils/_stages/hccl/ports.py: "
     "a stage must not use the code of another"),
    (every_test_has_a_file, {"tests/unit/plugins/action/test_stages.py": []},
     "tests/unit/plugins/action/test_stages.py: there is no file at the mirrored path in plugins"),
])
def test_violation_is_found(tree, rule, added, expected):
    assert violations(rule, tree(added)) == [expected]


def test_file_without_tests_is_found(tree):
    root = tree({"plugins/plugin_utils/_plan/image.py": []}, tested=False)
    assert violations(every_file_has_tests, root) == [
        "plugins/plugin_utils/_plan/image.py: there is no test file at the mirrored path in tests/unit"]


def test_results_can_import_the_types_of_the_plan(tree):
    assert violations(imports_run_downwards, tree({"plugins/plugin_utils/_results/contract.py": TYPES})) == []


@pytest.mark.parametrize("test", ["test_role_inputs.py", "test_role_inputs_of_hosts.py"])
def test_a_test_belongs_to_the_file_that_its_name_begins_with(tree, test):
    root = tree({f"tests/unit/plugins/plugin_utils/{test}": []})
    assert source_of(root, f"tests/unit/plugins/plugin_utils/{test}") == "plugins/plugin_utils/_role_inputs.py"


def test_exception_that_is_no_longer_needed_is_found(tree):
    root = tree({"tests/unit/plugins/action/test_all.py": ["plugin_utils._plan.resolve"]})
    tested, own = "plugins/action/stage.py", "tests/unit/plugins/action/test_stage.py"
    assert every_file_has_tests(root, {tested: own}) == [f"{tested}: remove it from COVERED_BY"]
    assert every_test_has_a_file(root, {own: "", "tests/unit/plugins/action/test_all.py": ""}) == [
        f"{own}: remove it from TESTS_OF_SEVERAL_FILES"]
    tree({"plugins/plugin_utils/_plan/image.py": []}, tested=False)
    covering = "tests/unit/plugins/action/test_all.py"
    assert every_file_has_tests(root, {"plugins/plugin_utils/_plan/image.py": covering}) == [
        f"plugins/plugin_utils/_plan/image.py: {covering}, which COVERED_BY names, does not import it"]
