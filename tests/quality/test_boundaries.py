# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Check that text that leaves a node is masked, that printed text is cleaned, and that files are written atomically.

Each rule is a function that takes the path and the content of a file and returns one sentence per violation, so that it
can also run on a text with an added violation.
"""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import yaml

from ansible_collections.ascend.vllm.plugins.plugin_utils._role_inputs import SECRETS

ROOT = Path(__file__).resolve().parents[2]
TEXT = "plugins/plugin_utils/_text.py"
PROGRAMS = sorted(str(path.relative_to(ROOT)) for folder in ("plugins", "roles")
                  for path in ROOT.glob(f"{folder}/**/*.py"))
TASKS = sorted(str(path.relative_to(ROOT)) for pattern in ("roles/*/tasks/*.yml", "playbooks/*.yml")
               for path in ROOT.glob(pattern))

# Functions that write a file in place, and the reasons why no process reads an incomplete file.
IN_PLACE = {
    "plugins/plugin_utils/_results/store.py _lock": "a lock, without content",
    "plugins/module_utils/_host/lease.py take": "a lock, without content",
    "plugins/module_utils/_weights/preconditions.py hold_lock": "a lock, whose content is only for humans",
    "plugins/module_utils/_weights/preconditions.py open_work_folder": "a lock, without content",
    "plugins/module_utils/_ais_bench/config.py _absolute_pictures": "in the folder of a job that is not started",
    "plugins/module_utils/_ais_bench/config.py prepare_prompts": "in the folder of a job that is not started",
    "plugins/module_utils/_ais_bench/questions.py convert": "in the folder of a job that is not started",
    "plugins/module_utils/_ais_bench/job.py start": "in the folder of a job that is not started",
    "plugins/modules/benchmark_pause.py start_guard": "in the folder of a guard that is not started",
    "roles/serving/files/health.py terminate": "the output of the server's container",
    "roles/weights/files/fetch.py main": "a lock, without content",
    "roles/weights/files/fetch.py fetch": "resumed at its end, and verified before it is published",
    "roles/weights/files/swarm.py share": "a lock, without content",
    "roles/weights/files/swarm.py create_empty": "a file without content",
}
# Actions that call modules directly and mask what these return. All other actions use StageAction.call.
CALLERS = {"plugins/plugin_utils/_stages/stage_action.py", "plugins/action/diagnostics_bundle.py",
           "plugins/action/hccl_collective.py", "plugins/action/weights_progress.py"}


def functions(text):
    """Yield (name of the innermost function, node) for all nodes of a module."""
    def walk(node, name):
        for child in ast.iter_child_nodes(node):
            inner = child.name if isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef)) else name
            yield inner, child
            yield from walk(child, inner)

    yield from walk(ast.parse(text), "module")


def printed_directly(path, text):
    """Only `_text` prints, since it removes what must not reach a terminal."""
    printers = {"display", "warning", "deprecated", "error", "banner", "v", "vv", "vvv", "vvvv", "verbose"}
    return [f"{path}:{node.lineno}: prints without plugin_utils/_text.py" for _name, node in functions(text)
            if path != TEXT and isinstance(node, ast.Attribute) and node.attr in printers
            and ast.unparse(node.value).rpartition(".")[2].strip("()").lower() in ("_display", "display")]


def unmasked_logs(path, text):
    """Only `containers.log` reads the log of a container, since it masks secrets."""
    return [f"{path}:{node.lineno}: reads a log without containers.log, which masks secrets"
            for _name, node in functions(text)
            if path != "plugins/module_utils/_docker/containers.py" and isinstance(node, ast.Attribute)
            and node.attr == "log" and ast.unparse(node.value) not in ("containers", "math")]


def unmasked_calls(path, text):
    """The caller of a module masks the text that the module returns."""
    called = any(isinstance(node, ast.Attribute) and node.attr == "_execute_module" for _name, node in functions(text))
    if not called or (path in CALLERS and any(
            isinstance(node, ast.Call) and ast.unparse(node.func) in ("mask_known", "self.masked", "redact")
            for _name, node in functions(text))):
        return []
    return [f"{path}: calls a module without masking what it returns"]


def written_in_place(path, text):
    """A function writes a file under a temporary name, and then renames it."""
    writers, renames = {}, set()
    for name, node in functions(text):
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            last = called.rpartition(".")[2]
            place = 1 if called in ("open", "os.fdopen") else 0
            mode = next((argument for argument in [*node.args[place:place + 1],
                                                   *(word.value for word in node.keywords if word.arg == "mode")]
                         if isinstance(argument, ast.Constant) and isinstance(argument.value, str)
                         and set(argument.value) <= set("rwaxbt+")), None)
            if (last in ("write_text", "write_bytes", "touch")
                    or (last == "open" and mode is not None and set(mode.value) & set("wax+"))
                    or (called == "os.open" and any(flag in ast.unparse(node) for flag in ("O_WRONLY", "O_RDWR")))
                    or (called == "os.fdopen" and mode is not None and "w" in mode.value)):
                writers.setdefault(name, node.lineno)
            if called in ("os.replace", "os.rename", "self.move"):  # Folder.move renames
                renames.add(name)
    return [f"{path}:{line}: {name} does not write the file atomically" for name, line in writers.items()
            if name not in renames and f"{path} {name}" not in IN_PLACE]


def secrets_in_argv(path, text):
    """Neither `environment`, which Ansible makes part of the command line, nor a command contains a secret."""
    found = []

    def walk(node, within):
        if isinstance(node, dict):
            for key, value in node.items():
                if key == "environment" and within != "module":
                    found.append(f"{path}: the keyword environment shows its values in a command line on the node")
                command = str(key).rpartition(".")[2] in ("command", "shell", "cmd", "argv", "entrypoint", "raw")
                walk(value, "command" if command or within == "command" else
                     "module" if "." in str(key) or key == "module_defaults" or within == "module" else within)
        elif isinstance(node, list):
            for item in node:
                walk(item, within)
        elif within == "command" and isinstance(node, str):
            found.extend(f"{path}: {name} is in a command line" for name in SECRETS if name in node)

    for document in yaml.safe_load_all(text):
        walk(document, "task")
    return found


def privileged_containers(path, text):
    """A task that starts a container sets `cap_drop` and `security_opts`."""
    module = "community.docker.docker_container"
    found = []

    def walk(node, defaults):
        if isinstance(node, list):
            for item in node:
                walk(item, defaults)
        elif isinstance(node, dict):
            defaults = {**defaults, **node.get("module_defaults", {}).get(module, {})}
            options = {**defaults, **(node.get(module) or {})}
            if module in node and "image" in options and not {"cap_drop", "security_opts"} <= set(options):
                found.append(f"{path}: {node.get('name')} starts a container without cap_drop or security_opts")
            for key, value in node.items():
                if key in ("block", "rescue", "always", "tasks", "pre_tasks", "post_tasks"):
                    walk(value, defaults)

    for document in yaml.safe_load_all(text):
        walk(document, {})
    return found


RULES = {printed_directly: PROGRAMS, unmasked_logs: PROGRAMS, unmasked_calls: PROGRAMS, written_in_place: PROGRAMS,
         secrets_in_argv: TASKS, privileged_containers: TASKS}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_rule_is_obeyed(rule):
    assert len(RULES[rule]) > 20
    assert [sentence for path in RULES[rule] for sentence in rule(path, (ROOT / path).read_text("utf-8"))] == []


@pytest.mark.parametrize(("rule", "text"), [
    (printed_directly, "class A:\n    def run(self):\n        self._display.display('x')"),
    (printed_directly, "from ansible.utils.display import Display\nDisplay().warning('x')"),
    (printed_directly, "def run(action):\n    show = action._display.vvv"),
    (unmasked_logs, "def read(docker):\n    return docker.log('x', 10)"),
    (unmasked_logs, "def read(docker):\n    return partial(query, docker.log, 'x')"),
    (unmasked_calls, "def run(self):\n    return self._execute_module('x')"),
    (written_in_place, "def save(path):\n    path.write_text('x')"),
    (written_in_place, "def save(path):\n    with open(path, 'w', encoding='utf-8') as to:\n        to.write('x')"),
    (written_in_place, "def save(path):\n    with path.open('ab') as stream:\n        stream.write('x')"),
    (written_in_place, "def save(path):\n    with open(path, mode='r+') as stream:\n        stream.write('x')"),
    (written_in_place, "def save(path):\n    return os.open(path, os.O_WRONLY | os.O_CREAT)"),
    (written_in_place, "def save():\n    with os.fdopen(tempfile.mkstemp()[0], 'w') as to:\n        to.write('x')"),
    (secrets_in_argv, "- name: x\n  ascend.vllm.chat_info:\n  environment: {A: b}"),
    (secrets_in_argv, "- block:\n    - ansible.builtin.command: 'x {{ serving_api_key }}'"),
    (secrets_in_argv, "- ansible.builtin.command:\n    argv: [x, '{{ weights_hub_token }}']"),
    (secrets_in_argv, "- community.docker.docker_container:\n    command: [x, '{{ accuracy_api_key }}']"),
    (privileged_containers, "- community.docker.docker_container: {image: x, cap_drop: [ALL]}"),
    (privileged_containers, "- block:\n    - community.docker.docker_container: {image: x, security_opts: [x]}"),
])
def test_added_violation_is_found(rule, text):
    assert rule("plugins/action/added.py", text)


@pytest.mark.parametrize(("rule", "text"), [
    (printed_directly, "def run(self):\n    _text.say(self._display, 'x')"),
    (unmasked_logs, "def read(docker):\n    return containers.log(docker, 'x', 10) + str(math.log(2))"),
    (written_in_place, "def save(to):\n    with open('x', 'w') as new:\n        new.write('')\n    os.replace('x', 1)"),
    (written_in_place, "def load(path):\n    with open(path, 'rb') as file:\n        return file, open('a')"),
    (secrets_in_argv, "- ascend.vllm.weights_staging:\n    environment: '{{ a }}'"),
    (secrets_in_argv, "- ansible.builtin.debug: {msg: serving_api_key}"),
    (privileged_containers, "- community.docker.docker_container: {name: x, state: absent}"),
    (privileged_containers, "- module_defaults: {community.docker.docker_container: {cap_drop: [ALL]}}\n"
                            "  block:\n    - community.docker.docker_container: {image: x, security_opts: [x]}"),
])
def test_correct_code_is_not_a_violation(rule, text):
    assert rule("plugins/action/added.py", text) == []


def test_exceptions_name_existing_code():
    names = {f"{path} {name}" for path in PROGRAMS for name, _node in functions((ROOT / path).read_text("utf-8"))}
    assert set(IN_PLACE) <= names
    assert set(PROGRAMS) >= CALLERS
