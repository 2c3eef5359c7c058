"""Items enriched, one after the other, by a language model or by rules; whatever is done is kept at once.

A model's fault costs one item its model, not the run: the item is made by rules and keeps the reason. Reasons that pass
(the model is away, the budget is spent) are tried again by the next run, answers that could not be used are not.
"""

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from features.catalog import EnrichedItem
from infra.clock import Clock
from infra.errors import AnswerUnusable, BudgetSpent, DaogouError, LlmAway, LlmRefused
from infra.llm import LanguageModel, expected_tokens
from infra.llm_answers import answered
from infra.llm_limits import Usage
from infra.logs import logger
from models.enrichment_check import believed
from models.enrichment_prompt import ANSWER, TYPICAL_TOKENS, maker_of, question_of
from models.enrichment_reading import READING_VERSION, Reading
from models.enrichment_rules import by_rules
from models.enrichment_store import EnrichmentStore

RULES: Final = f"rule:{READING_VERSION}:1"
PASSING: Final = frozenset({"llm_away", "llm_slow", "llm_busy", "llm_question_refused", "budget_spent"})
ASKED_AGAIN: Final = 1
"""An answer that cannot be used is asked for once more."""

AWAY_AT: Final = 5
HOPELESS_AT: Final = 25
"""So many items in a row without an answer, or without one that can be used: the rest of the run does not ask."""

_log = logger(__name__)


@dataclass(slots=True)
class Counts:
    """What became of the items; `by_reason`: of those made by rules in a model's place; `dropped`: what was not
    believed, by reason.
    """

    items: int = 0
    kept: int = 0
    by_model: int = 0
    by_rules: int = 0
    steering: int = 0
    by_reason: Counter[str] = field(default_factory=Counter)
    dropped: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be done: distinct texts that are not kept yet, and how many items need nothing."""

    todo: tuple[Reading, ...]
    kept: int

    def expected(self) -> Usage:
        """About what asking a model for all of it takes."""
        asked = sum(expected_tokens(one.system) + expected_tokens(one.user) for one in map(question_of, self.todo))
        return Usage(asked, TYPICAL_TOKENS * len(self.todo))


class Enricher:
    """Enriches readings into a store.

    Args:
        store: where items are kept.
        model: who is asked; None: rules make all.
        clock: when items were made.
        concurrency: questions under way at once.
    """

    def __init__(self, store: EnrichmentStore, model: LanguageModel | None, clock: Clock, concurrency: int = 4) -> None:
        self._store, self._model, self._clock = store, model, clock
        self._concurrency = concurrency
        self._maker = RULES if model is None else maker_of(model.name)
        self._in_a_row: Counter[bool] = Counter()
        self._stopped: DaogouError | None = None
        self._refused: LlmRefused | None = None
        self.counts = Counts()

    def plan(self, readings: Sequence[Reading], *, again: bool = False, limit: int | None = None) -> Plan:
        """What there is to do for these items; `again`: also those whose answer could not be used before."""
        by_key = {reading.key(self._maker): reading for reading in readings}
        kept = self._store.kept(by_key)
        done = {key for key, why in kept.items() if not why or (why not in PASSING and not again)}
        todo = [reading for key, reading in by_key.items() if key not in done]
        needless = sum(reading.key(self._maker) in done for reading in readings)
        return Plan(tuple(todo if limit is None else todo[:limit]), needless)

    async def run(self, plan: Plan, progress: Callable[[int], None]) -> Counts:
        """Do it. `progress` hears how many more items are done.

        Raises:
            LlmRefused: the model refuses key, model or quota: nothing that is left would be answered.
        """
        self.counts.kept = plan.kept
        left = iter(plan.todo)
        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(self._concurrency if self._model else 1):
                    group.create_task(self._work(left, progress))
        except BaseExceptionGroup as group_of:
            raise group_of.exceptions[0] from None
        if self._refused is not None:
            raise self._refused
        return self.counts

    async def _work(self, left: Iterator[Reading], progress: Callable[[int], None]) -> None:
        for reading in left:
            if self._refused is not None:
                return
            item, rank = await self._made(reading)
            if item is None:
                return
            self._keep(reading, item, rank)
            progress(1)

    async def _made(self, reading: Reading) -> tuple[EnrichedItem | None, int]:
        """The item, and 1 if a model made it; None: the model refuses all questions."""
        if self._model is None:
            await asyncio.sleep(0)  # a signal may end the run between two items
            return by_rules(reading), 0
        try:
            if self._stopped is not None:
                raise self._stopped
            item = await self._asked(reading, self._model)
        except (LlmAway, AnswerUnusable, BudgetSpent, LlmRefused) as error:
            if isinstance(error, LlmRefused) and error.reason != "llm_question_refused":
                self._refused = error
                return None, 0
            self._heed(error)
            return by_rules(reading, error.reason), 0
        self._in_a_row.clear()
        return item, 1

    async def _asked(self, reading: Reading, model: LanguageModel) -> EnrichedItem:
        """What the model makes of it, asked once more if its answer cannot be used."""
        unusable = ""
        for left in reversed(range(1 + ASKED_AGAIN)):
            try:
                reply = await model.ask(question_of(reading, unusable))
                return believed(reading, answered(reply.text, ANSWER), f"llm:{model.name}")
            except AnswerUnusable as error:
                if not left:
                    raise
                unusable = error.reason
        raise AssertionError("the last attempt returns or raises")

    def _heed(self, error: DaogouError) -> None:
        """A model that is away, or of no use, for several items in a row is not asked again."""
        if self._stopped is not None or isinstance(error, BudgetSpent):
            return  # the next question may be a shorter one
        unusable = isinstance(error, AnswerUnusable)
        self._in_a_row[unusable] += 1
        if self._in_a_row[unusable] >= (HOPELESS_AT if unusable else AWAY_AT):
            self._stopped = error
            _log.warning("the language model is of no use; rules make the rest", code=error.reason)

    def _keep(self, reading: Reading, item: EnrichedItem, rank: int) -> None:
        made_ms = self._clock.now_ms()
        self._store.put(reading.key(self._maker), reading.content_key, item, rank=rank, made_ms=made_ms)
        counts = self.counts
        counts.items += 1
        counts.by_model += rank
        counts.by_rules += 1 - rank
        counts.steering += bool(reading.steering)
        counts.dropped.update(one.reason for one in item.dropped)
        if item.fallback:
            counts.by_reason[item.fallback] += 1
