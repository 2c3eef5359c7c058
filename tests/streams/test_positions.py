"""Where reading begins: after the fence, and never where the log and Redis contradict each other."""

import pytest

from infra.errors import KafkaAway, Refused
from infra.metrics import Metrics
from infra.topics import EVENTS
from streams.worker.positions import Logs, after_fences, next_on_log, next_or_end
from tests.bulk import BulkProducer
from tests.streams.shop import PARTITIONS, event, outgoing, partition_of_event

HOME = partition_of_event(event("ann", "page_view"))


async def test_after_the_fence_and_not_beyond_the_end(broker: str) -> None:
    bulk = BulkProducer(broker, embedded=True)
    bulk.send_all(outgoing(event("ann", "view_item", f"i{n}", minute=n)) for n in range(5))
    bulk.close()
    logs = Logs(broker, "events", "catalogue", embedded=True)
    other = (HOME + 1) % PARTITIONS
    assert await after_fences(logs, EVENTS, {HOME: -1, other: -1}, Metrics()) == {HOME: 0, other: 0}
    assert await after_fences(logs, EVENTS, {HOME: 2}, Metrics()) == {HOME: 3}
    assert await after_fences(logs, EVENTS, {HOME: 4}, Metrics()) == {HOME: 5}
    with pytest.raises(Refused, match=r"offset 5 was applied, but the log ends at 5\..*an empty Redis"):
        await after_fences(logs, EVENTS, {HOME: 5}, Metrics())
    assert await next_on_log(logs, EVENTS, HOME, 3) == 3
    assert [await next_or_end(logs, EVENTS, HOME, offset) for offset in (3, 4, 5)] == [3, 4, 5]
    with pytest.raises(KafkaAway, match="nothing can be read at offset 5"):
        await next_on_log(logs, EVENTS, HOME, 5)
