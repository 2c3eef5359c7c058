"""Which records a replay goes over, and what it says of those that are gone."""

from dataclasses import replace
from pathlib import Path

import pytest
from redis.asyncio import Redis

from features.archive import EventArchive
from features.archive_order import ArchiveOrder, Window
from infra.errors import BadInput, NotEmbedded, Refused
from infra.kafka import Outgoing
from infra.kafka_admin import start_offsets
from infra.settings import Settings
from infra.topics import EVENTS
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.ranges import Bound, Range, bound, in_archive, on_kafka
from streams.replay.records import Replay
from tests.bulk import BulkProducer
from tests.streams.files import RETAIL_HEADER, retail_line, written
from tests.streams.replay.past import CLOCK, apply_live, archive, held, made, quietly
from tests.streams.shop import LOG, T0, event, outgoing

LARGE = b"x" * 900_000
ASKED = ReplayRequest("again", score=False)


async def run(settings: Settings, request: ReplayRequest) -> Replay:
    return await replay_with(settings, request, quietly(), CLOCK)


@pytest.fixture
def on_log(settings: Settings, broker: str) -> Settings:
    """Settings of a broker that holds what `made(1, 200)` gives."""
    producer = BulkProducer(broker, embedded=True)
    producer.send_all(
        replace(outgoing(event("x", "page_view")), partition=p, key=(one.key or b"").decode(), value=one.value)
        for p, records in made(1, 200).records.items()
        for one in records
    )
    return settings.model_copy(update={"kafka": broker, "embedded_log": "embedded-x"})


async def test_a_replay_of_the_topic_is_one_of_the_archive(on_log: Settings, redis: Redis) -> None:
    await run(on_log, replace(ASKED, source="kafka"))
    past = made(1, 200)
    archive(on_log, past)
    await run(on_log, replace(ASKED, into="archived"))
    assert await held(redis, "again") == await held(redis, "archived")


async def test_a_part_by_offsets(on_log: Settings, redis: Redis) -> None:
    done = await run(on_log, replace(ASKED, source="kafka", since="offset:3", until="offset:8"))
    assert {(one.first, one.last) for one in done.windows} == {(3, 7)}
    assert done.counted == done.total == 5 * len(done.windows)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ("--from", "yesterday"),
        ("--from", "2026-11-01"),
        ("--to", "offset:-1"),
        ("--to", "earliest"),
        ("--from", "offset:x"),
    ],
)
def test_bounds_that_are_none(option: str, text: str) -> None:
    with pytest.raises(BadInput) as error:
        bound(option, text)
    assert (error.value.reason, error.value.path) == ("bound_wrong", option)


