"""The event about the catalogue: read from the log, refused at the door, and no shopper's anywhere."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest
from msgspec.structs import replace

from features.archive import archive_row
from features.events import OUR_NAMES, Event, decode, encode, home_of, parse, record_key_of, shopper_id
from features.history import History
from features.items_changed import ITEMS_CHANGED, MAX_CHANGED, ItemChange, ItemsChanged
from infra.errors import BadInput
from tests.features.events import RECEIVED

AT = datetime(2026, 11, 2, 9, tzinfo=UTC)
CHEAPER = ItemChange(
    item_id="tea",
    kinds=("price_dropped", "low_stock"),
    offset=7,
    price_before=Decimal("9.50"),
    price=Decimal("8.00"),
    currency="EUR",
    quantity=2,
)
EVENT = Event(
    event_name="items_changed",
    event_id="c1",
    source="daogou",
    occurred_at=AT,
    received_at=AT,
    changed=ItemsChanged(catalogue_log="log", catalogue_partition=1, into=5, items=(CHEAPER,)),
)


def changed(*items: ItemChange) -> Event:
    assert EVENT.changed is not None
    return replace(EVENT, changed=replace(EVENT.changed, items=items))


def test_it_is_read_as_it_was_written_and_belongs_to_no_shopper() -> None:
    assert decode(encode(EVENT)) == replace(EVENT, schema_version=1)
    assert (home_of(EVENT, 8), record_key_of(EVENT), shopper_id(EVENT)) == (5, "default|items_changed", "")
    row = archive_row(("log", 5, 0), 0, None, encode(EVENT))
    assert (row.event_name, row.shopper_id, row.tenant) == (ITEMS_CHANGED, None, "default")


@pytest.mark.parametrize("name", OUR_NAMES)
def test_nobody_may_send_what_is_ours(name: str) -> None:
    told = {"event_name": name, "occurred_at": AT.isoformat(), "anonymous_id": "a", "event_id": "e"}
    with pytest.raises(BadInput) as refused:
        parse(told, tenant="default", received_at=RECEIVED, new_id=lambda: "id")
    assert (refused.value.reason, refused.value.path) == ("unknown_event", "event_name")


def test_what_changed_is_not_taken_from_a_sender() -> None:
    told = {"event_name": "page_view", "occurred_at": AT.isoformat(), "anonymous_id": "a", "changed": {"into": 1}}
    assert parse(told, tenant="default", received_at=RECEIVED, new_id=lambda: "id").changed is None


@pytest.mark.parametrize(
    ("event", "code", "path"),
    [
        (replace(EVENT, changed=None), "changed_required", "changed"),
        (changed(), "empty", "changed.items"),
        (changed(*[CHEAPER] * (MAX_CHANGED + 1)), "too_long", "changed.items"),
        (changed(replace(CHEAPER, price=Decimal("-1"))), "out_of_range", "changed.items[0].price"),
        (changed(replace(CHEAPER, price_before=Decimal("NaN"))), "out_of_range", "changed.items[0].price_before"),
        (changed(CHEAPER, replace(CHEAPER, offset=2**63)), "out_of_range", "changed.items[1].offset"),
        (changed(replace(CHEAPER, quantity=10**12 + 1)), "out_of_range", "changed.items[0].quantity"),
        (changed(replace(CHEAPER, quantity_before=-(10**30))), "out_of_range", "changed.items[0].quantity_before"),
        (changed(replace(CHEAPER, item_id="")), "empty", "changed.items[0].item_id"),
    ],
)
def test_what_breaks_a_rule_is_refused_by_its_field(event: Event, code: str, path: str) -> None:
    with pytest.raises(BadInput) as refused:
        decode(encode(event))
    assert (refused.value.reason, refused.value.path) == (code, path)


def test_the_offline_history_passes_it_over() -> None:
    kept, lateness_ms = Kept(), 1000
    history = History(kept, kept, lateness_ms)
    history.take([(encode(EVENT), 0)], lambda _: None)
    assert (history.counts.events, history.counts.rows, history.counts.undecodable) == (1, 0, 0)


class Kept:
    """Where rows would go."""

    def add(self, *_: object) -> None:
        raise AssertionError("nothing comes of it")


def test_a_full_event_is_taken() -> None:
    full = changed(*(replace(CHEAPER, item_id=f"i{n}") for n in range(MAX_CHANGED)))
    assert decode(encode(full)).changed == full.changed
