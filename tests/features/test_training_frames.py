"""Training frames: each label has what was known just before it, and never anything later."""

import random
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from importlib import import_module
from typing import Any
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pytest

from features.aggregates import ITEM_STATISTICS, SHOPPER_BEHAVIOUR, Value, shopper_values
from features.events import event_time_ms, record_key_of, to_ms
from features.shoppers import State, empty, fold, step_of
from features.training_frames import training_frame
from tests.features.past import LATENESS_MS, START, Past, before, made_event, made_events, moment, past

BEHAVIOUR = [f"{SHOPPER_BEHAVIOUR.name}:{name}" for name in SHOPPER_BEHAVIOUR.fields]
STATISTICS = [f"{ITEM_STATISTICS.name}:{name}" for name in ITEM_STATISTICS.fields]


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Past:
    """Four hundred events of eight shoppers over twelve days, in the order of their time."""
    return past(tmp_path_factory.mktemp("past"), made_events(400, seed=1))


def plain(value: Any) -> Any:
    """A value of a frame as one of ours: null is None, arrays are lists."""
    if value is None or isinstance(value, list | np.ndarray):
        return None if value is None else [plain(each) for each in value]
    number = value.item() if isinstance(value, np.generic) else value
    return None if isinstance(number, float) and number != number else number


def row(frame: pd.DataFrame, number: int, names: Mapping[str, object]) -> dict[str, Any]:
    return {name: plain(frame[name].iloc[number]) for name in names}


def folded(events: Any) -> State:
    return fold(empty(), [step_of(event) for event in events], LATENESS_MS).row.state


def expected(values: Mapping[str, Value]) -> dict[str, Any]:
    return {name: pytest.approx(value, rel=1e-6) if value is not None else None for name, value in values.items()}


def texts_and(values: Mapping[str, Any]) -> dict[str, Any]:
    """Lists of texts are compared as they are, numbers as near enough (weights are stored in 32 bits)."""
    return {
        name: value if isinstance(value, list) and any(isinstance(each, str) for each in value) else near
        for (name, value), near in zip(values.items(), expected(values).values(), strict=True)
    }


def labels_of(made: Past, seed: int, count: int) -> pd.DataFrame:
    """Labels anywhere in the past: between events, at the very moment of one, a microsecond to either side."""
    choose = random.Random(seed)
    rows = []
    for _ in range(count):
        event = choose.choice(made.events)
        beside = choose.choice([-timedelta(microseconds=1), timedelta(0), timedelta(microseconds=1)])
        anywhere = START + timedelta(seconds=choose.randrange(-86_400, 14 * 86_400))
        at = choose.choice([moment(event_time_ms(event)) + beside, anywhere])
        rows.append((record_key_of(event), at, choose.random()))
    return pd.DataFrame(rows, columns=["shopper", "event_timestamp", "worth"])


@pytest.mark.parametrize("seed", [11, 12, 13])
def test_features_are_the_fold_of_the_events_strictly_before_the_label(made: Past, seed: int) -> None:
    labels = labels_of(made, seed, 120)
    frame = training_frame(made.store, labels, BEHAVIOUR)
    assert len(frame) == len(labels)
    known = 0
    for number, label in enumerate(labels.itertuples()):
        events = before(made.events, label.shopper, label.event_timestamp.to_pydatetime())
        found = row(frame, number, SHOPPER_BEHAVIOUR.fields)
        if events:
            known += 1
            assert found == texts_and(shopper_values(folded(events)))
        else:
            assert found == dict.fromkeys(SHOPPER_BEHAVIOUR.fields)
    assert 30 < known < 120, "both kinds of labels are among them"


def test_no_feature_is_of_the_label_or_later(made: Past) -> None:
    labels = labels_of(made, 21, 300)
    frame = training_frame(made.store, labels, ["shopper_behaviour:last_event_at", "shopper_behaviour:recent_times"])
    for number, at in enumerate(frame["event_timestamp"]):
        found = row(frame, number, {"last_event_at": None, "recent_times": None})
        latest = [found["last_event_at"], *(found["recent_times"] or [])]
        assert all(each is None or each < at.timestamp() * 1000 for each in latest)


def test_labels_keep_their_order_their_columns_and_their_times(made: Past) -> None:
    labels = labels_of(made, 31, 50)
    labels = pd.concat([labels, labels.iloc[:5]])  # the same label twice is two labels
    labels.index = range(100, 155)  # type: ignore[assignment]
    frame = training_frame(made.store, labels, ["shopper_behaviour:orders"])
    assert list(frame.columns) == ["shopper", "event_timestamp", "worth", "orders"]
    for name in ("shopper", "event_timestamp", "worth"):
        assert frame[name].tolist() == labels[name].tolist()
    assert list(labels.columns) == ["shopper", "event_timestamp", "worth"], "the labels given are not changed"


