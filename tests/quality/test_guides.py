# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""In the README and the guides, commands are executed or marked, names and links exist, translations are current."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from importlib import import_module
from itertools import zip_longest
from pathlib import Path

import pytest
import yaml
from guides import EXECUTED, GUIDES, PAGES, ROOT, SHELL, Block, blocks, read

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract

REPOSITORY = "https://github.com/ascend-vllm/ascend.vllm/"
ORIGINAL_OF = {page: re.sub(r"(\.zh-CN|_zh_cn)(?=\.)", "", page) for page in PAGES if "zh" in page.lower()}
NOT_RUN = ("not run", "不由测试执行")


def problems(page, found, text, executed=EXECUTED):
    """Return one sentence for each block of commands that is neither executed nor marked."""
    sentences, commands = [], [block for block in found if block.language in SHELL]
    for block in commands:
        if block.exit_code is not None:
            if page not in executed:
                sentences.append(f"line {block.line}: tests/site/test_guides.py does not execute this page")
        elif not re.fullmatch(r"not run: .{10,}", block.mark):
            sentences.append(f"line {block.line}: put `run: tests/site/test_guides.py` or `not run: <reason>` above it")
    visible = " ".join(re.sub(r"^ *\.\. .*$|<!--.*?-->", "", text, flags=re.MULTILINE).split())
    if commands and all(block.exit_code is None for block in commands) and not any(word in visible for word in NOT_RUN):
        sentences.append("no command of this page is run, so its text must state this")
    return sentences


def differences(page, original):
    """Return what differs between the commands of a translation and those of the original, as (page, original)."""
    def comparable(found):
        return [(block.mark, block.commands) if block.language in SHELL else (block.mark, code(block))
                for block in found if block.language != "text" or block.mark]

    def code(block):
        return yaml.safe_load(block.text) if block.language == "yaml" else block.text

    return [pair for pair in zip_longest(comparable(page), comparable(original)) if pair[0] != pair[1]]


@pytest.mark.parametrize("page", PAGES)
def test_every_command_is_executed_or_marked(page):
    original = ORIGINAL_OF.get(page, page)
    assert problems(original, read(page), (ROOT / page).read_text("utf-8")) == []


def test_executed_pages_have_commands():
    assert [page for page in EXECUTED if not any(block.exit_code is not None for block in read(page))] == []


@pytest.mark.parametrize("page", ORIGINAL_OF)
def test_translation_has_the_commands_of_the_original(page):
    assert differences(read(page), read(ORIGINAL_OF[page])) == []


@pytest.mark.parametrize("page", ORIGINAL_OF)
def test_translation_names_the_same_checks_and_inputs(page):
    assert names((ROOT / page).read_text("utf-8")) == names((ROOT / ORIGINAL_OF[page]).read_text("utf-8"))


def names(text):
    """Return the inputs and checks in code style on a page."""
    roles = "|".join(path.name for path in (ROOT / "roles").iterdir())
    literals = re.findall(r"``([^`\n]+)``", text) + re.findall(r"(?<!`)`([^`\n]+)`(?!`)", text)
    found = re.findall(rf"(?<![\w./])(?:(?:{roles})[_.][a-z][a-z0-9_]+)(?![\w/*<]|\.\w)", "\n".join(literals))
    return sorted({name for name in found if not name.endswith((".yml", ".md", ".json", ".prom", ".html"))})


@pytest.mark.parametrize("page", PAGES)
def test_inputs_and_checks_of_a_page_exist(page):
    known = {path.stem for path in ROOT.glob("plugins/modules/*.py")}
    for path in ROOT.glob("roles/*/defaults/main.yml"):
        known |= set(yaml.safe_load(path.read_text("utf-8")))
    for stage in contract.STAGES:
        judge = import_module(f"ansible_collections.ascend.vllm.plugins.plugin_utils._stages.{stage}.judge")
        known |= {f"{stage}.{check.id}" for check in (*judge.CHECKS, *contract.COMMON)}
    text = (ROOT / page).read_text("utf-8")
    examples = [yaml.safe_load(block.text) for block in read(page) if block.language == "yaml"]
    used = [key for example in examples if "models" not in example for key in keys(example)  # not a catalogue
            if re.match(rf"(?:{'|'.join(path.name for path in (ROOT / 'roles').iterdir())})_", key)]
    assert [name for name in [*names(text), *used] if name not in known] == []


