# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Linters, and tests of the built collection."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import jsonschema
import pytest
import yaml
from ansible import release
from cores import environment

from ansible_collections.ascend.vllm.plugins.plugin_utils._results import contract
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.store import Records, timestamp
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.version import COLLECTION_VERSION

ROOT = Path(__file__).resolve().parents[2]
BIN = Path(sys.executable).parent


def call(*command, cwd=ROOT, **environment):
    # ssh in another command would make a shared stdin non-blocking.
    return subprocess.run([str(argument) for argument in command], cwd=cwd, capture_output=True, text=True, check=False,
                          stdin=subprocess.DEVNULL,
                          env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}", **environment})


def output(done):
    """Return the output of a command that must have succeeded."""
    assert done.returncode == 0, (
        f"{done.args} exited with {done.returncode}\n{done.stdout[-8000:]}\n{done.stderr[-4000:]}")
    return done.stdout


def run(*command, **options):
    return output(call(*command, **options))


@pytest.mark.parametrize("command", [
    ("ruff", "check", "."),
    ("yamllint", "--strict", "."),
    ("antsibull-changelog", "lint"),
    ("antsibull-docs", "lint-collection-docs", "--plugin-docs", "--validate-collection-refs=self", "."),
], ids=lambda command: command[0])
def test_linter_has_no_findings(command):
    run(*command)


def test_annotated_modules_have_no_type_errors():
    run("mypy")


# pytest runs the unit tests with the same ansible-core, so ansible-test repeats them only in `make test-all`.
@pytest.mark.slow
@pytest.mark.parametrize("suite", [
    pytest.param("units", marks=[pytest.mark.ahead(call, ROOT / "tests" / "ansible-test", "units"), pytest.mark.long]),
    pytest.param("sanity", marks=pytest.mark.ahead(call, ROOT / "tests" / "ansible-test", "sanity"))])
def test_ansible_test_suite_passes(suite, outcome, record_property):
    assert output(outcome)
    record_property("ansible-test", ".".join(release.__version__.split(".")[:2]) + f" {suite}")


@pytest.mark.slow
@pytest.mark.ahead(call, "ansible-lint", "--offline", "--strict")
def test_ansible_lint_has_no_findings(outcome):
    output(outcome)


@pytest.fixture(scope="session")
def artifact(tmp_path_factory):
    folder = tmp_path_factory.mktemp("artifact")
    run("ansible-galaxy", "collection", "build", "--output-path", folder)
    return next(folder.glob("ascend-vllm-*.tar.gz"))


def test_artifact_contains_the_collection_and_no_development_files(artifact):
    with tarfile.open(artifact) as archive:
        names = set(archive.getnames())
    assert {name.split("/")[0] for name in names} == {
        "roles", "plugins", "playbooks", "meta", "docs", "inventories", "changelogs", "LICENSES", "LICENSE",
        "README.md", "README.zh-CN.md", "CHANGELOG.md", "CODE_OF_CONDUCT.md", "CONTRIBUTING.md", "MAINTAINERS",
        "SECURITY.md", "FILES.json", "MANIFEST.json", "requirements-lock.txt"}
    assert not names & {"docs/build_site", "inventories/simulated", "changelogs/fragments"}
    assert [name for name in names if name.startswith("docs/") and name.endswith(".py")] == []
    # Every relative link of both READMEs leads to a file of the artifact.
    links = {link.partition("#")[0] for page in ("README.md", "README.zh-CN.md")
             for link in re.findall(r"\]\((?!https?:)([^)]+)\)", (ROOT / page).read_text("utf-8"))}
    assert links - names == set()


def test_installed_artifact_works_in_any_folder(artifact, tmp_path):
    """The artifact resolves the sample inventory's plan outside the clone and without its ansible.cfg."""
    run("ansible-galaxy", "collection", "install", "--no-deps", "--collections-path", tmp_path, artifact, cwd=tmp_path)
    installed = tmp_path / "ansible_collections" / "ascend" / "vllm"
    out = run("ansible-playbook", "-i", installed / "inventories" / "sample", "ascend.vllm.plan", "--limit", "atlas-01",
              cwd=tmp_path, ANSIBLE_COLLECTIONS_PATH=str(tmp_path), HOME=str(tmp_path))
    assert "vllm serve" in out


