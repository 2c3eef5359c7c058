"""Two rows of one person as one: what the merge promises, exactly and within bounds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import shoppers
from features.shopper_bought import added, holds, taken_back, united
from features.shopper_merge import merge_rows, merged
from features.shoppers import Row, State, Step, decode, empty, encode, fold, unpacked
from tests.features.steps import DAY, HOUR, LATENESS, Story, T, folded, line, steps_of

within_a_day = st.integers(0, 23 * 60).map(lambda minute: T + minute * 60_000)
over_weeks = st.integers(0, 20 * 24).map(lambda hour: T + hour * HOUR)
later = st.integers(1, 23 * 60).map(lambda minute: T + 20 * DAY + minute * 60_000)


def row_of(steps: list[Step]) -> Row:
    return fold(empty(), steps, LATENESS).row


def order(step: Step) -> tuple[int, str, str]:
    return step.at, step.source, step.event_id


@given(steps_of(within_a_day), steps_of(within_a_day))
def test_the_merge_of_two_folds_is_the_fold_of_both_to_the_last_bit(one: list[Step], other: list[Step]) -> None:
    whole = encode(row_of(sorted([*one, *other], key=order)))
    assert encode(merge_rows(row_of(one), row_of(other))) == whole
    assert encode(merge_rows(row_of(other), row_of(one))) == whole


@given(steps_of(over_weeks), steps_of(later))
def test_it_is_exact_with_years_of_history_on_one_side_before_the_other_begins(
    long_ago: list[Step], now: list[Step]
) -> None:
    in_order = sorted(long_ago, key=order)
    whole = encode(row_of([*in_order, *sorted(now, key=order)]))
    assert encode(merge_rows(row_of(in_order), row_of(now))) == whole
    assert encode(merge_rows(row_of(now), row_of(in_order))) == whole


@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1), steps_of(within_a_day), st.data())
def test_when_it_was_merged_leaves_no_trace(
    whose: list[tuple[bool, bool]], steps: list[Step], data: st.DataObject
) -> None:
    """Some steps are the other's, and come before the merge; the rest come before or after it, in any order."""
    sides = [(step, whose[n % len(whose)]) for n, step in enumerate(steps)]
    others = [step for step, (is_others, _) in sides if is_others]
    mine = [step for step, (is_others, is_before) in sides if not is_others and is_before]
    after = data.draw(st.permutations([step for step, (is_others, before) in sides if not is_others and not before]))
    row = merge_rows(row_of(mine), row_of(others))
    for step in after:
        row = decode(encode(fold(row, [step], LATENESS).row))
    assert encode(row) == encode(row_of(sorted(steps, key=order)))


@given(steps_of(within_a_day), steps_of(within_a_day), steps_of(within_a_day))
def test_three_are_merged_in_any_order(one: list[Step], two: list[Step], three: list[Step]) -> None:
    rows = [row_of(steps) for steps in (one, two, three)]
    first = merge_rows(merge_rows(rows[0], rows[1]), rows[2])
    assert encode(first) == encode(merge_rows(rows[0], merge_rows(rows[1], rows[2])))
    assert encode(first) == encode(merge_rows(merge_rows(rows[2], rows[0]), rows[1]))


@given(steps_of(within_a_day), steps_of(within_a_day))
def test_events_of_both_count_once(shared: list[Step], mine: list[Step]) -> None:
    row = merge_rows(row_of(shared), row_of([*shared, *mine]))
    assert encode(row) == encode(row_of([*shared, *mine]))


@given(steps_of(over_weeks))
def test_merged_with_nothing_a_row_is_what_it_was(steps: list[Step]) -> None:
    row = row_of(steps)
    assert encode(merge_rows(row, empty())) == encode(merge_rows(empty(), row)) == encode(row)
    settled, _ = unpacked(row)
    assert merged([settled, State()]) == settled


@given(st.lists(steps_of(over_weeks), min_size=2, max_size=4), st.data())
def test_settled_states_are_merged_in_any_order_and_within_bounds(parts: list[list[Step]], data: st.DataObject) -> None:
    states = [row_of(steps).state for steps in parts]
    before = [shoppers.encode(Row(state, 0, empty().recent, empty().settled)) for state in states]
    state = merged(states)
    assert state == merged(data.draw(st.permutations(states)))
    assert before == [shoppers.encode(Row(state, 0, empty().recent, empty().settled)) for state in states]
    assert len(state.interactions) <= shoppers.MAX_INTERACTIONS
    assert [one.at for one in state.interactions] == sorted(one.at for one in state.interactions)
    assert len(state.categories) <= shoppers.MAX_AFFINITIES
    assert (state.cart_changed_at > 0) == (state.cart_live_at > 0) <= bool(state.cart)
    assert state.views == sum(each.views for each in states)
    assert state.orders == sum(each.orders for each in states)


