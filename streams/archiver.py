"""The archiver: it follows the log and writes every record of it into the event archive, once.

It reads on its own, from where the archive's files end, and not from the micro-batches: on a log that outlives
the worker, one that dies between applying and archiving loses nothing, and one that reads a record twice finds it
in a file. The embedded broker's log ends with its process: when everything is killed at once, what was applied
and not filed yet (`Filing`) is in the rows and in no file.

One archiver writes an archive at a time, whatever the number of workers, because all partitions share files (a few
large ones rather than one of each partition): `streams.archive_turns` chooses it; when it ends, another takes over.

While a store does not answer, what was read waits here, and no more is read: the log keeps the rest.
"""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final, Protocol, TypeVar

from features.archive import ArchiveRow, EventArchive, archive_row
from infra import metrics
from infra.brokers import Bootstrap
from infra.errors import ArchiveAway, RedisAway, Refused
from infra.kafka import Follower, Record
from infra.kafka_admin import start_offsets
from infra.logs import logger
from infra.metrics import Metrics
from infra.places import Place, place_of
from infra.topics import EVENTS
from streams.archive_turns import FolderTurn, HeldTurn, Turn
from streams.holds import Hold
from streams.patience import Pauses, for_good

_log = logger(__name__)
_T = TypeVar("_T")

_READ_AT_ONCE: Final = 2000
_READ_S: Final = 0.2
_TURN_EVERY_S: Final = 2.0
_HELD_S: Final = 5.0  # a turn is taken again at least so often, between two steps
_AGAIN_S: Final = 0.5
_PAUSES: Final = Pauses(_AGAIN_S, 30.0)
_OFFSET_GONE: Final = "offset_gone"


@dataclass(frozen=True, slots=True)
class Filing:
    """When a file is written: so many records wait, or so many seconds are over since the last was."""

    records: int = 20_000
    seconds: float = 10.0


# Each file of a store costs a request to write it, and every listing passes it: fewer and larger ones.
IN_A_STORE: Final = Filing(seconds=60.0)


class _TurnLost(Exception):
    """Another archiver goes on."""


class Following(Protocol):
    """What an archiver reads from: a `Follower`."""

    def read(self, max_records: int, within_s: float) -> list[Record]:
        """The next records; none if there are none yet.

        Raises:
            Refused: a position is not on the log any more.
        """
        ...

    def close(self) -> None:
        """End."""
        ...


@dataclass(frozen=True, slots=True)
class Source:
    """The log that is archived."""

    bootstrap: Bootstrap
    log: str
    embedded: bool
    topic: str = EVENTS

    def starts(self) -> dict[int, int]:
        """The first offset that the log keeps, by partition.

        Raises:
            KafkaAway.
        """
        return start_offsets(self.bootstrap, self.topic)

    def follow(self, positions: Mapping[int, int]) -> Following:
        """Read on there."""
        return Follower(self.bootstrap, self.topic, positions, embedded=self.embedded)


