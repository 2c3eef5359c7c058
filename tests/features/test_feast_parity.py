"""Feast's own reader and ours, Feast's own writer and ours, on one Redis: every value of every type is the same."""

import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.aggregates import (
    ITEM_CONTENT,
    ITEM_STATISTICS,
    SERVICES,
    SHOPPER_BEHAVIOUR,
    VIEWS,
    Kind,
    Value,
    ValueType,
    View,
    item_values,
    shopper_values,
)
from features.feature_log import CREATED_AT, EVENT_AT
from features.offline import StoreAt, feast_imported, open_store
from features.online import OnlineRow, OnlineWriter
from features.value_codec import entity_key
from tests.features.online_reader import OnlineReader
from tests.features.steps import Story, T, line, state_of
from tests.features.test_catalog import TEA

PROJECT: Final = "parity"
SCALARS: Final = {f"one_{kind.name}": ValueType(kind) for kind in Kind}
LISTS: Final = {f"many_{kind.name}": ValueType(kind, many=True) for kind in Kind}
EVERY_TYPE: Final = View("every_type", "thing", {**SCALARS, **LISTS})


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory, redis_url: str) -> Any:
    """Feast's own store over a view of every type and the project's views."""
    root = tmp_path_factory.mktemp("feast")
    at = StoreAt(root / "offline", root / "registry.db", redis_url, PROJECT)
    return open_store(at, [EVERY_TYPE, *VIEWS.values()])


def as_float32(number: float) -> float:
    value: float = struct.unpack("<f", struct.pack("<f", number))[0]
    return value


def bits(value: Value) -> Any:
    """What two values are compared by: floats by their bits, so that NaN and -0.0 count, and all with their types."""
    if isinstance(value, list):
        return [bits(each) for each in value]
    return struct.pack("<d", value) if isinstance(value, float) else (type(value), value)


def all_bits(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: bits(value) for name, value in values.items()}


def feast_reads(store: Any, view: View, keys: list[str]) -> list[dict[str, Value]]:
    features = [f"{view.name}:{name}" for name in view.fields]
    with feast_imported():
        answer = store.get_online_features(features=features, entity_rows=[{view.entity: key} for key in keys])
    columns = answer.to_dict()
    return [{name: columns[name][row] for name in view.fields} for row in range(len(keys))]


def feast_writes(store: Any, view: View, key: str, at: datetime, values: Mapping[str, Value]) -> None:
    frame = pd.DataFrame([{view.entity: key, EVENT_AT: at, CREATED_AT: at, **values}])
    with feast_imported():
        store.write_to_online_store(view.name, frame)


async def we_read(redis: Redis, view: View, keys: list[str]) -> list[dict[str, Value]]:
    return await OnlineReader(redis, PROJECT).read(view, keys, list(view.fields))


async def we_write(redis: Redis, view: View, rows: Mapping[str, Mapping[str, Value]], at_ms: int = T) -> None:
    online = [OnlineRow(key, at_ms, values, "log", 1) for key, values in rows.items()]
    assert await OnlineWriter(redis, PROJECT).write(view, online) == len(rows)


