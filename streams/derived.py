"""What follows from a row: its values in Feast's online store and the list on its shelf."""

import asyncio
from collections.abc import Sequence
from typing import Final, Protocol

from features.aggregates import SHOPPER_BEHAVIOUR, shopper_values
from features.online import OnlineRow, OnlineWriter
from features.shoppers import State
from infra.logs import logger
from infra.redis import told_as_away
from models.candidates import Candidate
from serving.shelf import Shelf, encode

_log = logger(__name__)

# From this many lists on, scoring leaves the event loop for a thread; below, the way there costs more.
_IN_THREAD: Final = 4


class Scoring(Protocol):
    """A released model."""

    @property
    def version(self) -> str:
        """The artifact's version."""
        ...

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[list[Candidate]]:
        """Candidates of each shopper, best first."""
        ...


class Derived:
    """Writes feature rows and makes shelves. Without a released model no shelf is made."""

    def __init__(self, online: OnlineWriter, shelf_size: int, *, where: str = "Redis") -> None:
        self.scorer: Scoring | None = None
        self._online = online
        self._shelf_size = shelf_size
        self._where = where

    async def write_features(self, rows: Sequence[tuple[str, State, str, int]]) -> None:
        """Write the values of shoppers: (record key, state, log, offset) of each. Repeats are harmless.

        Raises:
            RedisAway.
        """
        if not rows:
            return
        online = [OnlineRow(key, state.newest, shopper_values(state), log, offset) for key, state, log, offset in rows]
        with told_as_away(self._where):
            await self._online.write(SHOPPER_BEHAVIOUR, online)

    async def shelves(self, states: Sequence[State], log: str, offsets: Sequence[int]) -> list[bytes]:
        """The packed shelves of shoppers, scored with the released model, of which there must be one.

        `offsets` says where on the log each of them was scored.
        """
        scorer = self.scorer
        assert scorer is not None, "callers ask whether a model is released"
        if len(states) < _IN_THREAD:
            found = scorer.score(states, self._shelf_size, _at(states))
        else:
            found = await asyncio.to_thread(scorer.score, states, self._shelf_size, _at(states))
        return [
            encode(Shelf(scorer.version, log, offset, state.newest, candidates))
            for state, offset, candidates in zip(states, offsets, found, strict=True)
        ]


def _at(states: Sequence[State]) -> int:
    return max((state.newest for state in states), default=0)
