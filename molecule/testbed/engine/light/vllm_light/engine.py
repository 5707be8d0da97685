# Copyright: (c) 2026, the ascend.vllm authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""A stand-in for the model: it counts tokens, returns the answers of the tiny model, and keeps metrics."""

from __future__ import annotations

import base64
import binascii
import json
import re
import struct
import threading
import zlib
from dataclasses import dataclass, field
from pathlib import Path

from .errors import RequestError

TOKEN = re.compile(r"\s?\w{1,6}|\s?[^\w\s]|\s+")
# Qwen2.5-VL: one token for 28 x 28 pixels.
PIXELS_PER_TOKEN = 28 * 28
TEMPLATE_TOKENS = 5  # <|im_start|>, role, line break, <|im_end|>, line break
CHATTER = "I am a light stand-in for a large model . "

HERE = Path(__file__).parent
LESSONS = json.loads((HERE / "lessons.json").read_text())
ILLUSTRATION = (HERE / "illustration.png").read_bytes()


@dataclass
class Question:
    """A prompt: its text, its pictures, and the number of tokens of both."""

    text: str = ""
    pictures: list[bytes] = field(default_factory=list)
    tokens: int = 0


def tokenize(text: str) -> list[int]:
    """Return the ids of pieces of text: equal pieces have equal ids, below 150,000."""
    return [zlib.crc32(piece.encode()) % 150_000 for piece in TOKEN.findall(text)]


def picture_tokens(picture: bytes) -> int:
    """Return the number of tokens of a PNG, from its header.

    Raises:
        RequestError: the bytes are not a PNG.
    """
    if not picture.startswith(b"\x89PNG\r\n\x1a\n") or len(picture) < 24:
        raise RequestError(400, "BadRequestError", "cannot identify image file <_io.BytesIO object>")
    width, height = struct.unpack(">II", picture[16:24])
    return max(4, round(width * height / PIXELS_PER_TOKEN))


def decode_picture(url: str) -> bytes:
    """Return the bytes of a data: URI; nothing is downloaded, because test networks are isolated."""
    head, comma, body = url.partition(",")
    if not comma or not head.startswith("data:"):
        raise RequestError(400, "BadRequestError", "Cannot connect to host of %s" % url[:200])
    if not head.endswith(";base64"):
        raise RequestError(501, "NotImplementedError", "Only base64 data URLs are supported for now.")
    try:
        return base64.b64decode(body, validate=True)
    except binascii.Error as error:
        raise RequestError(400, "BadRequestError", str(error)) from error


def chat_question(messages: object) -> Question:
    """Return the last user message of a chat request as a question, with the number of tokens of all `messages`."""
    if not isinstance(messages, list) or not messages:
        raise RequestError(400, "BadRequestError", "messages: a non-empty list is required", "messages")
    question = Question()
    for message in messages:
        content = message.get("content") or ""
        parts = [{"type": "text", "text": content}] if isinstance(content, str) else content
        texts = [part["text"] for part in parts if part.get("type") == "text"]
        pictures = [decode_picture(part["image_url"]["url"]) for part in parts if part.get("type") == "image_url"]
        question.tokens += TEMPLATE_TOKENS + sum(len(tokenize(text)) for text in texts)
        question.tokens += sum(picture_tokens(picture) for picture in pictures)
        if message.get("role") == "user":
            question.text, question.pictures = "\n".join(texts), pictures
    return question


def answer(question: Question, length: int, ignore_eos: bool) -> tuple[list[str], str]:
    """Return the pieces of the answer, at most `length`, and its finish reason: stop or length."""
    pieces = TOKEN.findall(_lesson(question))
    if ignore_eos:
        chatter = TOKEN.findall(CHATTER)
        pieces = (pieces + chatter * (length // len(chatter) + 1))[:length]
        return pieces, "length"
    return (pieces[:length], "length") if len(pieces) > length else (pieces, "stop")


def _lesson(question: Question) -> str:
    if not question.pictures:
        return LESSONS["questions"].get(question.text, CHATTER.strip())
    if ILLUSTRATION not in question.pictures:
        return LESSONS["other_text"]
    if question.text == LESSONS["picture_question"]:
        return LESSONS["illustration"]
    return LESSONS["other_picture_questions"].get(question.text, LESSONS["other_text"])


class Metrics:
    """Counters with vLLM's names; thread-safe."""

    def __init__(self, model: str) -> None:
        self._lock = threading.Lock()
        self._labels = '{engine="0",model_name="%s"}' % model
        self._model = model
        self.running = 0
        self._counts = {"prompt_tokens": 0, "generation_tokens": 0, "num_preemptions": 0}
        self._finished = {"stop": 0, "length": 0, "abort": 0}
        self._seconds = {"time_to_first_token_seconds": [0, 0.0], "e2e_request_latency_seconds": [0, 0.0]}

    def __enter__(self) -> Metrics:
        with self._lock:
            self.running += 1
        return self

    def __exit__(self, *_error: object) -> None:
        with self._lock:
            self.running -= 1

    def finish(self, reason: str, prompt_tokens: int, tokens: int, first_token_s: float, total_s: float) -> None:
        with self._lock:
            self._finished[reason] += 1
            self._counts["prompt_tokens"] += prompt_tokens
            self._counts["generation_tokens"] += tokens
            for name, seconds in zip(self._seconds, (first_token_s, total_s)):
                self._seconds[name][0] += 1
                self._seconds[name][1] += seconds

    def text(self) -> str:
        """Return the metrics in Prometheus' text format."""
        with self._lock:
            lines = []
            for name, value in (
                ("num_requests_running", self.running),
                ("num_requests_waiting", 0),
                ("kv_cache_usage_perc", 0.0),
            ):
                lines += ["# TYPE vllm:%s gauge" % name, "vllm:%s%s %s" % (name, self._labels, float(value))]
            for name, value in self._counts.items():
                lines += ["# TYPE vllm:%s counter" % name, "vllm:%s_total%s %s" % (name, self._labels, float(value))]
            lines.append("# TYPE vllm:request_success counter")
            for reason, value in self._finished.items():
                labels = '{engine="0",finished_reason="%s",model_name="%s"}' % (reason, self._model)
                lines.append("vllm:request_success_total%s %s" % (labels, float(value)))
            for name, (count, seconds) in self._seconds.items():
                lines.append("# TYPE vllm:%s histogram" % name)
                infinite = '{engine="0",le="+Inf",model_name="%s"}' % self._model
                lines.append("vllm:%s_bucket%s %s" % (name, infinite, float(count)))
                lines.append("vllm:%s_count%s %s" % (name, self._labels, float(count)))
                lines.append("vllm:%s_sum%s %s" % (name, self._labels, seconds))
        return "\n".join(lines) + "\n"
