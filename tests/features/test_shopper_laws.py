"""What holds of the fold for any events: the order and the batches of arrival leave no trace in the bytes."""

import math
import random
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from features import shoppers
from features.events import EVENT_NAMES
from features.shoppers import SETTLES_MS, Row, Step, decode, empty, encode, fold
from tests.features.steps import DAY, HOUR, LATENESS, T, steps_of

# Whole hours, so that many events are at the same one; and minutes, so that visits go on, end and begin.
together = (st.integers(0, 23).map(lambda hour: hour * 60) | st.integers(0, 23 * 60)).map(lambda m: T + m * 60_000)
over_weeks = st.integers(0, 20 * 24).map(lambda hour: T + hour * HOUR)


def order(step: Step) -> tuple[int, str, str]:
    return step.at, step.source, step.event_id


def one_by_one(steps: list[Step]) -> Row:
    row = empty()
    for step in steps:
        row = decode(encode(fold(row, [step], LATENESS).row))
    return row


@st.composite
def delayed(draw: st.DrawFn) -> tuple[list[Step], list[Step]]:
    """Events over weeks in event-time order, and as they arrive: each less than the lateness behind."""
    steps = draw(steps_of(over_weeks))
    delays = {step.event_id: draw(st.integers(0, LATENESS - 1)) for step in steps}
    return sorted(steps, key=order), sorted(steps, key=lambda step: step.at + delays[step.event_id])


@given(steps_of(together).flatmap(lambda steps: st.tuples(st.just(steps), st.permutations(steps))))
def test_any_permutation_within_the_lateness_gives_the_same_bytes(
    both: tuple[list[Step], list[Step]],
) -> None:
    steps, permuted = both
    first, second = fold(empty(), steps, LATENESS), fold(empty(), permuted, LATENESS)
    assert first.applied == second.applied == len(steps)
    assert encode(first.row) == encode(second.row) == encode(one_by_one(permuted))


def full_day(choose: random.Random) -> list[Step]:
    """A day in which a shopper does everything that there is to do, most of it more than once."""
    shelf = [f"item {n}" for n in range(400)]
    steps = []
    for n in range(260):
        name = EVENT_NAMES[n % len(EVENT_NAMES)]
        lines = tuple(
            (
                item,
                choose.choice([None, "2.50", "19.99"]),
                choose.randint(1, 3),
                f"category {item[-1]}",
                f"b{item[-2:]}",
            )
            for item in choose.sample(shelf, 40 if name == "purchase" else choose.randint(1, 5))
        )
        extra: dict[str, str | bool] = {"search_term": f"search {n}", "locale": choose.choice(["de", "zh-Hans-CN"])}
        extra |= {f"consent.{choose.choice(['email', 'push', 'marketing'])}": choose.random() < 0.5}
        steps.append(
            Step(
                T + choose.randint(0, 23 * 60) * 60_000,
                choose.choice(["site", "app"]),
                f"e{n}",
                name,
                choose.random() < 0.8,
                choose.choice([None, "s1", "s2"]),
                lines,
                "EUR",
                extra if choose.random() < 0.3 else None,
            )
        )
    return steps


@pytest.mark.parametrize("seed", range(6))
def test_a_day_full_of_everything_gives_the_same_bytes_in_any_order(seed: int) -> None:
    """The law above for events of all kinds together, and not for empty states: each kind has left its trace."""
    choose = random.Random(seed)
    steps = full_day(choose)
    whole = fold(empty(), sorted(steps, key=order), LATENESS)
    choose.shuffle(steps)
    row, batch = empty(), choose.randint(1, 60)
    for start in range(0, len(steps), batch):
        row = decode(encode(fold(row, steps[start : start + batch], LATENESS).row))
    assert encode(row) == encode(whole.row)
    assert whole.applied == len(steps)
    state = whole.row.state
    assert len(state.interactions) == shoppers.MAX_INTERACTIONS
    assert (len(state.categories), len(state.brands)) == (shoppers.MAX_AFFINITIES, shoppers.MAX_AFFINITIES)
    assert all(
        (state.cart, state.purchased, state.wishes, state.disliked, state.bought_before, state.views, state.last_search)
    )
    assert state.consent.keys() == {"email", "push", "marketing"}
    assert state.session is not None
    assert state.orders == sum(step.name == "purchase" for step in steps)
    assert state.cart_live_at >= state.cart_changed_at > 0
    assert state.log_price_weight.value > 0


