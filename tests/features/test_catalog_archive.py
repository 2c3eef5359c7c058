"""The catalogue's archive: each facet once, in the order of time, and the features that were known from each moment."""

from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.dataset as ds
from hypothesis import given
from hypothesis import strategies as st

from features import catalog
from features.aggregates import ITEM_CONTENT, item_values
from features.archive import EventArchive
from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.catalog_archive import FOLDER, CatalogArchive, Facet, contents, in_time
from features.feature_log import CREATED_AT, EVENT_AT, folder_of
from features.offline import StoreAt
from features.offline_build import build
from features.training_frames import training_frame
from infra.keys import record_key
from infra.places import Place
from tests.features.past import LATENESS_MS, archived, made_events, moment

NOW = 1_790_000_000_000
DAY = 86_400_000
CONTENT = FacetRecord(tenant="default", item_id="tea", content=Content(name="Tea", category="drinks"))
GONE = FacetRecord(tenant="default", item_id="tea")


def price(amount: str, item_id: str = "tea") -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, price=Price(price=Decimal(amount), currency="EUR"))


def facet(record: FacetRecord, at_ms: int, offset: int, log: str = "load-1", partition: int = 0) -> Facet:
    return Facet(at_ms, log, partition, offset, record)


def test_what_is_written_is_read_once_in_the_order_of_time(at: Place) -> None:
    archive = CatalogArchive(at)
    second = [facet(price("3"), NOW + DAY, 0, log="kafka"), facet(price("4"), NOW + 2 * DAY, 1, log="kafka")]
    first = [facet(CONTENT, NOW, 0), facet(price("2"), NOW, 1)]
    assert archive.write(second) == 2
    assert archive.write(first) == 2
    assert archive.facets() == [*first, *second]
    assert CatalogArchive(at).write(first + second) == 0, "loaded again, nothing is added"
    assert CatalogArchive(at).facets() == [*first, *second]
    days = {file.path.split("/")[-2] for file in (at / FOLDER).inside(lambda name: name.startswith("day="))}
    assert len(days) == 3


def test_the_events_beside_it_are_none_of_its_business(at: Place) -> None:
    events = made_events(20, seed=1)
    archived(at, events)
    CatalogArchive(at).write([facet(CONTENT, NOW, 0)])
    assert len(list(EventArchive(at).events())) == 20
    assert len(CatalogArchive(at).facets()) == 1


def test_a_clock_that_goes_back_does_not_turn_a_log_round() -> None:
    found = in_time([facet(price("2"), NOW + 5, 0), facet(price("3"), NOW, 1), facet(price("3"), NOW, 1)])
    assert [(one.offset, one.at_ms) for one in found] == [(0, NOW + 5), (1, NOW + 5)]


def test_each_moment_is_a_row_with_what_was_known_from_then_on() -> None:
    told = [
        facet(CONTENT, NOW, 0),
        facet(price("2"), NOW, 1),
        facet(price("3"), NOW + DAY, 2),
        facet(GONE, NOW + 2 * DAY, 3),
    ]
    rows = [(row.at_ms, row.values["category"], row.values["price"], row.values["available"]) for row in contents(told)]
    assert rows == [
        (NOW, "drinks", 2.0, True),
        (NOW + DAY, "drinks", 3.0, True),
        (NOW + 2 * DAY, None, None, False),
    ]


def test_the_offline_log_holds_the_items_beside_the_shoppers(at: Place, tmp_path: Path) -> None:
    archive, offline = at, tmp_path / "offline"
    archived(archive, made_events(10, seed=2))
    CatalogArchive(archive).write([facet(CONTENT, NOW, 0), facet(price("2"), NOW, 1), facet(price("3"), NOW + DAY, 2)])
    build(archive, offline, LATENESS_MS, lambda _: None)
    rows: list[dict[str, Any]] = ds.dataset(folder_of(offline, ITEM_CONTENT)).to_table().to_pylist()
    rows.sort(key=lambda row: row[EVENT_AT])
    assert [(row["item"], row["price"]) for row in rows] == [("default|tea", 2.0), ("default|tea", 3.0)]
    assert [row[EVENT_AT] for row in rows] == [row[CREATED_AT] for row in rows] == [moment(NOW), moment(NOW + DAY)]


def test_feast_joins_items_as_they_were_known_at_a_moment(tmp_path: Path) -> None:
    archive, offline = tmp_path / "archive", tmp_path / "offline"
    archived(archive, made_events(10, seed=2))
    CatalogArchive(archive).write([facet(CONTENT, NOW, 0), facet(price("2"), NOW, 1), facet(price("3"), NOW + DAY, 2)])
    build(archive, offline, LATENESS_MS, lambda _: None)
    moments = [NOW - 1, NOW + 1, NOW + DAY + 1]
    labels = pd.DataFrame({"item": "default|tea", "event_timestamp": pd.to_datetime(moments, unit="ms", utc=True)})
    at = StoreAt(offline, tmp_path / "registry.db", project="items")
    frame = training_frame(at, labels, ["item_content:category", "item_content:price"])
    assert frame["category"].tolist() == [None, "drinks", "drinks"]
    assert frame["price"].fillna(0).tolist() == [0, 2.0, 3.0]


_RECORDS = st.one_of(
    st.builds(
        lambda i, category: FacetRecord(tenant="t", item_id=i, content=Content(name="x", category=category)),
        st.sampled_from("ab"),
        st.sampled_from(["tea", "pots", None]),
    ),
    st.builds(lambda i, amount: price(str(amount), i), st.sampled_from("ab"), st.integers(0, 9)),
    st.builds(
        lambda i, here: FacetRecord(tenant="t", item_id=i, stock=Stock(available=here)),
        st.sampled_from("ab"),
        st.booleans(),
    ),
    st.builds(lambda i: FacetRecord(tenant="t", item_id=i), st.sampled_from("ab")),
)


@given(st.lists(st.tuples(_RECORDS, st.integers(0, 3)), max_size=20), st.integers(0, 20))
def test_the_last_row_of_an_item_is_what_it_is_now_however_the_log_is_cut(
    steps: list[tuple[FacetRecord, int]], cut: int
) -> None:
    """So the online values, written chunk by chunk from here, are the last offline ones."""
    facets, at_ms = [], NOW
    for offset, (record, wait) in enumerate(steps):
        at_ms += wait
        facets.append(facet(record, at_ms, offset))
    items: dict[tuple[str, str], Item] = {}
    for _, _, _, _, record in facets:
        after = catalog.apply(items.get((record.tenant, record.item_id)), record)
        items.pop((record.tenant, record.item_id), None)
        if after is not None:
            items[record.tenant, record.item_id] = after
    before: dict[tuple[str, str], Item] = {}
    for one in facets[:cut]:
        key = (one.record.tenant, one.record.item_id)
        after = catalog.apply(before.get(key), one.record)
        before.pop(key, None)
        if after is not None:
            before[key] = after
    whole = {row.key: row for row in contents(facets)}
    chunked = {row.key: row for row in contents(facets[:cut])} | {
        row.key: row for row in contents(facets[cut:], before)
    }
    assert chunked == whole
    for (tenant, item_id), item in items.items():
        assert whole[record_key(tenant, item_id)].values == item_values(item)
