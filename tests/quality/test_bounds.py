# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Every read of external data has a size limit, and every wait for it has a timeout.

The calls are found in the syntax trees of the plugins, and of all other code that runs on nodes and in containers.
"""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted([*(ROOT / "plugins").rglob("*.py"), *(ROOT / "roles").glob("*/files/*.py")])

# Calls that are bounded by something else: {(file, function): reason}.
ALLOWED = {
    ("plugins/module_utils/_ascend/npu_smi.py", "parse_info"): "reads lines that are in memory",
    ("plugins/module_utils/_host/background.py", "start"): "the process continues after the module",
    ("plugins/module_utils/_host/commands.py", "_run"): "the runner: its reads and waits have deadlines",
    ("plugins/module_utils/_vllm/client.py", "_exchange"): "a BoundedResponse",
    ("plugins/module_utils/_vllm/serving_state.py", "request_load"): "a BoundedResponse",
    ("plugins/modules/diagnostics_bundle.py", "metrics"): "a BoundedResponse",
    ("plugins/modules/npu_info.py", "_kernel_log"): "limits of records and of time are in kernel_log.read",
    ("roles/hccl/files/hccl_test_launcher.py", "__init__"): "the command `timeout` stops the container",
    ("roles/hccl/files/hccl_test_launcher.py", "follow"): "the command `timeout` stops the container",
    ("roles/hccl/files/hccl_test_launcher.py", "main"): "the command `timeout` stops the container",
    ("roles/hccl/files/hccl_test_launcher.py", "start_proxy"): "the command `timeout` stops the container",
    ("roles/hccl/files/hccl_test_launcher.py", "output"): "communicate has a timeout, and nothing waits after it",
    ("roles/verify/files/verify.py", "main"): "its unit has TimeoutStartSec",
    ("roles/verify/files/verify.py", "notify"): "the command has a timeout",
    ("roles/verify/files/verify.py", "verify"): "its unit has TimeoutStartSec",
    ("roles/weights/files/fetch.py", "follow"): "weights_progress stops the container after weights_timeout_s",
}
# Methods that read to the end if they are called without a size.
READS = {"read", "read1", "readline", "readlines", "recv"}
# Methods of a path, which have no limit. The functions of _host/facts.py with the same names have a limit.
WHOLE_FILES = {"read_text", "read_bytes"}
BOUNDED_OWNERS = {"facts", "host"}
# Functions that wait for a process or connection. Calls need `timeout`.
WAITS = {"communicate", "wait", "urlopen", "open_url", "create_connection", "HTTPConnection", "HTTPSConnection"}
# Functions that start a process. Only the runner may call them.
STARTS = {"Popen", "run", "call", "check_output", "check_call", "system", "popen", "run_command", "execvp"}


def name_of(call):
    return call.func.attr if isinstance(call.func, ast.Attribute) else getattr(call.func, "id", "")


def owner_of(call):
    """Return the name of the object whose method is called."""
    value = call.func.value if isinstance(call.func, ast.Attribute) else None
    return value.attr if isinstance(value, ast.Attribute) else getattr(value, "id", "")


def unbounded(source):
    """Return ``[(function, line, call)]`` for the calls in the source that have no limit."""
    found = []

    def visit(node, function):
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
            function = node.name
        if isinstance(node, ast.Call):
            name, keywords = name_of(node), {keyword.arg for keyword in node.keywords}
            needed = {"wait": 1, "create_connection": 2}.get(name)  # with this many arguments, the last is a timeout
            limited = {"timeout", None} & keywords or (needed and len(node.args) >= needed)
            endless = isinstance(node.func, ast.Attribute) and name in READS and not node.args
            whole_file = name == "copyfileobj" or (owner_of(node), name) == ("json", "load") or (
                isinstance(node.func, ast.Attribute) and name in WHOLE_FILES and owner_of(node) not in BOUNDED_OWNERS)
            started = name in STARTS and owner_of(node) in ("subprocess", "os", "module")
            if endless or whole_file or started or (name in WAITS and not limited):
                found.append((function, node.lineno, ast.unparse(node)))
        for child in ast.iter_child_nodes(node):
            visit(child, function)

    visit(ast.parse(source), "")
    return found


def is_on_the_controller(path):
    """Return whether code runs on the controller, where it only reads files of this collection or of its user."""
    return path.parts[:2] in (("plugins", "action"), ("plugins", "plugin_utils"), ("plugins", "filter"))


def exceptions():
    """Return ``{(file, function): [(line, call)]}`` for all calls without a limit that do not run on the controller."""
    found = {}
    for path in FILES:
        relative = path.relative_to(ROOT)
        if not is_on_the_controller(relative):
            for function, line, call in unbounded(path.read_text("utf-8")):
                found.setdefault((str(relative), function), []).append((line, call))
    return found


def test_every_read_has_a_limit_and_every_wait_a_deadline():
    new = {place: calls for place, calls in exceptions().items() if place not in ALLOWED}
    assert new == {}, "read with a size, wait with a timeout, and run commands with _host/commands.py"


def test_every_exception_is_needed():
    assert set(ALLOWED) - set(exceptions()) == set()


def test_no_code_on_the_controller_starts_a_process_or_opens_a_connection():
    found = [(str(path.relative_to(ROOT)), line, call) for path in FILES if is_on_the_controller(path.relative_to(ROOT))
             for _function, line, call in unbounded(path.read_text("utf-8"))
             if not re.search(r"\.read(_text|_bytes)?\(", call)]
    assert found == []


@pytest.mark.parametrize("call", [
    "stream.read()", "response.readline()", "stream.readlines()", "json.load(stream)", "shutil.copyfileobj(a, b)",
    "path.read_text()", "path.read_text('utf-8')", "path.read_bytes()",
    "urlopen(url)", "open_url(url)", "HTTPConnection(host)", "socket.create_connection(address)", "process.wait()",
    "process.communicate()", "subprocess.run(argv, timeout=5)", "subprocess.Popen(argv)",
    "subprocess.check_output(argv)", "os.system(text)", "module.run_command(argv)"])
def test_call_without_a_limit_is_found(call):
    assert unbounded(f"def f():\n    return [x for x in {call}]\n") == [("f", 2, call)]


@pytest.mark.parametrize("call", [
    "facts.read_text(path)", "read_text(path, 100)",
    "stream.read(100)", "response.readline(limit)", "json.loads(text)", "urlopen(url, timeout=5)", "process.wait(5)",
    "process.communicate(timeout=5)", "commands.run(argv, 5)", "HTTPConnection(host, timeout=5)", "pool.run()",
    "reader.readable()", "HTTPConnection(host, **options)"])
def test_call_with_a_limit_is_not_found(call):
    assert unbounded(f"x = {call}") == []


def test_urls_and_addresses_with_a_port_are_written_in_one_place():
    """IPv6 addresses need brackets, see _host/addresses.py."""
    by_hand = re.compile(r"""["']https?://(?:%s|\{)|["'](?:--\w+=)?%s:%[ds]["'] % \((?:host|address|head|bind)""")
    # The name of an HAProxy server is not an address.
    known = {"plugins/module_utils/_host/addresses.py", "plugins/module_utils/_haproxy.py"}
    found = [f"{path.relative_to(ROOT)}:{number}" for path in FILES
             for number, line in enumerate(path.read_text("utf-8").splitlines(), 1)
             if by_hand.search(line) and str(path.relative_to(ROOT)) not in known]
    assert found == []
    for text in ('"http://%s:%d" % (address, port)', 'f"http://{host}:{port}"', '"--address=%s:%d" % (head, port)'):
        assert by_hand.search(text), text