class Archiver:
    """Archives `source` at one place while it is its turn, which a folder's own lock says unless another is given."""

    def __init__(
        self, source: Source, at: Place | Path, filing: Filing, measured: Metrics, turn: Turn | None = None
    ) -> None:
        self._source = source
        self._place = place_of(at)
        self._archive = EventArchive(self._place)
        self._filing = filing
        self._metrics = measured
        self._turn = turn or FolderTurn(_folder(self._place))
        self._taken = 0.0
        self._rows: list[ArchiveRow] = []
        self._read: dict[int, int] = {}
        self._stuck = False  # the last try to write failed
        self._holding = False
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Archive until cancelled, or wait for the one that does to end. What was read is in files at the
        end.

        Raises:
            KafkaAway: at the start; later the follower waits for the brokers by itself.
            Refused: the archive cannot be written (`archive_unwritable`; those of `infra.places`).
            RedisAway: it stayed away, where it says whose turn it is.
        """
        while True:
            while not await self._take_turn():
                await asyncio.sleep(_TURN_EVERY_S)
            try:
                await self._archive_on()
            except _TurnLost:
                _log.warning("another archiver goes on", archive=str(self._place), not_filed=len(self._rows))
                self._rows = []  # it reads them from the log itself

    def reached(self, partition: int) -> int:
        """The last offset read of a partition; -1 before the first."""
        return self._read.get(partition, -1)

    async def until_read(self, last: Mapping[int, int], behind: int) -> None:
        """Wait until no partition is read less far than `behind` records before `last`, if this one archives.

        An embedded broker forgets its oldest records: nothing is applied far ahead of the archive there. Read is
        not filed: what is read lies in this process for as long as `Filing` says.
        """
        while self._holding and any(at - self.reached(p) > behind for p, at in last.items()):
            self._progress.clear()
            await self._progress.wait()

    async def _archive_on(self) -> None:
        self._holding = True
        try:
            while True:
                await self._patiently(self._follow)
        except _TurnLost:
            raise
        except BaseException:
            await self._end()
            raise
        finally:
            self._holding = False
            self._progress.set()
            await self._give_turn_back()

    async def _follow(self) -> None:
        follower = await asyncio.to_thread(self._open)
        loop = asyncio.get_running_loop()
        written = loop.time()
        try:
            while True:
                await _to_the_end(partial(follower.read, _READ_AT_ONCE, _READ_S), self._take)
                if len(self._rows) >= self._filing.records or loop.time() - written > self._filing.seconds:
                    await self._patiently(self._write)
                    written = loop.time()
                await self._keep_turn()
        except Refused as error:
            if error.reason != _OFFSET_GONE:
                raise
            _log.error("the log lost records before they were archived", why=error.message)
            await self._patiently(self._write)  # what was read, before reading begins anew behind the files
            await asyncio.sleep(_AGAIN_S)
        finally:
            await asyncio.to_thread(follower.close)

    async def _patiently(self, call: Callable[[], Awaitable[None]]) -> None:
        """Do it, again and again while the store does not answer. Each try is bounded by `infra.archive_uri`.

        There is no last one: nothing but the archive waits, and a worker that ended would archive no sooner. Records
        that the log lets go of meanwhile are told when it is read again.
        """
        await for_good(call, ArchiveAway, self._away, _PAUSES, partial(self._keep_turn, now=True))

    def _away(self, error: ArchiveAway, pause_s: float) -> None:
        _log.error("nothing can be archived", why=error.message, waiting=len(self._rows), again_in_s=pause_s)
        self._metrics.count(metrics.ARCHIVE_AWAY)

    def _open(self) -> Following:
        """Read on where the files end, or where the log begins."""
        positions = {p: offset + 1 for p, offset in self._archive.through(self._source.log).items()}
        for partition, start in self._source.starts().items():
            if positions.setdefault(partition, start) < start:
                _log.error(
                    "the log lost records before they were archived",
                    partition=partition,
                    first=positions[partition],
                    last=start - 1,
                )
                positions[partition] = start
        self._read = {partition: position - 1 for partition, position in positions.items()}
        return self._source.follow(positions)

    def _take(self, records: list[Record]) -> None:
        if not self._rows:
            self._stuck = False  # what could not be written is gone; nobody has tried to write these
        for record in records:
            position = (self._source.log, record.partition, record.offset)
            self._rows.append(archive_row(position, record.timestamp_ms, record.key, record.value))
            self._read[record.partition] = record.offset
        if records:
            self._progress.set()

    async def _write(self) -> None:
        if not self._rows:
            return
        self._stuck = True
        try:
            await _to_the_end(partial(self._archive.write, self._rows), self._filed)
        except OSError as error:
            raise self._unwritable(error) from error

    def _filed(self, _: int) -> None:
        if self._source.topic == EVENTS:  # the metric is not of facets
            self._metrics.count(metrics.ARCHIVED_EVENTS, len(self._rows))
        self._rows, self._stuck = [], False

    async def _end(self) -> None:
        """File what was read, unless that has just failed: it is read from the log again."""
        if not self._stuck:
            await self._write()
        elif self._rows:
            _log.error("not archived at the end; the log has it", archive=str(self._place), records=len(self._rows))

    async def _take_turn(self) -> bool:
        try:
            ours = await self._turn.take()
        except OSError as error:
            raise self._unwritable(error) from error
        self._taken = asyncio.get_running_loop().time()
        return ours

    async def _keep_turn(self, *, now: bool = False) -> None:
        due = now or asyncio.get_running_loop().time() - self._taken > _HELD_S
        if due and not await self._take_turn():
            raise _TurnLost

    async def _give_turn_back(self) -> None:
        try:
            await self._turn.give_back()
        except RedisAway as error:
            _log.warning("the archive stays held for half a minute", why=error.message)

    def _unwritable(self, error: OSError) -> Refused:
        return Refused(
            f"the archive in {self._place} cannot be written ({error.strerror or error}): make room there, let "
            "this user write it, or set DAOGOU_DATA_DIR or DAOGOU_ARCHIVE to another place; then start again: the log "
            "is read on from where the files end",
            code="archive_unwritable",
        )


def archiver_at(place: Place, source: Source, hold: Hold, measured: Metrics) -> Archiver:
    """The archiver of a worker: a folder's own lock gives it its turn, and `hold` where there is no folder."""
    if place.folder is not None:
        return Archiver(source, place, Filing(), measured)
    return Archiver(source, place, IN_A_STORE, measured, HeldTurn(hold))


def _folder(place: Place) -> Path:
    folder = place.folder
    assert folder is not None, "an archive that is no folder of this machine wants a turn"
    return folder


async def _to_the_end(call: Callable[[], _T], use: Callable[[_T], None]) -> None:
    """Call in a thread and use what it gives, even when cancelled meanwhile: a thread cannot be stopped amid
    it. A store that is away is no reason to go on then.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        with suppress(ArchiveAway):
            use(await work)
        raise
    use(work.result())