@given(steps_of(over_weeks), steps_of(over_weeks))
def test_a_merged_row_is_a_row(one: list[Step], other: list[Step]) -> None:
    row = merge_rows(row_of(one), row_of(other))
    settled, recent = unpacked(row)
    assert recent == sorted(recent, key=order)
    until = row.floor - row.floor % shoppers.SETTLES_MS
    assert all(step.at > until for step in recent)
    assert settled.newest <= until or not settled.newest
    anew = Row(settled, until, empty().recent, row.settled)
    assert fold(anew, recent, LATENESS).row.state == row.state
    assert encode(decode(encode(row))) == encode(row)


def two(first: list[Step], second: list[Step]) -> State:
    """Both so old that they are settled, and merged as states."""
    return merged([folded(first).state, folded(second).state])


def test_carts_add_up_and_what_the_other_side_bought_later_is_gone() -> None:
    told = Story()
    mine = [told.step("add_to_cart", line("tea", 2, "9.00"), "cup")]
    others = [told.step("add_to_cart", line("tea", 1, "8.50")), told.step("purchase", "cup")]
    state = two(mine, others)
    assert {item: (it.quantity, it.price) for item, it in state.cart.items()} == {"tea": (3, "8.50")}
    assert state.orders == 1
    bought_before = two([told.step("purchase", "pot")], [told.step("add_to_cart", "pot")])
    assert set(bought_before.cart) == {"pot"}


def test_a_later_liking_takes_a_dislike_back() -> None:
    told = Story()
    disliked, liked = [told.step("dislike_item", "tea", "cup")], [told.step("add_to_wishlist", "tea")]
    assert set(two(disliked, liked).disliked) == {"cup"}
    assert set(two(liked, [told.step("dislike_item", "tea")]).disliked) == {"tea"}


def test_of_consents_without_a_time_no_wins() -> None:
    told = Story()
    yes = [told.step("consent_updated", extra={"consent.marketing": True, "consent.push": True})]
    no = [told.step("consent_updated", extra={"consent.marketing": False})]
    assert two(yes, no).consent == two(no, yes).consent == {"marketing": False, "push": True}
    later_yes = [told.step("consent_updated", extra={"consent.marketing": True})]
    assert two(no, later_yes).consent == {"marketing": False}
    row = folded([told.step("consent_updated", extra={"consent.marketing": True})], merge_rows(folded(no), folded(yes)))
    assert row.state.consent["marketing"] is True, "whoever says yes after the login has said yes"


def test_a_visit_that_goes_on_after_the_login_is_one_session() -> None:
    told = Story()
    before = [told.step("view_item", "tea", session="s1"), told.step("view_item", "cup", session="s1")]
    after = [told.step("view_item", "pot", session="s1")]
    session = two(before, after).session
    assert session is not None
    assert (session.started_at, session.last_at, session.events) == (before[0].at, after[0].at, 3)


def test_everything_that_either_bought_is_known_as_bought() -> None:
    told = Story()
    many = [told.step("purchase", *(f"{n}-{m}" for m in range(40)), at=T + n * DAY) for n in range(8)]
    one, other = row_of(many[::2]).state, row_of(many[1::2]).state
    state = merged([one, other])
    assert len(state.purchased) == shoppers.MAX_PURCHASED
    for n in range(8):
        for m in range(40):
            item = f"{n}-{m}"
            assert item in state.purchased or holds(state.bought_before, item)


def test_orders_of_one_item_in_both_compact_sets_add_up() -> None:
    both = united(added(added(b"", "tea", T, 1), "cup", T, 1), added(b"", "tea", T + DAY, 2))
    assert holds(both, "cup")
    left = taken_back(taken_back(both, "tea"), "tea")
    assert holds(left, "tea")
    assert not holds(taken_back(left, "tea"), "tea")


def test_sums_are_worth_the_same_at_any_time() -> None:
    told = Story()
    mine = [told.step("view_item", line("a", 1, "2.00", "tea"), at=T)]
    others = [told.step("view_item", line("b", 1, "4.00", "tea"), at=T + 5 * DAY)]
    exact, state = folded([*mine, *others]).state, two(mine, others)
    assert state.categories["tea"].value == pytest.approx(exact.categories["tea"].value, rel=1e-12)
    assert state.log_price_sum.value == pytest.approx(exact.log_price_sum.value, rel=1e-12)
    assert [one.item_id for one in state.interactions] == ["a", "b"]
