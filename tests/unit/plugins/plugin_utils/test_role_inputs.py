# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Role defaults and host variables are merged, templated and converted to plain data."""

from __future__ import annotations

import json

import pytest
import yaml
from ansible import template
from ansible.errors import AnsibleError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar

from ansible_collections.ascend.vllm.plugins.plugin_utils import _role_inputs as role_inputs

DEFAULTS = """
demo_port: 8888
demo_url: "http://{{ demo_host }}:{{ demo_port }}"
demo_host: 127.0.0.1
demo_nested: {ports: ["{{ demo_port }}", 2], none: null, enabled: true, ratio: 0.5}
demo_raw: !unsafe "{{ not_a_template }}"
"""


def trusted(value):
    """Mark a host variable as a template, as Ansible does for variables in inventory files."""
    trust = getattr(template, "trust_as_template", None)
    return trust(value) if trust and isinstance(value, str) else value


@pytest.fixture
def collection(tmp_path, monkeypatch):
    """Return the folder of a temporary collection, whose roles are read instead of those of this collection."""
    cached = role_inputs.roles, role_inputs.role_defaults, role_inputs._specs
    monkeypatch.setattr(role_inputs, "collection_root", lambda: tmp_path)
    for function in cached:
        function.cache_clear()
    yield tmp_path
    for function in cached:
        function.cache_clear()


@pytest.fixture
def resolve(collection):
    """Return a function (task_vars, defaults) -> inputs of a role `demo` in a temporary collection."""
    path = collection / "roles" / "demo" / "defaults" / "main.yml"
    path.parent.mkdir(parents=True)
    specs = collection / "roles" / "demo" / "meta" / "argument_specs.yml"
    specs.parent.mkdir()
    specs.write_text("""
argument_specs:
  main:
    options:
      demo_port: {type: int}
      demo_hosts: {type: list, elements: str}
      demo_folder: {type: path}
""")

    def run(task_vars, defaults=DEFAULTS):
        path.write_text(defaults)
        templar = Templar(loader=DataLoader(), variables={"unrelated": 1})
        return role_inputs.role_inputs(templar, {name: trusted(value) for name, value in task_vars.items()}, "demo")

    return run


def test_defaults_are_rendered_as_plain_data(resolve):
    result = resolve({})
    assert result == {
        "demo_port": 8888,
        "demo_url": "http://127.0.0.1:8888",
        "demo_host": "127.0.0.1",
        "demo_nested": {"ports": [8888, 2], "none": None, "enabled": True, "ratio": 0.5},
        "demo_raw": "{{ not_a_template }}",
    }
    assert json.loads(json.dumps(result)) == result
    assert result["demo_url"].__class__ is str  # not a type that Ansible uses to mark strings


def test_host_variables_override_defaults_and_are_used_in_other_defaults(resolve):
    result = resolve({"demo_port": "{{ base + 1 }}", "base": 9000, "other": "of another role"})
    assert int(result["demo_port"]) == 9001  # a string before ansible-core 2.19
    assert result["demo_url"] == "http://127.0.0.1:9001"
    assert "other" not in result


def test_undefined_variable_in_a_default_is_an_error(resolve):
    with pytest.raises(AnsibleError, match="demo_url cannot be resolved"):
        resolve({}, 'demo_url: "{{ nowhere }}"')


def test_missing_role_is_an_error(resolve):
    with pytest.raises(AnsibleError, match=r"roles/absent/defaults/main\.yml"):
        role_inputs.role_inputs(Templar(loader=DataLoader(), variables={}), {}, "absent")


@pytest.mark.parametrize(("name", "text", "value"), [
    ("demo_port", "80", 80), ("demo_port", "eighty", "eighty"), ("demo_hosts", "a,b", ["a", "b"]),
    ("demo_hosts", "", ""), ("demo_folder", "~/folder", "~/folder"), ("demo_free", "5", "5")])
def test_inputs_from_the_command_line_are_converted_to_their_types(resolve, name, text, value):
    defaults = "demo_port: 1\ndemo_hosts: []\ndemo_folder: /\ndemo_free: x\n"
    assert resolve({name: text}, defaults)[name] == value


