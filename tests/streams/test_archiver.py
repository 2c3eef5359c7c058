"""The archiver: every record of the log once, whatever ends it."""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from uuid import uuid4

import pytest
from redis.asyncio import Redis

from features.archive import EventArchive, archive_row
from features.archive_check import doubles, look
from features.catalog import Content, FacetRecord, encode_record, key_of, record_keys
from features.catalog_archive import FOLDER, CatalogArchive
from infra.errors import Refused
from infra.kafka import Outgoing, Record
from infra.keys import partition_of, record_key
from infra.metrics import Metrics
from infra.places import Place
from infra.topics import CATALOG, EVENTS
from streams.archive_turns import HOLD, HeldTurn, Turn
from streams.archiver import Archiver, Filing, Following, Source
from streams.holds import Hold
from tests.bulk import BulkProducer
from tests.streams.shop import LOG, PARTITIONS, event, outgoing, partition_of_event

HOME = partition_of_event(event("ann", "page_view"))


def produce(bootstrap: str, start: int, stop: int) -> None:
    bulk = BulkProducer(bootstrap, embedded=True)
    bulk.send_all(outgoing(event("ann", "view_item", f"i{n}", minute=n)) for n in range(start, stop))
    bulk.close()


Turns = Callable[[Place], Turn | None]


@pytest.fixture
def turns(redis: Redis) -> Turns:
    """The turn of another archiver of a place at each call, as a worker takes it."""
    return lambda at: None if at.folder else HeldTurn(Hold(redis, HOLD, uuid4().hex, alone=True))


async def reading(archiver: Archiver, through: int) -> asyncio.Task[None]:
    """An archiver that runs and has read that offset."""
    running = asyncio.create_task(archiver.run())
    while archiver.reached(HOME) < through:
        await asyncio.wait({running}, timeout=0.01)
        assert not running.done()
    return running


async def ended(running: asyncio.Task[None]) -> None:
    """As a worker that is asked to end."""
    running.cancel()
    await asyncio.wait({running})


async def archive(archiver: Archiver, through: int) -> None:
    """Archive until that offset is read, then end."""
    await ended(await reading(archiver, through))


def offsets(at: Place | Path) -> list[int]:
    scanned = EventArchive(at).scan(columns=["partition", "offset"])
    return [row["offset"] for batch in scanned for row in batch.to_pylist() if row["partition"] == HOME]


async def test_each_record_once_over_several_archivers(broker: str, at: Place, turns: Turns) -> None:
    source = Source(broker, LOG, True)
    produce(broker, 0, 5)
    await archive(Archiver(source, at, Filing(records=2), Metrics(), turns(at)), 4)
    assert offsets(at) == list(range(5))
    produce(broker, 5, 9)
    bulk = BulkProducer(broker, embedded=True)
    bulk.send_all([Outgoing(EVENTS, HOME, "k", b"\xff no event")])
    bulk.close()
    await archive(Archiver(source, at, Filing(), Metrics(), turns(at)), 9)
    assert offsets(at) == list(range(10))
    assert len(list(EventArchive(at).events())) == 9
    assert [fault for one in look(EventArchive(at)) for fault in one.faults] == []
    assert list(doubles(EventArchive(at))) == []


async def test_the_catalogues_log_is_archived_in_a_folder_of_its_own(broker: str, at: Place, turns: Turns) -> None:
    """Facets and tombstones come back as they were; what is neither is in the file and in no catalogue."""
    tea = FacetRecord(tenant="default", item_id="tea", content=Content(name="Tea"))
    home = partition_of(record_key("default", "tea"), PARTITIONS)
    sent = [(key_of(tea), encode_record(tea)), ("k", b"\xff"), (record_keys("default", "tea")[0], None)]
    bulk = BulkProducer(broker, embedded=True)
    bulk.send_all([Outgoing(CATALOG, home, key, value) for key, value in sent])
    bulk.close()
    archiver = Archiver(Source(broker, LOG, True, CATALOG), at / FOLDER, Filing(), Metrics(), turns(at))
    running = asyncio.create_task(archiver.run())
    while archiver.reached(home) < 2:
        await asyncio.wait({running}, timeout=0.01)
        assert not running.done()
    await ended(running)
    found = CatalogArchive(at).facets()
    assert [(one.log, one.offset, one.record) for one in found] == [
        (LOG, 0, tea),
        (LOG, 2, FacetRecord(tenant="default", item_id="tea")),
    ]


