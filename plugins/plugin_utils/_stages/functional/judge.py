# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the functional stage, which defines the requests to each instance and the expected responses."""

from __future__ import annotations

import base64
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._pictures import black_image
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Model, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, INFO, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD, Context, Outcomes, Request

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm import client

# HTTP statuses with which vLLM or a proxy refuses a request, or reports that the route does not exist.
CLOSED = (401, 403, 404)
CHAT, COMPLETION, EMBEDDINGS, RERANK = "/v1/chat/completions", "/v1/completions", "/v1/embeddings", "/v1/rerank"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
# The length of the response to the longest prompt, and a margin for tokens that the server may add.
LONG_ANSWER_TOKENS, LONG_MARGIN_TOKENS = 8, 64
# max_tokens of a request for which the model may think first, but at most half of the longest sequence.
THINKING_TOKENS = 1024
TOOL = {"type": "function", "function": {
    "name": "get_weather", "description": "Return the current weather in a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]}}}
COLORS = ("red", "yellow", "blue")
# A string, because a damaged or tiny model may fill an object with endless white space.
SCHEMA = {"type": "string", "enum": list(COLORS)}
# Room for the text around the largest picture, and the maximum number of pictures that are sent to exceed the limit.
TEXT_TOKENS, MOST_PICTURES = 256, 4
# The largest difference of the length of an embedding from 1, for vectors in BF16.
NORM_TOLERANCE = 0.02
FACT, SAME_FACT, OTHER_FACT = ("The capital of China is Beijing.", "Beijing is the capital city of China.",
                               "Gravity is a force that attracts two bodies towards each other.")
# The texts of Qwen3-Reranker (vLLM Ascend, docs/source/tutorials/models/Qwen3-Reranker.md at v0.23.0).
QUERY = ("<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
         'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given a '
         "web search query, retrieve relevant passages that answer the query\n<Query>: What is the capital of China?\n")
DOCUMENT = "<Document>: %s<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"

_LOG = "Read the log of the server (docker logs of the container; playbooks/diagnostics.yml analyzes it)."
_MEMORY = "Reduce max-model-len or gpu-memory-utilization in serving_args. " + _LOG
_TOOLS = "Set the tool-call-parser of this model in serving_args."

CHECKS = (
    Check("served_name", CRITICAL, "The server lists the planned name in /v1/models",
          "Serve the planned instance again (playbooks/serving.yml), or correct serving_served_model_name."),
    Check("text_answer", CRITICAL, "A question without a picture is answered", _LOG),
    Check("image_answer", CRITICAL, "A question about a picture is answered", _LOG),
    Check("expected_words", CRITICAL, "The answer about the picture contains the expected words",
          "Compare weights, quantization and patches with the plan: a model that cannot read the picture is damaged. "
          "If functional_image is your own picture, set functional_expected_words."),
    Check("streaming", CRITICAL, "A streamed answer has text and a closing event", _LOG),
    Check("several_images", CRITICAL, "A question about two pictures is answered",
          "Increase limit-mm-per-prompt in serving_args, or waive this check."),
    Check("largest_image", CRITICAL, "The largest picture that the model reads is answered", _MEMORY),
    Check("images_beyond_limit", CRITICAL, "Pictures with more tokens than the limit are refused with 400", _LOG),
    Check("reasoning", CRITICAL, "The reasoning is apart from the answer",
          "Set the reasoning-parser of this model in serving_args, or null to keep the reasoning in the answer."),
    Check("tool_call", CRITICAL, "The model calls a tool, with arguments in JSON", _TOOLS),
    Check("streamed_tool_call", CRITICAL, "A streamed call of a tool has arguments in JSON", _TOOLS),
    Check("json_schema", CRITICAL, "An answer in JSON matches the schema of the request", _LOG),
    Check("embedding", CRITICAL, "Every text gets a vector of the dimension of the model and of length 1",
          "Compare the weights and the pooler-config in serving_args with the entry of the model."),
    Check("similarity", CRITICAL, "Two texts with the same meaning are more similar than two others",
          "Compare weights, quantization and patches with the plan: the model is damaged, or it is another one."),
    Check("ranking", CRITICAL, "The document that answers the question is above one that does not",
          "Set the hf-overrides of this model in serving_args, and compare the weights with the plan."),
    Check("features", INFO, "Everything that this stage can test was tested",
          "The message names what was not tested, and why."),
    Check("long_prompt", CRITICAL, "A prompt close to the limit of the server is answered", _MEMORY),
    Check("beyond_limit", CRITICAL, "A prompt beyond the limit is refused with 400", _LOG),
    Check("wrong_model", CRITICAL, "A request for another model is refused with 404",
          "Find out which program listens on this port: it is not the planned server."),
    Check("wrong_key", CRITICAL, "A wrong API key is refused with 401",
          "Set serving_api_key and serve again. A proxy may also have answered instead of the server."),
    Check("open_routes", CRITICAL, "Only the planned routes are open without an API key",
          "Run playbooks/serving.yml, which starts the server with the middleware that requires the key. If it runs as "
          "planned, find out which program listens on this port."),
    Check("missing_key", INFO, "A request without an API key is refused with 401",
          "Set serving_api_key from a vault, or limit the hosts that reach the port (serving_bind)."),
)

RETURNED = ()
survey = None


def check_inputs(context: Context) -> Iterator[str]:
    """Yield a sentence if the model reads pictures and functional_image is not a picture."""
    path = str(context.inputs["functional_image"])
    model = context.plan["model"]  # None if the plan names no model of the catalogue
    if model and of_pictures(model) and (
            os.path.splitext(path)[1].lower() not in MEDIA_TYPES or not os.path.isfile(path)):
        yield "functional_image has to be a %s file on the controller, but is '%s'." % (
            ", ".join(sorted(MEDIA_TYPES)), path)


def request(context: Context) -> Request | None:
    """Return the requests to send to the instances of the node, or None in check mode."""
    plan, inputs = context.plan, context.inputs
    if context.check_mode:
        return None
    picture = data_uri(inputs["functional_image"]) if of_pictures(plan["model"]) else ""
    return Request("ascend.vllm.chat_info", {
        "servers": [{"name": instance["name"], "url": instance["url"]} for instance in serving_instances(plan)],
        "requests": requests(plan["model"], inputs, picture), "routes": list(plan["release"]["routes"]),
        "api_key": inputs["functional_api_key"], "ca": plan["ca"], "timeout_s": inputs["functional_timeout_s"]})


def of_pictures(model: Model) -> bool:
    """Return whether the model reads pictures."""
    return model["modality"] == "vision"


def data_uri(path: str) -> str:
    """Return a picture as a ``data:`` URI, which needs no access to the file."""
    media_type = MEDIA_TYPES[os.path.splitext(path)[1].lower()]
    with open(path, "rb") as picture:
        return "data:%s;base64,%s" % (media_type, base64.b64encode(picture.read()).decode("ascii"))


def picture_of(model: Model, tokens: int) -> str:
    """Return the largest black square with at most this number of tokens that the model reads, as a ``data:`` URI."""
    side = model.get("image_token_px", 0) * math.isqrt(max(1, min(tokens, model.get("image_tokens") or 0)))
    return black_image(side, side)


def longest(model: Model) -> int:
    """Return the planned length of the longest sequence of the server in tokens."""
    return int(model["arguments"].get("max-model-len") or model["context_length"])


def untested(model: Model) -> dict[str, str]:
    """Return ``{check: reason}`` for the checks that do not apply to a model."""
    arguments, modality, tokens = model["arguments"], model["modality"], model.get("image_tokens") or 0
    parser, limits = str(arguments.get("reasoning-parser") or ""), arguments.get("limit-mm-per-prompt") or {}
    allowed = (limits if isinstance(limits, dict) else _object(str(limits))).get("image", MOST_PICTURES)
    most = min(allowed["count"] if isinstance(allowed, dict) else allowed, MOST_PICTURES)
    reasons = [
        (modality in POOLING, (*OF_TEXT, *OF_PICTURES), "the model generates no text"),
        (modality != "embedding", ("embedding", "similarity"), "the model computes no embeddings"),
        (modality != "rerank", ("ranking",), "the model ranks no documents"),
        (modality == "rerank", ("long_prompt",), "the route takes no tokens, so no prompt has an exact length"),
        (modality == "text", OF_PICTURES, "the model reads no pictures"),
        (not parser, ("reasoning",), "the plan has no reasoning-parser"),
        (parser.endswith("append_think"), ("reasoning",), "%s keeps the reasoning in the answer" % parser),
        (not (arguments.get("tool-call-parser") and arguments.get("enable-auto-tool-choice")),
         ("tool_call", "streamed_tool_call"), "the plan has no tool-call-parser and enable-auto-tool-choice"),
        (most < 2, ("several_images",), "limit-mm-per-prompt allows one picture"),
        (not tokens, ("largest_image", "images_beyond_limit"), "the catalogue has no image_tokens of the model"),
        (0 < most * tokens <= longest(model), ("images_beyond_limit",),
         "%d pictures, the most that are sent, do not exceed max-model-len" % most),
    ]
    return {check: why for applies, checks, why in reversed(reasons) if applies for check in checks}


def requests(model: Model, inputs: Mapping[str, Any], picture: str) -> list[client.ChatRequest]:
    """Return the requests in the order in which they are sent. Each has the id of its check.

    The requests after the pictures beyond the limit show that the server still responds.

    :param picture: a ``data:`` URI, or an empty string for a model that cannot read pictures.
    """
    name, limit = model["served_name"], longest(model)
    thinks = bool(model["arguments"].get("reasoning-parser"))

    def chat(question: str, pictures: Sequence[str] = (), thinking: bool = False, **options: Any) -> dict[str, Any]:
        content = [*({"type": "image_url", "image_url": {"url": each}} for each in pictures),
                   {"type": "text", "text": question}]
        # Chat templates ignore variables that they do not use.
        template = {"chat_template_kwargs": {"enable_thinking": thinking, "thinking": thinking}} if thinks else {}
        return {"model": name, "messages": [SYSTEM, {"role": "user", "content": content if pictures else question}],
                "temperature": 0, "max_tokens": inputs["functional_max_tokens"], **template, **options}

    tokens: dict[str, Any] = {"max_tokens": min(THINKING_TOKENS, limit // 2)}
    text_question, question = inputs["functional_text_question"], inputs["functional_question"]
    weather = {"question": "What is the weather in Paris now? Call the tool.", "tools": [TOOL], **tokens}
    json_format = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
    endpoint, long_endpoint = CHAT, COMPLETION
    long: dict[str, Any] = {"model": name, "temperature": 0, "max_tokens": LONG_ANSWER_TOKENS}
    beyond: dict[str, Any] = {"prompt_tokens_over_limit": 1}
    if model["modality"] == "embedding":
        endpoint, long_endpoint, long = EMBEDDINGS, EMBEDDINGS, {"model": name}
        bodies: dict[str, dict[str, Any]] = {"embedding": {**long, "input": [FACT, SAME_FACT, OTHER_FACT]}}
    elif model["modality"] == "rerank":
        # Each word is at least one token.
        long, beyond = {"model": name, "query": "word", "documents": ["word " * limit]}, {}
        endpoint, long_endpoint = RERANK, RERANK
        bodies = {"ranking": {"model": name, "query": QUERY, "documents": [DOCUMENT % OTHER_FACT, DOCUMENT % FACT]}}
    else:
        bodies = {
            "images_beyond_limit": chat(question, [picture_of(model, 2 * limit)] * (
                limit // (model.get("image_tokens") or limit) + 1)),
            "text_answer": chat(text_question),
            "image_answer": chat(question, [picture]),
            "several_images": chat(question, [picture, picture]),
            "largest_image": chat(question, [picture_of(
                model, limit - TEXT_TOKENS - inputs["functional_max_tokens"])]),
            "streaming": chat(question, [picture], stream=True) if picture else chat(text_question, stream=True),
            "reasoning": chat(text_question, thinking=True, **tokens),
            "tool_call": chat(**weather),
            "streamed_tool_call": chat(**weather, stream=True),
            "json_schema": chat("Name a primary color, as JSON.", response_format=json_format, **tokens),
        }
    skipped = untested(model)
    plain = next(body for check, body in bodies.items() if check in ("text_answer", "embedding", "ranking"))
    found: list[dict[str, Any]] = [
        {"id": "wrong_model", "endpoint": endpoint, "body": {**plain, "model": name + "-wrong"}},
        *({"id": check, "endpoint": endpoint, "body": body} for check, body in bodies.items() if check not in skipped),
        {"id": "beyond_limit", "endpoint": long_endpoint, "body": long, **beyond}]
    if "long_prompt" not in skipped:
        found.append({"id": "long_prompt", "endpoint": long_endpoint, "body": long,
                      "prompt_tokens_over_limit": -LONG_ANSWER_TOKENS - LONG_MARGIN_TOKENS})
    if inputs["functional_api_key"]:
        found += [{"id": "wrong_key", "endpoint": endpoint, "body": plain, "key": "wrong"},
                  {"id": "missing_key", "endpoint": endpoint, "body": plain, "key": "none"}]
    return cast("list[client.ChatRequest]", found)


def judge(context: Context) -> Outcomes:
    """Return the outcomes of the checks of a ChatObservation. The subject of each check is the instance."""
    checks, observed = Checks(CHECKS), cast("client.ChatObservation", context.observed)
    if not serving_instances(context.plan):
        checks.not_run("served_name", no_api_reason(context.plan))
    elif context.check_mode:
        checks.not_run("served_name", "%s send requests to the model." % WOULD)
        return checks.as_list()
    for server in observed["servers"]:
        _judge_server(checks, server, context.plan["model"], context.inputs)
        _judge_routes(checks, server, context.plan, bool(context.inputs["functional_api_key"]))
    return checks.as_list()


def _judge_server(checks: Checks, server: client.ChatServer, model: Model, inputs: Mapping[str, Any]) -> None:
    name, answers, served, skipped = server["name"], server["answers"], model["served_name"], untested(model)
    names = server["models"].get("models") or []
    checks.expect("served_name", served in names, served, names or server["models"].get("error"), subject=name)
    for check, passes in ANSWERS.items():
        if check not in skipped:
            answer = answers["embedding" if check == "similarity" else check]
            _expect(checks, check, answer, 200, name, ok=passes(answer, model))
    if of_pictures(model):
        _judge_words(checks, answers["image_answer"], inputs["functional_expected_words"], name)
    if "images_beyond_limit" not in skipped:
        _expect(checks, "images_beyond_limit", answers["images_beyond_limit"], 400, name)
    reasons: dict[str, list[str]] = {}
    for check, why in skipped.items():
        reasons.setdefault(why, []).append(check)
    checks.not_run("features", "Not tested: %s." % "; ".join(
        "%s (%s)" % (", ".join(which), why) for why, which in reasons.items()), subject=name)
    for check, status in (("beyond_limit", 400), ("wrong_model", 404)):
        _expect(checks, check, answers[check], status, name)
    if inputs["functional_api_key"]:
        for check in ("wrong_key", "missing_key"):
            _expect(checks, check, answers[check], 401, name)
    else:
        checks.not_run("missing_key", "The service has no API key.", subject=name)


def _judge_routes(checks: Checks, server: client.ChatServer, plan: Plan, has_key: bool) -> None:
    """Judge which routes of the release are accessible without an API key."""
    name, routes = server["name"], server["routes"]
    if None in routes.values():
        checks.not_run("open_routes", "The server did not respond to all requests.", subject=name)
        return
    found = [path for path, status in routes.items() if status not in CLOSED]
    planned = [instance for instance in serving_instances(plan) if instance["name"] == name]
    open_paths = api_key.open_paths(planned[0]) if has_key else found
    text = {kind: ", ".join(path for path in found if plan["release"]["routes"][path] == kind)
            for kind in ("inference", "control", "information", "metrics", "health")}
    checks.expect("open_routes", not set(found) - set(open_paths),
                  ", ".join(open_paths) if has_key else "any, since there is no API key",
                  "; ".join(f"{kind}: {paths}" for kind, paths in text.items() if paths) or "none", subject=name)


def _text(answer: client.Response) -> str:
    return (answer.get("text") or "").strip()


def _answered(answer: client.Response) -> bool:
    """Return whether there is an answer. If max_tokens is small, it may consist of reasoning only."""
    return bool(_text(answer) or answer.get("reasoning"))


def _streamed(answer: client.Response) -> bool:
    return answer.get("ended", False) and not answer.get("error")


def _object(text: str) -> dict[str, Any]:
    """Return the JSON object in a text, or an empty one if there is none."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _called(answer: client.Response) -> bool:
    calls = answer.get("tool_calls") or []
    return bool(calls) and calls[0]["name"] == "get_weather" and isinstance(
        _object(calls[0]["arguments"]).get("city"), str)


def _embedded(answer: client.Response, model: Model) -> bool:
    vectors = answer.get("vectors") or {"dimensions": [], "norms": []}
    sizes = vectors["dimensions"]
    return sizes == [model.get("embedding_size", sizes[0] if sizes else 0)] * 3 and all(
        abs(norm - 1) <= NORM_TOLERANCE for norm in vectors["norms"])


def _similar(answer: client.Response, _model: Model) -> bool:
    cosines = (answer.get("vectors") or {"cosines": []})["cosines"]
    return cosines[1:2] > cosines[2:3]


# The conditions of the checks that expect 200.
ANSWERS: dict[str, Callable[[client.Response, Model], bool]] = {
    **dict.fromkeys(("text_answer", "image_answer", "several_images", "largest_image"),
                    lambda answer, _model: _answered(answer)),
    "streaming": lambda answer, _model: _answered(answer) and _streamed(answer),
    "reasoning": lambda answer, _model: bool(answer.get("reasoning")) and "think>" not in _text(answer) and (
        bool(_text(answer)) or answer.get("finish_reason") == "length"),
    "tool_call": lambda answer, _model: _called(answer),
    "streamed_tool_call": lambda answer, _model: _called(answer) and _streamed(answer),
    "json_schema": lambda answer, _model: _text(answer) in map(json.dumps, COLORS),
    "embedding": _embedded,
    "similarity": _similar,
    "ranking": lambda answer, _model: len(set(answer.get("scores") or [])) == 2 and (
        answer["scores"] == sorted(answer["scores"])),
    "long_prompt": lambda answer, _model: _answered(answer) or "vectors" in answer,
}
OF_PICTURES = ("image_answer", "expected_words", "several_images", "largest_image", "images_beyond_limit")
OF_TEXT = ("text_answer", "streaming", "reasoning", "tool_call", "streamed_tool_call", "json_schema")
POOLING = ("embedding", "rerank")
PARTS = ("reasoning", "tool_calls", "vectors", "scores", "error")


def _expect(checks: Checks, check: str, answer: client.Response, expected_status: int, name: str, ok: bool = True
            ) -> None:
    """Record the outcome of a check of one response. If the request was not sent, the check is not run."""
    if not answer.get("sent", True):
        checks.not_run(check, answer["error"], subject=name)
        return
    status, text, error = answer["status"], _text(answer), answer.get("error")
    actual: int | str | None = status
    if error and status != expected_status:
        actual = "%s: %s" % (status or "no response", error)
    elif status == 200:
        actual = "200, %s%s%s" % (
            "'%s'" % text[:80] if text else "no text",
            "".join(", %s: %s" % (key, str(part)[:80]) for key, part in answer.items() if key in PARTS),
            ", and the stream did not end" if not ok and not answer.get("ended", True) else "")
    checks.expect(check, status == expected_status and ok,
                  "200 and an answer" if expected_status == 200 else str(expected_status), actual, subject=name)


def _judge_words(checks: Checks, answer: client.Response, words: str | Sequence[str], name: str) -> None:
    words = [words] if isinstance(words, str) and words else words
    text = _text(answer)
    if not words:
        checks.not_run("expected_words", "functional_expected_words is empty.", subject=name)
    elif not text:
        checks.not_run("expected_words", "There is no answer.", subject=name)
    else:
        missing = [word for word in words if str(word).casefold() not in text.casefold()]
        checks.expect("expected_words", not missing, ", ".join(map(str, words)), text[:200], subject=name)
