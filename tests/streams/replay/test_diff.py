"""A comparison finds what differs, and nothing else."""

import json
from pathlib import Path

import msgspec
import pytest
from redis.asyncio import Redis

from features import shoppers
from features.aggregates import SHOPPER_BEHAVIOUR, shopper_values
from features.online import OnlineRow, OnlineWriter
from features.shopper_state import Decayed
from infra.errors import NotFound
from infra.keys import ShardKeys, feast_project, record_key
from infra.settings import Settings
from streams.replay.command import ReplayRequest, replay_with
from streams.replay.diff_report import Diff, Example, lines_of, write_report
from streams.replay.diffing import compare
from streams.replay.explaining import row_parts
from tests.streams.replay.past import CLOCK, apply_live, archive, made, quietly
from tests.streams.shop import event, partition_of_event

HOME = partition_of_event(event("s1", "page_view"))


async def replayed(settings: Settings, redis: Redis) -> None:
    past = made(1, 250)
    await apply_live(settings, redis, past)
    archive(settings, past)
    await replay_with(settings, ReplayRequest("again", score=False), quietly(), CLOCK)


async def seen(settings: Settings, redis: Redis, examples: int = 9) -> Diff:
    return await compare(settings, redis, "again", "live", examples)


def row_key(namespace: str = "again") -> str:
    return ShardKeys(HOME, namespace).row("default", "u-s1")


async def test_equal_namespaces(settings: Settings, redis: Redis) -> None:
    await replayed(settings, redis)
    found = await seen(settings, redis)
    assert found.equal
    assert (found.both, found.rows_equal, found.features_equal) == (12, 12, 12)
    assert found.timers.equal + found.timers.passed > 0
    assert (found.changes, found.examples, found.positions) == ({}, [], {})
    assert lines_of(found)[-1] == "equal"


