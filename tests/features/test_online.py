"""Online rows: the log's position decides what is written, whatever comes again and in whatever order."""

from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis
from redis.exceptions import ResponseError

from features.aggregates import Kind, Value, ValueType, View
from features.online import OnlineRow, OnlineWriter
from features.value_codec import decode_value
from tests.features.online_reader import OnlineReader

T = 1_777_629_600_000
COUNTS = View("counts", "thing", {"number": ValueType(Kind.Int64), "names": ValueType(Kind.String, many=True)})
OTHER = View("other", "thing", {"number": ValueType(Kind.Int64)})


def row(offset: int, key: str = "a", log: str = "kafka", **values: Value) -> OnlineRow:
    return OnlineRow(key, T + offset, values or {"number": offset, "names": [log]}, log, offset)


async def number(redis: Redis, key: str = "a", view: View = COUNTS, project: str = "live") -> Value:
    (found,) = await OnlineReader(redis, project).read(view, [key], ["number"])
    return found["number"]


async def test_a_lower_or_equal_offset_of_the_same_log_writes_nothing(redis: Redis) -> None:
    writer = OnlineWriter(redis, "live")
    assert await writer.write(COUNTS, [row(5)]) == 1
    assert await writer.write(COUNTS, [row(4), row(5, number=99), row(0)]) == 0
    assert await number(redis) == 5
    assert await writer.write(COUNTS, [row(6)]) == 1
    assert await number(redis) == 6


async def test_offsets_are_compared_as_numbers(redis: Redis) -> None:
    writer = OnlineWriter(redis, "live")
    assert await writer.write(COUNTS, [row(9), row(10), row(2**53 - 1)]) == 3
    assert await writer.write(COUNTS, [row(2**53 - 2)]) == 0


async def test_another_log_is_written_whatever_its_offset(redis: Redis) -> None:
    writer = OnlineWriter(redis, "live")
    assert await writer.write(COUNTS, [row(100), row(3, log="load 2026-05"), row(2, log="load 2026-05")]) == 2
    assert await OnlineReader(redis, "live").read(COUNTS, ["a"], ["names", "number"]) == [
        {"names": ["load 2026-05"], "number": 3}
    ]


@given(st.permutations(range(8)).flatmap(lambda order: st.tuples(st.just(order), st.integers(0, 8))))
async def test_in_whatever_order_and_batches_rows_come_the_highest_stays(
    redis_url: str, both: tuple[Sequence[int], int]
) -> None:
    order, cut = both
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        writer = OnlineWriter(redis, "live")
        for batch in (order[:cut], order[cut:], order[:3]):
            await writer.write(COUNTS, [row(offset) for offset in batch])
        assert await number(redis) == 7


async def test_a_server_that_forgot_its_scripts_is_told_them_again(redis: Redis) -> None:
    writer = OnlineWriter(redis, "live")
    assert await writer.write(COUNTS, [row(1)]) == 1
    await redis.script_flush()
    assert await writer.write(COUNTS, [row(1), row(2), row(2, "b")]) == 2
    assert (await number(redis), await number(redis, "b")) == (2, 2)


async def test_a_row_that_cannot_be_written_is_an_error(redis: Redis) -> None:
    writer = OnlineWriter(redis, "live")
    await writer.write(COUNTS, [row(1)])
    (key,) = await redis.keys("*")
    await redis.set(key, b"no hash")
    with pytest.raises(ResponseError, match="WRONGTYPE"):
        await writer.write(COUNTS, [row(2)])


async def test_views_of_one_entity_and_projects_are_apart(redis: Redis) -> None:
    writer, replay = OnlineWriter(redis, "live"), OnlineWriter(redis, "replay")
    assert await writer.write(COUNTS, [row(7)]) == 1
    assert await writer.write(OTHER, [row(1, number=70)]) == 1
    assert await replay.write(COUNTS, [row(2)]) == 1
    assert [await number(redis), await number(redis, view=OTHER), await number(redis, project="replay")] == [7, 70, 2]
    assert len(await redis.keys("*")) == 2


async def test_a_feature_that_is_not_given_is_not_known_any_more(redis: Redis) -> None:
    writer, reader = OnlineWriter(redis, "live"), OnlineReader(redis, "live")
    await writer.write(COUNTS, [row(1, number=1, names=["x"]), row(2, names=[])])
    assert await reader.read(COUNTS, ["a"], list(COUNTS.fields)) == [{"number": None, "names": []}]


async def test_thousands_of_rows_are_read_in_the_order_asked_for(redis: Redis) -> None:
    keys = [f"k{n}" for n in range(2500)]
    assert await OnlineWriter(redis, "live").write(COUNTS, [row(n, key) for n, key in enumerate(keys)]) == len(keys)
    asked = [*reversed(keys), "missing"]
    found = await OnlineReader(redis, "live").read(COUNTS, asked, ["number"])
    assert [each["number"] for each in found] == [*reversed(range(2500)), None]


async def test_nothing_to_write_or_read_is_nothing(redis: Redis) -> None:
    assert await OnlineWriter(redis, "live").write(COUNTS, []) == 0
    assert await OnlineReader(redis, "live").read(COUNTS, [], ["number"]) == []


def test_a_value_of_a_type_that_no_feature_has_is_named() -> None:
    with pytest.raises(ValueError, match="field 21"):
        decode_value(b"\xaa\x01\x00")
