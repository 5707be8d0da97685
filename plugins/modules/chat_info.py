#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: chat_info
short_description: Send requests to OpenAI-compatible servers and tell what came back
version_added: 0.1.0
author:
  - the ascend.vllm authors (@ascend-vllm)
description:
  - Asks every server for its models, then sends the requests one after another.
  - A refusal, a time-out and a dead server are returned, not raised. Proxy settings of the node do not apply.
options:
  servers:
    description: The servers.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The name under which the answers are returned.
        type: str
        required: true
      url:
        description: The address, such as C(http://10.0.0.1:8888).
        type: str
        required: true
  requests:
    description: The requests, sent in this order.
    type: list
    elements: dict
    default: []
    suboptions:
      id:
        description: The name under which the answer is returned.
        type: str
        required: true
      endpoint:
        description: The path, such as C(/v1/chat/completions).
        type: str
        required: true
      body:
        description: The body. With C(stream) the answer is read as server-sent events.
        type: dict
        required: true
      key:
        description: Which API key the request carries.
        type: str
        choices: [given, wrong, none]
        default: given
      prompt_tokens_over_limit:
        description: Replaces the prompt by as many tokens as the server's limit plus this number.
        type: int
  api_key:
    description: The key of the servers.
    type: str
    default: ""
  timeout:
    description: Seconds that one answer may take. After one that takes longer no more are sent to that server.
    type: float
    default: 120
attributes:
  check_mode:
    support: full
    description: The requests are sent; they change nothing.
"""

EXAMPLES = r"""
- name: Ask the model
  ascend.vllm.chat_info:
    servers:
      - {name: vllm-ascend, url: "http://10.0.0.1:8888"}
    requests:
      - id: hello
        endpoint: /v1/chat/completions
        body: {model: qwen25_vl, messages: [{role: user, content: Hello}]}
"""

RETURN = r"""
servers:
  description: What each server answered, in the order given.
  type: list
  elements: dict
  returned: success
  contains:
    name:
      description: The name of the server.
      type: str
    url:
      description: Its address.
      type: str
    models:
      description: The answer to C(GET /v1/models), with C(models) and C(max_model_len).
      type: dict
    answers:
      description: >-
        By the id of the request C(status), C(text), C(finish_reason), C(prompt_tokens), C(completion_tokens),
        C(latency_s), C(time_to_first_token_s), C(chunks), C(ended) and C(error), as far as they apply.
      type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import Server

REQUEST = {
    "id": {"type": "str", "required": True},
    "endpoint": {"type": "str", "required": True},
    "body": {"type": "dict", "required": True},
    "key": {"type": "str", "choices": ["given", "wrong", "none"], "default": "given", "no_log": False},
    "prompt_tokens_over_limit": {"type": "int", "no_log": False},
}


def ask_all(name, server, requests):
    """The observation of one server. One that does not answer is not asked again: each would cost the time-out."""
    found = {"name": name, "url": server.url, "models": server.models(), "answers": {}}
    silent = found["models"]["status"] is None
    for request in requests:
        if silent:
            found["answers"][request["id"]] = {"status": None, "sent": False,
                                               "error": "not sent, since the server does not answer"}
            continue
        answer = server.ask(request)
        found["answers"][request["id"]] = answer
        silent = answer["status"] is None and answer.get("sent", True)
    return found


def main():
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "servers": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": {"type": "str", "required": True}, "url": {"type": "str", "required": True}}},
        "requests": {"type": "list", "elements": "dict", "default": [], "options": REQUEST},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "timeout": {"type": "float", "default": 120},
    })
    options = module.params
    module.exit_json(changed=False, servers=[
        ask_all(entry["name"], Server(entry["url"], options["api_key"], options["timeout"]), options["requests"])
        for entry in options["servers"]])


if __name__ == "__main__":
    main()
