"""A language model, asked for JSON of a given schema. Prompts stay with whoever asks.

`LlmClient` speaks to an OpenAI-compatible chat interface. Retries are bounded; every attempt is held against the budget
at its worst case before it leaves.
"""

import asyncio
import random
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Final, Protocol

import httpx
from pydantic import SecretStr

from infra.clock import Clock, SystemClock
from infra.errors import AnswerUnusable, LlmAway, LlmRefused
from infra.llm_chat import Dialect, Question, Reply, expected_tokens, read
from infra.llm_limits import Budget, Rate, Usage
from infra.logs import logger

__all__ = [
    "MAX_ANSWER_BYTES",
    "Endpoint",
    "LanguageModel",
    "LlmClient",
    "Question",
    "Reply",
    "expected_tokens",
]

MAX_ANSWER_BYTES: Final = 1 << 20
_LONGEST_WAIT_S: Final = 60.0
_FIRST_WAIT_S: Final = 0.5
_TOLD: Final = 200

_log = logger(__name__)


class LanguageModel(Protocol):
    """Whatever answers a question."""

    @property
    def name(self) -> str:
        """What reports and sources call it."""
        ...

    async def ask(self, question: Question) -> Reply:
        """The answer, as it came.

        Raises:
            LlmAway: after a bounded number of attempts there is none.
            LlmRefused: there will be none, whatever is tried; `llm_question_refused`: to this question.
            BudgetSpent: asking could pass the budget.
            AnswerUnusable: it was cut, or the model declined.
        """
        ...


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where the model is, and how patient one is with it."""

    url: str
    model: str
    key: SecretStr
    timeout_s: float = 60.0
    concurrency: int = 4
    attempts: int = 4


class LlmClient:
    """A chat interface behind HTTP.

    Args:
        endpoint: which.
        budget: what may be used; counts what is.
        rate: how often.
        transport: in tests, what answers instead of the network.
        draw: spreads the waits between attempts, in [0, 1).
    """

    def __init__(
        self,
        endpoint: Endpoint,
        budget: Budget,
        rate: Rate,
        *,
        transport: httpx.AsyncBaseTransport | None = None,
        draw: Callable[[], float] = random.random,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        clock: Clock | None = None,
    ) -> None:
        self.name = endpoint.model
        self.budget = budget
        self._endpoint, self._rate = endpoint, rate
        self._draw, self._sleep, self._clock = draw, sleep, clock or SystemClock()
        self._slots = asyncio.Semaphore(endpoint.concurrency)
        self._dialect = Dialect()
        key = endpoint.key.get_secret_value()
        self._http = httpx.AsyncClient(
            transport=transport,
            timeout=endpoint.timeout_s,
            headers={"Authorization": f"Bearer {key}"} if key else {},
            follow_redirects=False,  # the key goes where it was said to go
        )

    async def aclose(self) -> None:
        """Close the connections."""
        await self._http.aclose()

    async def ask(self, question: Question) -> Reply:
        """See `LanguageModel`."""
        async with self._slots:
            attempt = 0
            while True:
                attempt += 1
                try:
                    return await self._asked(question)
                except _Again as again:
                    if attempt >= self._endpoint.attempts or again.wait_s > _LONGEST_WAIT_S:
                        raise again.error from None
                    _log.info("asking again", code=again.error.reason, attempt=attempt)
                    backed_off = min(_FIRST_WAIT_S * 2**attempt, _LONGEST_WAIT_S) * (0.5 + self._draw() / 2)
                    await self._sleep(max(again.wait_s, backed_off))

    async def _asked(self, question: Question) -> Reply:
        """One attempt, and one more for each thing that the server has other words for."""
        while True:
            with await self.budget.hold(question.worst()) as hold:
                await self._rate.take(question.expected())
                spoken = self._dialect.version
                try:
                    status, headers, body = await self._sent(question)
                except _Again as again:
                    # Of an answer that was lost nobody knows what it cost: it stays at its worst.
                    hold.used = hold.used if again.sent else Usage()
                    raise
                if status == httpx.codes.OK:
                    return read(body, hold)
                hold.used = Usage()  # nobody charges for a refusal
            told = self._scrubbed(body)
            refused = status in (httpx.codes.BAD_REQUEST, httpx.codes.UNPROCESSABLE_ENTITY)
            if not (refused and (self._dialect.version != spoken or self._dialect.learns(told))):
                raise self._error(status, headers, told)

    async def _sent(self, question: Question) -> tuple[int, httpx.Headers, bytes]:
        """Status, headers and body; the time limit is for all of it, however slowly it drips."""
        url = f"{self._endpoint.url}/chat/completions"
        body = self._dialect.body(self._endpoint.model, question)
        try:
            async with (
                asyncio.timeout(self._endpoint.timeout_s),
                self._http.stream("POST", url, json=body) as response,
            ):
                read = bytearray()
                async for chunk in response.aiter_bytes():
                    read += chunk
                    if len(read) > MAX_ANSWER_BYTES:
                        raise AnswerUnusable(
                            f"the model answered more than {MAX_ANSWER_BYTES} bytes", code="answer_too_long"
                        )
                return response.status_code, response.headers, bytes(read)
        except (TimeoutError, httpx.TimeoutException):
            slow = f"the language model did not answer within {self._endpoint.timeout_s:g} s (DAOGOU_LLM_TIMEOUT_S)"
            raise _Again(LlmAway(slow, code="llm_slow")) from None
        except httpx.HTTPError as error:
            away = f"no language model at DAOGOU_LLM_URL ({type(error).__name__}); is it running, is the address right?"
            raise _Again(LlmAway(away), sent=not isinstance(error, httpx.ConnectError)) from None

    def _error(self, status: int, headers: httpx.Headers, told: str) -> Exception:
        if status == httpx.codes.TOO_MANY_REQUESTS and "insufficient_quota" in told:
            return LlmRefused("the language model's account has no quota left", code="llm_quota")
        if status == httpx.codes.TOO_MANY_REQUESTS:
            busy = "the language model has too much to do; set DAOGOU_LLM_REQUESTS_MIN or DAOGOU_LLM_TOKENS_MIN"
            return _Again(LlmAway(busy, code="llm_busy"), _retry_after(headers, self._clock))
        if status >= httpx.codes.INTERNAL_SERVER_ERROR or status == httpx.codes.REQUEST_TIMEOUT:
            return _Again(LlmAway(f"the language model's server failed ({status})"), _retry_after(headers, self._clock))
        if status in (httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN):
            return LlmRefused(f"the language model refuses the key ({status}): set DAOGOU_LLM_KEY", code="llm_key")
        if httpx.codes.is_redirect(status):
            moved = f"DAOGOU_LLM_URL leads elsewhere ({status}): set the address itself, the key is not carried on"
            return LlmRefused(moved, code="llm_no_model")
        if status == httpx.codes.NOT_FOUND or "model_not_found" in told:
            return LlmRefused(
                f"no model {self._endpoint.model!r} there ({status}): set DAOGOU_LLM_URL and DAOGOU_LLM_MODEL",
                code="llm_no_model",
            )
        return LlmRefused(f"the language model refuses the question ({status}): {told}", code="llm_question_refused")

    def _scrubbed(self, body: bytes) -> str:
        """The begin of what a server says of its refusal, without the key that some repeat in it."""
        text = body.decode(errors="replace")
        key = self._endpoint.key.get_secret_value()
        return (text.replace(key, "(key)") if key else text)[:_TOLD]


class _Again(Exception):
    """An attempt failed, the next may not. `wait_s`: how long the server asks to wait."""

    def __init__(self, error: LlmAway, wait_s: float = 0.0, *, sent: bool = True) -> None:
        self.error, self.wait_s, self.sent = error, wait_s, sent


def _retry_after(headers: httpx.Headers, clock: Clock) -> float:
    """Seconds that a server asks to wait: a number, or a date."""
    told = headers.get("retry-after", "")
    try:
        return max(0.0, float(told))
    except ValueError:
        pass
    try:
        return max(0.0, parsedate_to_datetime(told).timestamp() - clock.now_ms() / 1000)
    except ValueError:
        return 0.0
