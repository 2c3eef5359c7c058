"""What a message about a cart says, and why there is none."""

from decimal import Decimal

import pytest

from features.catalog import Content, Item, Stock
from features.events import to_ms
from features.messages import Trigger, TriggerItem
from features.shoppers import CartLine, State
from streams.marketing import copy
from streams.marketing.decision import LIFETIME_MS, cart_abandoned
from streams.marketing.timers import cart_due
from tests.streams.marketing.till import item
from tests.streams.shop import T0

HOUR_MS = 3_600_000
DUE_MS = to_ms(T0) + HOUR_MS


def state(*item_ids: str, **more: object) -> State:
    cart = {item_id: CartLine(1, "3.20", "EUR", at) for at, item_id in enumerate(item_ids)}
    return State(cart=cart, cart_live_at=DUE_MS - HOUR_MS, **more)


def decide(of: State, *items: Item, now_ms: int = DUE_MS) -> Trigger | str:
    return cart_abandoned("default", "u-ann", of, {one.item_id: one for one in items}, DUE_MS, now_ms)


def test_a_cart_is_due_an_hour_after_its_last_live_change() -> None:
    assert cart_due(state("a"), HOUR_MS) == DUE_MS
    assert cart_due(state(), HOUR_MS) is None
    assert cart_due(State(cart={"a": CartLine(1, None, None, 5)}), HOUR_MS) is None


def test_the_message_names_what_lies_in_the_cart_newest_first() -> None:
    made = decide(state("a", "b"), item("a"), item("b"))
    assert isinstance(made, Trigger)
    assert [one.item_id for one in made.items] == ["b", "a"]
    assert made.items[0].price == Decimal("3.20")
    assert "Name of b (3.20 EUR), Name of a (3.20 EUR)" in made.copy.body
    assert (made.copy.locale, made.consent_basis) == ("en", "soft_opt_in")
    assert to_ms(made.eligible_at) == DUE_MS
    assert to_ms(made.expires_at) == DUE_MS + LIFETIME_MS
    assert decide(state("a", "b"), item("a"), item("b"), now_ms=DUE_MS + 5) == made


def test_the_id_follows_from_shopper_and_due_time() -> None:
    ids = {
        made.trigger_id
        for due in (DUE_MS, DUE_MS + 1)
        for who in ("u-ann", "u-bob")
        if isinstance(made := cart_abandoned("default", who, state("a"), {"a": item("a")}, due, due), Trigger)
    }
    assert len(ids) == 4


@pytest.mark.parametrize(
    ("of", "items", "late_ms", "reason"),
    [
        (state("a"), [item("a")], LIFETIME_MS + 1, "expired"),
        (state(), [], 0, "empty_cart"),
        (state("a", consent={"marketing": False}), [item("a")], 0, "no_consent"),
        (state("a"), [item("a", stock=Stock(available=False))], 0, "out_of_stock"),
        (state("a"), [item("a", content=Content(name="x", hidden=True))], 0, "out_of_stock"),
        (state("a"), [], 0, "out_of_stock"),
    ],
)
def test_no_message(of: State, items: list[Item], late_ms: int, reason: str) -> None:
    assert decide(of, *items, now_ms=DUE_MS + late_ms) == reason


def test_what_cannot_be_bought_is_left_out() -> None:
    made = decide(state("a", "b"), item("a"), item("b", stock=Stock(quantity=0)))
    assert isinstance(made, Trigger)
    assert [one.item_id for one in made.items] == ["a"]


def test_chinese_for_chinese_shoppers() -> None:
    made = decide(state("a", locale="zh-Hans-CN"), item("a", content=Content(name="龙井茶")))
    assert isinstance(made, Trigger)
    assert made.copy.locale == "zh"
    assert "龙井茶（3.20 EUR）" in made.copy.body


def test_shop_text_is_data() -> None:
    assert copy.plain("a\n\tb\u202e{x}\u0000 c") == "a b {x} c"
    assert len(copy.plain("long " * 100)) <= copy.MAX_NAME
    hostile = TriggerItem(item_id="a", name="{0.__class__} %s\r\nBcc: all")
    assert "\n" not in copy.cart_abandoned([hostile], "en").subject
