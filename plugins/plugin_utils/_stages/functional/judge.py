# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The judge of the functional stage, which defines the requests to each instance and the expected responses."""

from __future__ import annotations

import base64
import os
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan import api_key
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.types import Model, Plan
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, INFO, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import WOULD, Context, Outcomes, Request

if TYPE_CHECKING:
    from ansible_collections.ascend.vllm.plugins.module_utils._vllm import client

# HTTP statuses with which vLLM or a proxy refuses a request, or reports that the route does not exist.
CLOSED = (401, 403, 404)
CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
# The length of the response to the longest prompt, and a margin for tokens that the server may add.
LONG_ANSWER_TOKENS, LONG_MARGIN_TOKENS = 8, 64

_LOG = "Read the log of the server (docker logs of the container; playbooks/diagnostics.yml analyzes it)."

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
    Check("long_prompt", CRITICAL, "A prompt close to the limit of the server is answered",
          "Reduce max-model-len or gpu-memory-utilization in serving_args. " + _LOG),
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
    picture = data_uri(inputs["functional_image"]) if of_pictures(plan["model"]) else None
    return Request("ascend.vllm.chat_info", {
        "servers": [{"name": instance["name"], "url": instance["url"]} for instance in serving_instances(plan)],
        "requests": requests(plan["model"]["served_name"], inputs, picture), "routes": list(plan["release"]["routes"]),
        "api_key": inputs["functional_api_key"], "ca": plan["ca"], "timeout_s": inputs["functional_timeout_s"]})


def of_pictures(model: Model) -> bool:
    """Return whether the model reads pictures."""
    return model["modality"] == "vision"


def data_uri(path: str) -> str:
    """Return a picture as a ``data:`` URI, which needs no access to the file."""
    media_type = MEDIA_TYPES[os.path.splitext(path)[1].lower()]
    with open(path, "rb") as picture:
        return "data:%s;base64,%s" % (media_type, base64.b64encode(picture.read()).decode("ascii"))


def requests(model: str, inputs: Mapping[str, Any], picture: str | None) -> list[client.ChatRequest]:
    """Return the requests in the order of sending. Each has the id of its check.

    :param picture: a ``data:`` URI, or None for a model that cannot read pictures.
    """
    def chat(question: str, pictures: int = 0, **options: Any) -> dict[str, Any]:
        content: list[dict[str, Any]] = [{"type": "image_url", "image_url": {"url": picture}}] * pictures
        content = [*content, {"type": "text", "text": question}]
        return {"model": model, "messages": [SYSTEM, {"role": "user", "content": content if pictures else question}],
                "temperature": 0, "max_tokens": inputs["functional_max_tokens"], **options}

    long = {"model": model, "temperature": 0, "max_tokens": LONG_ANSWER_TOKENS}
    text_question, question = inputs["functional_text_question"], inputs["functional_question"]
    streamed = chat(question, 1, stream=True) if picture else chat(text_question, stream=True)
    with_pictures: list[client.ChatRequest] = [
        {"id": "image_answer", "endpoint": CHAT, "body": chat(question, 1)},
        {"id": "several_images", "endpoint": CHAT, "body": chat(question, 2)},
    ]
    found: list[client.ChatRequest] = [
        {"id": "wrong_model", "endpoint": CHAT, "body": chat(text_question, model=model + "-wrong")},
        {"id": "text_answer", "endpoint": CHAT, "body": chat(text_question)},
        *(with_pictures if picture else ()),
        {"id": "streaming", "endpoint": CHAT, "body": streamed},
        {"id": "beyond_limit", "endpoint": COMPLETION, "body": long, "prompt_tokens_over_limit": 1},
        {"id": "long_prompt", "endpoint": COMPLETION, "body": long,
         "prompt_tokens_over_limit": -LONG_ANSWER_TOKENS - LONG_MARGIN_TOKENS},
    ]
    if inputs["functional_api_key"]:
        found.append({"id": "wrong_key", "endpoint": CHAT, "body": chat(text_question), "key": "wrong"})
        found.append({"id": "missing_key", "endpoint": CHAT, "body": chat(text_question), "key": "none"})
    return found


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
    name, answers, served, pictures = server["name"], server["answers"], model["served_name"], of_pictures(model)
    names = server["models"].get("models") or []
    checks.expect("served_name", served in names, served, names or server["models"].get("error"), subject=name)
    for check in ("text_answer", *(("image_answer", "several_images") if pictures else ()), "long_prompt"):
        _expect(checks, check, answers[check], 200, name, ok=bool(_text(answers[check])))
    stream = answers["streaming"]
    complete = bool(_text(stream)) and stream.get("ended", False) and not stream.get("error")
    _expect(checks, "streaming", stream, 200, name, ok=complete)
    if pictures:
        _judge_words(checks, answers["image_answer"], inputs["functional_expected_words"], name)
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
        actual = "200, %s%s" % ("'%s'" % text[:80] if text else "no text",
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
