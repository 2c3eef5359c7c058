"""Who watches what follows from the row: known answers, and the difference of two rows leads from one to the other."""

from hypothesis import given
from hypothesis import strategies as st

from features.shoppers import Step, empty
from features.watching import MAX_SEEN, WATCHING, Interest, moved, watched
from tests.features.steps import HOUR, LATENESS, Story, T, folded, state_of, steps_of

over_days = st.integers(0, 60).map(lambda hour: T + hour * HOUR)


def names_of(*steps: Step) -> set[tuple[Interest, str]]:
    return set(watched(state_of(*steps)))


def test_cart_wish_list_and_what_was_looked_at() -> None:
    story = Story()
    steps = [
        story.step("view_item", "tea"),
        story.step("add_to_cart", "cup"),
        story.step("add_to_wishlist", "pot"),
        story.step("page_view"),
    ]
    assert watched(state_of(*steps)) == {
        ("seen", "tea"): steps[0].at,
        ("seen", "cup"): steps[1].at,
        ("cart", "cup"): steps[1].at,
        ("seen", "pot"): steps[2].at,
        ("wish", "pot"): steps[2].at,
    }


def test_a_purchase_ends_cart_and_looking_but_not_what_is_looked_at_after_it() -> None:
    story = Story()
    before = [story.step("view_item", "tea"), story.step("add_to_cart", "tea"), story.step("purchase", "tea")]
    assert names_of(*before) == set()
    assert names_of(*before, story.step("view_item", "tea")) == {("seen", "tea")}


def test_a_dislike_and_taking_off_the_list_end_it() -> None:
    story = Story()
    steps = [story.step("add_to_wishlist", "tea"), story.step("remove_from_wishlist", "tea")]
    assert names_of(*steps) == {("seen", "tea")}
    assert names_of(*steps, story.step("dislike_item", "tea")) == set()


def test_only_the_last_items_looked_at_are_kept() -> None:
    story = Story()
    steps = [story.step("view_item", f"tea-{n}") for n in range(MAX_SEEN + 3)]
    assert names_of(*steps) == {("seen", f"tea-{n}") for n in range(3, MAX_SEEN + 3)}


@given(steps_of(over_days, max_size=40), st.integers(0, 40))
def test_the_difference_leads_from_one_to_the_other(steps: list[Step], cut: int) -> None:
    before, after = folded(steps[:cut]), folded(steps)
    changed = watched(before.state)
    for interest, item_id, at in moved(before.state, after.state):
        if at is None:
            del changed[interest, item_id]
        else:
            assert changed.get((interest, item_id)) != at
            changed[interest, item_id] = at
    assert changed == watched(after.state)


@given(steps_of(over_days), st.data())
def test_no_other_step_changes_what_is_watched(steps: list[Step], data: st.DataObject) -> None:
    row = folded(steps)
    others = [step for step in data.draw(steps_of(over_days)) if step.name not in WATCHING]
    assert moved(row.state, folded(others, row, LATENESS).state) == []
    assert moved(empty().state, empty().state) == []
