"""Everything that was bought is known as bought, beyond the purchases that are weighed."""

from collections import Counter

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from features import shoppers
from features.shopper_bought import KEPT_AT_LEAST, MAX_BOUGHT_BEFORE, added, bounded, holds, taken_back
from features.shoppers import MAX_PURCHASED, State, Step, empty, encode, fold
from tests.features.steps import DAY, LATENESS, Story, T, folded, line

SHELF = [f"item {n}" for n in range(420)]


def known(state: State) -> set[str]:
    """The items of the shelf that the state knows as bought."""
    return {item for item in SHELF if item in state.purchased or holds(state.bought_before, item)}


def test_the_first_item_bought_is_still_known_after_hundreds_of_others() -> None:
    story = Story()
    state = folded([story.step("purchase", item, at=T + n * DAY) for n, item in enumerate(SHELF)]).state
    assert len(state.purchased) == MAX_PURCHASED
    assert known(state) == set(SHELF)
    assert not holds(state.bought_before, "never bought")


def test_an_item_whose_only_order_was_refunded_is_not_bought() -> None:
    story = Story()
    bought = [story.step("purchase", item, at=T + n * DAY) for n, item in enumerate(SHELF)]
    refunds = [story.step("refund", SHELF[0], SHELF[-1], "never bought", at=T + 500 * DAY)]
    assert known(folded([*bought, *refunds]).state) == set(SHELF) - {SHELF[0], SHELF[-1]}


def test_of_two_orders_one_refunded_leaves_the_item_bought_wherever_it_is_kept() -> None:
    story = Story()
    twice = [story.step("purchase", SHELF[0], at=T + n) for n in range(2)]
    others = [story.step("purchase", item, at=T + n * DAY) for n, item in enumerate(SHELF[1:], 400)]
    again = story.step("purchase", SHELF[0], at=T + 900 * DAY)
    refunds = [story.step("refund", SHELF[0], at=T + (901 + n) * DAY) for n in range(3)]
    steps = [*twice, *others, again, *refunds]
    assert [SHELF[0] in known(folded(steps[:n]).state) for n in range(len(steps) - 4, len(steps) + 1)] == [
        True,  # before it is bought again
        True,  # three orders
        True,
        True,
        False,
    ]


def test_over_the_bound_the_oldest_bought_go_first() -> None:
    packed = b""
    for n in range(MAX_BOUGHT_BEFORE):
        packed = bounded(added(packed, f"i{n}", T + n * DAY, 1))
    assert len(packed) == 12 * MAX_BOUGHT_BEFORE
    assert all(holds(packed, f"i{n}") for n in range(MAX_BOUGHT_BEFORE))
    packed = added(packed, "i0", T + MAX_BOUGHT_BEFORE * DAY, 1)
    packed = bounded(added(packed, "last", T, 1))
    assert len(packed) == 12 * KEPT_AT_LEAST
    oldest = MAX_BOUGHT_BEFORE + 1 - KEPT_AT_LEAST
    assert holds(packed, "i0"), "bought again"
    assert not holds(packed, "last"), "it was bought as long ago as any"
    assert not any(holds(packed, f"i{n}") for n in range(1, oldest))
    assert all(holds(packed, f"i{n}") for n in range(oldest, MAX_BOUGHT_BEFORE))


def test_a_row_of_an_earlier_version_is_read() -> None:
    row = folded([Story().step("purchase", "a")])
    fields = shoppers.encode(row)
    assert shoppers.decode_state(fields).bought_before == b""
    whole = msgspec.msgpack.decode(fields)
    whole[0] = whole[0][:18]  # the fields that a state had before
    assert shoppers.decode_state(msgspec.msgpack.encode(whole)).purchased == row.state.purchased


orders = st.lists(
    st.tuples(st.sampled_from(["add", "add", "back"]), st.sampled_from(SHELF[:12]), st.integers(1, 3)), max_size=40
)


@given(orders)
def test_the_packed_orders_are_those_of_a_plain_count(changes: list[tuple[str, str, int]]) -> None:
    packed, plain = b"", Counter[str]()
    for n, (what, item, number) in enumerate(changes):
        if what == "add":
            packed = added(packed, item, T + n * DAY, number)
            plain[item] += number
        else:
            packed = taken_back(packed, item)
            plain[item] -= plain[item] > 0
        assert {each for each in SHELF[:12] if holds(packed, each)} == {each for each in plain if plain[each] > 0}
        hashes = [packed[at : at + 8] for at in range(0, len(packed), 12)]
        assert hashes == sorted(set(hashes))


@st.composite
def shopping(draw: st.DrawFn) -> list[Step]:
    """A shopper who has bought more than is weighed, and then buys and gives back more within the lateness."""
    story = Story(at=T - 90 * DAY)
    steps = [
        story.step("purchase", *(line(item) for item in SHELF[start : start + 60]), at=T - (90 - start // 60) * DAY)
        for start in range(0, 240, 60)
    ]
    for _ in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(["purchase", "refund"]))
        items = draw(st.lists(st.sampled_from(SHELF), min_size=1, max_size=30, unique=True))
        steps.append(story.step(name, *items, at=T + draw(st.integers(0, LATENESS // 60_000 - 1)) * 60_000))
    return steps


@settings(max_examples=60, deadline=None)
@given(shopping(), st.data())
def test_in_any_order_of_arrival_exactly_what_was_bought_and_kept_is_known(
    steps: list[Step], data: st.DataObject
) -> None:
    whole = fold(empty(), steps, LATENESS).row
    plain = Counter[str]()
    for step in sorted(steps, key=lambda step: (step.at, step.source, step.event_id)):
        for item, *_ in step.lines:
            if step.name == "purchase":
                plain[item] += 1
            else:
                plain[item] -= plain[item] > 0
    assert known(whole.state) == {item for item in plain if plain[item] > 0}
    history, recent = steps[:4], steps[4:]
    row = fold(empty(), history, LATENESS).row
    for step in data.draw(st.permutations(recent)):
        row = shoppers.decode(encode(fold(row, [step], LATENESS).row))
    assert encode(row) == encode(whole)
