"""The gate: below the floor, worse than the one in service, or not to be compared with it, nothing passes."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import Refused
from models.gate import Compared, judge

END = datetime(2026, 11, 1, tzinfo=UTC)
FIGURES = st.floats(0.001, 1)


def compared(
    fused: float, floor: float = 0.1, old: float | None = None, *, saw: bool = False, untested: str | None = None
) -> Compared:
    return Compared(
        begin=END - timedelta(days=28),
        end=END,
        fused=fused,
        floor=floor,
        in_service=None if old is None and untested is None else "a",
        in_service_fused=old,
        in_service_saw=saw,
        untested=untested,
    )


def refused(one: Compared) -> Refused:
    with pytest.raises(Refused) as caught:
        judge("b", one)
    return caught.value


@pytest.mark.parametrize("fused", [0.1, 0.2])
def test_the_first_one_has_to_reach_the_floor_alone(fused: float) -> None:
    judge("b", compared(fused))


def test_below_decayed_popularity_nothing_passes() -> None:
    error = refused(compared(0.0999))
    assert error.reason == "below_floor"
    assert error.message.startswith(
        "b has all/ndcg 0.0999, decayed popularity 0.1000 (from 2026-10-04 to 2026-11-01): not released. Give --force"
    )
    assert refused(compared(0.0999, old=0.05)).reason == "below_floor", "better than the one in service, and yet"


@pytest.mark.parametrize("fused", [0.1, 0.1979])
def test_more_than_a_hundredth_worse_than_the_one_in_service_is_refused(fused: float) -> None:
    error = refused(compared(fused, old=0.2))
    assert error.reason == "worse_than_in_service"
    assert f"b has all/ndcg {fused:.4f}, a in service 0.2000 (from 2026-10-04 to 2026-11-01)" in error.message
    assert "fitted on" not in error.message


@pytest.mark.parametrize("fused", [0.1981, 0.2, 0.3])
def test_less_than_a_hundredth_worse_passes(fused: float) -> None:
    judge("b", compared(fused, old=0.2))


def test_that_the_one_in_service_saw_the_weeks_is_said() -> None:
    assert "some of which it was fitted on" in refused(compared(0.1, old=0.2, saw=True)).message


def test_what_cannot_be_compared_does_not_pass_by_itself() -> None:
    error = refused(compared(0.5, untested="a has format 0, this version reads 1"))
    assert error.reason == "in_service_untested"
    assert "a in service cannot be tested beside b: a has format 0" in error.message
    assert "--force" in error.message


@given(fused=FIGURES, floor=FIGURES, old=FIGURES, better=st.floats(0, 1))
def test_a_better_candidate_passes_wherever_a_worse_one_does(
    fused: float, floor: float, old: float, better: float
) -> None:
    one = compared(fused, floor, old)
    try:
        judge("b", one)
    except Refused:
        return
    judge("b", msgspec.structs.replace(one, fused=fused + better))