def keys(value):
    """Yield the keys of nested dictionaries."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key)
            yield from keys(item)


def anchors(path):
    """Return the anchors that GitHub makes of the headings of a Markdown page."""
    lines = re.sub(r"```.*?```", "", path.read_text("utf-8"), flags=re.DOTALL).splitlines()
    return {re.sub(r"[^\w -]", "", line.lstrip("# ")).lower().replace(" ", "-")
            for line in lines if line.startswith("#")}


@pytest.mark.parametrize("page", [*PAGES, "CONTRIBUTING.md", "SECURITY.md", "CODE_OF_CONDUCT.md"])
def test_links_resolve(page):
    """Check links to files and headings of this repository, and references between guides."""
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\(([^)\s]+)\)|<(https://[^>\s]+)>`", text)
    broken = []
    for link in filter(None, (first or second for first, second in links)):
        target, _hash, anchor = link.partition("#")
        own = re.fullmatch(REPOSITORY + r"(?:blob|tree)/main/(.*)", target)
        if target.startswith("http") and not own:
            continue
        path = ROOT / own.group(1) if own else ((ROOT / page).parent / target if target else ROOT / page)
        if not path.exists() or (anchor and path.suffix == ".md" and anchor not in anchors(path)):
            broken.append(link)
    guides = "".join(path.read_text("utf-8") for path in GUIDES.glob("*.rst"))
    labels = re.findall(r"^\.\. _(.*):$", guides, re.MULTILINE)
    broken += [label for label in re.findall(r":ref:`([^`]+)`", text) if label not in labels]
    assert broken == []


@pytest.mark.parametrize("page", ["README.md", "README.zh-CN.md"])
def test_readme_has_the_size_of_the_catalogue(page):
    releases, models = (list(yaml.safe_load((ROOT / f"roles/plan/files/catalogue/{name}.yml").read_text("utf-8"))[name])
                        for name in ("releases", "models"))
    text = (ROOT / page).read_text("utf-8")
    (row,) = re.findall(r"^\| vLLM Ascend \|.*$", text, re.MULTILINE)
    assert re.match(r"\| vLLM Ascend \| (\S+) – ([^\s，,]+)", row).groups() == (releases[0], releases[-1])
    assert re.findall(r"(\d+) (?:releases|models|个版本|个模型)", row) == [str(len(releases)), str(len(models))]
    assert re.findall(r"(\d+) (?:other models|个模型)\]\(docs/models.md", text) == [str(len(models) - 1)]


def test_site_contains_every_guide():
    sections = yaml.safe_load((ROOT / "docs" / "docsite" / "extra-docs.yml").read_text("utf-8"))["sections"]
    assert sorted(name for section in sections for name in section["toctree"]) == sorted(
        path.stem for path in GUIDES.glob("*.rst"))
    linked = (ROOT / "README.md").read_text("utf-8") + (ROOT / "README.zh-CN.md").read_text("utf-8")
    assert [path.name for path in GUIDES.glob("*.rst") if f"rst/{path.name}" not in linked] == []


@pytest.mark.slow
def test_site_is_built_without_warnings(tmp_path):
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    done = subprocess.run([ROOT / "docs" / "build_site", tmp_path / "site"], capture_output=True, text=True,
                          check=False, env={**os.environ, "PATH": path})
    assert done.returncode == 0, done.stdout + done.stderr
    assert (tmp_path / "site" / "html" / "docsite" / "guide_first_cluster.html").is_file()


def test_model_of_the_guide_has_a_plan(tmp_path):
    """The catalogue entry of guide_extending.rst, with the inputs below it."""
    shutil.copytree(ROOT / "inventories" / "sample", tmp_path / "mine", ignore=shutil.ignore_patterns(".*"))
    found = read("docs/docsite/rst/guide_extending.rst")
    catalogue, inputs = [block.text for block in found if block.language == "yaml"]
    (tmp_path / "mine" / "catalogue.yml").write_text(catalogue, "utf-8")
    (tmp_path / "mine" / "group_vars" / "npu_nodes" / "plan.yml").write_text(inputs, "utf-8")
    done = subprocess.run([Path(sys.executable).with_name("ansible-playbook"), "-i", tmp_path / "mine", "--limit",
                           "atlas-01", "playbooks/plan.yml"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert "My-Model-w8a8" in done.stdout


PAGE = """\
Text.

.. {mark}

.. code-block:: shell

   first one \\
     two   # comment
   second

* An item:

   .. not run: the reason is given

   .. code-block:: shell

      third
"""


@pytest.mark.parametrize(("mark", "expected"), [
    ("run: tests/site/test_guides.py", []),
    ("run: tests/site/test_guides.py, exit code 2", []),
    ("not run: the reason is given", ["no command of this page is run, so its text must state this"]),
    ("run: tests/site/test_other.py", [
        "line 6: put `run: tests/site/test_guides.py` or `not run: <reason>` above it",
        "no command of this page is run, so its text must state this"]),
    ("not run: no", ["line 6: put `run: tests/site/test_guides.py` or `not run: <reason>` above it",
                     "no command of this page is run, so its text must state this"]),
])
def test_block_without_a_valid_mark_is_found(mark, expected):
    text = PAGE.format(mark=mark)
    found = blocks(text, rst=True)
    assert [block.commands for block in found] == [["first one two", "second"], ["third"]]
    assert problems("page", found, text, executed=["page"]) == expected


def test_page_that_is_not_executed_is_found():
    text = "<!-- run: tests/site/test_guides.py -->\n```sh\nfirst\n```\n"
    assert problems("page", blocks(text, rst=False), text) == [
        "line 2: tests/site/test_guides.py does not execute this page"]


@pytest.mark.parametrize(("changed", "same"), [
    ([], True),
    ([Block(1, "run: a", "sh", "first   # 注释\n")], True),
    ([Block(1, "run: a", "sh", "second\n")], False),
    ([Block(1, "not run: a", "sh", "first\n")], False),
    ([Block(1, "run: a", "sh", "first\n"), Block(1, "", "yaml", "a: 2\n")], False),
])
def test_lagging_translation_is_found(changed, same):
    original = [Block(9, "run: a", "sh", "first   # comment\n")]
    assert (differences(changed or original, original) == []) is same
