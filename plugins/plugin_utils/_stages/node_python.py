# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Query the Python of a host with a shell command before the first module is sent to the host.

If Python is too old, a module fails with a traceback instead of a sentence.
"""

from __future__ import annotations

import re
import shlex

from ansible.module_utils import basic
from ansible.release import __version__ as core_version


def _minimum(of_core: object) -> tuple[int, int]:
    """Return the oldest usable Python. The modules of this collection need 3.7.

    :param of_core: the version that ansible-core needs; in 2.16, this is a boolean.
    """
    return max((3, 7), of_core) if isinstance(of_core, tuple) else (3, 7)


MINIMUM = _minimum(getattr(basic, "_PY_MIN", None))

# The login may print a banner around this line, so it has a mark at both ends.
_LINE = re.compile(r"<ascend-vllm-python (.+) (\d+)\.(\d+)\.(\d+)>")
_NONE = "<ascend-vllm-no-python>"
_PRINT = "import sys; print('<ascend-vllm-python %s %d.%d.%d>' % ((sys.argv[1],) + tuple(sys.version_info[:3])))"


def command(interpreter: str) -> str:
    """Return the shell command that prints the path and the version of an interpreter, or that it is missing."""
    name = shlex.quote(interpreter)
    return f"if command -v {name}; then {name} -c {shlex.quote(_PRINT)} {name}; else echo '{_NONE}'; fi"


def problem(host: str, interpreter: str, output: str) -> str | None:
    """Return a sentence if the host has no Python or one that is too old, None if it is usable or not known.

    :param output: the standard output of `command`.
    """
    wanted = "at least Python %d.%d" % MINIMUM
    found = _LINE.search(output)
    if found and (int(found[2]), int(found[3])) < MINIMUM:
        version = ".".join(found.group(2, 3, 4))
        return (f"{host} has Python {version} ({found[1]}), but this collection and ansible-core {core_version} need "
                f"{wanted} there; install it, and set ansible_python_interpreter to its path. Nothing was changed.")
    if not found and _NONE in output:
        return (f"{host} does not have the Python interpreter {interpreter}, but {wanted} is needed there; install it, "
                f"and set ansible_python_interpreter to its path. Nothing was changed.")
    return None