async def test_one_altered_byte_of_one_row_is_found(settings: Settings, redis: Redis) -> None:
    await replayed(settings, redis)
    raw = bytearray(await redis.get(row_key()))
    raw[len(raw) // 2] ^= 1
    await redis.set(row_key(), bytes(raw))
    found = await seen(settings, redis)
    assert not found.equal
    assert (found.rows_equal, found.rows_different, found.features_different) == (11, 1, 0)
    assert [one.shopper_id for one in found.examples] == ["u-s1"]


@pytest.mark.parametrize("junk", [b"", b"\xc1", b"no row", b"\x94\x01\x02\x03\x04"])
async def test_a_row_that_cannot_be_read_is_a_difference(settings: Settings, redis: Redis, junk: bytes) -> None:
    await replayed(settings, redis)
    await redis.set(row_key(), junk)
    found = await seen(settings, redis)
    assert found.examples[0].what == ("row cannot be read",)
    assert found.rows_different == 1


async def test_it_says_which_features_differ_and_by_how_much(settings: Settings, redis: Redis) -> None:
    await replayed(settings, redis)
    row = shoppers.decode(await redis.get(row_key()))
    row.state.views += 3
    row.state.locale = "de"
    await redis.set(row_key(), shoppers.encode(row))
    online = OnlineRow(record_key("default", "u-s1"), row.state.newest, shopper_values(row.state), "other", 9)
    await OnlineWriter(redis, feast_project("again")).write(SHOPPER_BEHAVIOUR, [online])
    found = await seen(settings, redis)
    changes = {name: (one.shoppers, one.max_difference, one.mean_difference) for name, one in found.changes.items()}
    assert changes == {"row.views": (1, 3.0, 3.0), "row.locale": (1, 0.0, 0.0), "feature views": (1, 3.0, 3.0)}
    assert any("row.views: in 1 shoppers, by 3 at most, 3 in the mean" in line for line in lines_of(found))


async def test_shoppers_and_timers_of_one_side_alone(settings: Settings, redis: Redis) -> None:
    await replayed(settings, redis)
    for namespace, due in (("again", 1_900_000_000_000), ("live", 1)):
        await redis.zadd(ShardKeys(HOME, namespace).timers, {namespace: due})
    await redis.set(ShardKeys(HOME, "again").row("default", "u-x"), b"x")
    await redis.delete(row_key())
    before = (await seen(settings, redis)).timers
    found = await seen(settings, redis)
    assert (found.both, found.only_one, found.only_other) == (11, 1, 1)
    # What is due may have fired where it is live; what is due in live and never was in the replay is a difference.
    assert (found.timers.only_one, found.timers.only_other) == (1, 1)
    assert before == found.timers


async def test_links_and_statistics_are_compared(settings: Settings, redis: Redis) -> None:
    await replayed(settings, redis)
    for namespace, item, link in (("again", b"1", b"u"), ("live", b"2", b"u")):
        keys = ShardKeys(HOME, namespace)
        await redis.hset(keys.partials, mapping={b"made|same": b"s", b"made|other": item, b"made|" + item: b"x"})
        await redis.mset({keys.link("default", "a-1"): link, keys.link("default", f"a-{namespace}"): b"v"})
    found = await seen(settings, redis)
    statistics = found.statistics
    assert statistics.equal > 0
    assert (statistics.different, statistics.only_one, statistics.only_other) == (1, 1, 1)
    links = found.links
    assert (links.equal, links.different, links.only_one, links.only_other) == (1, 0, 1, 1)
    await redis.set(ShardKeys(HOME, "live").link("default", "a-live"), b"")  # taken back
    assert (await seen(settings, redis)).links.only_other == 0
    assert not found.equal


async def test_shoppers_are_named_only_as_examples(settings: Settings, redis: Redis, tmp_path: Path) -> None:
    await replayed(settings, redis)
    await redis.set(row_key(), b"x")
    found = await seen(settings, redis, examples=0)
    assert "s1" not in "".join(lines_of(found))
    write_report(found, tmp_path / "diff.json")
    told = json.loads((tmp_path / "diff.json").read_bytes())
    assert (told["equal"], told["rows_different"], told["examples"]) == (False, 1, [])
    assert told["changes"]["row cannot be read"]["shoppers"] == 1
    assert msgspec.convert(told, Diff).rows_equal == 11


async def test_namespaces_that_are_not_there(settings: Settings, redis: Redis) -> None:
    for name, code in (("nobody", "no_replay"), ("before", "nothing_before")):
        with pytest.raises(NotFound) as error:
            await compare(settings, redis, name, "live")
        assert error.value.reason == code


async def test_rows_that_were_settled_at_other_moments_say_the_same(settings: Settings, redis: Redis) -> None:
    await replayed(settings, redis)
    row = shoppers.decode(await redis.get(row_key()))
    settled, recent = shoppers.unpacked(row)
    older = shoppers.packed(settled, recent[:2], row.floor, recent[2:])
    assert shoppers.encode(older) != shoppers.encode(row)
    await redis.set(row_key(), shoppers.encode(older))
    found = await seen(settings, redis)
    assert found.equal
    assert (found.rows_equal, found.rows_settled_otherwise, found.rows_different) == (11, 1, 0)
    assert "11 equal byte for byte, 1 equal in what they say but settled otherwise" in lines_of(found)[1]
    lost = shoppers.packed(shoppers.unpacked(row)[0], recent[:2], row.floor, recent[3:])
    await redis.set(row_key(), shoppers.encode(lost))
    assert not (await seen(settings, redis)).equal


def test_a_time_is_no_amount() -> None:
    one, other = shoppers.empty(), shoppers.empty()
    one.state.log_price_sum, other.state.log_price_sum = Decayed(2.0, 5), Decayed(3.5, 1_795_150_000_000)
    one.state.newest = 1_795_150_000_000
    parts = dict(row_parts(shoppers.encode(one), shoppers.encode(other)))
    assert parts == {"row.log_price_sum": [1.5], "row.newest": []}


def test_many_differences_do_not_bury_the_example() -> None:
    found = Diff(one="a", other="b", rows_different=1)
    names = tuple(f"row.part{n:02}" for n in range(30))
    for name in names:
        found.change(name, [])
    found.examples.append(Example(1, "default", "u-s1", names))
    lines = lines_of(found)
    assert len(lines) == 6 + 15 + 1 + 1 + 1
    assert lines[-2].endswith(": " + ", ".join(names[:6]) + " and 24 more")
