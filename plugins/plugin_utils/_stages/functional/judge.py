# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The functional stage: which requests are sent to each instance, and what its answers have to be."""

from __future__ import annotations

import base64
import os

from ansible_collections.ascend.vllm.plugins.plugin_utils._plan.resolve import no_api_reason, serving_instances
from ansible_collections.ascend.vllm.plugins.plugin_utils._results.contract import CRITICAL, INFO, Check, Checks
from ansible_collections.ascend.vllm.plugins.plugin_utils._stages.judging import Request

CHAT, COMPLETION = "/v1/chat/completions", "/v1/completions"
SYSTEM = {"role": "system", "content": "You are a helpful assistant."}
MEDIA_TYPES = {".png": "image/png", ".jpg": "image/jpeg", ".jpeg": "image/jpeg", ".webp": "image/webp"}
# The answer to the longest prompt; with room for what the server may add to it.
LONG_ANSWER_TOKENS, LONG_MARGIN_TOKENS = 8, 64

_LOG = "Read the server's log (docker logs of the instance's container; playbooks/diagnostics.yml triages it)."

CHECKS = (
    Check("served_name", CRITICAL, "The server lists the planned name in /v1/models",
          "Serve the planned instance again (playbooks/serving.yml), or correct serving_served_model_name."),
    Check("text_answer", CRITICAL, "A question in text is answered", _LOG),
    Check("image_answer", CRITICAL, "A question about a picture sent with it is answered", _LOG),
    Check("expected_words", CRITICAL, "The answer about the picture has the expected words",
          "Compare weights, quantisation and patches with the plan: a model that cannot read the picture is damaged. "
          "With a picture of your own set functional_expected_words."),
    Check("streaming", CRITICAL, "A streamed answer comes in parts and ends as announced", _LOG),
    Check("several_images", CRITICAL, "A question about two pictures is answered",
          "Raise limit-mm-per-prompt in serving_args, or waive this check."),
    Check("long_prompt", CRITICAL, "A prompt close to the limit of the server is answered",
          "Lower max-model-len or gpu-memory-utilization in serving_args. " + _LOG),
    Check("beyond_limit", CRITICAL, "A prompt beyond the limit is refused with 400", _LOG),
    Check("wrong_model", CRITICAL, "A request for another model is refused with 404",
          "Find out what answers on this port: it is not the planned server."),
    Check("wrong_key", CRITICAL, "A wrong API key is refused with 401",
          "Serve with serving_api_key set; something on the way may answer in the server's place."),
    Check("missing_key", INFO, "A request without an API key is refused with 401",
          "Set serving_api_key from a vault, or limit who reaches the port (serving_bind)."),
)


RETURNED = ()
survey = None


def request(context):
    """What to ask of the node, see `judging.Judge`. Reads the picture, on the controller."""
    plan, inputs = context.plan, context.inputs
    return Request("ascend.vllm.chat_info", {
        "servers": [{"name": instance["name"], "url": instance["url"]} for instance in serving_instances(plan)],
        "requests": requests(plan["model"]["served_name"], inputs, data_uri(inputs["functional_image"])),
        "api_key": inputs["functional_api_key"],
        "timeout_s": inputs["functional_timeout_s"],
    })


def data_uri(path):
    """The picture as a ``data:`` URI, so that neither server nor node needs a way to it."""
    media_type = MEDIA_TYPES.get(os.path.splitext(path)[1].lower())
    if not media_type or not os.path.isfile(path):
        raise ValueError("functional_image has to be a %s file on the controller, but is '%s'." % (
            ", ".join(sorted(MEDIA_TYPES)), path))
    with open(path, "rb") as picture:
        return "data:%s;base64,%s" % (media_type, base64.b64encode(picture.read()).decode("ascii"))


