"""An archiver whose store is away or says no: it waits and holds no more than it held, or it ends and says why."""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest
from redis.asyncio import Redis

from features.archive import ArchiveRow, EventArchive
from infra import metrics
from infra.errors import ArchiveAway, Refused
from infra.kafka import Record
from infra.metrics import Metrics
from infra.settings import Settings
from streams.archiver import Archiver, Filing, Following, Source
from streams.replay.order import note_begun
from tests.stores import Server, running
from tests.streams.loads import direct, run
from tests.streams.shop import LOG
from tests.streams.test_archiver import HOME, Given, ended, offsets, record

FEW = 20


@pytest.fixture
def own() -> Iterator[Server]:
    """A server that a test may stop, and the keys for it: without them nothing that is written can be read."""
    with running() as server:
        yield server


@dataclass(frozen=True)
class Endless(Source):
    """A log of one partition that always has more; `read` are the offsets that were taken from it."""

    read: list[int] = field(default_factory=list)

    def starts(self) -> dict[int, int]:
        return {HOME: 0}

    def follow(self, positions: Mapping[int, int]) -> Following:
        return Reader(self.read, positions[HOME])


class Reader:
    """Ten at a time."""

    def __init__(self, read: list[int], at: int) -> None:
        self._read, self._at = read, at

    def read(self, max_records: int, within_s: float) -> list[Record]:
        first, self._at = self._at, self._at + 10
        self._read += range(first, self._at)
        return [record(offset) for offset in range(first, self._at)]

    def close(self) -> None:
        pass


def counted(measured: Metrics, metric: metrics.Metric) -> float:
    lines = measured.text().decode().splitlines()
    return sum(float(line.split()[1]) for line in lines if line.startswith(f"{metric.name} "))


def away(measured: Metrics) -> float:
    return counted(measured, metrics.ARCHIVE_AWAY)


async def until(running: asyncio.Task[None], done: Callable[[], bool]) -> None:
    async with asyncio.timeout(60):
        while not done():
            await asyncio.wait({running}, timeout=0.02)
            assert not running.done(), running.exception()


async def test_while_the_store_is_away_no_more_is_read_and_nothing_is_missing_after_it(
    own: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    at, source, measured = own.place(), Endless("nowhere", LOG, True), Metrics()
    archiver = Archiver(source, at, Filing(records=FEW), measured, Given(True))
    running = asyncio.create_task(archiver.run())
    await until(running, lambda: counted(measured, metrics.ARCHIVED_EVENTS) >= FEW)
    own.stop()
    await until(running, lambda: away(measured) >= 1)
    read = len(source.read)
    await until(running, lambda: away(measured) >= 3)
    assert len(source.read) == read
    assert read - counted(measured, metrics.ARCHIVED_EVENTS) == FEW
    said = capsys.readouterr().out
    assert "nothing can be archived" in said
    assert "does not answer" in said
    own.start()
    await until(running, lambda: counted(measured, metrics.ARCHIVED_EVENTS) > read)
    await ended(running)
    assert offsets(at) == list(range(len(source.read)))
    assert source.read == list(range(len(source.read))), "each record was read once"


async def test_a_store_that_is_away_at_the_start_is_waited_for(own: Server) -> None:
    at, source, measured = own.place(), Endless("nowhere", LOG, True), Metrics()
    own.stop()
    archiver = Archiver(source, at, Filing(records=FEW), measured, Given(True))
    running = asyncio.create_task(archiver.run())
    await until(running, lambda: away(measured) >= 1)
    assert source.read == []
    own.start()
    await until(running, lambda: counted(measured, metrics.ARCHIVED_EVENTS) > 0)
    await ended(running)
    assert offsets(at) == list(range(len(source.read)))


async def test_one_that_is_asked_to_end_meanwhile_ends_and_the_next_one_reads_again(
    own: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    at, source, measured = own.place(), Endless("nowhere", LOG, True), Metrics()
    running = asyncio.create_task(Archiver(source, at, Filing(records=FEW), measured, Given(True)).run())
    await until(running, lambda: counted(measured, metrics.ARCHIVED_EVENTS) >= FEW)
    own.stop()
    await until(running, lambda: away(measured) >= 1)
    await ended(running)
    assert running.cancelled()
    assert "not archived at the end; the log has it" in capsys.readouterr().out
    own.start()
    again = Endless("nowhere", LOG, True)
    running = asyncio.create_task(Archiver(again, at, Filing(records=FEW), measured, Given(True)).run())
    await until(running, lambda: len(again.read) >= 3 * FEW)
    await ended(running)
    assert offsets(at) == list(range(again.read[-1] + 1))


async def test_what_does_not_mend_itself_ends_the_archiver_by_name(own: Server) -> None:
    async def run(bucket: str) -> str:
        archiver = Archiver(Endless("nowhere", LOG, True), own.place(bucket), Filing(), Metrics(), Given(True))
        with pytest.raises(Refused, match="DAOGOU_ARCHIVE: ") as no:
            await archiver.run()
        return no.value.reason

    assert await run("never-made") == "archive_no_bucket"
    bucket = own.make()
    own.refuse_keys()
    try:
        assert await run(bucket) == "archive_denied"
    finally:
        own.take_any_keys()


def test_a_direct_load_without_its_archive_writes_nothing_and_goes_on_later(
    settings: Settings, empty: object, own: Server, retail: Path
) -> None:
    far = settings.model_copy(update={"archive": own.uri(own.make())})
    own.stop()
    with pytest.raises(ArchiveAway, match="DAOGOU_ARCHIVE"):
        run(far, direct(retail))
    own.start()
    run(far, direct(retail))
    assert len(list(EventArchive(far.archive_at).events())) == 40
    assert not settings.archive_dir.exists()


async def test_an_order_that_the_store_cannot_take_stops_nobody(
    settings: Settings, redis: Redis, own: Server, capsys: pytest.CaptureFixture[str]
) -> None:
    far = settings.model_copy(update={"archive": own.uri("never-made")})
    await note_begun(far, redis, LOG)
    own.stop()
    await note_begun(far, redis, LOG)
    said = capsys.readouterr().out
    assert said.count("could not be noted") == 2
    assert "does not exist" in said
    assert "does not answer" in said
    own.start()


async def test_what_is_read_after_a_lost_turn_is_filed_at_the_end(tmp_path: Path) -> None:
    """The store was away, the turn was lost with what could not be written, and came again."""

    class Broken(EventArchive):
        def write(self, rows: Iterable[ArchiveRow]) -> int:
            raise ArchiveAway("away for the test")

    source, measured = Endless("nowhere", LOG, True), Metrics()
    archiver = Archiver(source, tmp_path, Filing(records=FEW), measured, Given(True, False, True))
    whole, archiver._archive = archiver._archive, Broken(tmp_path)
    running = asyncio.create_task(archiver.run())
    await until(running, lambda: away(measured) >= 1)
    source.read.clear()
    archiver._archive, archiver._filing = whole, Filing()  # from now on a file is written at the end alone
    await until(running, lambda: bool(source.read))
    await ended(running)
    assert offsets(tmp_path) == list(range(len(source.read)))
