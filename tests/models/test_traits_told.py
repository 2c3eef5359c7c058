"""What the archive tells of items and shoppers: the newest, of this tenant, before the moment."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import msgspec

from features.events import Event, EventItem, record_key_of
from features.offline import StoreAt
from models.dataset import Sources
from models.traits_told import traits_told
from tests.features.past import archived

DAY = datetime(2026, 5, 1, tzinfo=UTC)


def event(number: int, item: str, category: str | None, country: str | None = None, user: str = "a") -> Event:
    at = DAY + timedelta(hours=number)
    return Event(
        event_name="view_item",
        event_id=f"e{number}",
        user_id=user,
        occurred_at=at,
        received_at=at,
        items=(EventItem(item_id=item, category=category),),
        traits=None if country is None else {"country": country},
    )


def test_the_newest_before_the_moment_counts(tmp_path: Path) -> None:
    other = msgspec.structs.replace(event(5, "i1", "elsewhere", "XX"), tenant="other")
    past = [
        event(1, "i0", "tea", "DE"),
        event(2, "i0", "pots", "FR"),
        event(3, "i0", None),
        event(4, "i1", "tea", user="b"),
        other,
        event(6, "unknown", "cups", "GB", user="nobody"),
        event(9, "i0", "late", "IT"),
    ]
    archived(tmp_path / "archive", past)
    sources = Sources(tmp_path / "archive", StoreAt(tmp_path, tmp_path / "none.db"), "default")
    shoppers = [record_key_of(event(0, "i0", None, user=name)) for name in ("b", "a")]
    heard: list[int] = []
    moment = round((DAY + timedelta(hours=9)).timestamp() * 1000)
    told = traits_told(sources, ["i0", "i1", "i2"], shoppers, moment, heard.append)
    assert told.countries == [None, "FR"]
    assert told.categories is not None
    assert told.categories.tolist() == [0, 1, -1], "pots, tea, none"
    assert sum(heard) == len(past)