def test_init_writes_an_inventory_that_has_a_plan(artifact, tmp_path):
    """The first node refuses connections, so the hardware is the default one."""
    run("ansible-galaxy", "collection", "install", "--no-deps", "--collections-path", tmp_path, artifact, cwd=tmp_path)
    folder = str(tmp_path)
    environment = {"cwd": folder, "ANSIBLE_COLLECTIONS_PATH": folder, "HOME": folder, "PWD": folder}
    init = ("ansible-playbook", "ascend.vllm.init", "-e", "ansible_port=1", "-e", "init_path=mine", "-e",
            "init_user=me", "-e", "init_nodes=a1=127.0.0.1,a2=127.0.0.2", "-e", "init_release=v0.18.0")
    refused = call(*init, "-e", "init_model=none", **environment)
    assert refused.returncode == 2
    assert "plan_model is none, which is not in the catalogue" in " ".join(refused.stdout.split())
    assert not list((tmp_path / "mine").glob("*.yml"))
    output = run(*init, "-e", "init_model=qwen2_5_vl_32b_instruct", **environment)
    assert "a1 reported no NPU from the catalogue" in output
    plan = run("ansible-playbook", "-i", "mine", "ascend.vllm.plan", **environment)
    assert "Plan of 2 nodes" in plan
    listed = json.loads(run("ansible-inventory", "-i", "mine", "--list", **environment))["_meta"]["hostvars"]["a2"]
    assert {name: listed[name] for name in ("ansible_host", "ansible_user", "ansible_become", "weights_source")} == {
        "ansible_host": "127.0.0.2", "ansible_user": "me", "ansible_become": True, "weights_source": "modelscope"}
    again = call(*init, **environment)
    assert again.returncode == 2
    assert "which is not overwritten" in " ".join(again.stdout.split())


@pytest.mark.slow
def test_licenses_and_requirements_of_the_execution_environment_are_complete():
    tools = environment(sys.executable, "ansible-builder", "reuse")
    run(tools / "reuse", "lint")
    found = yaml.safe_load(run(tools / "ansible-builder", "introspect", "--sanitize", "playbooks/collections"))
    assert {kind: [line.partition("  #")[0] for line in lines] for kind, lines in found.items()} == {
        "python": ["jmespath>=1.1", "jsonschema>=4.20"],
        "system": ["openssh-clients [platform:rpm]", "openssh-client [platform:dpkg]"]}


@pytest.mark.slow
@pytest.mark.long
def test_galaxy_would_import_the_artifact_without_warnings(artifact, tmp_path):
    """The importer stops ansible-lint after 3 minutes, so the same command runs separately (with community.docker)."""
    tools = environment(sys.executable, "ansible-core~=2.19.0", "galaxy-importer")
    done = call(tools / "python", "-m", "galaxy_importer.main", artifact, cwd=artifact.parent,
                PATH=f"{tools}:{os.environ['PATH']}", GALAXY_IMPORTER_RUN_ANSIBLE_LINT="no")
    assert "Importer processing completed successfully" in output(done)
    assert re.findall("^(?:WARNING|ERROR|CRITICAL).*", done.stdout + done.stderr, re.MULTILINE) == []
    run("ansible-galaxy", "collection", "install", "--no-deps", "--collections-path", tmp_path, artifact, cwd=tmp_path)
    run("ansible-lint", "--profile", "production", "--strict", "--offline", "--format=pep8", "-x",  # rules Galaxy skips
        "yaml,var-naming,avoid-dot-notation,import-task-no-when,single-entry-point,use-loop",
        cwd=tmp_path / "ansible_collections" / "ascend" / "vllm", XDG_CACHE_HOME=str(tmp_path / "cache"),
        ANSIBLE_COLLECTIONS_PATH=str(tmp_path))


@pytest.fixture(scope="session")
def stripped(artifact, tmp_path_factory):
    """A collections folder that contains only the four folders of the artifact that every packaging method keeps."""
    folder = tmp_path_factory.mktemp("stripped")
    with tarfile.open(artifact) as archive:
        kept = [each for each in archive.getmembers()
                if each.name.split("/")[0] in ("meta", "plugins", "roles", "playbooks")]
        archive.extractall(folder / "ansible_collections" / "ascend" / "vllm", kept, filter="data")
    return folder


@pytest.fixture
def play(stripped, tmp_path):
    """Return a function (hosts, playbook, *options) that runs a playbook of the stripped collection."""
    def start(hosts, playbook, *options):
        inventory = tmp_path / "hosts.json"
        inventory.write_text(json.dumps({"npu_nodes": {"hosts": hosts}}), "utf-8")
        return call("ansible-playbook", "-i", inventory, f"ascend.vllm.{playbook}", *options, cwd=tmp_path,
                    ANSIBLE_COLLECTIONS_PATH=str(stripped), HOME=str(tmp_path))
    return start


def test_stripped_collection_resolves_a_plan(stripped, tmp_path):
    shutil.copytree(ROOT / "inventories" / "sample", tmp_path / "sample", ignore=shutil.ignore_patterns(".*"))
    out = run("ansible-playbook", "-i", tmp_path / "sample", "ascend.vllm.plan", cwd=tmp_path,
              ANSIBLE_COLLECTIONS_PATH=str(stripped), HOME=str(tmp_path))
    assert "Plan of 4 nodes" in out


