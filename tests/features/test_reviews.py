"""Reviews out of the archive: one of each buyer, the first five, their ratings smoothed elsewhere."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from features.archive import EventArchive, archive_row
from features.events import Event, EventItem, encode, event_time_ms, record_key_of
from features.item_changes import review_changes, review_of
from features.item_statistics import PRIOR_MEAN, ItemCounter
from features.reviews import MAX_REVIEWS, Review, reviews_of

START = datetime(2026, 5, 1, tzinfo=UTC)


def review(number: int, text: str | None, *items: str, shopper: str = "", rating: int | None = 5) -> Event:
    at = START + timedelta(minutes=number)
    return Event(
        event_name="review_item",
        event_id=f"r{number}",
        user_id=shopper or f"s{number}",
        occurred_at=at,
        received_at=at,
        items=tuple(EventItem(item_id=one) for one in items),
        rating=rating,
        text=text,
    )


def archived(folder: Path, *events: Event) -> EventArchive:
    archive = EventArchive(folder)
    archive.write(
        archive_row(("log", 0, offset), 1, record_key_of(one).encode(), encode(one))
        for offset, one in enumerate(events)
    )
    return archive


def test_the_first_reviews_with_a_text_one_of_each_buyer(tmp_path: Path) -> None:
    written = [review(number, f"text {number}", "a") for number in range(MAX_REVIEWS + 3)]
    more = [
        review(20, "other", "b", rating=None),
        review(21, None, "b"),
        review(22, "of two", "a", "b"),
        review(23, "unknown item", "z"),
        review(24, "second thought", "b", shopper="s20", rating=2),
    ]
    seen: list[int] = []
    found = reviews_of(archived(tmp_path, *written, *more), "default", {"a", "b"}, seen.append)
    assert found == {
        "a": [Review(f"text {number}", 5) for number in range(MAX_REVIEWS)],
        "b": [Review("second thought", 2)],
    }
    assert sum(seen) == len(written) + len(more)
    assert reviews_of(archived(tmp_path), "other", {"a"}, seen.append) == {}


def test_no_archive_no_reviews(tmp_path: Path) -> None:
    assert reviews_of(EventArchive(tmp_path / "none"), "default", {"a"}, lambda _: None) == {}


def test_a_reviews_rating_moves_the_smoothed_mean() -> None:
    """One rating of 5 beside a prior of five of 3.5."""
    counter = ItemCounter()
    event = review(1, "good", "a")
    told = review_of(event)
    assert told is not None
    for change in review_changes(told, event_time_ms(event)):
        counter.add("default", change, event_time_ms(event))
    snapshots = counter.snapshots()
    assert snapshots.values["rating_mean"][0] == pytest.approx((5 * PRIOR_MEAN + 5) / 6)
    assert snapshots.values["rating_count"][0] == 1
