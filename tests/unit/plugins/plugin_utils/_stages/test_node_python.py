# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The shell command reports the Python of a host whatever the login prints, and a Python that is too old is named."""

from __future__ import annotations

import subprocess
import sys

import pytest

from ansible_collections.ascend.vllm.plugins.plugin_utils._stages import node_python


def output_of(interpreter, banner="Welcome to Python 2.6.6.\n"):
    done = subprocess.run(["/bin/sh", "-c", node_python.command(str(interpreter))], capture_output=True, text=True,
                          check=True)
    return banner + done.stdout + "Goodbye from Python 9.9.9."


@pytest.fixture
def old(tmp_path):
    """Return a function (version) -> the path of an interpreter that reports this version."""
    def create(*version):
        path = tmp_path / "my python"
        path.write_text(f'#!/bin/sh\ncode=${{2#import sys; }}\n'
                        f'exec {sys.executable} -c "import sys; sys.version_info = {version}; $code" "$3"\n')
        path.chmod(0o755)
        return path
    return create


@pytest.mark.parametrize("version", [(2, 7, 18), (3, 6, 15)])
def test_python_that_is_too_old_is_named(old, version):
    path = old(*version)
    sentence = node_python.problem("node1", str(path), output_of(path))
    assert sentence.startswith("node1 has Python %d.%d.%d (%s), but this collection and ansible-core" % (
        *version, path))
    assert "need at least Python %d.%d there" % node_python.MINIMUM in sentence
    assert "9.9" not in sentence
    assert "2.6" not in sentence


def test_python_that_is_new_enough_is_usable(old):
    assert node_python.problem("node1", sys.executable, output_of(sys.executable)) is None
    path = old(*node_python.MINIMUM, 0)
    assert node_python.problem("node1", str(path), output_of(path)) is None


def test_missing_python_is_named():
    sentence = node_python.problem("node1", "/no/python3", output_of("/no/python3"))
    assert sentence.startswith("node1 does not have the Python interpreter /no/python3, but at least Python")


def test_output_without_a_version_is_not_judged():
    assert node_python.problem("node1", "python3", "Welcome to Python 2.7.18\n") is None


@pytest.mark.parametrize(("of_core", "expected"), [((3, 9), (3, 9)), ((3, 6), (3, 7)), (True, (3, 7)), (None, (3, 7))])
def test_minimum_is_that_of_core_and_of_the_collection(of_core, expected):
    assert node_python._minimum(of_core) == expected
