# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every package in the package lists has a version and a hash. Otherwise, pip does not verify the hashes."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from packaging.requirements import Requirement

ROOT = Path(__file__).resolve().parents[2]
ACCURACY = ROOT / "roles" / "accuracy" / "files"
CONTROL_NODE = (ROOT / "requirements.txt", ROOT / "requirements-lock.txt", ("3.11", "3.12", "3.14"))
AIS_BENCH = (ACCURACY / "requirements-ais-bench.in", ACCURACY / "requirements-ais-bench.txt", ("3.10", "3.11", "3.12"))
SWARM = ROOT / "roles" / "weights" / "files" / "requirements-swarm.txt"
HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")


def entries(path):
    """Return ``[(requirement, its hashes)]`` of a file."""
    found = []
    for line in path.read_text("utf-8").replace("\\\n", " ").splitlines():
        if line.strip() and not line.startswith("#"):
            found.append((Requirement(HASH.sub("", line).strip()), HASH.findall(line)))
    return found


def environment(python):
    return {"python_version": python, "python_full_version": python + ".1", "implementation_name": "cpython",
            "platform_python_implementation": "CPython", "sys_platform": "linux", "platform_system": "Linux",
            "platform_machine": "aarch64", "os_name": "posix"}


def applies(requirement, python):
    return requirement.marker is None or requirement.marker.evaluate(environment(python))


@pytest.mark.parametrize("path", [
    CONTROL_NODE[1], AIS_BENCH[1], ACCURACY / "requirements-build.txt", SWARM], ids=lambda path: path.name)
def test_every_package_has_one_version_and_a_hash(path):
    found = entries(path)
    assert found
    for requirement, hashes in found:
        assert re.fullmatch(r"==[^*,]+", str(requirement.specifier)), requirement
        assert hashes, requirement


@pytest.mark.parametrize(("source", "lock", "python"), [
    (source, lock, python) for source, lock, pythons in (CONTROL_NODE, AIS_BENCH) for python in pythons])
def test_lock_contains_the_requirements(source, lock, python):
    pins = {}
    for requirement, _hashes in entries(lock):
        if applies(requirement, python):
            assert requirement.name not in pins, f"two versions of {requirement.name} for Python {python}"
            pins[requirement.name] = next(iter(requirement.specifier)).version
    for requirement, _hashes in entries(source):
        if applies(requirement, python):
            assert requirement.specifier.contains(pins[requirement.name]), f"{requirement} for Python {python}"


def test_build_tools_match_the_environment():
    """Both lists are installed into the same environment, one after another."""
    (tool,) = [entry for entry in entries(ACCURACY / "requirements-build.txt") if entry[0].name == "setuptools"]
    assert tool in entries(AIS_BENCH[1])
