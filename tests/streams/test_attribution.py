"""Which list a click or a purchase is owed to, by cases whose answer follows."""

from decimal import Decimal

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from features.events import Event
from serving.decisions import Decision
from streams.attribution import RANKED, Lists
from streams.attribution_report import Attribution, ScenarioReport
from tests.streams.lists import HOUR_MS, decision, did

DAY_MS = 24 * HOUR_MS


def owed(lists: Lists, event: Event, within_ms: int = DAY_MS) -> list[tuple[str, bool] | None]:
    return [None if one is None else (one.list.id, one.named) for one in lists.credits(event, within_ms)]


def lists_of(*decisions: Decision) -> Lists:
    lists = Lists()
    for one in decisions:
        lists.add(one)
    return lists


THREE = lists_of(
    decision("r1", ["tea", "tart"]),
    decision("r2", ["tea", "scone"], hour=2),
    decision("r3", ["tea"], hour=1, user="bob"),
)


def test_the_list_that_is_named_is_the_one() -> None:
    assert owed(THREE, did("select_item", "tea", hour=3, named="r1")) == [("r1", True)]


def test_else_it_is_the_newest_that_showed_the_item_to_this_shopper_before() -> None:
    assert owed(THREE, did("view_item", "tea", hour=3)) == [("r2", False)]
    assert owed(THREE, did("view_item", "tea", hour=1)) == [("r1", False)]
    assert owed(THREE, did("view_item", "tart", hour=3)) == [("r1", False)]
    assert owed(THREE, did("view_item", "tea", hour=3, user="bob")) == [("r3", False)]
    assert owed(THREE, did("view_item", "tea", hour=3, user="cid")) == [None]
    assert owed(THREE, did("view_item", "moon", hour=3)) == [None]
    assert owed(THREE, did("view_item", "tea", hour=-1)) == [None]


def test_a_list_is_forgotten_after_the_hours_unless_it_is_named() -> None:
    assert owed(THREE, did("view_item", "tea", hour=26.1)) == [None]
    assert owed(THREE, did("view_item", "tea", hour=26.1, named="r2")) == [("r2", True)]


def test_a_named_list_that_did_not_show_the_item_is_not_the_one() -> None:
    assert owed(THREE, did("add_to_cart", "scone", hour=3, named="r1")) == [("r2", False)]
    assert owed(THREE, did("add_to_cart", "scone", hour=3, named="r9")) == [("r2", False)]


def test_each_line_of_an_order_is_owed_by_itself() -> None:
    assert owed(THREE, did("purchase", "tart", "scone", "moon", hour=3)) == [("r1", False), ("r2", False), None]


def test_what_was_shown_before_the_login_counts_after_it() -> None:
    lists = lists_of(decision("r1", ["tea"], user=None, anonymous="x"))
    assert owed(lists, did("purchase", "tea", user="ann", anonymous="x")) == [("r1", False)]
    assert owed(lists, did("purchase", "tea", user="ann")) == [None]


@given(st.lists(st.tuples(st.floats(0, 40), st.sampled_from(["tea", "tart"])), max_size=12), st.floats(0, 60))
def test_it_is_never_a_later_list_nor_an_older_one_than_the_newest(shown: list[tuple[float, str]], hour: float) -> None:
    lists = lists_of(*(decision(f"r{n}", [item], hour=at) for n, (at, item) in enumerate(shown)))
    event = did("view_item", "tea", hour=hour)
    (found,) = lists.credits(event, DAY_MS)
    at_ms = int((event.occurred_at.timestamp()) * 1000)
    right = [one.at for one in lists.by_id.values() if "tea" in one.items and at_ms - DAY_MS <= one.at <= at_ms]
    assert (None if found is None else found.list.at) == max(right, default=None)


def counted(*given: Decision | Event) -> tuple[dict[str, ScenarioReport], dict[str, int], int]:
    attribution = Attribution(DAY_MS)
    for one in given:
        if isinstance(one, Event):
            attribution.event(one)
        else:
            attribution.shown(one)
    found = attribution.report()
    return {one.scenario: one for one in found.scenarios}, found.not_owed, found.unknown_lists


def test_a_scenarios_lists_clicks_carts_and_orders_are_counted_and_its_revenue_by_currency() -> None:
    ranked = decision("r3", ["jam"], scenario="cart")
    of, not_owed, unknown = counted(
        decision("r1", ["tea", "tart"]),
        decision("r2", ["scone"], scenario="product", hour=1),
        ranked,
        did("view_item_list", "tea", named="r1"),
        did("select_item", "tea", named="r1"),
        did("view_item", "tea"),  # the page of the item that was clicked: one click
        did("add_to_cart", "tea", hour=2),
        did("purchase", "tea", "scone", "moon", hour=2, price="2.50"),
        did("purchase", "tart", hour=2, price="3", currency="USD"),
        did("purchase", "tart", hour=2, currency=None),
        did("view_item", "moon", named="r9"),
    )
    home = of["home"]
    assert (home.lists, home.impressions, home.clicks, home.carts) == (1, 1, 1, 1)
    assert (home.purchases, home.bought, home.without_price) == (3, 3, 1)
    assert home.revenue == {"EUR": Decimal("2.50"), "USD": Decimal(3)}
    assert home.named == 1 / 6
    assert (of["product"].lists, of["product"].clicks, of["product"].purchases) == (1, 0, 1)
    assert of["cart"].named is None
    assert (not_owed, unknown) == ({"click": 1, "purchase": 1}, 1)


def test_lists_that_the_shop_chose_are_a_kind_of_their_own() -> None:
    made = decision("r1", ["tea"])
    versions = msgspec.structs.replace(made.versions, policy="rank-1")
    assert lists_of(msgspec.structs.replace(made, versions=versions)).by_id["r1"].scenario == RANKED
