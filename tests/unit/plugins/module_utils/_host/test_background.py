# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A background process has a given folder and environment, and a separate session."""

from __future__ import annotations

import os

from ansible_collections.ascend.vllm.plugins.module_utils._host import background


def test_process_has_its_folder_environment_and_session(tmp_path):
    script = '''echo "$PWD $WORD $(cut -d ' ' -f 6 /proc/$$/stat)" > out.new; mv out.new out; cat > rest; echo lost'''
    pid = background.start(["/bin/sh", "-c", script], str(tmp_path), {"WORD": "hello", "PATH": os.environ["PATH"]})
    os.waitpid(pid, 0)
    folder, word, session = (tmp_path / "out").read_text().split()
    assert (folder, word, int(session)) == (str(tmp_path), "hello", pid)
    assert (tmp_path / "rest").read_text() == ""
