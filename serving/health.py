"""Whether this process lives, and whether everything that it needs is there."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Final, Literal, Protocol

import msgspec

from infra.errors import DaogouError, RedisAway
from infra.logs import logger
from infra.redis_lane import RedisLane
from serving.catalogue_follower import CatalogueFollower
from serving.model import ModelInService
from serving.problems import Fault, NotReady
from serving.statistics_reader import NO_STATISTICS, StatisticsReader

_log = logger(__name__)

_KAFKA_ANSWER_HOLDS_S: Final = 1.0
_ARCHIVE_ANSWER_HOLDS_S: Final = 30.0


def _no_archive() -> bool:
    return False


class Followed(Protocol):
    """A log that this process follows."""

    @property
    def trouble(self) -> str:
        """Why it is not followed at this moment; empty when it is."""
        ...


class Liveness(msgspec.Struct, frozen=True):
    """The process answers."""

    status: Literal["live"] = "live"


class Readiness(msgspec.Struct, frozen=True):
    """Everything that is needed is there; `model` may be `none`, then lists are of what is popular or in the
    range. `model_wanted` is a release that could not be taken into service; lists go on without it.
    `statistics` is the version of what is popular and goes together, `none` before the first.
    """

    status: Literal["ready"]
    items: int
    model: str
    model_wanted: str | None = None
    statistics: str = NO_STATISTICS


class Health:
    """Asks the parts. `ask_kafka` blocks and raises KafkaAway; `ended` names work in the background that failed;
    `archived` blocks and says whether the archive holds any of the catalogue: asked only while no item is known.
    """

    def __init__(
        self,
        lane: RedisLane,
        catalogue: CatalogueFollower,
        model: ModelInService,
        statistics: StatisticsReader,
        triggers: Followed,
        settings: Followed,
        ask_kafka: Callable[[], None],
        ended: Sequence[str],
        archived: Callable[[], bool] = _no_archive,
    ) -> None:
        self._archived = archived
        self._archive_said: tuple[float, bool] = (-_ARCHIVE_ANSWER_HOLDS_S, False)
        self._lane = lane
        self._catalogue = catalogue
        self._model = model
        self._statistics = statistics
        self._followed = {"catalogue": catalogue, "triggers": triggers, "settings": settings}
        self._ask_kafka = ask_kafka
        self._ended = ended
        self._kafka_said: tuple[float, str] = (-_KAFKA_ANSWER_HOLDS_S, "")
        self._asking = asyncio.Lock()

    async def ready(self) -> Readiness:
        """That all is there.

        Raises:
            NotReady: names what is not.
        """
        faults = []
        try:
            await self._lane.ask((("PING",),))
        except RedisAway as error:
            faults.append(Fault("redis", error.message))
        kafka = await self._kafka()
        if kafka:
            faults.append(Fault("kafka", kafka))
        if not self._catalogue.caught_up:
            faults.append(Fault("catalogue", "it is being read from the log"))
        elif not self._catalogue.items and await self._items_lost():
            faults.append(
                Fault(
                    "catalogue",
                    "no item is known, though the archive holds a catalogue: if Redis was lost, stop the workers and "
                    "make it anew by `daogou catalogue rebuild`",
                )
            )
        for name, one in self._followed.items():
            if one.trouble:
                faults.append(Fault(name, f"it is not followed at this moment: {one.trouble}"))
        faults += [Fault(name, "it is not followed any more; the server's log says why") for name in self._ended]
        if faults:
            raise NotReady(tuple(faults))
        return Readiness(
            "ready", self._catalogue.items, self._model.version, self._model.wanted, self._statistics.version
        )

    async def _items_lost(self) -> bool:
        """Whether there are items elsewhere; an archive that cannot be asked says nothing of the kind."""
        async with self._asking:
            at, said = self._archive_said
            if time.monotonic() - at >= _ARCHIVE_ANSWER_HOLDS_S:
                try:
                    said = await asyncio.to_thread(self._archived)
                except (DaogouError, OSError) as error:
                    _log.warning("whether the archive holds a catalogue cannot be asked", why=type(error).__name__)
                    said = False
                self._archive_said = (time.monotonic(), said)
            return said

    async def _kafka(self) -> str:
        """What is wrong with Kafka; asked once a second at most, however many ask here."""
        async with self._asking:
            at, said = self._kafka_said
            if time.monotonic() - at >= _KAFKA_ANSWER_HOLDS_S:
                try:
                    await asyncio.to_thread(self._ask_kafka)
                    said = ""
                except DaogouError as error:
                    said = error.message
                self._kafka_said = (time.monotonic(), said)
            return said
