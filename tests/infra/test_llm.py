"""The client of a language model: what it asks, what it makes of refusals, what it never shows."""

import asyncio
import json
from contextlib import suppress
from typing import Any

import httpx
import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import SecretStr

from infra.clock import ManualClock
from infra.errors import AnswerUnusable, BudgetSpent, DaogouError, LlmAway, LlmRefused
from infra.llm import Endpoint, LlmClient, Question, Reply
from infra.llm_answers import answered, sent_schema
from infra.llm_limits import Budget, Prices, Rate, Usage
from tests.llm_double import Scripted, completion, in_turn

KEY = "sk-very-secret"
QUESTION = Question("Say it.", "你好 hello", {"type": "object", "properties": {}}, "answer", 200)


class Waits:
    """Sleeps that only are counted."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    async def __call__(self, seconds: float) -> None:
        self.slept.append(seconds)


def client(double: Scripted, budget: Budget | None = None, waits: Waits | None = None, **endpoint: Any) -> LlmClient:
    where = Endpoint("http://llm.example/v1", "tiny", SecretStr(KEY), **endpoint)
    return LlmClient(
        where,
        budget or Budget(),
        Rate(),
        transport=double,
        draw=lambda: 1.0,
        sleep=waits or Waits(),
        clock=ManualClock(1_000_000),
    )


async def ask(double: Scripted, **given: Any) -> Reply:
    one = client(double, **given)
    try:
        return await one.ask(QUESTION)
    finally:
        await one.aclose()


async def test_the_question_names_model_schema_and_key() -> None:
    double = Scripted(in_turn(completion("{}")))
    reply = await ask(double)
    assert reply == Reply("{}", Usage(100, 50))
    (asked,) = double.asked
    assert asked["model"] == "tiny"
    assert asked["max_tokens"] == 200
    assert [one["role"] for one in asked["messages"]] == ["system", "user"]
    assert asked["response_format"]["json_schema"]["schema"] == QUESTION.schema
    assert double.headers[0]["authorization"] == f"Bearer {KEY}"


async def test_what_passes_is_tried_again_and_retry_after_is_kept() -> None:
    waits = Waits()
    later = httpx.Response(429, headers={"Retry-After": "7"})
    dated = httpx.Response(503, headers={"Retry-After": "Thu, 01 Jan 1970 00:16:52 GMT"})
    double = Scripted(in_turn(later, dated, httpx.ConnectError("no"), completion("{}")))
    assert (await ask(double, waits=waits)).text == "{}"
    assert len(double.asked) == 4
    assert waits.slept == [7.0, 12.0, 4.0], "what the server asks for, then what is backed off"


@pytest.mark.parametrize(
    ("answer", "kind", "reason", "times"),
    [
        (httpx.Response(429), LlmAway, "llm_busy", 3),
        (httpx.Response(500), LlmAway, "llm_away", 3),
        (httpx.ReadTimeout("slow"), LlmAway, "llm_slow", 3),
        (httpx.ConnectError("away"), LlmAway, "llm_away", 3),
        (httpx.Response(429, headers={"Retry-After": "3600"}), LlmAway, "llm_busy", 1),
        (httpx.Response(429, json={"error": {"code": "insufficient_quota"}}), LlmRefused, "llm_quota", 1),
        (httpx.Response(401, text=f"wrong key {KEY}"), LlmRefused, "llm_key", 1),
        (httpx.Response(404), LlmRefused, "llm_no_model", 1),
        (httpx.Response(400, text=f"too long, {KEY}"), LlmRefused, "llm_question_refused", 1),
        (httpx.Response(302, headers={"Location": "http://evil.example"}), LlmRefused, "llm_no_model", 1),
        (completion('{"a": [', finish="length"), AnswerUnusable, "answer_cut", 1),
        (completion("", finish="content_filter"), AnswerUnusable, "answer_declined", 1),
        (httpx.Response(200, text="<html>"), AnswerUnusable, "no_completion", 1),
        (httpx.Response(200, content=b"x" * (1 << 21)), AnswerUnusable, "answer_too_long", 1),
    ],
)
async def test_every_fault_has_a_name_a_bound_and_no_secret(
    answer: Any, kind: type[DaogouError], reason: str, times: int
) -> None:
    double = Scripted(in_turn(answer))
    with pytest.raises(kind) as caught:
        await ask(double, attempts=3)
    assert caught.value.reason == reason
    assert KEY not in str(caught.value)
    assert len(double.asked) == times


async def test_an_answer_that_drips_is_slow_as_a_whole() -> None:
    class Dripping(httpx.AsyncByteStream):
        async def __aiter__(self) -> Any:
            while True:
                yield b" "
                await asyncio.sleep(0)

    double = Scripted(lambda _: httpx.Response(200, stream=Dripping()))
    with pytest.raises(DaogouError) as caught:
        await ask(double, attempts=1, timeout_s=0.05)
    assert caught.value.reason in ("llm_slow", "answer_too_long"), "whichever bound comes first"


async def test_a_server_of_another_dialect_is_understood_once() -> None:
    def script(asked: Any) -> httpx.Response:
        if asked.get("response_format", {}).get("type") == "json_schema":
            return httpx.Response(400, text="This response_format type is unavailable now")
        if "max_tokens" in asked:
            return httpx.Response(400, text="use max_completion_tokens")
        if "temperature" in asked:
            return httpx.Response(400, text="temperature is not supported")
        return completion("{}")

    double = Scripted(script)
    one = client(double)
    await one.ask(QUESTION)
    assert len(double.asked) == 4
    await one.ask(QUESTION)
    assert len(double.asked) == 5, "it is remembered"
    assert double.asked[-1]["response_format"] == {"type": "json_object"}
    assert double.asked[-1]["max_completion_tokens"] == 200
    assert one.budget.spent == Usage(200, 100), "refusals cost nothing"
    await one.aclose()


async def test_what_an_unheard_answer_cost_counts_as_its_worst() -> None:
    budget = Budget()
    with pytest.raises(LlmAway):
        await ask(Scripted(in_turn(httpx.ReadTimeout("slow"))), budget=budget, attempts=2)
    assert budget.spent == QUESTION.worst() + QUESTION.worst()
    budget = Budget()
    with pytest.raises(LlmAway):
        await ask(Scripted(in_turn(httpx.ConnectError("away"))), budget=budget, attempts=2)
    assert budget.spent == Usage(), "nothing was sent"


async def test_a_question_that_could_pass_the_budget_is_not_sent() -> None:
    double = Scripted(in_turn(completion("{}")))
    with pytest.raises(BudgetSpent, match="the budget is spent"):
        await ask(double, budget=Budget(tokens=QUESTION.worst().tokens - 1))
    with pytest.raises(BudgetSpent):
        await ask(double, budget=Budget(money=0.0001, prices=Prices(1.0, 1.0)))
    assert double.asked == []


@settings(deadline=None, max_examples=60)
@given(
    limit=st.integers(0, 3000),
    uses=st.lists(st.tuples(st.integers(1, 400), st.floats(0, 1), st.integers(0, 3)), max_size=30),
)
def test_the_budget_is_never_passed_however_many_ask_at_once(limit: int, uses: list[tuple[int, float, int]]) -> None:
    async def run() -> tuple[Budget, int, int]:
        budget = Budget(tokens=limit)
        refused, most = 0, 0

        async def one(worst: int, share: float, turns: int) -> None:
            nonlocal refused, most
            try:
                with await budget.hold(Usage(worst, 0)) as hold:
                    for _ in range(turns):  # others come between
                        await asyncio.sleep(0)
                    hold.used = Usage(int(worst * share), 0)
            except BudgetSpent:
                refused += 1
                assert budget.spent.tokens + worst > limit, "refused only if it would not fit into what is left"
            most = max(most, budget.spent.tokens)

        await asyncio.gather(*(one(*use) for use in uses))
        return budget, refused, most

    budget, refused, most = asyncio.run(run())
    assert most <= limit
    assert budget.questions + refused == len(uses), "each is asked or refused, none waits for ever"


async def test_a_rate_spaces_questions_and_tokens_evenly() -> None:
    waits = Waits()
    rate = Rate(questions=60, monotonic=lambda: 100.0, sleep=waits)
    for _ in range(4):
        await rate.take(1000)
    assert waits.slept == [1.0, 2.0, 3.0]
    waits = Waits()
    rate = Rate(tokens=6000, monotonic=lambda: 100.0, sleep=waits)
    for _ in range(3):
        await rate.take(200)
    assert waits.slept == [2.0, 4.0]


class Shape(msgspec.Struct, forbid_unknown_fields=True):
    colour: str


DECODER = msgspec.json.Decoder(Shape)


@pytest.mark.parametrize(
    "text",
    ['{"colour": "red"}', '```json\n{"colour": "red"}\n```', '<think>{maybe "blue"}</think> Here: {"colour": "red"} .'],
)
def test_json_is_found_where_models_put_it(text: str) -> None:
    assert answered(text, DECODER) == Shape("red")


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("I would rather not.", "answer_no_json"),
        ("", "answer_no_json"),
        ('{"colour": "re', "answer_cut"),
        ('{"colour": red}', "answer_no_json"),
        ('{"colour": 3}', "answer_wrong_shape"),
        ('{"colour": "red", "price": 0}', "answer_wrong_shape"),
        ('{"colour": "\ud800"}', "answer_no_json"),
    ],
)
def test_what_is_no_answer_is_named(text: str, reason: str) -> None:
    with pytest.raises(AnswerUnusable) as caught:
        answered(text, DECODER)
    assert caught.value.reason == reason


@given(st.text(max_size=80))
def test_any_text_is_an_answer_or_a_named_error(text: str) -> None:
    for one in (text, "{" + text, json.dumps({"colour": text})):
        with suppress(AnswerUnusable):
            assert isinstance(answered(one, DECODER), Shape)


def test_a_strict_schema_requires_all_and_allows_no_more() -> None:
    schema = {"type": "object", "title": "X", "properties": {"title": {"type": "string", "maxLength": 9}}}
    assert sent_schema(schema) == {
        "type": "object",
        "properties": {"title": {"type": "string"}},
        "required": ["title"],
        "additionalProperties": False,
    }
