"""Own repeats: what is left of a shopper's own items, by reasoning."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.shoppers import Interaction, Purchased, State
from models.fusion import Weights
from models.own import FORMS, WIDEST, Repeats, form_name, left_of
from models.scorer import Scorer
from tests.models.test_scorer import DAY, NOW, fitted

ASIDE = Repeats(10, put_aside=0.5, looked_at=0.25)


def state() -> State:
    """Tea was bought twice, the last time 20 days ago; pot was put into the cart, jar and tea were looked at."""
    steps = [
        ("tea", "purchase", 20),
        ("pot", "add_to_cart", 10),
        ("pot", "view_item", 10),
        ("jar", "select_item", 0),
        ("tea", "view_item", 0),
    ]
    met = [Interaction(item, kind, NOW - days * DAY) for item, kind, days in steps]
    return State(interactions=met, purchased={"tea": Purchased(2, NOW - 90 * DAY, NOW - 20 * DAY, 1.5)}, newest=NOW)


def test_each_step_counts_by_its_kind_and_halves_with_age() -> None:
    """A purchase that is in the row of purchases is not counted again among the interactions."""
    left = left_of(state(), ASIDE, NOW)
    assert left == pytest.approx({"tea": 1.5 / 4 + 0.25, "pot": (0.5 + 0.25) / 2, "jar": 0.25})


def test_by_default_purchases_alone_count_with_ninety_days() -> None:
    assert FORMS[0] == Repeats()
    assert left_of(state(), Repeats(), NOW + 70 * DAY) == pytest.approx({"tea": 0.75})


@given(st.sampled_from(FORMS), st.integers(-100, 400), st.integers(0, 400))
def test_nothing_grows_with_time_nor_above_what_it_was(form: Repeats, days: int, more: int) -> None:
    early, later = (left_of(state(), form, NOW + at * DAY) for at in (days, days + more))
    assert early.keys() == later.keys()
    assert all(0 <= later[item] <= early[item] <= 3 for item in early)


def test_forms_have_names_of_their_own() -> None:
    assert len({form_name(form) for form in FORMS}) == len(FORMS)


def test_whatever_half_life_the_same_items_are_own() -> None:
    widest = {(form.put_aside, form.looked_at): left_of(state(), form, NOW).keys() for form in WIDEST}
    for form in FORMS:
        assert left_of(state(), form, NOW).keys() == widest[form.put_aside, form.looked_at]


def test_a_model_that_does_not_count_repeats_yet_offers_every_form_and_a_decided_one_its_own() -> None:
    offered = Scorer(fitted({"new": Weights(), "all": Weights()})).parts([state()], NOW)
    nothing = fitted({"new": Weights(), "all": Weights(repeats=FORMS[0])})
    assert len(Scorer(nothing).parts([state()], NOW)) == 4, "it is decided that they count nothing"
    for form in FORMS:
        decided = fitted({"new": Weights(), "all": Weights(0, 0, 0, 1, form)})
        parts = Scorer(decided).parts([state()], NOW)
        assert form_name(form) not in parts
        assert (parts["repeat"] == offered[form_name(form)]).all()
        listed = Scorer(decided).score([state()], 4, NOW)[0]
        said = dict(zip(["cup", "jar", "pot", "tea"], parts["repeat"][0].tolist(), strict=True))
        assert max(listed, key=lambda one: one.repeat_score).item_id == max(said, key=said.__getitem__)
