# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Read the inputs of roles as plain, templated data, for action plugins.

Defaults are read from ``roles/<role>/defaults/main.yml``, so that the plan has the inputs of all roles even in a play
that uses only one role.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from ansible import template
from ansible.errors import AnsibleError
from ansible.module_utils.common.yaml import yaml_load
from ansible.parsing.dataloader import DataLoader
from ansible.plugins.loader import connection_loader, filter_loader, shell_loader, test_loader

from ansible_collections.ascend.vllm.plugins.module_utils._host.redact import is_secret
from ansible_collections.ascend.vllm.plugins.plugin_utils._input_types import converted

# ansible-core >= 2.19 renders only strings that are marked as trusted templates; older versions have no such mark.
_TRUSTED = {"trusted_as_template": True} if hasattr(template, "trust_as_template") else {}

# The inputs that contain secrets. Further secret inputs of other roles default to one of these.
SECRETS = ("serving_api_key", "weights_hub_token", "functional_api_key", "benchmark_api_key", "accuracy_api_key")
# Inputs with environment variables, some of which may be secrets.
_ENVIRONMENTS = ("serving_env", "weights_environment")


class BadInput(ValueError):
    """An input cannot be used. The message is one sentence that names the variable."""


@lru_cache(maxsize=None)
def collection_root() -> Path:
    """Return the root folder of the running copy of the collection, which contains ``roles`` and ``plugins``."""
    return Path(__file__).resolve().parents[2]


def role_inputs(templar: Any, task_vars: Mapping[str, Any], *roles: str) -> dict[str, Any]:
    """Return ``{variable: templated value}`` for all inputs of the roles. Host variables override defaults.

    The values are plain Python data (dict, list, str, int, float, bool, None), safe to pass as module arguments. Where
    possible, strings are converted to the type of the input: ``-e benchmark_repeats=3`` results in an int.

    :raises AnsibleError: if a template cannot be resolved; the message names the variable.
    """
    defaults = {name: default for role in roles for name, default in role_defaults(role).items()}
    inputs = {}
    for role in roles:
        host_templar = templar.copy_with_new_env(available_variables={
            **defaults, **task_vars, "role_path": str(collection_root() / "roles" / role)})
        for name, default in role_defaults(role).items():
            value = task_vars.get(name, default)
            try:
                inputs[name] = plain(host_templar.template(value) if _may_be_template(value) else value)
            except AnsibleError as error:
                raise AnsibleError(f"The variable {name} cannot be resolved: {error}") from error
        inputs.update(typed(role, {name: value for name, value in inputs.items() if isinstance(value, str)})[0])
    return inputs


def _may_be_template(value: Any) -> bool:
    """Return whether a value may have to be templated or decrypted, which takes long for hundreds of inputs."""
    if isinstance(value, Mapping):
        return any(map(_may_be_template, (*value, *value.values())))
    if isinstance(value, (list, tuple)):
        return any(map(_may_be_template, value))
    return "{" in value if isinstance(value, str) else not (value is None or isinstance(value, (int, float)))


def known_secrets(templar: Any, task_vars: Mapping[str, Any]) -> list[str]:
    """Return the secrets in the inputs of a host: keys, tokens, and the passwords in environment variables."""
    host_templar = templar.copy_with_new_env(available_variables=task_vars)
    found = []
    for name in (*SECRETS, *_ENVIRONMENTS):
        default = role_defaults(name.partition("_")[0])[name]
        value = task_vars.get(name, default)
        if value == default:  # empty, or a reference to another secret
            continue
        try:
            value = plain(host_templar.template(value) if _may_be_template(value) else value)
        except AnsibleError:  # The task that uses the input reports the error.
            continue
        if name in SECRETS:
            found += value if isinstance(value, list) else [value]
        elif isinstance(value, dict):
            for variable, text in value.items():
                found.append(text if is_secret(variable, str(text)) else _password(str(text)))
    return [str(secret) for secret in found if secret]


def _password(text: str) -> str | None:
    """Return the password in a URL, such as the URL of a proxy, or None."""
    try:
        return urlsplit(text).password
    except ValueError:
        return None


