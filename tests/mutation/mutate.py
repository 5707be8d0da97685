# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Change the code in one place at a time, and check whether the tests at the mirrored path fail (`make mutation`).

The places are a seeded sample, so that two runs can be compared. If no test fails, the mutant is printed with its diff.
Write the missing test, simplify the code, or list the mutant with the reason in survivors.yml.
"""

from __future__ import annotations

import argparse
import ast
import copy
import difflib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from typing import NamedTuple

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "quality"))

from test_floor_plan import COVERED_BY, files, source_of

# Judges, parsers, the plan, and the code that they use.
SUBJECTS = ("plugins/plugin_utils/**/*.py", "plugins/module_utils/**/*.py")
# Files that the tests import or read.
COPIED = ("docs", "inventories", "meta", "molecule", "playbooks", "plugins", "roles", "tests", "galaxy.yml",
          "ansible.cfg", "pyproject.toml", "CHANGELOG.md", "changelogs", "Makefile", "README.md", "CONTRIBUTING.md")
TIMEOUT_S = 180

COMPARED = {ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt, ast.Eq: ast.NotEq, ast.NotEq: ast.Eq,
            ast.In: ast.NotIn, ast.NotIn: ast.In, ast.Is: ast.IsNot, ast.IsNot: ast.Is}
CALCULATED = {ast.Add: ast.Sub, ast.Sub: ast.Add, ast.Mult: ast.FloorDiv, ast.Div: ast.Mult, ast.FloorDiv: ast.Mult}


class Mutant(NamedTuple):
    """A change to a file: ``new`` replaces the bytes from ``start`` to ``end``."""

    file: str
    start: int
    end: int
    new: str

    @property
    def text(self) -> str:
        """The content of the file with the change."""
        content = (ROOT / self.file).read_bytes()
        return (content[:self.start] + self.new.encode() + content[self.end:]).decode()


def changes(node: ast.AST) -> Iterator[ast.AST]:
    """Yield replacements for a node: copies with one change each."""
    def changed(**fields):
        mutated = copy.copy(node)
        for name, value in fields.items():
            setattr(mutated, name, value)
        return mutated

    def negated(test):
        return ast.UnaryOp(op=ast.Not(), operand=test)

    if isinstance(node, ast.Compare):
        for index, operator in enumerate(node.ops):
            if type(operator) in COMPARED:
                yield changed(ops=[*node.ops[:index], COMPARED[type(operator)](), *node.ops[index + 1:]])
    elif isinstance(node, ast.BoolOp):
        yield changed(op=ast.Or() if isinstance(node.op, ast.And) else ast.And())
        for index in range(len(node.values)):
            others = [*node.values[:index], *node.values[index + 1:]]
            yield others[0] if len(others) == 1 else changed(values=others)
    elif isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
        yield node.operand
    elif isinstance(node, ast.BinOp) and type(node.op) in CALCULATED and not any(
            isinstance(each, (ast.JoinedStr, ast.List, ast.Tuple, ast.ListComp)) or isinstance(
                getattr(each, "value", None), str) for each in (node.left, node.right)):
        yield changed(op=CALCULATED[type(node.op)]())
    elif isinstance(node, ast.IfExp):
        yield changed(test=negated(node.test))
    elif isinstance(node, ast.comprehension):
        pass
    elif isinstance(node, (ast.ListComp, ast.SetComp, ast.GeneratorExp, ast.DictComp)):
        for index, each in enumerate(node.generators):
            for condition in range(len(each.ifs)):
                bare = copy.copy(each)
                bare.ifs = [*each.ifs[:condition], *each.ifs[condition + 1:]]
                yield changed(generators=[*node.generators[:index], bare, *node.generators[index + 1:]])
    elif isinstance(node, ast.Constant):
        if isinstance(node.value, bool):
            yield changed(value=not node.value)
        elif isinstance(node.value, int):
            yield changed(value=node.value + 1)
        elif isinstance(node.value, str) and node.value and " " not in node.value and "%" not in node.value:
            # Another test compares sentences with tests/data/messages.txt.
            yield changed(value=node.value + "X")
    elif isinstance(node, ast.Return) and node.value is not None and not (
            isinstance(node.value, ast.Constant) and node.value.value is None):
        yield changed(value=ast.Constant(value=None))
    elif isinstance(node, ast.Expr) and isinstance(node.value, ast.Call):
        yield ast.Pass()
    elif isinstance(node, ast.Break):
        yield ast.Continue()
    elif isinstance(node, ast.Continue):
        yield ast.Break()
    elif (isinstance(node, ast.Raise) and node.exc is not None) or isinstance(node, ast.AugAssign):
        yield ast.Pass()


def subjects(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield the nodes to change: all except annotations, documentation, imports and parts of f-strings."""
    def walk(node):
        if isinstance(node, (ast.JoinedStr, ast.Import, ast.ImportFrom)):
            return
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
            return
        if isinstance(node, (ast.If, ast.While)):
            yield from ((node, "test"),)
        yield (node, None)
        for name, value in ast.iter_fields(node):
            if name in ("annotation", "returns", "decorator_list", "bases", "type_comment"):
                continue
            if isinstance(node, ast.Subscript) and name == "slice" and isinstance(value, ast.Constant):
                # Another key always raises KeyError, whatever the tests assert.
                continue
            for child in value if isinstance(value, list) else [value]:
                documentation = isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)
                if isinstance(child, ast.AST) and not documentation:
                    yield from walk(child)

    yield from walk(tree)


