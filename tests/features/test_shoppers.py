"""The fold's known answers: what a shopper's visit makes of the row."""

import msgspec
import pytest

from features import shoppers
from features.shoppers import CartLine, Interaction, Purchased, Session, fold
from tests.features.steps import DAY, HOUR, LATENESS, Story, T, folded, line, state_of


def test_an_empty_row_knows_nothing() -> None:
    row = shoppers.empty()
    assert (row.floor, row.state.newest, row.state.interactions, row.state.session) == (0, 0, [], None)


def test_a_view_is_an_interaction_and_a_view() -> None:
    state = state_of(Story().step("view_item", "a"))
    assert state.interactions == [Interaction("a", "view_item", T + 60_000)]
    assert (state.views, state.orders, state.newest) == (1, 0, T + 60_000)


def test_a_view_right_after_the_click_on_the_same_item_is_one_meeting() -> None:
    story = Story()
    state = state_of(story.step("select_item", "a"), story.step("view_item", "a"), story.step("view_item", "b"))
    assert [(met.item_id, met.kind) for met in state.interactions] == [("a", "view_item"), ("b", "view_item")]


@pytest.mark.parametrize("name", ["view_item_list", "view_cart", "begin_checkout", "page_view", "refund", "identify"])
def test_what_is_no_turning_to_an_item_is_no_interaction(name: str) -> None:
    assert state_of(Story().step(name, "a")).interactions == []


def test_the_last_fifty_interactions_are_kept_oldest_first() -> None:
    story = Story()
    state = state_of(*(story.step("view_item", f"i{n}") for n in range(60)))
    assert [met.item_id for met in state.interactions] == [f"i{n}" for n in range(10, 60)]


def test_a_cart_counts_what_is_put_in_and_taken_out() -> None:
    story = Story()
    state = state_of(
        story.step("add_to_cart", line("a", 2, "9.99"), "b"),
        story.step("add_to_cart", line("a", 3)),
        story.step("remove_from_cart", "a", "b", "c"),
    )
    assert state.cart == {"a": CartLine(4, "9.99", "EUR", T + 180_000)}
    assert state.cart_live_at == T + 180_000


def test_taking_out_more_than_there_is_leaves_nothing() -> None:
    story = Story()
    state = state_of(story.step("add_to_cart", "a"), story.step("remove_from_cart", line("a", 5)))
    assert (state.cart, state.cart_live_at) == ({}, 0)


def test_a_purchase_clears_the_cart_of_what_was_bought() -> None:
    story = Story()
    added = story.step("add_to_cart", line("a", 2), "b")
    some = state_of(added, story.step("purchase", "a"))
    assert (list(some.cart), some.cart_live_at) == (["b"], T + 120_000)
    all_ = state_of(added, story.step("purchase", "b", "a"))
    assert (all_.cart, all_.cart_live_at) == ({}, 0)


def test_loaded_history_does_not_count_as_a_live_change_of_the_cart() -> None:
    story = Story()
    loaded = story.step("add_to_cart", "a", live=False)
    assert state_of(loaded).cart_live_at == 0
    live = story.step("add_to_cart", "b")
    assert state_of(loaded, live, story.step("add_to_cart", "c", live=False)).cart_live_at == live.at


def test_a_visit_that_begins_as_the_last_one_ends_does_not_keep_its_cart_company() -> None:
    story = Story()
    added = story.step("add_to_cart", "a", at=T, session="s")
    other = [story.step("view_item", "b", at=at, session="t") for at in (T, T + 60_000)]
    assert state_of(added, *other).cart_live_at == T


def test_a_view_that_arrives_after_the_purchase_does_not_change_the_cart() -> None:
    story = Story()
    added, viewed, bought = (
        story.step("add_to_cart", "a"),
        story.step("view_item", "a"),
        story.step("purchase", "a"),
    )
    late = folded([viewed], folded([added, bought]))
    assert late.state.cart == {}
    assert shoppers.encode(late) == shoppers.encode(folded([added, viewed, bought]))


def test_a_cart_filled_before_the_purchase_but_heard_of_later_is_empty() -> None:
    story = Story()
    added, bought = story.step("add_to_cart", "a"), story.step("purchase", "a")
    assert folded([added], folded([bought])).state.cart == {}


