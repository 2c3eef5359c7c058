"""When too many records are bad: known answers, and laws over any batches."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.topics import CATALOG, EVENTS
from streams.bad_share import LEAST_SEEN, BadShare

WINDOW = 2000


def share(*batches: tuple[int, int], most: float = 0.5) -> BadShare:
    """Batches of (records, bad ones) that were written."""
    counted = BadShare(WINDOW, most)
    for seen, bad in batches:
        counted.add(EVENTS, seen, {"not_json": bad} if bad else {})
    return counted


@pytest.mark.parametrize(
    ("before", "batch", "over"),
    [
        ((), (999, 999), False),  # too few to judge
        ((), (1000, 500), False),  # half is not more than half
        ((), (1000, 501), True),
        (((900, 450),), (100, 50), False),
        (((900, 450),), (100, 51), True),
        (((2000, 0),), (1000, 1000), False),  # 1,000 of the newest 3,000, none of which is dropped before 2,000 remain
        (((1000, 0), (1000, 0)), (1000, 1000), False),  # 1,000 of the newest 2,000
        (((1000, 0), (1000, 0), (999, 999)), (1000, 1000), True),
        (((1000, 1000), (2000, 0)), (500, 500), False),  # what was bad long ago is forgotten
    ],
)
def test_more_than_the_limit_of_the_newest_records(
    before: tuple[tuple[int, int], ...], batch: tuple[int, int], over: bool
) -> None:
    seen, bad = batch
    assert (share(*before).excess(EVENTS, seen, {"not_json": bad}) is not None) == over


def test_it_names_the_topic_the_most_frequent_reason_and_what_to_do() -> None:
    counted = BadShare(WINDOW, 0.25)
    counted.add(EVENTS, 600, {"not_json": 60, "unknown_event": 100})
    excess = counted.excess(EVENTS, 500, {"not_json": 150, "wrong_type": 1})
    assert excess is not None
    assert (excess.seen, excess.bad, excess.reason) == (1100, 311, "not_json")
    refusal = excess.refusal(0.25)
    assert refusal.reason == "too_many_bad"
    for said in ("311 of the last 1,100", EVENTS, "'not_json'", "0.25", "DAOGOU_BAD_SHARE_MAX", "Fix the producer"):
        assert said in refusal.message


def test_asking_changes_nothing() -> None:
    counted = share((1000, 500))
    for _ in range(3):
        assert counted.excess(EVENTS, 1, {"empty": 1}) is not None
    assert counted.excess(EVENTS, 2, {"empty": 1}) is None


def test_topics_are_judged_apart() -> None:
    counted = share((1000, 500))
    assert counted.excess(CATALOG, 10, {"empty": 10}) is None


def test_a_limit_of_one_is_none() -> None:
    assert share((5000, 5000), most=1.0).excess(EVENTS, 5000, {"empty": 5000}) is None


batches = st.lists(st.integers(0, 300).flatmap(lambda n: st.tuples(st.just(n), st.integers(0, n))), max_size=40)


@given(batches, st.integers(1, 300))
def test_good_batches_are_never_refused(written: list[tuple[int, int]], seen: int) -> None:
    assert share(*written).excess(EVENTS, seen, {}) is None


@given(batches)
def test_what_is_judged_is_between_the_window_and_a_batch_more(written: list[tuple[int, int]]) -> None:
    excess = share(*written, most=1e-9).excess(EVENTS, 1, {"empty": 1})
    total = sum(seen for seen, _ in written) + 1
    assert (excess is None) == (total < LEAST_SEEN)
    if excess is not None:
        assert min(total, WINDOW) <= excess.seen < WINDOW + 300
