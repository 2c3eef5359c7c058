"""What is told of a catalogue's changes: known answers for each kind, and laws of the events made of them."""

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from features import catalog
from features.catalog import Content, FacetRecord, Item, Price, Stock
from features.catalog_changes import FIRST_LOAD_MS, MAX_BYTES, Place, Step, Telling, change_of, into
from features.events import Event, decode, encode
from features.items_changed import CHANGE_KINDS, MAX_CHANGED, ItemChange

LOW = 5


def item(
    price: str | None = "9.50",
    quantity: int | None = 20,
    *,
    currency: str = "EUR",
    stocked: bool = True,
    hidden: bool = False,
    named: bool = True,
) -> Item:
    return Item(
        item_id="tea",
        content=Content(name="Tea", hidden=hidden) if named else None,
        price=None if price is None else Price(price=Decimal(price), currency=currency),
        stock=Stock(available=quantity != 0, quantity=quantity) if stocked else None,
    )


def kinds(before: Item | None, after: Item | None, *, heard_of: bool = True) -> tuple[str, ...]:
    change = change_of(before, after, "tea", 0, heard_of, LOW)
    return () if change is None else change.kinds


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (item(), item(), ()),
        (item(), item("9.00"), ("price_dropped",)),
        (item("9.00"), item(), ()),
        (item(), item("1.00", currency="USD"), ()),
        (item(None), item("1.00"), ()),
        (item(), item(quantity=0), ("out_of_stock",)),
        (item(), item(hidden=True), ("out_of_stock",)),
        (item(), None, ("out_of_stock",)),
        (item(quantity=0), None, ()),
        (item(stocked=False), item(quantity=0), ("out_of_stock",)),
        (item(quantity=0), item(), ("back_in_stock",)),
        (item(quantity=0), item(quantity=2), ("back_in_stock",)),
        (item(quantity=0), item("9.00"), ("price_dropped", "back_in_stock")),
        (item(hidden=True), item(), ("back_in_stock",)),
        (item(), item(quantity=5), ("low_stock",)),
        (item(), item(quantity=6), ()),
        (item(quantity=4), item(quantity=3), ()),
        (item(quantity=None), item(quantity=3), ("low_stock",)),
        (item(quantity=3), item(quantity=0), ("out_of_stock",)),
        (None, item(), ("new_arrival",)),
        (item(named=False), item("1.00"), ("new_arrival",)),
        (None, item(hidden=True), ()),
        (None, item(quantity=0), ()),
        (None, item(named=False), ()),
        (None, None, ()),
    ],
)
def test_what_became_of_an_item(before: Item | None, after: Item | None, expected: tuple[str, ...]) -> None:
    assert kinds(before, after) == expected


def test_an_item_that_gets_its_name_is_new_and_was_never_away() -> None:
    nameless = Item(item_id="tea", content=Content(name=""))
    assert kinds(nameless, Item(item_id="tea", content=Content(name="Tea"))) == ("new_arrival",)


def test_a_first_catalogue_is_no_news_but_what_changes_in_it_is() -> None:
    assert kinds(None, item(), heard_of=False) == ()
    assert kinds(item(stocked=False), item(quantity=0), heard_of=False) == ()
    assert kinds(item(stocked=False), item(quantity=3), heard_of=False) == ()
    assert kinds(item(), item("9.00", 0), heard_of=False) == ("price_dropped", "out_of_stock")
    assert kinds(item(stocked=False), None, heard_of=False) == ("out_of_stock",)


def test_prices_and_pieces_before_and_now_are_told() -> None:
    change = change_of(item("9.50", 20), item("8.00", 3), "tea", 7, True, LOW)
    assert change is not None
    assert (change.price_before, change.price, change.currency) == (Decimal("9.50"), Decimal("8.00"), "EUR")
    assert (change.quantity_before, change.quantity, change.offset) == (20, 3, 7)
    other = change_of(item("9.50"), item("8.00", 3, currency="USD"), "tea", 7, True, LOW)
    assert other is not None
    assert (other.price_before, other.price) == (None, Decimal("8.00"))


states = st.none() | st.builds(
    item,
    st.sampled_from([None, "1", "2", "3.50"]),
    st.sampled_from([None, 0, 1, LOW, LOW + 1]),
    currency=st.sampled_from(["EUR", "USD"]),
    stocked=st.booleans(),
    hidden=st.booleans(),
    named=st.booleans(),
)


@given(states, states, st.booleans())
def test_nothing_is_told_of_what_stays_and_no_two_words_of_stock_at_once(
    before: Item | None, after: Item | None, heard_of: bool
) -> None:
    told = kinds(before, after, heard_of=heard_of)
    assert kinds(before, before, heard_of=heard_of) == ()
    assert list(told) == sorted(set(told), key=CHANGE_KINDS.index)
    assert len(set(told) - {"price_dropped"}) <= 1
    assert set(kinds(before, after, heard_of=False)) <= set(kinds(before, after))