async def test_a_second_archiver_waits_for_the_first_to_end(broker: str, at: Place, turns: Turns) -> None:
    produce(broker, 0, 3)
    one, two = (Archiver(Source(broker, LOG, True), at, Filing(), Metrics(), turns(at)) for _ in range(2))
    first = await reading(one, 2)
    second = asyncio.create_task(two.run())
    await two.until_read({HOME: 100}, behind=0)  # no brake on a worker whose archiver does not archive
    await asyncio.wait({second}, timeout=0.1)
    assert two.reached(HOME) == -1
    await ended(first)
    assert offsets(at) == [0, 1, 2]
    while two.reached(HOME) < 2:  # where the files end: there is nothing to read again
        await asyncio.wait({second}, timeout=0.01)
        assert not second.done()
    await ended(second)
    assert offsets(at) == [0, 1, 2]


class Given:
    """A turn that is ours or not, as a test says."""

    def __init__(self, *answers: bool) -> None:
        self.answers = list(answers)
        self.given_back = 0

    async def take(self) -> bool:
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]

    async def give_back(self) -> None:
        self.given_back += 1


async def test_one_whose_turn_is_over_drops_what_it_read_and_reads_it_again(broker: str, at: Place) -> None:
    """What it has not filed is the next one's to read; its own next turn begins where the files end then."""
    produce(broker, 0, 3)
    turn = Given(True)
    archiver = Archiver(Source(broker, LOG, True), at, Filing(), Metrics(), turn)
    running = await reading(archiver, 2)
    turn.answers = [False]
    async with asyncio.timeout(30):
        while not turn.given_back:
            await asyncio.wait({running}, timeout=0.01)
            assert not running.done()
    assert offsets(at) == []
    EventArchive(at).write(archive_row((LOG, HOME, n), 0, *rows(n)) for n in (0, 1))
    turn.answers = [True]
    produce(broker, 3, 4)
    async with asyncio.timeout(30):
        while archiver.reached(HOME) < 3:
            await asyncio.wait({running}, timeout=0.01)
            assert not running.done()
    await ended(running)
    assert offsets(at) == [0, 1, 2, 3]
    assert list(doubles(EventArchive(at))) == []


def rows(offset: int) -> tuple[bytes, bytes | None]:
    one = outgoing(event("ann", "view_item", f"i{offset}", minute=offset))
    return one.key.encode(), one.value


@dataclass(frozen=True)
class Forgetful(Source):
    """A broker of one partition that lets go of its oldest records while they are read: it gives the first three,
    then it keeps those from the fifth on, of which there are three. `kept` is where it begins, at each opening.
    """

    kept: list[int] = field(default_factory=lambda: [0, 5])

    def starts(self) -> dict[int, int]:
        return {HOME: self.kept.pop(0)}

    def follow(self, positions: Mapping[int, int]) -> Following:
        return Reader(positions[HOME])


class Reader:
    """Reads a forgetful broker from a position on."""

    def __init__(self, at: int) -> None:
        self._at = at

    def read(self, max_records: int, within_s: float) -> list[Record]:
        first, self._at = self._at, self._at + 3
        if first == 3:
            raise Refused("gone", code="offset_gone")
        return [record(offset) for offset in range(first, first + 3)] if first in (0, 5) else []

    def close(self) -> None:
        pass


def record(offset: int) -> Record:
    one = outgoing(event("ann", "view_item", f"i{offset}", minute=offset))
    return Record(EVENTS, HOME, offset, one.key.encode(), one.value, 0)


async def test_what_was_read_before_the_broker_let_go_of_its_oldest_is_filed(tmp_path: Path) -> None:
    archiver = Archiver(Forgetful("nowhere", LOG, True), tmp_path, Filing(), Metrics())
    running = asyncio.create_task(archiver.run())
    async with asyncio.timeout(30):
        while archiver.reached(HOME) < 7:
            await asyncio.wait({running}, timeout=0.01)
            assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    assert offsets(tmp_path) == [0, 1, 2, 5, 6, 7]


class Login(Forgetful):
    """A broker that turns the archiver away."""

    def follow(self, positions: Mapping[int, int]) -> Following:
        raise Refused("no such user", code="kafka_login")


async def test_a_refusal_that_does_not_mend_itself_ends_the_archiver(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="no such user"):
        await Archiver(Login("nowhere", LOG, True), tmp_path, Filing(), Metrics()).run()


async def test_a_folder_that_cannot_be_written_is_named(broker: str, tmp_path: Path) -> None:
    produce(broker, 0, 3)
    (tmp_path / ".half-written").write_text("a file where a folder is wanted")
    archiver = Archiver(Source(broker, LOG, True), tmp_path, Filing(records=1), Metrics())
    with pytest.raises(Refused, match=f"the archive in {tmp_path} cannot be written .*make room") as caught:
        await archiver.run()
    assert caught.value.reason == "archive_unwritable"
    assert offsets(tmp_path) == []
    blocked = tmp_path / ".half-written" / "below"
    with pytest.raises(Refused, match=f"the archive in {blocked} cannot be written"):
        await Archiver(Source(broker, LOG, True), blocked, Filing(), Metrics()).run()
