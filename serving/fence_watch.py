"""Waiting until a partition has applied an offset: however many wait, Redis is asked once every few milliseconds."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

_POLL_S: Final = 0.002


class Fences(Protocol):
    """Where fences are read (`infra.redis_lane.RedisLane`)."""

    async def ask(self, commands: Sequence[tuple[Any, ...]], /) -> list[Any]:
        """The answers to commands, in one round trip."""
        ...


class Served(Protocol):
    """The namespaces that partitions are served from (`serving.shopper_reader`)."""

    def live_key(self, partition: int) -> str:
        """The key that names the namespace."""
        ...

    def note(self, partition: int, live: bytes | None) -> bool:
        """Take what that key holds now; whether the fence lies in another namespace than before."""
        ...


class FenceWatch:
    """One task asks for the fences that somebody waits for, and ends when nobody does."""

    def __init__(self, lane: Fences, key: Callable[[int], str], served: Served | None = None) -> None:
        """`key` gives the Redis key of a partition's fences, which `served` may change."""
        self._lane = lane
        self._key = key
        self._served = served
        self._waiting: list[_Waiter] = []
        self._task: asyncio.Task[None] | None = None

    @property
    def asking(self) -> bool:
        """Whether Redis is being asked."""
        return self._task is not None

    async def wait_for(self, partition: int, log: str, offset: int, within_ms: int) -> bool:
        """Wait until the partition has applied `log` up to `offset`; whether it has.

        Raises:
            RedisAway.
        """
        until = time.monotonic() + within_ms / 1000
        waiter = _Waiter((partition, log), offset, until, asyncio.get_running_loop().create_future())
        self._waiting.append(waiter)
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._ask(), name="fences")
        return await waiter.future

    async def _ask(self) -> None:
        try:
            while self._waiting:
                # Who comes while Redis is asked is answered next time.
                await self._look(tuple(self._waiting))
                self._waiting = [one for one in self._waiting if not one.future.done()]
                if self._waiting:
                    await asyncio.sleep(_POLL_S)
        finally:
            self._task = None
            for one in self._waiting:  # only when this was cancelled
                one.future.cancel()

    async def _look(self, waiting: Sequence["_Waiter"]) -> None:
        places = list({one.place for one in waiting})
        try:
            asked = [("HGET", self._key(partition), log) for partition, log in places]
            answers = await self._answers(places, asked)
            applied = {at: -1 if raw is None else int(raw) for at, raw in zip(places, answers, strict=True)}
        except Exception as error:  # those who wait have to know, whatever it is
            for one in waiting:
                one.fail(error)
            return
        now = time.monotonic()
        for one in waiting:
            if applied[one.place] >= one.offset:
                one.tell(True)
            elif now >= one.until:
                one.tell(False)

    async def _answers(self, places: Sequence[tuple[int, str]], asked: Sequence[tuple[Any, ...]]) -> list[Any]:
        """The fences; and, in the same round trip, whether another namespace is served by now."""
        served = self._served
        if served is None:
            return await self._lane.ask(asked)
        partitions = list(dict.fromkeys(partition for partition, _ in places))
        answers = await self._lane.ask([*asked, *(("GET", served.live_key(partition)) for partition in partitions)])
        for partition, live in zip(partitions, answers[len(asked) :], strict=True):
            served.note(partition, live)
        return answers[: len(asked)]


class _Waiter:
    """Who waits for which offset of which partition and log, and until when."""

    __slots__ = ("future", "offset", "place", "until")

    def __init__(self, place: tuple[int, str], offset: int, until: float, future: "asyncio.Future[bool]") -> None:
        self.place = place
        self.offset = offset
        self.until = until
        self.future = future

    def tell(self, reached: bool) -> None:
        if not self.future.done():  # the caller may have gone away
            self.future.set_result(reached)

    def fail(self, error: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(error)
