"""A question and its answer, as an OpenAI-compatible chat interface takes and gives them.

What such servers differ in (how JSON is asked for, how the length of an answer is called) is learned from their
refusals, once.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from infra.errors import AnswerUnusable
from infra.llm_limits import Hold, Usage

_OVERHEAD_TOKENS: Final = 64  # of roles and templates around the messages


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked: what the model is to do, what it is to do it with, and the JSON Schema of its answer."""

    system: str
    user: str
    schema: Mapping[str, Any]
    schema_name: str
    max_tokens: int

    def worst(self) -> Usage:
        """Tokens at most: no tokenizer makes more tokens than there are bytes."""
        read = len(self.system.encode()) + len(self.user.encode()) + len(json.dumps(self.schema))
        return Usage(read + _OVERHEAD_TOKENS, self.max_tokens)

    def expected(self) -> int:
        """Tokens as they count for a rate: about four letters, or one Chinese character, each, and the answer."""
        return expected_tokens(self.system) + expected_tokens(self.user) + self.max_tokens


@dataclass(frozen=True, slots=True)
class Reply:
    """The text that came, and what it cost."""

    text: str
    usage: Usage


class _Message(msgspec.Struct):
    content: str | None = None
    refusal: str | None = None


class _Choice(msgspec.Struct):
    message: _Message
    finish_reason: str | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int = 0
    completion_tokens: int = 0


class _Completion(msgspec.Struct):
    choices: list[_Choice]
    usage: _Usage | None = None


_completions: Final = msgspec.json.Decoder(_Completion)


class Dialect:
    """What this server calls things. Each refusal teaches one thing at most, so it ends."""

    def __init__(self) -> None:
        self._formats = ["json_schema", "json_object", ""]
        self._length = "max_tokens"
        self._temperature = True
        self.version = 0

    def body(self, model: str, question: Question) -> dict[str, Any]:
        """The request."""
        messages = [{"role": "system", "content": question.system}, {"role": "user", "content": question.user}]
        body: dict[str, Any] = {"model": model, "messages": messages, self._length: question.max_tokens}
        if self._temperature:
            body["temperature"] = 0
        if self._formats[0] == "json_schema":
            schema = {"name": question.schema_name, "strict": True, "schema": question.schema}
            body["response_format"] = {"type": "json_schema", "json_schema": schema}
        elif self._formats[0]:
            body["response_format"] = {"type": self._formats[0]}
        return body

    def learns(self, told: str) -> bool:
        """Whether a refusal says what to call otherwise."""
        if ("response_format" in told or "json_schema" in told) and self._formats[0]:
            del self._formats[0]
        elif "max_completion_tokens" in told and self._length == "max_tokens":
            self._length = "max_completion_tokens"
        elif "temperature" in told and self._temperature:
            self._temperature = False
        else:
            return False
        self.version += 1
        return True


def expected_tokens(text: str) -> int:
    """About how many tokens a text has."""
    ascii_letters = sum(map(str.isascii, text))
    return ascii_letters // 4 + len(text) - ascii_letters + 1


def read(body: bytes, hold: Hold) -> Reply:
    """The first choice; what it cost is told to `hold`, where without a word of usage the worst case counts.

    Raises:
        AnswerUnusable: it is none, was cut, or the model declined.
    """
    try:
        completion = _completions.decode(body)
        choice = completion.choices[0]
    except (msgspec.DecodeError, IndexError, UnicodeDecodeError):
        raise AnswerUnusable("the server's answer is no chat completion", code="no_completion") from None
    if completion.usage is not None and completion.usage.prompt_tokens > 0:
        hold.used = Usage(completion.usage.prompt_tokens, completion.usage.completion_tokens)
    if choice.finish_reason == "length":
        raise AnswerUnusable("the answer was cut at its longest length", code="answer_cut")
    if choice.finish_reason == "content_filter" or choice.message.refusal:
        raise AnswerUnusable("the model declined to answer", code="answer_declined")
    return Reply(choice.message.content or "", hold.used)