async def test_ranges_and_sources_that_do_not_fit(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    for changes, path in (
        ({"since": "offset:5", "until": "offset:5"}, "from"),
        ({"source": str(tmp_path / "no.csv")}, "source"),
        ({"source": __file__}, "mapping"),
        ({"mapping": "taobao"}, "mapping"),
        ({"source": str(tmp_path / "no.csv"), "mapping": "taobao"}, "source"),
        ({"source": str(tmp_path / "no.csv"), "mapping": "taobao", "since": "offset:1"}, "from"),
        ({"rate": -1}, "rate"),
    ):
        with pytest.raises(BadInput) as error:
            await run(settings, replace(ASKED, **changes))
        assert error.value.path == path


async def test_the_embedded_broker_knows_no_times(on_log: Settings, redis: Redis) -> None:
    with pytest.raises(NotEmbedded):
        await run(on_log, replace(ASKED, source="kafka", since="2026-11-01T00:00:00Z"))


def test_what_retention_took_is_named_and_so_is_who_holds_it(on_log: Settings, broker: str) -> None:
    """The embedded broker keeps 5 MiB of a partition: large records push the oldest out."""
    past = made(1, 200, "embedded-x:shop.events.v1")
    for _ in range(12):
        past.append_raw(0, LARGE)
    BulkProducer(broker, embedded=True).send_all(Outgoing(EVENTS, 0, "x", LARGE) for _ in range(12))
    start = start_offsets(broker, EVENTS)[0]
    assert start > 0
    with pytest.raises(
        Refused, match=rf"kept from offset {start} on: 0 to {start - 1} are gone.*not hold all"
    ) as error:
        on_kafka(on_log, Range())
    assert error.value.reason == "range_gone"
    archive(on_log, past)
    with pytest.raises(Refused, match="the archive holds it: --source archive"):
        on_kafka(on_log, Range())
    found = on_kafka(on_log, Range(since=Bound(earliest=True)))
    assert found.windows[0].first == start
    with pytest.raises(Refused, match=f"1 to {start - 1} are gone"):
        on_kafka(on_log, Range(since=Bound(offset=1)))


def test_an_embedded_log_that_began_anew_is_said(settings: Settings, broker: str) -> None:
    with pytest.raises(Refused, match="--source archive"):
        on_kafka(settings.model_copy(update={"kafka": broker, "embedded_log": "embedded-x"}), Range())


def test_times_in_the_archive_give_windows_without_holes(settings: Settings) -> None:
    """As in Kafka: from the first record of that time or later, whatever the times of those behind it."""
    log = made(2, 100, shoppers=1)
    [(partition, records)] = [(p, one) for p, one in log.records.items() if len(one) > 2]
    archive(settings, log)
    store, order = EventArchive(settings.archive_at), ArchiveOrder(settings.archive_dir)
    times: dict[int, int] = {}
    for segment in store.segments():
        for batch in store.read(segment, ("offset", "received_at")):
            if segment.partition == partition:
                times |= {o: int(at.timestamp() * 1000) for o, at in zip(*batch.to_pydict().values(), strict=True)}
    since, until = T0.timestamp() * 1000 + 100 * 60_000, T0.timestamp() * 1000 + 400 * 60_000
    found = in_archive(store, order, Range(Bound(at_ms=int(since)), Bound(at_ms=int(until))), {})
    first = min(offset for offset, at in times.items() if at >= since)
    end = min(offset for offset, at in times.items() if at >= until)
    assert found.windows == [Window(partition, LOG, first, end - 1)]
    assert end < len(records)


def test_an_archive_that_begins_late_or_has_holes(settings: Settings) -> None:
    log = made(3, 80)
    for records in log.records.values():
        del records[:2]
    archive(settings, log)
    store, order = EventArchive(settings.archive_at), ArchiveOrder(settings.archive_dir)
    with pytest.raises(Refused, match="begins at offset 2 of partition"):
        in_archive(store, order, Range(), {})
    assert in_archive(store, order, Range(since=Bound(earliest=True)), {}).windows[0].first == 2
    more = made(3, 200)
    for records in more.records.values():
        del records[: len(records) // 2 + 10]
    archive(settings, more)
    found = in_archive(store, order, Range(since=Bound(earliest=True)), {})
    assert f"{found.missing:,} offsets between files are missing in the archive" in found.said
    held = sum(last - first + 1 for spans in store.spans().values() for first, last in spans)
    assert found.missing == sum(w.last - w.first + 1 for w in found.windows) - held > 0
    whole = Range(Bound(offset=2), Bound(offset=3))
    assert in_archive(store, order, whole, {}).missing == 0, "holes outside of the range are not its own"


async def test_a_file_through_its_mapping_goes_into_the_namespace_alone(
    settings: Settings, redis: Redis, retail: Path
) -> None:
    asked = replace(ASKED, source=str(retail), mapping="online-retail")
    done = await run(settings, asked)
    assert done.applied == done.total > 0
    assert not settings.archive_dir.exists()
    assert not [key for key in await redis.keys("daogou:*") if b":again:" not in key and b"{p" in key]
    again = await run(settings, replace(asked, into="two"))
    assert await held(redis, "again") == await held(redis, "two")
    assert [one.last for one in again.windows] == [one.last for one in done.windows]


async def test_another_file_is_another_replay(settings: Settings, redis: Redis, tmp_path: Path, retail: Path) -> None:
    await run(settings, replace(ASKED, source=str(retail), mapping="online-retail"))
    other = written(tmp_path, "other.csv", RETAIL_HEADER, retail_line("1", "A", 1, "1.50"))
    with pytest.raises(BadInput, match="source 'online-retail load-"):
        await run(settings, replace(ASKED, source=str(other), mapping="online-retail"))


async def test_what_comes_after_its_start_is_not_replayed(settings: Settings, redis: Redis) -> None:
    past = made(4, 120)
    await apply_live(settings, redis, past)
    archive(settings, past)
    store, order = EventArchive(settings.archive_at), ArchiveOrder(settings.archive_dir)
    windows = in_archive(store, order, Range(), {}).windows
    done = await run(settings, ASKED)
    assert done.windows == windows
    more = made(5, 300)
    archive(settings, more)
    again = await run(settings, ASKED)
    assert again.windows == windows
