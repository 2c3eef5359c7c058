"""The archiver: it follows the log and writes every record of it into the event archive, once.

It reads on its own, from where the archive's files end, and not from the micro-batches: on a log that outlives
the worker, one that dies between applying and archiving loses nothing, and one that reads a record twice finds it
in a file. The embedded broker's log ends with its process: when everything is killed at once, what was applied
and not filed yet (`Filing`) is in the rows and in no file.

One archiver writes a folder at a time, whatever the number of workers, because all partitions share files (a few
large ones rather than one of each partition). A lock on the folder chooses it and ends with its process; another
worker then takes over.
"""

import asyncio
import fcntl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, Protocol, TypeVar

from features.archive import ArchiveRow, EventArchive, archive_row
from infra import metrics
from infra.brokers import Bootstrap
from infra.errors import Refused
from infra.kafka import Follower, Record
from infra.kafka_admin import start_offsets
from infra.logs import logger
from infra.metrics import Metrics
from infra.topics import EVENTS

_log = logger(__name__)
_T = TypeVar("_T")

_READ_AT_ONCE: Final = 2000
_READ_S: Final = 0.2
_LOCK_EVERY_S: Final = 2.0
_AGAIN_S: Final = 0.5
_OFFSET_GONE: Final = "offset_gone"


@dataclass(frozen=True, slots=True)
class Filing:
    """When a file is written: so many records wait, or so many seconds are over since the last was."""

    records: int = 20_000
    seconds: float = 10.0


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
    """Archives `source` below `folder` while it holds the lock of it."""

    def __init__(self, source: Source, folder: Path, filing: Filing, measured: Metrics) -> None:
        self._source = source
        self._folder = folder
        self._archive = EventArchive(folder)
        self._filing = filing
        self._metrics = measured
        self._rows: list[ArchiveRow] = []
        self._read: dict[int, int] = {}
        self._holding = False
        self._progress = asyncio.Event()

    async def run(self) -> None:
        """Archive until cancelled, or wait for the one that does to end. What was read is in files at the
        end.

        Raises:
            KafkaAway: at the start; later the follower waits for the brokers by itself.
            Refused: the folder cannot be written (`archive_unwritable`).
        """
        while (lock := await asyncio.to_thread(self._try_lock)) is None:
            await asyncio.sleep(_LOCK_EVERY_S)
        with lock:
            self._holding = True
            try:
                while True:
                    await self._follow()
            finally:
                self._holding = False
                await self._write()

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

    async def _follow(self) -> None:
        follower = await asyncio.to_thread(self._open)
        loop = asyncio.get_running_loop()
        written = loop.time()
        try:
            while True:
                await _to_the_end(partial(follower.read, _READ_AT_ONCE, _READ_S), self._take)
                if len(self._rows) >= self._filing.records or loop.time() - written > self._filing.seconds:
                    await self._write()
                    written = loop.time()
        except Refused as error:
            if error.reason != _OFFSET_GONE:
                raise
            _log.error("the log lost records before they were archived", why=error.message)
            await self._write()  # what was read is filed before reading begins anew behind the files
            await asyncio.sleep(_AGAIN_S)
        finally:
            await asyncio.to_thread(follower.close)

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
        for record in records:
            position = (self._source.log, record.partition, record.offset)
            self._rows.append(archive_row(position, record.timestamp_ms, record.key, record.value))
            self._read[record.partition] = record.offset
        if records:
            self._progress.set()

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        if rows:
            count = (
                partial(self._metrics.count, metrics.ARCHIVED_EVENTS) if self._source.topic == EVENTS else _not_counted
            )
            try:
                await _to_the_end(partial(self._archive.write, rows), count)
            except OSError as error:
                raise self._unwritable(error) from error

    def _try_lock(self) -> IO[bytes] | None:
        try:
            return _try_lock(self._folder)
        except OSError as error:
            raise self._unwritable(error) from error

    def _unwritable(self, error: OSError) -> Refused:
        return Refused(
            f"the archive in {self._folder} cannot be written ({error.strerror or error}): make room there, let "
            "this user write it, or set DAOGOU_DATA_DIR to another folder; then start again: the log is read on from "
            "where the files end",
            code="archive_unwritable",
        )


async def _to_the_end(call: Callable[[], _T], use: Callable[[_T], None]) -> None:
    """Call in a thread and use what it gives, even when cancelled meanwhile: a thread cannot be stopped amid
    it.
    """
    work = asyncio.ensure_future(asyncio.to_thread(call))
    try:
        await asyncio.shield(work)
    except asyncio.CancelledError:
        use(await work)
        raise
    use(work.result())


def _not_counted(_: int) -> None:
    """Facets: the metric is of events."""


def _try_lock(folder: Path) -> IO[bytes] | None:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "archiver.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
