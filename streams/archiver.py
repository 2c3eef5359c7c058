"""The archiver: it follows the log and writes every record of it into the event archive, once.

It reads on its own, from where the archive's files end, and not from the micro-batches: a worker that dies
between applying and archiving loses nothing, and one that reads a record twice finds it in a file. One
archiver writes a folder at a time, whatever the number of workers, because all partitions share files (a few
large ones rather than one of each partition). A lock on the folder chooses it and ends with its process;
another worker then takes over.
"""

import asyncio
import fcntl
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import IO, Final, TypeVar

from features.archive import ArchiveRow, EventArchive, archive_row
from infra import metrics
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


@dataclass(frozen=True, slots=True)
class Filing:
    """When a file is written: so many records wait, or so many seconds are over since the last was."""

    records: int = 20_000
    seconds: float = 10.0


@dataclass(frozen=True, slots=True)
class Source:
    """The log that is archived."""

    bootstrap: str
    log: str
    embedded: bool


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
        """
        while (lock := await asyncio.to_thread(_try_lock, self._folder)) is None:
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

        An embedded broker forgets its oldest records: nothing is applied far ahead of the archive there.
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
            _log.error("the log lost records before they were archived", why=error.message)
        finally:
            await asyncio.to_thread(follower.close)

    def _open(self) -> Follower:
        """Read on where the files end, or where the log begins."""
        positions = {p: offset + 1 for p, offset in self._archive.through(self._source.log).items()}
        for partition, start in start_offsets(self._source.bootstrap, EVENTS).items():
            if positions.setdefault(partition, start) < start:
                _log.error(
                    "the log lost records before they were archived",
                    partition=partition,
                    first=positions[partition],
                    last=start - 1,
                )
                positions[partition] = start
        self._rows.clear()
        self._read = {partition: position - 1 for partition, position in positions.items()}
        return Follower(self._source.bootstrap, EVENTS, positions, embedded=self._source.embedded)

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
            count = partial(self._metrics.count, metrics.ARCHIVED_EVENTS)
            await _to_the_end(partial(self._archive.write, rows), count)


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


def _try_lock(folder: Path) -> IO[bytes] | None:
    folder.mkdir(parents=True, exist_ok=True)
    file = (folder / "archiver.lock").open("ab")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return None
    return file
