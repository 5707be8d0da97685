#!/usr/bin/python
# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
from __future__ import annotations

DOCUMENTATION = r"""
module: chat_info
short_description: Send requests to OpenAI-compatible servers and return the responses
version_added: 0.9.0
author: [the ascend.vllm authors (@ascend-vllm)]
description:
  - Sends C(GET /v1/models) to every server, and then the requests one after another.
  - The module does not fail if a server refuses a request, exceeds the timeout or does not respond, and returns the
    error instead.
  - The proxy settings of the node are ignored.
extends_documentation_fragment: [ascend.vllm._attributes, ascend.vllm._attributes.info, ascend.vllm._ca]
options:
  servers:
    description: The servers to which the requests are sent.
    type: list
    elements: dict
    required: true
    suboptions:
      name: {type: str, required: true, description: "The name of the server in the result."}
      url: {type: str, required: true, description: "The base URL, such as V(http://10.0.0.1:8888)."}
  requests:
    description: The requests, in the order in which they are sent.
    type: list
    elements: dict
    default: []
    suboptions:
      id: {type: str, required: true, description: "The key of the response in RV(servers[].answers)."}
      endpoint: {type: str, required: true, description: "The path of the URL, such as V(/v1/chat/completions)."}
      body: {type: dict, required: true, description: "The JSON body. If its key C(stream) is true, a stream is read."}
      key: {type: str, choices: [given, wrong, none], default: given, description: "The API key to send. V(given) sends
        O(api_key), V(wrong) sends an invalid key, and V(none) sends no key."}
      prompt_tokens_over_limit:
        description: If this option is set, the prompt of the request is replaced. The length of the new prompt in
          tokens is the C(max_model_len) of the server plus this number, which can be negative. The request is not sent
          if the server does not report its C(max_model_len).
        type: int
  routes: {type: list, elements: str, default: [], description: "The paths to test for access without an API key. The
    module sends a HEAD request without a key to each path. HEAD requests have no effect on any route of vLLM."}
  load: {type: bool, default: false, description: "Whether to return RV(servers[].load)."}
  api_key: {type: str, default: "", description: "The API key of the servers; empty if they require none."}
  timeout_s: {type: float, default: 120, description: "The timeout of each request in seconds. After a timeout, no more
    requests are sent to that server."}
attributes:
  check_mode: {details: ["The requests are also sent in check mode."]}
"""

EXAMPLES = r"""
- name: Send a question to the model
  ascend.vllm.chat_info:
    servers: [{name: vllm-ascend, url: "http://10.0.0.1:8888"}]
    requests:
      - id: hello
        endpoint: /v1/chat/completions
        body: {model: qwen25_vl, messages: [{role: user, content: Hello}]}
  register: chat

- name: Show the generated text
  ansible.builtin.debug:
    msg: "{{ chat.servers[0].answers.hello.text }}"

- name: Check that a prompt beyond the limit is refused
  ascend.vllm.chat_info:
    servers: [{name: vllm-ascend, url: "http://10.0.0.1:8888"}]
    requests:
      - id: too_long
        endpoint: /v1/completions
        body: {model: qwen25_vl, max_tokens: 1}
        prompt_tokens_over_limit: 1
"""

RETURN = r"""
servers:
  description: The responses of the servers, in the order of O(servers).
  type: list
  elements: dict
  returned: success
  contains:
    name: {type: str, description: "The name of the server."}
    url: {type: str, description: "The base URL of the server."}
    models:
      description: The response to C(GET /v1/models).
      type: dict
      contains:
        status: {type: int, description: "The HTTP status, or null if there was no response."}
        models: {type: list, elements: str, description: "The served names."}
        max_model_len: {type: int, description: "The maximum sequence length in tokens, or null if it is unknown."}
        latency_s: {type: float, description: "The time in seconds until the whole response was received."}
        certificate_days: {type: float, description: "The days until the certificate expires; only with https."}
        error: {type: str, returned: on error, description: "The error message, if the request was refused or failed."}
    answers:
      description: The responses, with the id of the request as key. Values that do not apply are omitted.
      type: dict
      contains:
        status: {type: int, description: "The HTTP status, or null if there was no response."}
        sent: {type: bool, description: "Whether the request was sent. Only returned if it was not."}
        text: {type: str, description: "The generated text, truncated to 2000 characters."}
        reasoning: {type: str, description: "The reasoning of the model, which its parser separates from the text."}
        tool_calls: {type: list, elements: dict, description: "The calls of tools, each with its C(name) and the text of
          its C(arguments)."}
        vectors: {type: dict, description: "The C(dimensions) and C(norms) of embeddings, and the C(cosines) of the
          angles between the first embedding and each of them."}
        scores: {type: list, elements: float, description: "The relevances of the documents, in their order."}
        finish_reason: {type: str, sample: stop, description: "The reason why the model stopped generating, or null."}
        prompt_tokens: {type: int, description: "The number of tokens of the prompt."}
        completion_tokens: {type: int, description: "The number of generated tokens."}
        latency_s: {type: float, description: "The time in seconds until the whole response was received."}
        time_to_first_token_s: {type: float, description: "The seconds until the first text of a stream was received."}
        certificate_days: {type: float, description: "The days until the certificate expires; only with https."}
        chunks: {type: int, description: "The number of events of a stream that contain text."}
        ended: {type: bool, description: "Whether the closing event of a stream was received."}
        error: {type: str, description: "The error message, if the request was refused or failed."}
    routes: {type: dict, description: "The HTTP status for each path in O(routes), or null if there was no response. A
      path with the status 401, 403 or 404 is not accessible without an API key."}
    load: {type: dict, returned: with O(load), description: "See RV(ascend.vllm.serving_info#module:containers)."}
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.ascend.vllm.plugins.module_utils._host import lease
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.client import Server, send_all
from ansible_collections.ascend.vllm.plugins.module_utils._vllm.serving_state import request_load

REQUEST = {
    "id": {"type": "str", "required": True},
    "endpoint": {"type": "str", "required": True},
    "body": {"type": "dict", "required": True},
    "key": {"type": "str", "choices": ["given", "wrong", "none"], "default": "given", "no_log": False},
    "prompt_tokens_over_limit": {"type": "int", "no_log": False},
}


def main() -> None:
    module = AnsibleModule(supports_check_mode=True, argument_spec={
        "servers": {"type": "list", "elements": "dict", "required": True, "options": {
            "name": {"type": "str", "required": True}, "url": {"type": "str", "required": True}}},
        "requests": {"type": "list", "elements": "dict", "default": [], "options": REQUEST},
        "routes": {"type": "list", "elements": "str", "default": []},
        "load": {"type": "bool", "default": False},
        "api_key": {"type": "str", "default": "", "no_log": True},
        "ca": {"type": "str"},
        "timeout_s": {"type": "float", "default": 120},
    })
    lease.hold(module)
    options = module.params
    servers = [
        send_all(entry["name"], Server(entry["url"], options["api_key"], options["timeout_s"], options["ca"]),
                 options["requests"], options["routes"])
        for entry in options["servers"]]
    module.exit_json(changed=False, servers=servers if not options["load"] else [
        dict(server, load=request_load(server["url"], options["api_key"], options["ca"])) for server in servers])


if __name__ == "__main__":
    main()
