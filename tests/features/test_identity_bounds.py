"""What is known of identities stays within its bounds, and what is handed over within those of a record."""

from typing import Final

from msgspec.structs import replace

from features.events import Event, EventItem, EventName, encode
from features.links import MAX_PARTS, MAX_SOURCES, MAX_SPANS, known_of
from features.shoppers import SETTLES_MS
from tests.features.people import ANN, BOB, DAY, MINUTE, PHONE, People, alone, event, login, seen, undo
from tests.features.steps import LATENESS

KEPT: Final[tuple[EventName, ...]] = ("purchase", "add_to_cart", "add_to_wishlist", "dislike_item")
MOST_OF_KAFKA = 1_000_000  # bytes of a record that a producer takes, key and headers included


def large(count: int) -> list[Event]:
    """Events of a kilobyte and more each."""
    return [seen(*(f"{n}-{'x' * 200}-{m}" for m in range(8)), minute=n / 2) for n in range(count)]


def test_a_history_larger_than_a_record_goes_in_parts_and_comes_back() -> None:
    history = large(900)
    people = People(repeats=2).said(*history, login(PHONE, ANN, 600))
    sizes = [len(encode(one)) for one in people.logs["u-ann"]]
    assert len(sizes) > 5
    assert max(sizes) < 900_000
    assert people.bytes_of("u-ann") == alone("u-ann", [*history, login(PHONE, ANN, 600)])
    people.said(undo(PHONE, ANN, 700))
    assert people.bytes_of("a-phone") == alone("a-phone", history)
    assert people.bytes_of("u-ann") == alone("u-ann", [login(PHONE, ANN, 600)])


def test_no_history_is_too_large_for_the_records_of_a_login() -> None:
    """The most that the bounds of events allow: four bytes a character, all that a row keeps, and steps full of it."""

    def wide(n: int) -> str:
        return f"{n:04}" + "𠀀" * 127

    people, minute = People(), 0.0
    for kind in KEPT:
        for first in range(0, 1000, 500):
            items = map(wide, range(first, first + 500))
            people.tell(event(kind, *items, minute=minute, anonymous_id=PHONE, event_id=f"{kind}-{first}"))
            minute += 1
    later = minute + (LATENESS + SETTLES_MS) / MINUTE + 60
    full = [EventItem(item_id=wide(n), category=f"{n:03}" + "茶" * 61, brand="b" * 98) for n in range(500)]
    for n in range(3):
        people.tell(replace(event("add_to_wishlist", "x", minute=later + n, anonymous_id=PHONE), items=tuple(full)))
    people.settle()
    before, alone = people.row("a-phone").state, {"purchased", "wishes", "disliked", "cart", "interactions"}
    people.said(login(PHONE, ANN, later + 9))
    sizes = [len(encode(one)) for one in people.logs["u-ann"] if one.event_name == "shopper_absorbed"]
    assert len(sizes) == 4
    assert max(sizes) < MOST_OF_KAFKA
    after = people.row("u-ann").state
    assert {name: getattr(after, name) for name in alone} == {name: getattr(before, name) for name in alone}


def test_parts_are_forgotten_after_thirty_days_and_then_nothing_can_be_undone() -> None:
    people = People().said(seen("tea", minute=1), login(PHONE, ANN, 2), seen("mine", minute=3, user=ANN))
    assert known_of(people.row("u-ann")).own
    people.said(seen("later", minute=31 * DAY, user=ANN))
    known = known_of(people.row("u-ann"))
    assert not known.own
    assert [(one.forgotten, one.part) for one in known.sources] == [(True, b"")]
    before = people.bytes_of("u-ann")
    people.said(undo(PHONE, ANN, 32 * DAY))
    assert people.bytes_of("u-ann") == before
    assert people.counts["u-ann"][2] == 1


def test_a_straggler_of_a_forgotten_link_is_taken_while_it_is_not_too_late() -> None:
    people = People().said(seen("tea", minute=1), login(PHONE, ANN, 2), seen("later", minute=31 * DAY, user=ANN))
    people.said(seen("now", minute=31 * DAY - 5), seen("now", minute=31 * DAY - 5), seen("old", minute=1.5))
    assert people.met("u-ann") == ["tea", "now", "later"]
    assert people.counts["u-ann"][1:] == [1, 1]


def test_rows_stay_within_their_bounds_with_many_devices_and_many_logins() -> None:
    people = People()
    for n in range(MAX_SOURCES + 8):
        people.said(seen(f"i{n}", minute=2 * n, device=f"d{n}"), login(f"d{n}", ANN, 2 * n + 1))
    known = known_of(people.row("u-ann"))
    assert len(known.sources) == MAX_SOURCES
    assert sum(bool(one.part) for one in known.sources) == MAX_PARTS
    people.said(undo(f"d{MAX_SOURCES + 7}", ANN, 500))
    assert people.met("u-ann") == [f"i{n}" for n in range(MAX_SOURCES + 7)]
    for n in range(2 * MAX_SPANS):
        people.said(login("library", (ANN, BOB)[n % 2], 1000 + n))
    assert len(known_of(people.row("a-library")).spans) == MAX_SPANS