NOTHING: Final[dict[str, Value]] = dict.fromkeys(EVERY_TYPE.fields)
EMPTY: Final[dict[str, Value]] = {**dict.fromkeys(SCALARS), **{name: [] for name in LISTS}}
EARLY, LATE = datetime(1901, 1, 1, tzinfo=UTC), datetime(2262, 1, 1, tzinfo=UTC)
LEAST: Final[dict[str, Value]] = {
    "one_Bytes": b"",
    "one_String": "",
    "one_Int32": -(2**31),
    "one_Int64": -(2**63),
    "one_Float64": -1.7976931348623157e308,
    "one_Float32": -3.4028234663852886e38,
    "one_Bool": False,
    "one_UnixTimestamp": EARLY,
    "many_Bytes": [b""],
    "many_String": [""],
    "many_Int32": [-(2**31), 0],
    "many_Int64": [-(2**63), 0],
    "many_Float64": [-0.0, 5e-324],
    "many_Float32": [-0.0, as_float32(1e-45)],
    "many_Bool": [False, False],
    "many_UnixTimestamp": [EARLY, datetime(1970, 1, 1, tzinfo=UTC)],
}
MOST: Final[dict[str, Value]] = {
    "one_Bytes": bytes(range(256)) * 40,
    "one_String": "茶壶 \U0001f375 e\u0301 \x00" * 100,
    "one_Int32": 2**31 - 1,
    "one_Int64": 2**63 - 1,
    "one_Float64": 1.7976931348623157e308,
    "one_Float32": 3.4028234663852886e38,
    "one_Bool": True,
    "one_UnixTimestamp": LATE,
    "many_Bytes": [b"\x00", b"", bytes(300)],
    "many_String": ["茶", "", "\U0001f375" * 200, "a|b"],
    "many_Int32": [2**31 - 1, 127, 128],
    "many_Int64": [2**63 - 1, 2**53 + 1, 16_383, 16_384],
    "many_Float64": [1.7976931348623157e308, float("inf"), 0.1],
    "many_Float32": [3.4028234663852886e38, float("-inf"), as_float32(0.1)],
    "many_Bool": [True, False, True],
    "many_UnixTimestamp": [LATE],
}
KNOWN: Final = {"nothing": NOTHING, "empty": EMPTY, "least": LEAST, "most": MOST}

_seconds = st.datetimes(datetime(1900, 1, 1), datetime(2262, 1, 1), timezones=st.just(UTC)).map(
    lambda moment: moment.replace(microsecond=0)
)
_values: Final[dict[Kind, st.SearchStrategy[Any]]] = {
    Kind.Bytes: st.binary(max_size=20),
    Kind.String: st.text(max_size=20),
    Kind.Int32: st.integers(-(2**31), 2**31 - 1),
    Kind.Int64: st.integers(-(2**63), 2**63 - 1),
    Kind.Float64: st.floats(),
    Kind.Float32: st.floats(width=32),
    Kind.Bool: st.booleans(),
    Kind.UnixTimestamp: _seconds,
}
rows = st.fixed_dictionaries(
    {
        name: st.none() | (st.lists(_values[kind.kind], max_size=4) if kind.many else _values[kind.kind])
        for name, kind in EVERY_TYPE.fields.items()
    }
)


async def test_what_we_write_both_read_as_it_was_and_a_stranger_is_nothing(store: Any, redis: Redis) -> None:
    await we_write(redis, EVERY_TYPE, KNOWN)
    keys = [*KNOWN, "never written"]
    expected = [all_bits(values) for values in (*KNOWN.values(), NOTHING)]
    assert [all_bits(each) for each in feast_reads(store, EVERY_TYPE, keys)] == expected
    assert [all_bits(each) for each in await we_read(redis, EVERY_TYPE, keys)] == expected


@settings(max_examples=30)
@given(st.lists(rows, min_size=1, max_size=8))
async def test_both_read_anything_that_we_write_as_it_was(
    store: Any, redis_url: str, written: list[dict[str, Value]]
) -> None:
    async with Redis.from_url(redis_url) as redis:
        await redis.flushall()
        by_key = {f"default|{number}": values for number, values in enumerate(written)}
        await we_write(redis, EVERY_TYPE, by_key)
        expected = [all_bits(values) for values in written]
        assert [all_bits(each) for each in feast_reads(store, EVERY_TYPE, list(by_key))] == expected
        assert [all_bits(each) for each in await we_read(redis, EVERY_TYPE, list(by_key))] == expected


@pytest.mark.parametrize("name", ["empty", "least", "most"])
async def test_what_feast_writes_we_read_and_our_row_is_the_same_to_the_byte(
    store: Any, redis: Redis, name: str
) -> None:
    values = KNOWN[name] if name != "least" else LEAST | {"one_Bytes": b"\x00"}  # Feast writes no bytes as null
    feast_writes(store, EVERY_TYPE, "theirs", datetime.fromtimestamp(T / 1000, UTC), values)
    (read,) = await we_read(redis, EVERY_TYPE, ["theirs"])
    assert all_bits(read) == all_bits(values)
    await we_write(redis, EVERY_TYPE, {"ours": values})
    theirs, ours = [await redis.hgetall(entity_key("thing", key, PROJECT)) for key in ("theirs", "ours")]
    assert ours.pop(b"_log:every_type") == b"1 log"
    assert ours == theirs