def test_purchases_count_orders_with_a_half_life_of_ninety_days() -> None:
    story = Story()
    first = story.step("purchase", line("a", 7), at=T)
    second = story.step("purchase", "a", at=T + 90 * DAY)
    state = state_of(first, second)
    assert state.purchased == {"a": Purchased(2, T, T + 90 * DAY, 1.5)}
    assert state.orders == 2


def test_a_refund_takes_back_the_last_order_of_the_item() -> None:
    story = Story()
    first, second = story.step("purchase", "a", at=T), story.step("purchase", "a", "b", at=T + 90 * DAY)
    refunded = story.step("refund", "a", "b", "never bought", at=T + 91 * DAY)
    assert state_of(first, second, refunded).purchased == {"a": Purchased(1, T, T + 90 * DAY, 0.5)}


def test_wishes_and_dislikes() -> None:
    story = Story()
    state = state_of(
        story.step("add_to_wishlist", "a", "b"),
        story.step("remove_from_wishlist", "a"),
        story.step("dislike_item", "c", "d"),
        story.step("add_to_cart", "d"),
    )
    assert state.wishes == {"b": T + 60_000}
    assert state.disliked == {"c": T + 180_000}, "what is put in the cart is disliked no more"


def test_affinities_add_weights_that_halve_in_thirty_days() -> None:
    story = Story()
    state = state_of(
        story.step("purchase", line("a", category="tea", brand="Leaf"), at=T),
        story.step("view_item", line("b", category="tea"), at=T + 30 * DAY),
        story.step("dislike_item", line("c", category="soap"), at=T + 30 * DAY),
    )
    assert {name: sum_.value for name, sum_ in state.categories.items()} == {"tea": 3.5, "soap": -3.0}
    assert shoppers.affinity_at(state.brands["Leaf"], T + 60 * DAY) == 1.25


def test_more_categories_than_are_kept_leave_every_one_with_over_a_tenth_of_all() -> None:
    story = Story()
    views = [story.step("view_item", line("a", category=f"c{n}"), at=T) for n in range(15) for _ in range(n + 1)]
    kept = state_of(*views).categories
    assert len(kept) == shoppers.MAX_AFFINITIES
    assert {"c12", "c13", "c14"} <= set(kept), "13, 14 and 15 views of 120"


def test_a_newcomer_that_keeps_coming_gets_among_the_affinities() -> None:
    """Ten old favourites do not keep an eleventh out, however heavy they are."""
    story = Story()
    old = [
        story.step("purchase", line("a", category=f"c{n}"), at=T + week * 7 * DAY)
        for week in range(10)
        for n in range(shoppers.MAX_AFFINITIES)
    ]
    new = [story.step("view_item", line("b", category="new"), at=T + 80 * DAY + n) for n in range(5)]
    assert "new" in state_of(*old, *new).categories


def test_the_mean_price_is_of_logarithms() -> None:
    story = Story()
    state = state_of(story.step("view_item", line("a", price="1"), line("b", price="100"), line("c", price="0")))
    assert state.log_price_sum.value / state.log_price_weight.value == pytest.approx(2.302585, abs=1e-6)


def test_a_session_ends_after_half_an_hour_without_events() -> None:
    story = Story()
    state = state_of(
        story.step("page_view", at=T),
        story.step("page_view", at=T + 29 * 60_000),
        story.step("page_view", at=T + 59 * 60_000),
        story.step("page_view", at=T + 60 * 60_000),
    )
    start = T + 59 * 60_000
    assert state.session == Session(f"at-{start}", start, T + 60 * 60_000, 2)


def test_a_named_session_lasts_as_long_as_its_name_is_given() -> None:
    story = Story()
    named = [story.step("page_view", session="s", at=T + n * 2 * HOUR) for n in range(3)]
    assert state_of(*named).session == Session("s", T, T + 4 * HOUR, 3)
    unnamed = story.step("page_view", at=T + 4 * HOUR + 1)
    assert state_of(*named, unnamed).session == Session("s", T, T + 4 * HOUR + 1, 4)
    other = story.step("page_view", session="t", at=T + 4 * HOUR + 2)
    assert state_of(*named, other).session == Session("t", other.at, other.at, 1)


