"""Steps that go on top of a row without being unpacked leave what the rule of a row says, to the byte."""

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import shoppers
from features.shopper_recent import looked_at
from features.shoppers import MAX_RECENT, Row, State, Step, empty, encode, fold, packed, settling_of
from tests.features.steps import HOUR, LATENESS, Story, T, folded, steps_of

over_days = st.integers(0, 9 * 24 * 60).map(lambda minute: T + minute * 60_000)


def by_the_rule(steps: list[Step]) -> bytes:
    """The row of steps in event-time order, none too late: made at once from what the module says a row is."""
    floor = max(0, steps[-1].at - LATENESS)
    settling = settling_of([step.at for step in steps], floor)
    return encode(packed(State(), steps[:settling], floor, steps[settling:]))


@given(steps_of(over_days).filter(bool), st.integers(1, 7))
def test_steps_in_order_give_the_row_of_the_rule_in_any_batches(steps: list[Step], batch: int) -> None:
    steps.sort(key=lambda step: (step.at, step.source, step.event_id))
    row = empty()
    for start in range(0, len(steps), batch):
        row = folded(steps[start : start + batch], row)
    assert encode(row) == by_the_rule(steps)


@pytest.mark.parametrize("many", [14, 15, 16, 17, 300])
def test_the_head_of_the_array_grows_as_messagepack_says(many: int) -> None:
    story = Story()
    steps = [story.step("view_item", f"i{n}") for n in range(many)]
    one_by_one = empty()
    for step in steps:
        one_by_one = fold(one_by_one, [step], LATENESS).row
    assert encode(one_by_one) == encode(fold(empty(), steps, LATENESS).row) == by_the_rule(steps)
    assert msgspec.msgpack.decode(one_by_one.recent, type=list[Step]) == steps
    found = looked_at(one_by_one.recent)
    assert found is not None
    assert (found.many, found.first_at) == (many, steps[0].at)


@given(steps_of(over_days, max_size=8).filter(bool), st.data())
def test_a_step_that_comes_again_is_a_duplicate_and_one_that_only_looks_so_is_none(
    steps: list[Step], data: st.DataObject
) -> None:
    steps = [msgspec.structs.replace(step, at=T + n) for n, step in enumerate(steps)]
    row = folded(steps)
    again = data.draw(st.sampled_from(steps))
    assert fold(row, [again], LATENESS)[1:4] == (0, 1, 0)
    later = T + HOUR
    said_later = msgspec.structs.replace(again, at=later)
    assert fold(row, [said_later], LATENESS)[1:4] == (0, 1, 0)
    elsewhere = msgspec.structs.replace(said_later, source="till")
    assert fold(row, [elsewhere], LATENESS)[1:4] == (1, 0, 0)
    new = msgspec.structs.replace(said_later, event_id="view_item")  # the bytes of another field
    assert fold(row, [new, new], LATENESS)[1:4] == (1, 1, 0)


def test_a_row_that_was_handed_over_empty_takes_steps_on_top() -> None:
    """Its state is newer than anything in it, and its array is empty."""
    nothing = empty()
    row = Row(State(newest=T), 0, nothing.recent, nothing.settled)
    step = Story(T).step("view_item", "a")
    changed = fold(row, [step], LATENESS).row
    assert msgspec.msgpack.decode(changed.recent, type=list[Step]) == [step]
    assert changed.settled == nothing.settled


@pytest.mark.parametrize("raw", [b"\x91\x99\x05", b"\x91\x98", b"\xdd\x00\x00\x00\x01", b"\x91", b"\xc0"])
def test_what_is_written_otherwise_is_left_to_the_decoder(raw: bytes) -> None:
    assert looked_at(msgspec.Raw(raw)) is None


def test_old_times_go_the_general_way() -> None:
    """In the first weeks of 1970 a time takes fewer bytes."""
    story = Story(at=1000)
    steps = [story.step("view_item", "a") for _ in range(3)]
    row = empty()
    for step in steps:
        row = fold(row, [step], LATENESS).row
    assert looked_at(row.recent) is None
    assert encode(row) == by_the_rule(steps)


def test_more_than_the_bound_goes_the_general_way() -> None:
    story = Story()
    row = fold(empty(), [story.step("page_view", at=T + n) for n in range(MAX_RECENT - 1)], LATENESS).row
    row = fold(row, [story.step("page_view")], LATENESS).row
    assert row.floor == T + MAX_RECENT - 2 + 60_000 - LATENESS
    row = fold(row, [story.step("page_view")], LATENESS).row
    assert row.floor == T
    assert len(shoppers.unpacked(row)[1]) == MAX_RECENT
