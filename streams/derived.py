"""What follows from a row: its values in Feast's online store and the list on its shelf."""

import asyncio
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Protocol

from features.aggregates import SHOPPER_BEHAVIOUR, Value, shopper_values
from features.online import OnlineRow, OnlineWriter, PackedRow, Packer
from features.shoppers import State
from infra.keys import LIVE, feast_project
from infra.logs import logger, said
from infra.redis import told_as_away
from models.candidates import Candidates
from serving.shelf import Shelf, encode, mark_of

_log = logger(__name__)

# From this many lists on, scoring leaves the event loop for a thread; below, the way there costs more.
_IN_THREAD: Final = 4


class Scoring(Protocol):
    """A released model."""

    @property
    def version(self) -> str:
        """The artifact's version."""
        ...

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        """Candidates of each shopper, best first."""
        ...


@dataclass(slots=True)
class Spent:
    """Lists that were made, and the processor time that they took."""

    lists: int = 0
    processor_s: float = 0.0


class Derived:
    """Writes feature rows and makes shelves. Without a released model no shelf is made."""

    def __init__(self, online: OnlineWriter, shelf_size: int, *, where: str = "Redis") -> None:
        self.scorer: Scoring | None = None
        self.spent = Spent()
        self._online = online
        self._packer = Packer(SHOPPER_BEHAVIOUR)
        self._shelf_size = shelf_size
        self._where = where

    def values(self, state: State) -> Mapping[str, Value]:
        """The values of a shopper in `shopper_behaviour`."""
        return shopper_values(state)

    def packed(self, key: str, state: State, log: str, offset: int) -> PackedRow | None:
        """The values of the shopper with this record key, who is at this place of the log, ready to be written.

        None: they could not be made, and the shopper keeps those that were written before; that stops nobody else.
        """
        try:
            return self._packer.packed(OnlineRow(key, state.newest, self.values(state), log, offset))
        except Exception as error:
            _log.error("the values of a shopper could not be made", log=log, offset=offset, why=said(error))
            return None

    async def write_features(self, rows: Iterable[PackedRow], namespace: str = LIVE) -> None:
        """Write the values of shoppers into the namespace's project. Repeats are harmless.

        Raises:
            RedisAway.
        """
        online = self._online.into(feast_project(namespace))
        with told_as_away(self._where):
            await online.put(SHOPPER_BEHAVIOUR, rows)

    async def shelves(
        self, states: Sequence[State], log: str, offsets: Sequence[int], rows: Sequence[bytes]
    ) -> list[bytes | None]:
        """The packed shelves of shoppers, scored with the released model, of which there must be one.

        `offsets` says where on the log each of them was scored, `rows` are their packed rows. None stands for a list
        that could not be made.
        """
        scorer = self.scorer
        assert scorer is not None, "callers ask whether a model is released"
        scoring = _Shelving(scorer, self._shelf_size, log, _at(states), self.spent)
        asked = list(zip(states, offsets, rows, strict=True))
        try:
            if len(asked) < _IN_THREAD:
                return [*scoring.made(asked)]
            return [*await asyncio.to_thread(scoring.made, asked)]
        except Exception as error:  # whoever it was: one shopper must not stop the others
            _log.error("lists could not be made; one shopper at a time", shoppers=len(asked), why=said(error))
            return await asyncio.to_thread(scoring.made_alone, asked)


@dataclass(frozen=True, slots=True)
class _Shelving:
    """Makes shelves of (state, offset, packed row), all scored as of one time."""

    scorer: Scoring
    size: int
    log: str
    at_ms: int
    spent: Spent = field(default_factory=Spent)
    processor_s: Callable[[], float] = time.thread_time

    def made(self, asked: Sequence[tuple[State, int, bytes]]) -> list[bytes]:
        begin = self.processor_s()
        found = self.scorer.score([state for state, _, _ in asked], self.size, self.at_ms)
        self.spent.processor_s += self.processor_s() - begin
        self.spent.lists += len(asked)
        return [
            encode(Shelf(self.scorer.version, self.log, offset, state.newest, candidates, mark_of(row)))
            for (state, offset, row), candidates in zip(asked, found, strict=True)
        ]

    def made_alone(self, asked: Sequence[tuple[State, int, bytes]]) -> list[bytes | None]:
        shelves: list[bytes | None] = []
        for one in asked:
            try:
                shelves += self.made([one])
            except Exception as error:
                _log.error("the list of a shopper could not be made", log=self.log, offset=one[1], why=said(error))
                shelves.append(None)
        return shelves


def _at(states: Sequence[State]) -> int:
    return max((state.newest for state in states), default=0)
