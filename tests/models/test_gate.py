"""The gate: worse than the floor or the one in service beyond chance, unfair, or not to be compared: refused."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import Refused
from models.gate import METRIC, Compared, Figures, judge

END = datetime(2026, 11, 1, tzinfo=UTC)
CHANCE = 0.01
LEADS = st.floats(-0.5, 0.5)


def figures(mine: float, floor: float = 0.1, old: float | None = None) -> Figures:
    """With intervals of a hundredth on either side."""
    one = Figures(candidate=mine, floor=floor, over_floor=around(mine - floor), shoppers=40)
    return one if old is None else msgspec.structs.replace(one, in_service=old, over_in_service=around(mine - old))


def around(lead: float) -> tuple[float, float]:
    return lead - CHANCE, lead + CHANCE


def compared(one: Figures, *, new: Figures | None = None, saw: bool = False, untested: str | None = None) -> Compared:
    return Compared(
        begin=END - timedelta(days=28),
        end=END,
        figures={METRIC: one} if new is None else {METRIC: one, "new/ndcg": new},
        in_service=None if one.in_service is None and untested is None else "a",
        in_service_saw=saw,
        untested=untested,
    )


def refused(one: Compared, unfair_beyond: float = 0.1) -> Refused:
    with pytest.raises(Refused) as caught:
        judge("b", one, unfair_beyond)
    return caught.value


@pytest.mark.parametrize("mine", [0.0951, 0.1, 0.2])
def test_the_first_one_is_compared_with_the_floor_alone(mine: float) -> None:
    judge("b", compared(figures(mine)), 0.1)


def test_below_decayed_popularity_beyond_chance_nothing_passes() -> None:
    error = refused(compared(figures(0.0899)))
    assert error.reason == "below_floor"
    assert error.message.startswith(
        "b has all/ndcg 0.0899, decayed popularity 0.1000 (from 2026-10-04 to 2026-11-01): not released. Give --force"
    )
    assert refused(compared(figures(0.0899, old=0.05))).reason == "below_floor", "better than the other, and yet"


def test_one_that_is_bad_for_items_new_to_a_shopper_alone_is_refused_too() -> None:
    error = refused(compared(figures(0.3, old=0.2), new=figures(0.15, old=0.2)))
    assert error.reason == "worse_than_in_service"
    assert "b has new/ndcg 0.1500, a in service 0.2000" in error.message


@pytest.mark.parametrize("mine", [0.1, 0.1899])
def test_worse_than_the_one_in_service_beyond_chance_is_refused(mine: float) -> None:
    error = refused(compared(figures(mine, old=0.2)))
    assert error.reason == "worse_than_in_service"
    assert f"b has all/ndcg {mine:.4f}, a in service 0.2000 (from 2026-10-04 to 2026-11-01)" in error.message
    assert "fitted on" not in error.message
    seen = refused(compared(figures(mine, old=0.2), saw=True))
    assert "(from 2026-10-04 to 2026-11-01, some of which it was fitted on)" in seen.message


@pytest.mark.parametrize("mine", [0.1901, 0.2, 0.3])
def test_what_chance_explains_passes(mine: float) -> None:
    judge("b", compared(figures(mine, old=0.2)), 0.1)


def test_one_that_cannot_be_tested_stands_in_the_way() -> None:
    error = refused(compared(figures(0.3), untested="its vectors are altered"))
    assert error.reason == "in_service_untested"
    assert error.message.startswith("a in service cannot be tested beside b: its vectors are altered: not released")


def with_group(group: Figures, whole: Figures) -> Compared:
    return msgspec.structs.replace(compared(whole), groups={"new shoppers": group})


def test_a_group_that_loses_more_than_the_bound_is_unfair() -> None:
    better = figures(0.3, old=0.2)
    error = refused(with_group(figures(0.17, old=0.2), better))
    assert error.reason == "unfair"
    assert (
        "new shoppers: b has all/ndcg 0.1700, a 0.2000: these 40 shoppers lose 15 %".replace(" %", "%") in error.message
    )
    judge("b", with_group(figures(0.17, old=0.2), better), 0.2)
    judge("b", with_group(figures(0.1901, old=0.2), better), 0.0001)


def test_the_first_one_is_fair_where_no_group_is_below_the_floor() -> None:
    assert refused(with_group(figures(0.08, floor=0.1), figures(0.3))).reason == "unfair"
    judge("b", with_group(figures(0.095, floor=0.1), figures(0.3)), 0.1)


@given(lead=LEADS, better=st.floats(0, 0.5))
def test_whoever_does_better_passes_where_another_passed(lead: float, better: float) -> None:
    def passes(by: float) -> bool:
        try:
            judge("b", compared(figures(0.6 + by, old=0.6)), 0.1)
        except Refused:
            return False
        return True

    assert passes(lead + better) or not passes(lead)
