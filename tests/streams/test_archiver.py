"""The archiver: every record of the log once, whatever ends it."""

import asyncio
from pathlib import Path

from features.archive import EventArchive
from infra.kafka import Outgoing
from infra.metrics import Metrics
from infra.topics import EVENTS
from streams.archiver import Archiver, Filing, Source
from tests.bulk import BulkProducer
from tests.streams.shop import LOG, event, outgoing, partition_of_event

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
