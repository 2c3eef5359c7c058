"""Where the log ends for whoever waits: a mark of a transaction behind the last record is waited for by nobody."""

from collections.abc import Mapping, Sequence

import pytest

from infra.errors import KafkaAway
from streams.worker.ends import Ends


class Broker:
    """A partition 0 with records at `records`, that ends at `end`; what was looked into is in `looked`."""

    def __init__(self, end: int, *records: int) -> None:
        self.end, self.records, self.after, self.began = end, list(records), 0, 0
        self.looked: list[int] = []
        self.away = False
        self.ends = Ends(self._ends, lambda: {0: self.began}, lambda: {0: self.after}, self._next_or_end)

    async def of(self) -> int:
        return (await self.ends.of([0]))[0]

    async def _ends(self, partitions: Sequence[int]) -> Mapping[int, int]:
        return dict.fromkeys(partitions, self.end)

    async def _next_or_end(self, partition: int, offset: int) -> int:
        assert partition == 0
        if self.away:
            raise KafkaAway("away")
        self.looked.append(offset)
        return min((at for at in self.records if at >= offset), default=self.end)


async def test_a_mark_behind_the_last_record_is_not_waited_for() -> None:
    broker = Broker(4, 0, 1, 2)
    broker.after = 3
    assert [await broker.of(), await broker.of(), await broker.of()] == [4, 3, 3]
    assert broker.looked == [3], "looked into once, where it stood"
    broker.end, broker.records = 6, [0, 1, 2, 4]
    assert [await broker.of(), await broker.of(), await broker.of()] == [6, 6, 6], "another record came"
    broker.after = 5
    assert [await broker.of(), await broker.of()] == [6, 5]


async def test_marks_between_two_records_change_nothing() -> None:
    broker = Broker(6, 0, 1, 4)
    broker.after = 2
    assert [await broker.of(), await broker.of(), await broker.of()] == [6, 6, 6]


async def test_a_partition_that_moves_is_not_looked_into() -> None:
    broker = Broker(9, *range(9))
    for broker.after in range(9):
        assert await broker.of() == 9
    broker.after = 9
    assert [await broker.of(), await broker.of()] == [9, 9]
    assert broker.looked == []


async def test_what_retention_took_before_reading_began_is_not_waited_for() -> None:
    broker = Broker(5)
    broker.began, broker.after = 5, 2
    assert [await broker.of(), await broker.of()] == [0, 0]
    assert broker.looked == []


async def test_kafka_away_is_said_and_asked_again() -> None:
    broker = Broker(4, 0, 1, 2)
    broker.after = 3
    assert await broker.of() == 4
    broker.away = True
    with pytest.raises(KafkaAway):
        await broker.of()
    broker.away = False
    assert await broker.of() == 3