def requests(model, inputs, picture):
    """The requests in the order in which they are sent, the cheap ones first."""
    def chat(question, pictures=0, **more):
        content = [{"type": "image_url", "image_url": {"url": picture}}] * pictures
        content = [*content, {"type": "text", "text": question}] if pictures else question
        return dict({"model": model, "messages": [SYSTEM, {"role": "user", "content": content}], "temperature": 0,
                     "max_tokens": inputs["functional_max_tokens"]}, **more)

    def length(over_limit):
        return {"endpoint": COMPLETION, "prompt_tokens_over_limit": over_limit,
                "body": {"model": model, "temperature": 0, "max_tokens": LONG_ANSWER_TOKENS}}

    def named(name, request, **more):
        return dict(request, id=name, **more)

    text_question = inputs["functional_text_question"]
    question = {"endpoint": CHAT, "body": chat(text_question)}
    sent = [
        named("wrong_model", {"endpoint": CHAT, "body": chat(text_question, model=model + "-wrong")}),
        named("text_answer", question),
        named("image_answer", {"endpoint": CHAT, "body": chat(inputs["functional_question"], 1)}),
        named("streaming", {"endpoint": CHAT, "body": chat(inputs["functional_question"], 1, stream=True)}),
        named("several_images", {"endpoint": CHAT, "body": chat(inputs["functional_question"], 2)}),
        named("beyond_limit", length(1)),
        named("long_prompt", length(-LONG_ANSWER_TOKENS - LONG_MARGIN_TOKENS)),
    ]
    if inputs["functional_api_key"]:
        sent += [named("wrong_key", question, key="wrong"), named("missing_key", question, key="none")]
    return sent


def judge(context):
    """Compare the answers of every instance with what they have to be."""
    checks = Checks(CHECKS)
    if not serving_instances(context.plan):
        checks.not_run("served_name", no_api_reason(context.plan))
    for server in context.observed["servers"]:
        _judge_server(checks, server, context.plan["model"]["served_name"], context.inputs)
    return checks.as_list()


def _judge_server(checks, server, model, inputs):
    name, answers = server["name"], server["answers"]
    names = server["models"].get("models") or []
    checks.expect("served_name", model in names, model, names or server["models"].get("error"), subject=name)
    for check in ("text_answer", "image_answer", "several_images", "long_prompt"):
        _expect(checks, check, answers[check], 200, name, ok=_has_text(answers[check]))
    stream = answers["streaming"]
    whole = _has_text(stream) and stream.get("ended") and not stream.get("error")
    _expect(checks, "streaming", stream, 200, name, ok=whole)
    _judge_words(checks, answers["image_answer"], inputs["functional_expected_words"], name)
    for check, status in (("beyond_limit", 400), ("wrong_model", 404)):
        _expect(checks, check, answers[check], status, name)
    if inputs["functional_api_key"]:
        for check in ("wrong_key", "missing_key"):
            _expect(checks, check, answers[check], 401, name)
    else:
        checks.not_run("missing_key", "the service has no API key", subject=name)


def _has_text(answer):
    return bool((answer.get("text") or "").strip())


def _expect(checks, check, answer, status, name, ok=True):
    """State one outcome; what was never sent is not run."""
    if not answer.get("sent", True):
        checks.not_run(check, answer["error"], subject=name)
        return
    expected = "%d and an answer" % status if status == 200 else str(status)
    actual = answer["status"] if answer["status"] != 200 else "200, %s" % (
        "'%s'" % answer["text"].strip()[:80] if _has_text(answer) else "no text")
    if answer.get("error") and answer["status"] != status:
        actual = "%s: %s" % (answer["status"] or "no answer", answer["error"])
    elif status == 200 and answer["status"] == 200 and not ok:
        actual = "%s%s" % (actual, "" if answer.get("ended", True) else ", and the stream did not end")
    checks.expect(check, answer["status"] == status and bool(ok), expected, actual, subject=name)


def _judge_words(checks, answer, words, name):
    words = [words] if isinstance(words, str) and words else words
    if not words:
        checks.not_run("expected_words", "functional_expected_words is empty, so nothing tells a right answer from a "
                       "wrong one", subject=name)
    elif not _has_text(answer):
        checks.not_run("expected_words", "there is no answer to look at", subject=name)
    else:
        text = answer["text"].casefold()
        missing = [word for word in words if str(word).casefold() not in text]
        checks.expect("expected_words", not missing, ", ".join(map(str, words)), answer["text"].strip()[:200],
                      subject=name)
