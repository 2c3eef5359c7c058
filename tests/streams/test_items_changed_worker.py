"""A worker that is killed while it tells what changed in the catalogue: each partition hears each change once."""

from collections import Counter
from decimal import Decimal
from pathlib import Path

from pydantic import SecretStr
from redis import Redis

from features.catalog import Content, FacetRecord, Price, encode_record, key_of
from features.events import decode
from features.items_changed import ITEMS_CHANGED, ItemsChanged
from infra import keys
from infra.embedded.redis_server import free_port
from infra.kafka import Follower, Outgoing
from infra.kafka_admin import end_offsets
from infra.keys import ShardKeys, partition_of, record_key
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS
from tests.bulk import BulkProducer
from tests.streams.shop import LOG, PARTITIONS
from tests.streams.test_running_worker import until
from tests.streams.workers import Worker

ITEMS = [f"tea-{n}" for n in range(400)]


def produce(kafka: str, *facets: FacetRecord) -> None:
    bulk = BulkProducer(kafka, embedded=True)
    bulk.send_all(
        Outgoing(CATALOG, partition_of(record_key("default", one.item_id), PARTITIONS), key_of(one), encode_record(one))
        for one in facets
    )
    bulk.close()


def price(item_id: str, amount: str) -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, price=Price(price=Decimal(amount), currency="EUR"))


def everything_told(kafka: str, redis: Redis) -> bool:
    """Whether the catalogue is applied to its end, and what changed is heard everywhere."""
    for partition, end in end_offsets(kafka, CATALOG).items():
        at = redis.hget(keys.items_at(partition), "offset")
        if end and (at is None or int(at) < end - 1 or redis.llen(keys.changes(partition))):
            return False
    ends = end_offsets(kafka, EVENTS)
    fences = {p: [int(at) for at in redis.hvals(ShardKeys(p).fence)] for p in ends}
    return all(not end or fences[p] == [end - 1] for p, end in ends.items())


def on_log(kafka: str) -> dict[int, list[tuple[str, bytes, ItemsChanged]]]:
    """(id, bytes, what changed) of the events about items in each partition."""
    found: dict[int, list[tuple[str, bytes, ItemsChanged]]] = {p: [] for p in range(PARTITIONS)}
    left = sum(end_offsets(kafka, EVENTS).values())
    follower = Follower(kafka, EVENTS, "start", embedded=True)
    while left:
        for record in follower.read(1000, 5.0):
            left -= 1
            event = decode(record.value or b"")
            assert event.event_name == ITEMS_CHANGED
            assert event.changed is not None
            found[record.partition].append((event.event_id, record.value or b"", event.changed))
    follower.close()
    return found


def test_a_killed_worker_tells_every_change_in_every_partition(
    broker: str, empty: Redis, redis_url: str, tmp_path: Path
) -> None:
    settings = Settings(
        kafka=broker,
        redis=SecretStr(redis_url),
        embedded_log=LOG,
        data_dir=tmp_path,
        partitions=PARTITIONS,
        batch_events=5,
        metrics_port=free_port(),
    )
    worker = Worker(settings)
    content = [FacetRecord(tenant="default", item_id=one, content=Content(name=one)) for one in ITEMS]
    produce(broker, *content, *(price(one, "9.50") for one in ITEMS))
    until(worker, lambda: everything_told(broker, empty))
    assert not any(on_log(broker).values()), "a first catalogue is no news"
    produce(broker, *(price(one, "8.00") for one in ITEMS))
    until(worker, lambda: any(end_offsets(broker, EVENTS).values()))
    worker.kill()
    assert not everything_told(broker, empty)
    second = Worker(settings)
    until(second, lambda: everything_told(broker, empty))
    assert second.sum_of("daogou_item_changes_told_total") > 0
    second.stop()
    for told in on_log(broker).values():
        assert len({event_id for event_id, _, _ in told}) == len({raw for _, raw, _ in told})
        heard: dict[int, int] = {}
        taken: Counter[str] = Counter()
        for _, _, changed in told:
            last = heard.get(changed.catalogue_partition, -1)
            taken.update(one.item_id for one in changed.items if one.offset > last)
            heard[changed.catalogue_partition] = max(last, *(one.offset for one in changed.items), -1)
        assert taken == Counter(ITEMS)