def test_what_is_told_is_kept_as_last_told() -> None:
    story = Story()
    state = state_of(
        story.step("search", extra={"search_term": "green tea", "locale": "de-DE", "time_zone": "Europe/Berlin"}),
        story.step("consent_updated", extra={"consent.email": True, "consent.push": True}),
        story.step("consent_updated", extra={"consent.email": False}),
    )
    assert (state.last_search, state.locale, state.time_zone) == ("green tea", "de-DE", "Europe/Berlin")
    assert state.consent == {"email": False, "push": True}


@pytest.mark.parametrize(
    ("name", "field", "most"),
    [
        ("add_to_cart", "cart", shoppers.MAX_CART),
        ("add_to_wishlist", "wishes", shoppers.MAX_WISHES),
        ("purchase", "purchased", shoppers.MAX_PURCHASED),
        ("dislike_item", "disliked", shoppers.MAX_DISLIKED),
    ],
)
def test_a_full_map_lets_the_oldest_go(name: str, field: str, most: int) -> None:
    story = Story()
    state = state_of(*(story.step(name, f"{n:04}", at=T + n) for n in range(most + 3)))
    assert sorted(getattr(state, field)) == [f"{n:04}" for n in range(3, most + 3)]
    at_once = state_of(story.step(name, *(f"{n:04}" for n in range(most + 3)), at=T))
    assert sorted(getattr(at_once, field)) == [f"{n:04}" for n in range(3, most + 3)]


def test_an_event_at_or_below_the_floor_is_late_and_one_above_it_is_not() -> None:
    story = Story()
    row = folded([story.step("page_view", at=T)])
    late = fold(row, [story.step("view_item", "a", at=T - LATENESS)], LATENESS)
    assert (late.row, late.applied, late.duplicates, late.late) == (row, 0, 0, 1)
    in_time = fold(row, [story.step("view_item", "a", at=T - LATENESS + 1)], LATENESS)
    assert (in_time.applied, in_time.late, in_time.row.state.views) == (1, 0, 1)


def test_duplicates_are_counted_and_change_nothing() -> None:
    story = Story()
    step = story.step("add_to_cart", "a")
    result = fold(shoppers.empty(), [step, step], LATENESS)
    assert (result.applied, result.duplicates, result.late) == (1, 1, 0)
    assert result.row.state.cart["a"].quantity == 1


def test_the_same_id_from_another_source_is_another_event() -> None:
    step = Story().step("add_to_cart", "a")
    other = msgspec.structs.replace(step, source="app")
    assert fold(shoppers.empty(), [step, other], LATENESS).row.state.cart["a"].quantity == 2


def test_settled_is_not_touched_while_nothing_settles() -> None:
    story = Story()
    row = folded([story.step("view_item", "a", at=T), story.step("view_item", "b", at=T + DAY - 1)])
    poisoned = shoppers.Row(row.state, row.floor, row.recent, msgspec.Raw(b"\xc1"))
    assert fold(poisoned, [story.step("view_item", "c", at=T + DAY - 1)], LATENESS).applied == 1


def test_too_many_recent_events_raise_the_floor() -> None:
    story = Story()
    steps = [story.step("view_item", "a", at=T + n) for n in range(shoppers.MAX_RECENT + 10)]
    row = folded(steps)
    assert row.floor == T + 9
    assert len(shoppers.unpacked(row)[1]) == shoppers.MAX_RECENT
    assert row.state.views == len(steps)
    assert fold(row, [story.step("view_item", "b", at=T + 9)], LATENESS).late == 1
    assert fold(row, [steps[10]], LATENESS).duplicates == 1
    batch = folded(steps[1000:], folded(steps[:1000]))
    assert shoppers.encode(batch) == shoppers.encode(row)


def test_more_events_at_one_moment_than_are_kept_settle_together() -> None:
    story = Story()
    row = folded([story.step("view_item", "a", at=T) for _ in range(shoppers.MAX_RECENT + 1)])
    assert (row.floor, shoppers.unpacked(row)[1], row.state.views) == (T, [], shoppers.MAX_RECENT + 1)