def typed(role: str, variables: Mapping[str, Any]) -> tuple[dict[str, Any], dict[str, str]]:
    """Return those variables that are inputs of the role, converted to their types, and ``{variable: sentence}``.

    There is a sentence for each value that is not valid. It contains neither secrets nor environment variables.
    """
    values, sentences = {}, {}
    for name, option in options(role).items():
        if name in variables:
            values[name], sentence = converted(
                name, option, variables[name], name in (*SECRETS, *_ENVIRONMENTS) or name.endswith("_tls_key"))
            if sentence:
                sentences[name] = sentence
    return values, sentences


def secret_problems(templar: Any, task_vars: Mapping[str, Any]) -> dict[str, str]:
    """Return ``{variable: sentence}`` for each secret of any role that cannot be sent in an HTTP header.

    No sentence contains a secret. Secrets are the inputs with ``no_log`` in their argument spec. Inputs with their
    default value are skipped, because the default is empty or refers to another secret.
    """
    sentences = {}
    for role in roles():
        defaults = role_defaults(role)
        for name, option in options(role).items():
            given = task_vars.get(name, defaults.get(name))
            if option.get("no_log") and plain(given) != plain(defaults[name]):
                variables = {**defaults, **task_vars}
                value = plain(templar.copy_with_new_env(available_variables=variables).template(given))
                several = option["type"] == "raw"
                problem = _secret_problem(value, several)
                if problem:
                    expected = "one or several keys" if several else "a string"
                    sentences[name] = (f"{name} must be {expected} of printable ASCII characters, since an HTTP header "
                                       f"contains it, but {problem}.")
    return sentences


def _secret_problem(value: Any, several: bool) -> str | None:
    """Return the problem with a secret (or ``several`` of them) without its value, or None if it is valid or empty."""
    if value is None or value == "":
        return None
    if isinstance(value, list) and several:
        for number, item in enumerate(value, 1):
            problem = _secret_problem(item, False) if item not in (None, "") else "is empty; remove it"
            if problem:
                return f"item {number} {problem}"
        return None if value else "the list is empty; set an empty string for no key"
    if not isinstance(value, str):
        return f"is of type {type(value).__name__}; write it as a quoted string"
    if value.endswith(("\n", "\r")):
        return "ends with a line break, as the content of a file often does; remove it, as with the filter trim"
    if not value.isascii() or not value.isprintable():
        return "contains other characters; replace them"
    return "begins or ends with a space; remove it" if value != value.strip() else None


def api_keys(value: Any) -> list[str]:
    """Return the API keys of an input such as serving_api_key: a key, a list of keys, or nothing."""
    if not value:
        return []
    return [str(key) for key in value] if isinstance(value, list) else [str(value)]


def first_key(value: Any) -> str:
    """Return the API key that the collection sends in its requests: the first key, or an empty string."""
    return (api_keys(value) or [""])[0]


@lru_cache(maxsize=None)
def role_defaults(role: str) -> dict[str, Any]:
    """Return the untemplated defaults of a role of this collection. Raise AnsibleError if it has no defaults."""
    path = collection_root() / "roles" / role / "defaults" / "main.yml"
    return DataLoader().load_from_file(str(path), **_TRUSTED) or {}


@lru_cache(maxsize=None)
def roles() -> tuple[str, ...]:
    """Return the names of all roles of this collection."""
    return tuple(sorted(path.parents[1].name for path in collection_root().glob("roles/*/meta/argument_specs.yml")))


def options(role: str) -> dict[str, Any]:
    """Return the inputs of a role with their argument specs."""
    return _specs(role)["main"].get("options", {}) or {}


@lru_cache(maxsize=None)
def known_variables() -> dict[str, str]:
    """Return ``{variable: role}`` for all inputs and for the variables of the other entry points of roles."""
    return {name: role for role in roles() for spec in _specs(role).values() for name in spec.get("options", {})}


@lru_cache(maxsize=None)
def _specs(role: str) -> dict[str, Any]:
    """Return the argument specs of a role by entry point."""
    path = collection_root() / "roles" / role / "meta" / "argument_specs.yml"
    specs: dict[str, Any] = yaml_load(path.read_text("utf-8"))["argument_specs"]
    return specs


def plain(value: Any) -> Any:
    """Return the value with Ansible's string and container types converted to built-in Python types."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float)):
        return value
    return str(value)


# Loaded once here, because Ansible forks a worker process per task and host from the process that imports this module.
filter_loader.get("bool")  # loads the filters of all files
test_loader.get("defined")
connection_loader.get("ssh", class_only=True)
shell_loader.get("sh", class_only=True)
for _role in roles():
    role_defaults(_role)
    _specs(_role)