@given(delayed())
def test_delays_below_the_lateness_leave_no_trace(both: tuple[list[Step], list[Step]]) -> None:
    in_order, as_they_came = both
    assert encode(one_by_one(as_they_came)) == encode(fold(empty(), in_order, LATENESS).row)


@given(steps_of(over_weeks), st.lists(st.integers(0, 40), max_size=5), st.data())
def test_batches_leave_no_trace_even_with_late_and_double_events(
    steps: list[Step], cuts: list[int], data: st.DataObject
) -> None:
    """In any order at all: late ones are refused alike, however the log is cut."""
    again = data.draw(st.lists(st.sampled_from(steps), max_size=10)) if steps else []
    # The same id with another time, as a sender makes it whose clock was set between two attempts.
    moved = [Step(s.at + 2 * DAY, s.source, s.event_id, s.name, s.live, None, s.lines, None, None) for s in again]
    arriving = data.draw(st.permutations([*steps, *again, *moved]))
    row, counts = empty(), [0, 0, 0]
    edges = sorted({0, len(arriving), *(min(cut, len(arriving)) for cut in cuts)})
    for start, end in pairwise(edges):
        result = fold(row, arriving[start:end], LATENESS)
        row = decode(encode(result.row))
        counts = [a + b for a, b in zip(counts, result[1:4], strict=True)]
    whole = fold(empty(), arriving, LATENESS)
    assert encode(row) == encode(whole.row) == encode(one_by_one(arriving))
    assert counts == list(whole[1:4])
    assert sum(counts) == len(arriving)


@given(steps_of(over_weeks))
def test_folding_again_changes_nothing(steps: list[Step]) -> None:
    row = fold(empty(), steps, LATENESS).row
    again = fold(row, steps, LATENESS)
    assert again.row is row
    assert (again.applied, again.duplicates + again.late) == (0, len(steps))


@given(steps_of(over_weeks), steps_of(over_weeks, max_size=3))
def test_the_row_given_is_not_changed(steps: list[Step], more: list[Step]) -> None:
    row = fold(empty(), steps, LATENESS).row
    before = encode(row)
    fold(row, more, LATENESS)
    assert encode(row) == before


@given(steps_of(over_weeks))
def test_the_state_is_settled_with_recent_on_top(steps: list[Step]) -> None:
    row = fold(empty(), steps, LATENESS).row
    settled, recent = shoppers.unpacked(row)
    until = row.floor - row.floor % SETTLES_MS
    assert all(step.at > until for step in recent)
    assert settled.newest <= until or not settled.newest
    assert recent == sorted(recent, key=order)
    # With the floor where the settled state ends, all of `recent` is let in again.
    anew = Row(settled, until, empty().recent, row.settled)
    assert fold(anew, recent, LATENESS).row.state == row.state


@settings(max_examples=40)
@given(steps_of(over_weeks, max_size=150))
def test_bounds_hold_and_carts_are_never_negative(steps: list[Step]) -> None:
    state = fold(empty(), steps, LATENESS).row.state
    assert len(state.interactions) <= shoppers.MAX_INTERACTIONS
    assert len(state.categories) <= shoppers.MAX_AFFINITIES
    assert all(cart.quantity >= 1 for cart in state.cart.values())
    assert all(bought.orders >= 1 and bought.weight >= 0 for bought in state.purchased.values())
    assert all(bought.first_at <= bought.last_at for bought in state.purchased.values())
    assert all(math.isfinite(sum_.value) for sum_ in [*state.categories.values(), *state.brands.values()])
    assert (state.cart_changed_at > 0) == (state.cart_live_at > 0) <= bool(state.cart)
    assert state.cart_changed_at <= state.cart_live_at <= state.newest
    times = [interaction.at for interaction in state.interactions]
    assert times == sorted(times)


@given(steps_of(over_weeks))
def test_a_row_is_the_same_after_packing(steps: list[Step]) -> None:
    row = fold(empty(), steps, LATENESS).row
    raw = encode(row)
    assert encode(decode(raw)) == raw
    assert shoppers.decode_state(raw) == row.state