@pytest.mark.parametrize("at_ms", [0, 1, 999, 1000, T, T + 1, T + 999])
async def test_event_times_are_written_as_feast_writes_them(store: Any, redis: Redis, at_ms: int) -> None:
    values = EMPTY | {"one_Bool": True}
    feast_writes(store, EVERY_TYPE, "theirs", datetime.fromtimestamp(at_ms / 1000, UTC), values)
    await we_write(redis, EVERY_TYPE, {"ours": values}, at_ms)
    theirs, ours = [await redis.hget(entity_key("thing", key, PROJECT), "_ts:every_type") for key in ("theirs", "ours")]
    assert ours == theirs


async def test_feast_does_not_overwrite_our_row_with_an_older_one(store: Any, redis: Redis) -> None:
    await we_write(redis, EVERY_TYPE, {"a": MOST})
    feast_writes(store, EVERY_TYPE, "a", datetime.fromtimestamp(T / 1000 - 1, UTC), LEAST)
    assert [all_bits(each) for each in await we_read(redis, EVERY_TYPE, ["a"])] == [all_bits(MOST)]


def own_values() -> dict[str, dict[str, Value]]:
    """What the project itself writes: a shopper after a visit, an item of the catalogue, its statistics."""
    story = Story()
    bought = line("tea/1", 2, "4.50", "tea", "Leaf")
    state = state_of(
        story.step("view_item", line("pot", price="19.99", category="茶壶", brand="Kyūsu")),
        story.step("add_to_cart", bought, "pot"),
        story.step("purchase", bought),
    )
    statistics: dict[str, Value] = {
        "decayed_purchases": 12.75,
        "decayed_views": 0.1,
        "buyers": 3,
        "rating_mean": 3.5,
        "rating_count": 0,
        "counted_at": T,
    }
    return {
        SHOPPER_BEHAVIOUR.name: shopper_values(state),
        ITEM_STATISTICS.name: statistics,
        ITEM_CONTENT.name: item_values(TEA),
    }


def as_stored(view: View, values: Mapping[str, Value]) -> dict[str, Value]:
    """In 32 bits where the view says so."""
    narrow = [name for name, kind in view.fields.items() if kind.kind is Kind.Float32]
    return {
        name: [as_float32(each) for each in value] if name in narrow and isinstance(value, list) else value
        for name, value in values.items()
    }


@pytest.mark.parametrize("view", VIEWS.values(), ids=lambda view: view.name)
async def test_the_projects_own_views_are_read_and_written_alike(store: Any, redis: Redis, view: View) -> None:
    values = own_values()[view.name]
    assert set(values) == set(view.fields)
    await we_write(redis, view, {"default|ours": values})
    feast_writes(store, view, "default|theirs", datetime.fromtimestamp(T / 1000, UTC), values)
    keys = ["default|ours", "default|theirs", "default|nobody"]
    expected = [all_bits(as_stored(view, values))] * 2 + [all_bits(dict.fromkeys(view.fields))]
    assert [all_bits(each) for each in feast_reads(store, view, keys)] == expected
    assert [all_bits(each) for each in await we_read(redis, view, keys)] == expected


async def test_a_feature_service_hands_out_all_views_of_a_shopper_and_an_item(store: Any, redis: Redis) -> None:
    values = own_values()
    for view in VIEWS.values():
        await we_write(redis, view, {f"default|{view.entity}": values[view.name]})
    with feast_imported():
        service = store.get_feature_service("ranking")
        entities = [{"shopper": "default|shopper", "item": "default|item"}]
        answer = store.get_online_features(features=service, entity_rows=entities).to_dict()
    for view in SERVICES["ranking"]:
        for name, value in as_stored(view, values[view.name]).items():
            assert bits(answer[name][0]) == bits(value)