def test_known_secrets_include_all_keys_tokens_and_passwords():
    templar = Templar(loader=DataLoader(), variables={})
    variables = {
        "vault_key": "hunter22", "serving_api_key": "{{ vault_key }}", "benchmark_api_key": ["first", "second"],
        "weights_hub_token": "", "accuracy_api_key": "{{ missing }}",
        "weights_environment": {"HTTPS_PROXY": "http://someone:pa55word@proxy:3128", "HF_TOKEN": "t0ken", "A": "b"},
        "serving_env": {"VLLM_LOGGING_LEVEL": "DEBUG", "MY_PASSWORD": 74839201}}
    found = role_inputs.known_secrets(templar, {name: trusted(value) for name, value in variables.items()})
    assert sorted(found) == ["74839201", "first", "hunter22", "pa55word", "second", "t0ken"]
    assert role_inputs.known_secrets(templar, {}) == []


def test_every_input_with_no_log_is_a_known_secret(root):
    marked = set()
    for path in sorted((root / "roles").glob("*/meta/argument_specs.yml")):
        options = yaml.safe_load(path.read_text("utf-8"))["argument_specs"]["main"].get("options", {})
        marked |= {name for name, option in options.items() if option.get("no_log")}
    assert marked <= set(role_inputs.SECRETS)


SECRETS = """
argument_specs:
  main:
    options:
      demo_key: {type: raw, no_log: true}
      demo_token: {type: str, no_log: true}
      demo_port: {type: int}
"""


@pytest.fixture
def problems(collection):
    """Return a function (**variables) -> the problems with the secrets of a role `demo`."""
    for name, text in (("defaults/main.yml", 'demo_key: ""\ndemo_token: "{{ demo_key }}"\ndemo_port: 1\n'),
                       ("meta/argument_specs.yml", SECRETS)):
        path = collection / "roles" / "demo" / name
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def run(**variables):
        templar = Templar(loader=DataLoader(), variables={})
        return role_inputs.secret_problems(templar, {name: trusted(value) for name, value in variables.items()})
    return run


@pytest.mark.parametrize("value", [
    "", None, "sesame", "a%20$HOME\"b'c\\d", "with space", ["one"], ["one", "two"], "{{ vault }}"])
def test_secret_that_can_be_sent_is_accepted(problems, value):
    assert problems(demo_key=value, vault="sesame") == {}


@pytest.mark.parametrize(("value", "problem"), [
    ("sesame\n", "but ends with a line break"),
    ("sesame\r\n", "but ends with a line break"),
    ("{{ vault }}", "but ends with a line break"),
    ("sesame\tsesame", "but contains other characters"),
    ("sesame\x00", "but contains other characters"),
    ("sesam\u00e9", "but contains other characters"),
    (" sesame", "but begins or ends with a space"),
    (4711, "but is of type int"),
    ({"sesame": "sesame"}, "but is of type dict"),
    ([], "but the list is empty"),
    (["sesame", ""], "but item 2 is empty"),
    (["sesame", "sesame\n"], "but item 2 ends with a line break"),
    (["sesame", ["sesame"]], "but item 2 is of type list"),
])
def test_secret_that_cannot_be_sent_is_reported(problems, value, problem):
    found = problems(demo_key=value, vault="sesame\n")
    assert list(found) == ["demo_key"]
    assert found["demo_key"].startswith("demo_key must be one or several keys of printable ASCII characters")
    assert problem in found["demo_key"]
    assert "sesam" not in found["demo_key"]


def test_only_an_input_for_several_keys_may_be_a_list(problems):
    assert "is of type list" in problems(demo_token=["sesame"])["demo_token"]


def test_every_key_input_of_the_collection_is_validated():
    templar = Templar(loader=DataLoader(), variables={})
    names = ("serving_api_key", "functional_api_key", "benchmark_api_key", "accuracy_api_key", "weights_hub_token")
    assert list(role_inputs.secret_problems(templar, dict.fromkeys(names, "sesame\n"))) == sorted(names)


@pytest.mark.parametrize(("value", "keys"), [
    ("", []), (None, []), ([], []), ("a", ["a"]), (["a", "b"], ["a", "b"])])
def test_keys_are_listed_and_the_first_one_is_sent(value, keys):
    assert role_inputs.api_keys(value) == keys
    assert role_inputs.first_key(value) == (keys[0] if keys else "")