def test_stripped_collection_observes_and_judges_a_node(play, tmp_path):
    """The node has no npu-smi at the given path."""
    done = play({"here": {"ansible_connection": "local", "ansible_python_interpreter": sys.executable,
                          "npu_driver_npu_smi_path": str(tmp_path / "npu-smi")}}, "npu_driver")
    assert done.returncode == 2, done.stdout
    result = json.loads((tmp_path / ".results" / "here" / "npu_driver.json").read_text("utf-8"))
    jsonschema.validate(result, json.loads((ROOT / "docs" / "schemas" / "stage-result-v1.json").read_text("utf-8")))
    assert (result["status"], result["error"], result["collection_version"]) == ("failed", None, COLLECTION_VERSION)
    assert {check["id"]: check["actual"] for check in result["checks"] if check["status"] == "failed"}[
        "npu_driver.npu_smi"] == "npu-smi was not found"
    assert "npu_driver.npu_smi: expected a table of NPUs, found npu-smi was not found." in done.stdout


def test_stripped_collection_reports_a_site_whose_nodes_fail(play, tmp_path):
    """The node has no Python, so observation and diagnostics fail."""
    done = play({"here": {"ansible_connection": "local", "ansible_python_interpreter": str(tmp_path / "python")}},
                "site", "--tags", "npu_driver")
    assert done.returncode == 2, done.stdout
    report = json.loads((tmp_path / ".results" / "report.json").read_text("utf-8"))
    jsonschema.validate(report, json.loads((ROOT / "docs" / "schemas" / "report-v2.json").read_text("utf-8")))
    assert (report["failing_hosts"], report["collection_version"]) == (["here"], COLLECTION_VERSION)
    assert [check["id"] for check in report["findings"] if check["status"] == "failed"] == ["npu_driver.observation"]
    assert "1 of 1 hosts failed: here" in done.stdout


def write_results(folder, status, plan_hash):
    """Write results of all stages of the hosts a and b; only the last result of b has this status and plan."""
    records = Records(folder)
    for host in ("a", "b"):
        for stage in contract.STAGES:
            last = (host, stage) == ("b", "benchmark")
            checks = contract.Checks([contract.Check("link", contract.CRITICAL, "It works", "Repair it.")])
            checks.expect("link", status != contract.FAILED or not last, "up", "down")
            result = contract.stage_result(stage, host, checks.as_list(), {"hash": plan_hash} if last else {},
                                           finished_at=timestamp())
            if not last or status != contract.NOT_RUN:
                records.write_result(result)


@pytest.mark.parametrize(("status", "plan_hash", "fail_on", "exit_code"), [
    ("passed", None, ["failed"], 0),
    ("failed", None, ["failed"], 2),
    ("passed", "0123456789ab", ["failed", "not_run"], 0),
    ("passed", "0123456789ab", ["failed", "stale"], 2),
    ("not_run", None, ["failed", "stale"], 0),
    ("not_run", None, ["failed", "not_run"], 2),
])
def test_site_and_report_have_the_exit_code_of_the_report(play, tmp_path, status, plan_hash, fail_on, exit_code):
    """With a tag that no stage has, site.yml contacts no node."""
    write_results(tmp_path / ".results", status, plan_hash)
    for options in (["site", "--tags", "site_network"], ["report", "--limit", "b"]):
        done = play({"a": {}, "b": {}}, *options, "-e", json.dumps({"report_fail_on": fail_on}))
        assert done.returncode == exit_code, done.stdout
        assert ("(report_fail_on: " in done.stdout) == bool(exit_code)
        assert "No node was queried." in done.stdout


def test_clone_in_any_folder_ignores_a_copy_in_the_home_directory(tmp_path):
    home = tmp_path / "home"
    copy = home / ".ansible" / "collections" / "ansible_collections" / "ascend" / "vllm"
    (copy / "roles" / "plan" / "tasks").mkdir(parents=True)
    (copy / "galaxy.yml").write_text("namespace: ascend\nname: vllm\nversion: 9.9.9\n", "utf-8")
    (copy / "roles" / "plan" / "tasks" / "main.yml").write_text("- ansible.builtin.fail: {msg: shadowed}\n", "utf-8")
    clone = tmp_path / "some folder"
    run("git", "clone", "-q", "--no-hardlinks", ROOT, clone)
    changed = run("git", "diff", "--binary", "HEAD").encode()
    subprocess.run(["git", "apply", "--allow-empty"], cwd=clone, input=changed, check=True)
    out = run("ansible-playbook", "-i", clone / "inventories" / "sample", clone / "playbooks" / "plan.yml",
              "--limit", "atlas-01", cwd=home, HOME=str(home))
    assert "vllm serve" in out
    files = run("ansible-doc", "--type", "module", "--list_files", "ascend.vllm", cwd=clone, HOME=str(home))
    assert files
    assert all(str(clone) in line for line in files.splitlines())
