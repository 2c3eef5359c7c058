"""The catalogue's records and what they make of an item."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import catalog
from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.events import Event, EventItem
from infra.errors import BadInput

TEA = Item(
    item_id="tea/1",
    content=Content(name="Green tea", category="tea", categories=("drinks", "tea"), brand="Leaf"),
    price=Price(price=Decimal("4.50"), currency="EUR"),
    stock=Stock(available=True, quantity=7),
)


def event(*items: EventItem, currency: str | None = None) -> Event:
    return Event(
        event_name="view_item",
        occurred_at=datetime(2026, 5, 1, tzinfo=UTC),
        event_id="1",
        user_id="u",
        items=items,
        currency=currency,
    )


def test_an_item_is_the_same_after_packing() -> None:
    assert catalog.decode(catalog.encode(TEA)) == TEA


def test_its_facets_applied_in_any_order_make_the_item_again() -> None:
    records = catalog.facets(TEA, "default")
    assert [catalog.facets_of(record) for record in records] == [["content"], ["price"], ["stock"]]
    item: Item | None = None
    for record in reversed(records):
        value = catalog.encode_record(record)
        item = catalog.apply(item, catalog.decode_record(None, value))
    assert item == TEA


def test_a_facet_is_replaced_as_a_whole_and_the_others_stay() -> None:
    record = FacetRecord(tenant="default", item_id="tea/1", content=Content(name="Black tea"))
    changed = catalog.apply(TEA, record)
    assert changed == Item(item_id="tea/1", content=Content(name="Black tea"), price=TEA.price, stock=TEA.stock)


@pytest.mark.parametrize("facet", catalog.FACETS)
def test_a_tombstone_of_any_facet_removes_the_item(facet: str) -> None:
    keys = dict(zip(catalog.FACETS, catalog.record_keys("default", "tea/1"), strict=True))
    record = catalog.decode_record(keys[facet].encode(), None)  # type: ignore[index]
    assert (record.tenant, record.item_id) == ("default", "tea/1")
    assert catalog.encode_record(record) is None
    assert catalog.apply(TEA, record) is None


def test_keys_of_records_are_those_that_a_removal_names() -> None:
    assert [catalog.key_of(r) for r in catalog.facets(TEA, "default")] == catalog.record_keys("default", "tea/1")


@pytest.mark.parametrize(
    ("key", "value", "code"),
    [
        (
            b"default|a|price",
            b'{"tenant":"default","item_id":"a","price":{"price":"-1","currency":"EUR"}}',
            "out_of_range",
        ),
        (b"default|a|price", b'{"tenant":"default","item_id":"a","price":{"price":"1"}}', "missing_field"),
        (b"default|a|price", b'{"tenant":"default","item_id":"a"}', "one_facet_required"),
        (
            b"default|a|price",
            b'{"tenant":"default","item_id":"a","stock":{},"content":{"name":"x"}}',
            "one_facet_required",
        ),
        (b"default|a|price", b"\xff", "not_json"),
        (b"default", None, "not_json"),
        (b"\xff|a|price", None, "not_json"),
        (None, None, "not_json"),
        (b"Shop%20A|a|price", None, "wrong_form"),
        (b"default||price", None, "empty"),
        (b"k", b'{"tenant":"Shop A","item_id":"a","stock":{}}', "wrong_form"),
        (b"k", b'{"tenant":"","item_id":"a","stock":{}}', "wrong_form"),
        (b"k", b'{"tenant":"default","item_id":"a","stock":{"quantity":1000000000001}}', "out_of_range"),
    ],
)
def test_what_is_no_record_is_refused(key: bytes | None, value: bytes | None, code: str) -> None:
    with pytest.raises(BadInput) as refused:
        catalog.decode_record(key, value)
    assert refused.value.reason == code


@given(st.integers() | st.sampled_from([10**12, -(10**12), 2**63, 2**64, -(2**63) - 1]))
def test_whatever_is_read_can_be_kept(quantity: int) -> None:
    value = b'{"tenant":"default","item_id":"a","stock":{"quantity":%d}}' % quantity
    if abs(quantity) > 10**12:
        with pytest.raises(BadInput, match=r"stock.quantity must be a whole number"):
            catalog.decode_record(b"k", value)
        return
    item = catalog.apply(None, catalog.decode_record(b"k", value))
    assert item is not None
    assert catalog.decode(catalog.encode(item)) == item


@pytest.mark.parametrize(
    ("item", "shown"),
    [
        (TEA, True),
        (Item(item_id="a", content=Content(name="x")), True),
        (Item(item_id="a", price=TEA.price), False),
        (Item(item_id="a", content=Content(name="")), False),
        (Item(item_id="a", content=Content(name=" ")), False),
        (Item(item_id="a", content=Content(name="x", hidden=True)), False),
        (Item(item_id="a", content=Content(name="x"), stock=Stock(available=False)), False),
        (Item(item_id="a", content=Content(name="x"), stock=Stock(quantity=0)), False),
    ],
)
def test_what_may_be_shown(item: Item, shown: bool) -> None:
    assert item.may_be_shown is shown


def test_an_event_without_prices_takes_all_from_the_catalogue() -> None:
    completed = catalog.complete(event(EventItem(item_id="tea/1"), EventItem(item_id="?")), {"tea/1": TEA}.get)
    assert completed.items == (
        EventItem(item_id="tea/1", category="tea", brand="Leaf", price=Decimal("4.50")),
        EventItem(item_id="?"),
    )
    assert completed.currency == "EUR"


def test_what_an_event_says_itself_stays() -> None:
    said = EventItem(item_id="tea/1", category="gifts", brand="Own", price=Decimal(3))
    assert catalog.complete(event(said, currency="EUR"), {"tea/1": TEA}.get).items == (said,)


def test_a_price_in_another_currency_is_not_filled_in() -> None:
    (line,) = catalog.complete(event(EventItem(item_id="tea/1"), currency="USD"), {"tea/1": TEA}.get).items
    assert (line.category, line.price) == ("tea", None)
