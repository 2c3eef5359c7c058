"""What asking a language model may cost and how often it may be asked: a budget that is never passed, a steady rate."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Final, Self

from infra.errors import BudgetSpent

_MINUTE_S: Final = 60.0
_MILLION: Final = 1_000_000


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of questions and of answers."""

    asked: int = 0
    answered: int = 0

    def __add__(self, other: "Usage") -> "Usage":
        return Usage(self.asked + other.asked, self.answered + other.answered)

    def __sub__(self, other: "Usage") -> "Usage":
        return Usage(self.asked - other.asked, self.answered - other.answered)

    @property
    def tokens(self) -> int:
        """All of them."""
        return self.asked + self.answered


@dataclass(frozen=True, slots=True)
class Prices:
    """Money for a million tokens."""

    asked: float = 0.0
    answered: float = 0.0

    def cost(self, usage: Usage) -> float:
        """Money."""
        return (usage.asked * self.asked + usage.answered * self.answered) / _MILLION

    @property
    def known(self) -> bool:
        """Whether anything has a price."""
        return bool(self.asked or self.answered)


class Budget:
    """Counts what is used. With a limit, the worst case of each question is held before it is asked.

    So what is spent and what is under way together never pass the limit, however many ask at once. A question that
    does not fit waits for those under way, whose worst case is given back when they are answered.

    Args:
        tokens: at most so many; None: no limit.
        money: at most so much, by `prices`; None: no limit.
        prices: of tokens.
    """

    def __init__(self, tokens: int | None = None, money: float | None = None, prices: Prices | None = None) -> None:
        self._tokens, self._money = tokens, money
        self.prices = prices or Prices()
        self.spent = Usage()
        self.questions = 0
        self._held = Usage()
        self._settled = asyncio.Event()

    @property
    def cost(self) -> float:
        """Money spent so far."""
        return self.prices.cost(self.spent)

    async def hold(self, worst: Usage) -> "Hold":
        """Set aside what a question may cost at most.

        Raises:
            BudgetSpent: it does not fit, and nothing under way could give back enough.
        """
        while not self._fits(self.spent + self._held + worst):
            if not self._fits(self.spent + worst) or not self._held.tokens:
                raise BudgetSpent(f"the budget is spent: {self.told()}; give a larger one to go on")
            self._settled.clear()
            await self._settled.wait()
        self._held += worst
        return Hold(self, worst)

    def told(self) -> str:
        """What was spent, for people."""
        money = f", {self.cost:.4f} in money" if self.prices.known else ""
        return f"{self.questions:,} questions, {self.spent.tokens:,} tokens{money}"

    def settle(self, held: Usage, used: Usage) -> None:
        """What was held is used in part, or whole."""
        self._held -= held
        self.spent += used
        self._settled.set()

    def _fits(self, usage: Usage) -> bool:
        within = self._tokens is None or usage.tokens <= self._tokens
        return within and (self._money is None or self.prices.cost(usage) <= self._money)


class Hold:
    """What one question may cost, set aside. If nobody says what it did cost, it counts whole."""

    def __init__(self, budget: Budget, worst: Usage) -> None:
        self._budget, self._worst = budget, worst
        self.used = worst

    def __enter__(self) -> Self:
        self._budget.questions += 1
        return self

    def __exit__(self, *_: object) -> None:
        self._budget.settle(self._worst, self.used)


class Rate:
    """Questions and tokens a minute, evenly spaced; 0: no limit."""

    def __init__(
        self,
        questions: int = 0,
        tokens: int = 0,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._per_question = _MINUTE_S / questions if questions else 0.0
        self._per_token = _MINUTE_S / tokens if tokens else 0.0
        self._monotonic, self._sleep = monotonic, sleep
        self._next = 0.0

    async def take(self, tokens: int) -> None:
        """Wait for the turn of a question of so many tokens, its answer included."""
        now = self._monotonic()
        turn = max(now, self._next)
        self._next = turn + max(self._per_question, tokens * self._per_token)
        if turn > now:
            await self._sleep(turn - now)
