"""The archiver: every record of the log once, whatever ends it."""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from features.archive import EventArchive
from features.catalog import Content, FacetRecord, encode_record, key_of, record_keys
from features.catalog_archive import FOLDER, CatalogArchive
from infra.errors import Refused
from infra.kafka import Outgoing, Record
from infra.keys import partition_of, record_key
from infra.metrics import Metrics
from infra.topics import CATALOG, EVENTS
from streams.archiver import Archiver, Filing, Following, Source
from tests.bulk import BulkProducer
from tests.streams.shop import LOG, PARTITIONS, event, outgoing, partition_of_event

HOME = partition_of_event(event("ann", "page_view"))


def produce(bootstrap: str, start: int, stop: int) -> None:
    bulk = BulkProducer(bootstrap, embedded=True)
    bulk.send_all(outgoing(event("ann", "view_item", f"i{n}", minute=n)) for n in range(start, stop))
    bulk.close()


async def archive(bootstrap: str, folder: Path, through: int, filing: Filing) -> None:
    """Archive until that offset is read, then end as a worker that is asked to."""
    archiver = Archiver(Source(bootstrap, LOG, True), folder, filing, Metrics())
    running = asyncio.create_task(archiver.run())
    while not folder.exists() or archiver.reached(HOME) < through:
        await asyncio.wait({running}, timeout=0.01)
        assert not running.done()
    running.cancel()
    await asyncio.wait({running})


def offsets(folder: Path) -> list[int]:
    scanned = EventArchive(folder).scan(columns=["partition", "offset"])
    return [row["offset"] for batch in scanned for row in batch.to_pylist() if row["partition"] == HOME]


async def test_each_record_once_over_several_archivers(broker: str, tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    produce(broker, 0, 5)
    await archive(broker, folder, 4, Filing(records=2))
    assert offsets(folder) == list(range(5))
    produce(broker, 5, 9)
    bulk = BulkProducer(broker, embedded=True)
    bulk.send_all([Outgoing(EVENTS, HOME, "k", b"\xff no event")])
    bulk.close()
    await archive(broker, folder, 9, Filing())
    assert offsets(folder) == list(range(10))
    assert len(list(EventArchive(folder).events())) == 9


async def test_the_catalogues_log_is_archived_in_a_folder_of_its_own(broker: str, tmp_path: Path) -> None:
    """Facets and tombstones come back as they were; what is neither is in the file and in no catalogue."""
    tea = FacetRecord(tenant="default", item_id="tea", content=Content(name="Tea"))
    home = partition_of(record_key("default", "tea"), PARTITIONS)
    sent = [(key_of(tea), encode_record(tea)), ("k", b"\xff"), (record_keys("default", "tea")[0], None)]
    bulk = BulkProducer(broker, embedded=True)
    bulk.send_all([Outgoing(CATALOG, home, key, value) for key, value in sent])
    bulk.close()
    folder = tmp_path / FOLDER
    archiver = Archiver(Source(broker, LOG, True, CATALOG), folder, Filing(), Metrics())
    running = asyncio.create_task(archiver.run())
    while archiver.reached(home) < 2:
        await asyncio.wait({running}, timeout=0.01)
        assert not running.done()
    running.cancel()
    await asyncio.wait({running})
    found = CatalogArchive(tmp_path).facets()
    assert [(one.log, one.offset, one.record) for one in found] == [
        (LOG, 0, tea),
        (LOG, 2, FacetRecord(tenant="default", item_id="tea")),
    ]


async def test_a_second_archiver_of_a_folder_waits_for_the_first_to_end(broker: str, tmp_path: Path) -> None:
    produce(broker, 0, 3)
    one, two = (Archiver(Source(broker, LOG, True), tmp_path, Filing(), Metrics()) for _ in range(2))
    first = asyncio.create_task(one.run())
    while one.reached(HOME) < 2:
        await asyncio.wait({first}, timeout=0.01)
    second = asyncio.create_task(two.run())
    await two.until_read({HOME: 100}, behind=0)  # no brake on a worker whose archiver does not archive
    await asyncio.wait({second}, timeout=0.1)
    assert two.reached(HOME) == -1
    first.cancel()
    await asyncio.wait({first})
    assert offsets(tmp_path) == [0, 1, 2]
    second.cancel()
    await asyncio.wait({second})


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