def test_strangers_and_the_time_before_the_first_event_are_kept_as_nulls(made: Past) -> None:
    first = min(made.events, key=event_time_ms)
    keys = ["default|u-nobody", record_key_of(first), "other|u-s1"]
    times = [START + timedelta(days=5), moment(event_time_ms(first)), START + timedelta(days=5)]
    labels = pd.DataFrame({"shopper": keys, "event_timestamp": times})
    frame = training_frame(made.store, labels, BEHAVIOUR)
    assert frame["shopper"].tolist() == keys
    assert [row(frame, number, SHOPPER_BEHAVIOUR.fields) for number in range(3)] == [
        dict.fromkeys(SHOPPER_BEHAVIOUR.fields)
    ] * 3


def test_the_zone_that_labels_are_written_in_makes_no_difference(made: Past) -> None:
    labels = labels_of(made, 41, 60)
    elsewhere = labels.assign(event_timestamp=labels["event_timestamp"].dt.tz_convert(ZoneInfo("Asia/Shanghai")))
    here, there = (training_frame(made.store, each, BEHAVIOUR) for each in (labels, elsewhere))
    assert [row(here, n, SHOPPER_BEHAVIOUR.fields) for n in range(60)] == [
        row(there, n, SHOPPER_BEHAVIOUR.fields) for n in range(60)
    ]


def test_of_events_at_one_moment_the_last_of_the_log_counts(tmp_path_factory: pytest.TempPathFactory) -> None:
    choose = random.Random(1)
    events = [made_event(n, START, choose, user_id="one", event_name="view_item") for n in range(6)]
    made = past(tmp_path_factory.mktemp("moment"), events)
    at = START + timedelta(microseconds=1)
    labels = pd.DataFrame({"shopper": ["default|u-one"] * 2, "event_timestamp": [START, at]})
    frame = training_frame(made.store, labels, ["shopper_behaviour:views", "shopper_behaviour:recent_items"])
    assert plain(frame["views"].iloc[0]) is None
    assert row(frame, 1, {"views": None, "recent_items": None}) == {
        "views": folded(events).views,
        "recent_items": [met.item_id for met in folded(events).interactions],
    }


def test_a_straggler_is_known_with_the_events_it_came_after_and_not_before(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    """It happened at 10:10 and came after the event of 10:20: at 10:15 nobody knew of it."""
    choose = random.Random(2)
    minutes = (0, 20, 10)
    events = [
        made_event(n, START + timedelta(minutes=minute), choose, user_id="one", event_name="view_item")
        for n, minute in enumerate(minutes)
    ]
    made = past(tmp_path_factory.mktemp("straggler"), events)
    times = [START + timedelta(minutes=minute) for minute in (15, 21)]
    labels = pd.DataFrame({"shopper": ["default|u-one"] * 2, "event_timestamp": times})
    frame = training_frame(made.store, labels, BEHAVIOUR)
    assert row(frame, 0, SHOPPER_BEHAVIOUR.fields) == texts_and(shopper_values(folded(events[:1])))
    assert row(frame, 1, SHOPPER_BEHAVIOUR.fields) == texts_and(shopper_values(folded(events)))


def test_statistics_of_an_item_are_of_a_day_that_ended_before_the_label(made: Past) -> None:
    days = [START + timedelta(days=day, hours=hour) for day in range(13) for hour in (0, 7)]
    labels = pd.DataFrame({"item": ["default|i1"] * len(days), "event_timestamp": days, "shopper": "default|u-s1"})
    frame = training_frame(made.store, labels, [*STATISTICS, "shopper_behaviour:views", "item_content:price"])
    counted_at = [plain(each) for each in frame["counted_at"]]
    assert counted_at[0] is None
    assert counted_at[-1] is not None
    assert all(each is None or each < to_ms(at) for each, at in zip(counted_at, days, strict=True))
    assert frame["price"].isna().all(), "the archive knows no catalogue"
    shoppers = {event.user_id for event in made.events}
    rows = [folded([event for event in made.events if event.user_id == shopper]) for shopper in shoppers]
    buyers = sum("i1" in state.purchased for state in rows)
    assert plain(frame["buyers"].iloc[-1]) == buyers > 0


def test_nothing_stays_open_after_a_join(made: Past) -> None:
    training_frame(made.store, labels_of(made, 51, 5), ["shopper_behaviour:orders"])
    assert import_module("ibis").options.default_backend is None


def test_utc_is_what_the_times_come_back_in(made: Past) -> None:
    labels = pd.DataFrame({"shopper": ["default|u-s1"], "event_timestamp": [datetime(2026, 5, 9, tzinfo=UTC)]})
    (at,) = training_frame(made.store, labels, ["shopper_behaviour:orders"])["event_timestamp"]
    assert at.to_pydatetime() == datetime(2026, 5, 9, tzinfo=UTC)
