"""What is known of a shopper when a page is asked for: row and shelf in one round trip, and how new they are."""

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import msgspec

from features.shoppers import State
from infra.clock import Clock
from infra.errors import RedisAway
from infra.keys import partition_of, record_key
from models.candidates import Candidate
from serving import tokens
from serving.model import NO_MODEL, ModelInService
from serving.recommendation_types import Freshness, RecommendationRequest, Why
from serving.shopper_reader import Known, ShopperReader, ShopperRef
from serving.shown import NOTHING, Lately, ShownLately
from serving.waiting import Waiting

_EMPTY: Final = State()


@dataclass(frozen=True, slots=True)
class Place:
    """Whose lists these are: tenant, number of partitions."""

    tenant: str
    partitions: int

    def ref(self, shopper_id: str) -> ShopperRef:
        """A shopper, and where its keys are."""
        return ShopperRef(self.tenant, shopper_id, partition_of(record_key(self.tenant, shopper_id), self.partitions))


class Seen(msgspec.Struct):
    """What was found of the shopper for one list; `ref` is None where nothing about a person was to be read."""

    ref: ShopperRef | None
    state: State
    candidates: Iterable[Candidate]
    model_version: str
    freshness: Freshness
    why: Why | None
    shown: Lately = NOTHING  # what was shown lately, where the list asks for it


class Looking:
    """Reads shoppers. `waiting` knows how far the logs are applied."""

    def __init__(
        self,
        place: Place,
        reader: ShopperReader,
        shown: ShownLately,
        model: ModelInService,
        waiting: Waiting,
        clock: Clock,
    ) -> None:
        self._place = place
        self._reader = reader
        self._shown = shown
        self._model = model
        self._waiting = waiting
        self._clock = clock

    async def look(self, asked: RecommendationRequest, *, follow_links: bool, rotates: bool = False) -> Seen:
        """What is known of whoever asks, once the events behind the token are applied; `rotates`: what was shown, too.

        Raises:
            BadInput: the token is none of ours.
        """
        wanted = tokens.decode(asked.min_token) if asked.min_token else {}
        ref = self._ref(asked)
        reached = await self._waiting.reached(wanted, ref, asked.max_wait_ms)
        if ref is None:
            why: Why | None = None if asked.personalization == "none" else "no_shopper"
            return self._unseen(None, why, Freshness(None, 0, stale=not reached))
        try:
            known, shown = await self._read(ref, rotates)
            if known.link is not None and follow_links:
                ref = self._place.ref(f"u-{known.link.user_id}")
                known, shown = await self._read(ref, rotates)
            seen = self._seen(asked, ref, known, reached)
        except RedisAway:
            return self._unseen(ref, "state_unavailable", Freshness(None, 0, stale=True))
        seen.shown = shown
        return seen

    def without_shelf(self, seen: Seen) -> None:
        """A part of the shelf that was reached cannot be read: the list is made as if there were none."""
        if seen.ref is not None:
            self._reader.unreadable("shelf", seen.ref.partition)
        seen.candidates, seen.why = (), "no_shelf"

    async def _read(self, ref: ShopperRef, rotates: bool) -> tuple[Known, Lately]:
        """In one round trip: the lane sends together what is asked in one turn of the event loop."""
        if not rotates:
            return await self._reader.read(ref), NOTHING
        known, shown = await asyncio.gather(self._reader.read(ref), self._shown.read(ref))
        return known, shown

    async def state_of(self, shopper_id: str) -> State | None:
        """What is known of a shopper.

        Raises:
            RedisAway.
        """
        return (await self._reader.read(self._place.ref(shopper_id))).state

    def _ref(self, asked: RecommendationRequest) -> ShopperRef | None:
        """Where the shopper's keys are; None when nothing about a person is to be read."""
        if asked.personalization == "none":
            return None
        if asked.user_id is not None:
            return self._place.ref(f"u-{asked.user_id}")
        if asked.anonymous_id is not None:
            return self._place.ref(f"a-{asked.anonymous_id}")
        return None

    def _seen(self, asked: RecommendationRequest, ref: ShopperRef, known: Known, reached: bool) -> Seen:
        state, shelf = known.state, known.shelf
        lag_ms = self._waiting.lag_ms(ref.partition, known.fence, self._clock.now_ms())
        if state is None:
            return self._unseen(ref, "unknown_shopper", Freshness(None, lag_ms, stale=not reached))
        try:
            newest = datetime.fromtimestamp(state.newest / 1000, UTC)
        except (ValueError, OverflowError, OSError):
            raise self._reader.unreadable("row", ref.partition) from None
        fresh = Freshness(
            applied_through=newest,
            lag_ms=lag_ms,
            stale=not reached or known.outdated,
        )
        # A shelf is made from everything that is known: it is no part of a list of this session alone.
        if asked.personalization == "session":
            return Seen(ref, state, (), self._model.version, fresh, None)
        if shelf is None:
            missing: Why = "no_model" if self._model.version == NO_MODEL else "no_shelf"
            return Seen(ref, state, (), self._model.version, fresh, missing)
        return Seen(ref, state, shelf, shelf.model_version, fresh, None)

    def _unseen(self, ref: ShopperRef | None, why: Why | None, fresh: Freshness) -> Seen:
        return Seen(ref, _EMPTY, (), self._model.version, fresh, why)