Key = tuple[str, str]


def told(
    before: Mapping[Key, Item | None], after: Mapping[Key, Item | None], at_ms: int = FIRST_LOAD_MS
) -> list[Event]:
    steps = [Step(*key, before.get(key), item) for key, item in after.items()]
    telling = Telling("log", 3, LOW, [Place(n, at_ms) for n in range(len(steps))])
    return telling.events(steps, dict.fromkeys({tenant for tenant, _ in after}, 0))


def test_the_first_day_of_a_catalogue_is_its_first_load() -> None:
    after = {("default", "tea"): item()}
    assert told({}, after, FIRST_LOAD_MS - 1) == []
    (event,) = told({}, after, FIRST_LOAD_MS)
    assert event.occurred_at == event.received_at == datetime(1970, 1, 2, tzinfo=UTC)


@given(st.integers(0, 1300))
def test_an_event_has_five_hundred_items_at_most_and_their_order_is_the_logs(many: int) -> None:
    before = {("default", f"tea-{n}"): item() for n in range(many)}
    events = told(before, {key: item("1.00") for key in before})
    counts = [len(event.changed.items) for event in events if event.changed]
    assert counts == [MAX_CHANGED] * (many // MAX_CHANGED) + [many % MAX_CHANGED] * (many % MAX_CHANGED > 0)
    assert [one.offset for event in events if event.changed for one in event.changed.items] == list(range(many))
    assert len({event.event_id for event in events}) == len(events)


def test_long_ids_make_smaller_events() -> None:
    before = {("default", f"{n:04}".ljust(256, "\x01")): item() for n in range(MAX_CHANGED)}
    events = told(before, {key: item("1.00") for key in before})
    assert len(events) > 1
    assert all(len(encode(event)) < MAX_BYTES + 10_000 for event in events)
    assert sum(len(event.changed.items) for event in events if event.changed) == MAX_CHANGED


def test_a_repeat_has_the_same_bytes_and_every_other_event_another_id() -> None:
    before = {("default", "tea"): item(), ("other", "tea"): item()}
    after = {key: item("1.00") for key in before}
    (mine, theirs), again = told(before, after), told(before, after)
    assert [encode(one) for one in again] == [encode(mine), encode(theirs)]
    assert (mine.tenant, theirs.tenant) == ("default", "other")
    everywhere = [into(one, partition) for one in (mine, theirs) for partition in range(8)]
    assert len({event.event_id for event in everywhere}) == 16
    assert [into(mine, partition) for partition in range(8)] == everywhere[:8]
    assert into(into(mine, 3), 0) == mine
    for event in everywhere:
        assert decode(encode(event)) == replace(event, schema_version=1)


@pytest.mark.parametrize("at_ms", [-1, 0, 10**18])
def test_a_clock_that_is_far_out_makes_no_event_that_nobody_can_read(at_ms: int) -> None:
    events = told({("default", "tea"): item()}, {("default", "tea"): item("1.00")}, at_ms)
    assert [decode(encode(event)).changed for event in events] == [events[0].changed]


records = st.lists(
    st.builds(
        lambda quantity: FacetRecord(tenant="default", item_id="tea", stock=Stock(quantity=quantity)),
        st.sampled_from([0, 3, LOW, 20]),
    )
    | st.builds(
        lambda amount: FacetRecord(tenant="default", item_id="tea", price=Price(price=Decimal(amount), currency="EUR")),
        st.sampled_from(["1", "2", "3.50"]),
    )
    | st.builds(
        lambda name, hidden: FacetRecord(tenant="default", item_id="tea", content=Content(name=name, hidden=hidden)),
        st.sampled_from(["Tea", ""]),
        st.booleans(),
    )
    | st.just(FacetRecord(tenant="default", item_id="tea")),
    max_size=12,
)


def told_in_batches(log: Sequence[FacetRecord], cuts: Collection[int]) -> list[ItemChange]:
    """All that is told of the log, read in batches that end at the cuts."""
    state: Item | None = None
    steps: list[Step] = []
    found: list[ItemChange] = []
    for offset, record in enumerate(log, 1):
        after = catalog.apply(state, record)
        steps.append(Step("default", "tea", state, after))
        state = after
        if offset in cuts or offset == len(log):
            places = [Place(offset - len(steps) + n, FIRST_LOAD_MS) for n in range(len(steps))]
            events = Telling("log", 3, LOW, places).events(steps, {"default": 0})
            found += [change for event in events if event.changed is not None for change in event.changed.items]
            steps = []
    return found


@given(records, st.sets(st.integers(1, 12)), st.sets(st.integers(1, 12)))
def test_what_is_told_is_the_same_however_the_log_is_cut(
    log: list[FacetRecord], cuts: set[int], others: set[int]
) -> None:
    once = told_in_batches(log, cuts)
    assert once == told_in_batches(log, others)
    assert [change.offset for change in once] == sorted({change.offset for change in once})