def mutants(file: str, root: Path = ROOT) -> list[Mutant]:
    """Return all mutants of a file."""
    content = (root / file).read_bytes()
    starts = [0]
    for line in content.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))
    found = {}
    for node, part in subjects(ast.parse(content)):
        pairs = [(node.test, ast.UnaryOp(op=ast.Not(), operand=node.test))] if part else [
            (node, new) for new in changes(node)]
        for old, new in pairs:
            # Offsets in a syntax tree count bytes.
            start, end = starts[old.lineno - 1] + old.col_offset, starts[old.end_lineno - 1] + old.end_col_offset
            written = ast.unparse(ast.fix_missing_locations(new))
            if isinstance(new, ast.expr) and not isinstance(new, (ast.Constant, ast.Name, ast.Attribute, ast.Call)):
                written = f"({written})"
            found[start, end, written] = Mutant(file, start, end, written)
    return list(found.values())


def mirrored(root: Path = ROOT) -> dict[str, list[str]]:
    """Return ``{file: its test files}`` for the subjects that have tests."""
    found = defaultdict(list)
    for test in files(root, "tests/unit/plugins/**/test_*.py"):
        source = source_of(root, test)
        if source:
            found[source].append(test)
    for file, test in COVERED_BY.items():
        found[file].append(test)
    wanted = {file for pattern in SUBJECTS for file in files(root, pattern)}
    return {file: tests for file, tests in sorted(found.items()) if file in wanted}


def copy_clone(folder: Path) -> Path:
    """Copy this clone into a folder in which a worker can change files, and return the folder."""
    folder.mkdir()
    for name in COPIED:
        source = ROOT / name
        if source.is_dir():
            shutil.copytree(source, folder / name, symlinks=True, ignore=shutil.ignore_patterns(".*", "output"))
        elif source.exists():
            shutil.copy2(source, folder / name)
    return folder


def run(clone: Path, tests: list[str]) -> tuple[int | None, str]:
    """Run tests, and return their exit code (None: they took too long) and the end of their output."""
    # Without pyc files, because Python would use one that has the modification time of the changed file.
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "ASCEND_VLLM_VISITS": ""}
    with subprocess.Popen(
            [sys.executable, "-m", "pytest", "-q", "-x", "--no-header", "--tb=no", "--hypothesis-seed=0", *tests],
            cwd=clone, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
            start_new_session=True) as process:
        try:
            output, _none = process.communicate(timeout=TIMEOUT_S)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            return None, ""
    return process.returncode, output[-2000:]


def diff(mutant: Mutant) -> str:
    """Return the diff of a mutant."""
    lines = difflib.unified_diff((ROOT / mutant.file).read_text("utf-8").splitlines(), mutant.text.splitlines(),
                                 mutant.file, mutant.file, lineterm="", n=0)
    return "\n".join(lines)


def reasons() -> dict[str, str]:
    """Return ``{changed lines: why no test notices the change}``."""
    listed = yaml.safe_load(Path(__file__).with_name("survivors.yml").read_text("utf-8")) or []
    return {f"{each['file']}: {each['change'].strip()}": each["reason"] for each in listed}


def key(mutant: Mutant) -> str:
    """Return the name of a mutant in survivors.yml, which does not depend on line numbers."""
    changed = [line for line in diff(mutant).splitlines()[2:] if line.startswith("+")]
    return f"{mutant.file}: {' '.join(line[1:].strip() for line in changed)}"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--count", type=int, default=300)
    parser.add_argument("--seed", type=int, default=14)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--only", default="", help="change only files whose path contains this text")
    options = parser.parse_args()
    tests = {file: paths for file, paths in mirrored().items() if options.only in file}
    candidates = [mutant for file in tests for mutant in mutants(file)]
    chosen = random.Random(options.seed).sample(candidates, min(options.count, len(candidates)))
    print(f"{len(chosen)} of {len(candidates)} mutants of {len(tests)} files, seed {options.seed}", flush=True)
    known, survivors, killed, total = reasons(), [], defaultdict(int), defaultdict(int)
    with tempfile.TemporaryDirectory(prefix="ascend-vllm-mutation-") as temporary:
        clones = SimpleQueue()
        for number in range(options.workers):
            clones.put(copy_clone(Path(temporary, str(number))))

        def verdict(file: str, text: str | None) -> tuple[int | None, str]:
            clone = clones.get()
            path = clone / file
            original = path.read_bytes()
            try:
                if text is not None:
                    path.write_text(text, "utf-8")
                return run(clone, tests[file])
            finally:
                path.write_bytes(original)
                clones.put(clone)

        with ThreadPoolExecutor(options.workers) as pool:
            names = sorted({mutant.file for mutant in chosen})
            for file, (code, output) in zip(names, pool.map(lambda file: verdict(file, None), names)):
                if code:
                    print(f"The tests of {file} fail without a change:\n{output}")
                    return 2
            for mutant, (code, output) in zip(chosen, pool.map(
                    lambda mutant: verdict(mutant.file, mutant.text), chosen)):
                if code not in (None, 0, 1, 2):  # 1: a test failed, 2: the file or a test could not be imported
                    print(f"pytest exited with {code} for {diff(mutant)}\n{output}")
                    return 2
                total[mutant.file] += 1
                if code == 0:
                    survivors.append(mutant)
                    print(f"\nsurvived{': ' + known[key(mutant)] if key(mutant) in known else ''}\n{diff(mutant)}",
                          flush=True)
                else:
                    killed[mutant.file] += 1
    print(f"\n{'file':78}{'killed':>8}{'of':>5}")
    for file in sorted(total):
        print(f"{file:78}{killed[file]:8}{total[file]:5}")
    explained = sum(key(mutant) in known for mutant in survivors)
    share = sum(killed.values()) / max(len(chosen) - explained, 1)
    print(f"\n{share:.1%} of {len(chosen) - explained} mutants killed; {explained} more survived for listed reasons.")
    return int(share < 0.9)


if __name__ == "__main__":
    sys.exit(main())
