"""Who is who: handed over, merged, kept apart by time, and undone."""

import json
import random
from collections.abc import Sequence
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.event_schemas import schemas
from features.events import IDENTITY_NAMES, Event, decode, encode
from features.identity import linked_now, linked_of
from features.links import entry_of, known_of
from features.shopper_merge import is_empty
from features.shoppers import State
from features.shoppers import encode as pack
from infra.errors import BadInput
from tests.features.events import RECEIVED, parsed
from tests.features.people import ANN, BOB, CAT, DAY, MINUTE, PHONE, People, alone, event, login, seen, undo
from tests.features.steps import T


def order(one: Event) -> tuple[object, str]:
    return one.occurred_at, one.event_id


def test_what_was_before_the_login_is_the_users_and_no_longer_the_devices() -> None:
    before = [seen("tea", minute=1), event("add_to_cart", "cup", minute=2, anonymous_id=PHONE)]
    people = People().said(*before, login(PHONE, ANN, 3))
    assert people.met("u-ann") == ["tea", "cup"]
    assert set(people.row("u-ann").state.cart) == {"cup"}
    assert people.met("a-phone") == []
    assert people.row("a-phone").state == State(newest=T + 3 * MINUTE)
    assert people.bytes_of("u-ann") == alone("u-ann", [*before, login(PHONE, ANN, 3)])
    span = linked_now(people.row("a-phone"))
    assert span is not None
    assert (span.user_id, span.at) == (ANN, T + 3 * MINUTE)
    (source,) = known_of(people.row("u-ann")).sources
    assert (source.anonymous_id, source.at, source.link_id) == (PHONE, T + 3 * MINUTE, span.link_id)


def test_stragglers_are_handed_on_whenever_they_come() -> None:
    people = People().said(seen("tea", minute=1), login(PHONE, ANN, 3))
    people.said(seen("pot", minute=5), seen("cup", minute=2))
    assert people.met("u-ann") == ["tea", "cup", "pot"]
    assert people.met("a-phone") == []
    weeks_later = seen("late", minute=-20 * DAY)
    assert weeks_later.received_at is not None
    people.said(weeks_later)
    assert people.counts["u-ann"][2] == 1, "it would have been too late for the device, too"


def test_what_the_device_had_not_settled_is_not_too_late_for_the_user() -> None:
    """The user has gone on for days elsewhere; the device's own events are no older than the device's newest."""
    mine = [seen(f"mine-{n}", minute=n * DAY, user=ANN, device=None) for n in range(4)]
    people = People().said(*mine, seen("tea", minute=10), login(PHONE, ANN, 20))
    people.said(seen("cup", minute=11))
    assert people.met("u-ann") == ["mine-0", "tea", "cup", "mine-1", "mine-2", "mine-3"]
    again = seen("cup", minute=11)
    people.said(again)
    assert people.met("u-ann").count("cup") == 1


@st.composite
def histories(draw: st.DrawFn) -> list[Event]:
    """A day of one person on a device and, logged in, elsewhere."""
    made = []
    for n in range(draw(st.integers(1, 12))):
        name = draw(st.sampled_from(["view_item", "add_to_cart", "remove_from_cart", "purchase", "dislike_item"]))
        user = draw(st.sampled_from([None, ANN]))
        minute = draw(st.integers(0, 20 * 60))
        made.append(
            event(name, draw(st.sampled_from("abc")), minute=minute, anonymous_id=PHONE, user_id=user, event_id=f"e{n}")
        )
    return made


@given(histories(), st.integers(0, 20 * 60), st.integers(1, 3), st.randoms(use_true_random=False))
def test_in_whatever_order_and_however_often_it_comes_the_user_is_as_if_it_had_been_one_id(
    history: list[Event], at: int, repeats: int, choose: random.Random
) -> None:
    arriving = [*history, login(PHONE, ANN, at)]
    choose.shuffle(arriving)
    people = People(repeats)
    for one in arriving:
        people.tell(one)
        for whose in choose.sample(sorted(people.logs), choose.randint(0, len(people.logs))):
            people.apply(whose, choose.randint(1, 3))
    people.settle()
    whole = sorted(arriving, key=order)
    assert people.bytes_of("u-ann") == alone("u-ann", whole)
    assert is_empty(people.row("a-phone"))
    assert not people.counts["u-ann"][2]
    assert sorted(people.counted) == sorted(one.event_id for one in arriving), "each is counted in one place, once"


@given(histories(), st.integers(0, 20 * 60), st.integers(1, 3), st.randoms(use_true_random=False))
def test_unlinked_both_are_as_if_it_had_never_been(
    history: list[Event], at: int, repeats: int, choose: random.Random
) -> None:
    arriving = [*history, login(PHONE, ANN, at)]
    choose.shuffle(arriving)
    cut = choose.randint(1, len(arriving))
    people = People(repeats)
    people.tell(*arriving[:cut])
    for whose in choose.sample(sorted(people.logs), len(people.logs)):
        people.apply(whose)
    people.tell(undo(PHONE, ANN, 21 * 60))
    for one in arriving[cut:]:
        people.tell(one)
        for whose in choose.sample(sorted(people.logs), choose.randint(0, len(people.logs))):
            people.apply(whose, choose.randint(1, 3))
    people.settle()
    if login(PHONE, ANN, at) in arriving[cut:]:
        people.said(undo(PHONE, ANN, 22 * 60))
    mine = [one for one in [*history, login(PHONE, ANN, at)] if one.user_id is not None]
    assert people.bytes_of("u-ann") == alone("u-ann", sorted(mine, key=order))
    others = [one for one in history if one.user_id is None]
    assert people.bytes_of("a-phone") == alone("a-phone", sorted(others, key=order))


@given(histories(), st.integers(0, 20 * 60), st.lists(st.integers(1, 4)), st.randoms(use_true_random=False))
def test_batches_leave_no_trace(history: list[Event], at: int, cuts: list[int], choose: random.Random) -> None:
    arriving = [*history, login(PHONE, ANN, at), undo(PHONE, ANN, 20 * 60), login(PHONE, BOB, at + 1)]
    choose.shuffle(arriving)
    at_once, cut = People(), People()
    at_once.tell(*arriving)
    cut.tell(*arriving)
    at_once.apply("a-phone")
    for most in [*cuts, len(arriving)]:
        cut.apply("a-phone", most)
    assert cut.rows["a-phone"] == at_once.rows["a-phone"]
    assert {whose: [encode(one) for one in log] for whose, log in cut.logs.items()} == {
        whose: [encode(one) for one in log] for whose, log in at_once.logs.items()
    }
    for whose in ("u-ann", "u-bob"):
        at_once.apply(whose)
        for most in [*cuts, 100]:
            cut.apply(whose, most)
        assert cut.row(whose) == at_once.row(whose)


def test_the_second_user_of_a_device_gets_nothing_of_the_first() -> None:
    people = People().said(seen("anns", minute=1), login(PHONE, ANN, 2), seen("anns-too", minute=3))
    people.said(login(PHONE, BOB, 10), seen("bobs", minute=11), seen("anns-late", minute=4))
    assert people.met("u-ann") == ["anns", "anns-too", "anns-late"]
    assert people.met("u-bob") == ["bobs"]
    assert people.met("a-phone") == []


def test_a_login_that_comes_late_takes_its_place_and_takes_nothing_back() -> None:
    people = People().said(seen("anns", minute=1), login(PHONE, ANN, 2), seen("between", minute=6))
    people.said(login(PHONE, BOB, 5), seen("straggler", minute=7), seen("before", minute=3))
    assert people.met("u-ann") == ["anns", "before", "between"]
    assert people.met("u-bob") == ["straggler"]


def test_the_same_user_again_changes_nothing() -> None:
    people = People().said(seen("tea", minute=1), *(login(PHONE, ANN, minute) for minute in range(2, 40)))
    assert people.met("u-ann") == ["tea"]
    known = known_of(people.row("a-phone"))
    assert len(known.spans) == 1
    assert len(known.logins) <= 16


def test_the_third_user_within_thirty_days_makes_it_a_shared_device() -> None:
    people = People().said(login(PHONE, ANN, 0), login(PHONE, BOB, 10 * DAY), seen("bobs", minute=11 * DAY))
    people.said(login(PHONE, CAT, 20 * DAY), seen("somebodys", minute=20 * DAY + 1))
    assert people.met("u-cat") == people.met("u-ann") == []
    assert people.met("u-bob") == ["bobs"]
    assert people.met("a-phone") == ["somebodys"]
    people.said(login(PHONE, ANN, 21 * DAY), seen("more", minute=21 * DAY + 1))
    assert people.met("a-phone") == ["somebodys", "more"]
    assert linked_now(people.row("a-phone")) is None
    people.said(seen("cats", minute=22 * DAY, user=CAT))
    assert people.met("u-cat") == ["cats"], "an event that names its user is that user's"
    people.said(seen("bobs-late", minute=20 * DAY - 1))
    assert people.met("u-bob") == ["bobs", "bobs-late"]


def test_many_logins_of_one_user_do_not_hide_the_others() -> None:
    people = People().said(login(PHONE, ANN, 0), login(PHONE, BOB, 1), *(login(PHONE, ANN, n) for n in range(2, 50)))
    people.said(login(PHONE, CAT, 60), seen("somebodys", minute=61))
    assert people.met("a-phone") == ["somebodys"]


def test_a_device_is_not_shared_for_ever_and_what_was_shared_is_handed_to_nobody() -> None:
    people = People().said(*(login(PHONE, user, n) for n, user in enumerate((ANN, BOB, CAT))))
    people.said(seen("somebodys", minute=5), login(PHONE, ANN, 40 * DAY), seen("anns", minute=40 * DAY + 1))
    assert people.met("u-ann") == ["anns"]
    assert people.met("a-phone") == ["somebodys"]


def test_what_comes_back_to_a_device_that_was_shared_stays_there() -> None:
    people = People().said(
        seen("anns", minute=1), *(login(PHONE, user, n) for n, user in enumerate((ANN, BOB, CAT), 2))
    )
    people.said(seen("somebodys", minute=5), login(PHONE, BOB, 40 * DAY), undo(PHONE, ANN, 40 * DAY + 1))
    assert people.met("a-phone") == ["anns", "somebodys"]
    assert (people.met("u-ann"), people.met("u-bob")) == ([], [])


def test_two_users_within_thirty_days_and_a_third_later_share_nothing() -> None:
    people = People().said(login(PHONE, ANN, 0), login(PHONE, BOB, DAY), login(PHONE, CAT, 31 * DAY + 1))
    people.said(seen("cats", minute=31 * DAY + 2))
    assert people.met("u-cat") == ["cats"]


def test_one_link_of_two_is_undone_and_the_other_stays() -> None:
    people = People().said(seen("on-phone", minute=1), login(PHONE, ANN, 2))
    people.said(seen("on-desk", minute=3, device="desk"), login("desk", ANN, 4), seen("anns", minute=5, user=ANN))
    people.said(undo(PHONE, ANN, 6))
    assert people.met("u-ann") == ["on-desk", "anns"]
    assert people.met("a-phone") == ["on-phone"]
    sources = known_of(people.row("u-ann")).sources
    assert {one.anonymous_id: one.ended for one in sources} == {PHONE: True, "desk": False}
    people.said(seen("still-desk", minute=7, device="desk"), seen("alone", minute=8))
    assert people.met("u-ann") == ["on-desk", "anns", "still-desk"]
    assert people.met("a-phone") == ["on-phone", "alone"]


def test_after_an_undone_link_the_next_user_gets_the_history() -> None:
    people = People().said(seen("tea", minute=1), login(PHONE, ANN, 2), undo(PHONE, ANN, 3))
    people.said(login(PHONE, BOB, 4))
    assert (people.met("u-ann"), people.met("u-bob"), people.met("a-phone")) == ([], ["tea"], [])


def test_history_that_comes_back_after_the_next_login_goes_on_to_that_user() -> None:
    people = People().said(seen("tea", minute=1), login(PHONE, ANN, 2))
    people.tell(undo(PHONE, ANN, 3), login(PHONE, BOB, 4))
    people.apply("a-phone")
    people.settle()
    assert (people.met("u-ann"), people.met("u-bob"), people.met("a-phone")) == ([], ["tea"], [])


def test_an_event_that_came_by_the_link_is_undone_with_it() -> None:
    people = People().said(seen("tea", minute=1), login(PHONE, ANN, 2))
    linked = linked_of(login(PHONE, ANN, 2))
    assert linked is not None
    assert linked.link is not None
    by_link = decode(
        encode(
            Event(
                **{f: getattr(seen("cup", minute=3, user=ANN), f) for f in Event.__struct_fields__}
                | {"link": linked.link}
            )
        )
    )
    people.said(by_link, by_link)
    assert people.met("u-ann") == ["tea", "cup"]
    people.said(undo(PHONE, ANN, 4))
    assert (people.met("u-ann"), people.met("a-phone")) == ([], ["tea", "cup"])
    people.said(by_link)
    assert people.met("a-phone") == ["tea", "cup"]


def life(choose: random.Random) -> list[Event]:
    """Three users on two devices over hours, weeks or months, with logins and links undone, a little out of order."""
    span = choose.choice([20 * 60, 20 * DAY, 100 * DAY])
    made: list[Event] = []
    for n in range(choose.randint(5, 50)):
        device, minute, kind = choose.choice([PHONE, "desk"]), choose.randint(0, span), choose.random()
        if kind < 0.15:
            made.append(login(device, choose.choice([ANN, BOB, CAT]), minute))
        elif kind < 0.2:
            made.append(undo(device, choose.choice([ANN, BOB]), minute))
        else:
            user = choose.choice([None, None, ANN, BOB, CAT])
            name = choose.choice(["view_item", "add_to_cart", "remove_from_cart", "purchase", "refund"])
            made.append(
                event(name, choose.choice("abc"), minute=minute, anonymous_id=device, user_id=user, event_id=f"e{n}")
            )
    delays = {one.event_id: choose.randint(0, 20 * 60) for one in made}
    return sorted(made, key=lambda one: (one.occurred_at + timedelta(minutes=delays[one.event_id]), one.event_id))


@given(st.integers(0, 1_000_000))
def test_however_often_records_are_repeated_rows_are_the_same_and_each_event_counts_once(seed: int) -> None:
    rows, counted = [], []
    for repeats in (1, 3):
        people = People(repeats).said(*life(random.Random(seed)))
        rows.append({whose: pack(row) for whose, row in people.rows.items()})
        counted.append(sorted(people.counted))
    assert rows[0] == rows[1]
    assert counted[0] == counted[1]
    assert len(set(counted[0])) == len(counted[0])


def test_links_and_ids_follow_from_the_login_alone() -> None:
    first, again = linked_of(login(PHONE, ANN, 3)), linked_of(login(PHONE, ANN, 3))
    assert first == again
    assert linked_of(login(PHONE, ANN, 4)) != first
    assert linked_of(seen("tea", minute=1, user=ANN)) is None


@pytest.mark.parametrize("which", range(3))
def test_every_record_is_the_same_when_it_is_made_anew(which: int) -> None:
    def made() -> Sequence[bytes]:
        people = People().said(seen("tea", minute=1), login(PHONE, ANN, 2), seen("cup", minute=1.5))
        people.said(undo(PHONE, ANN, 3))
        return [encode(one) for one in people.logs[("a-phone", "u-ann")[which % 2]]]

    assert made() == made()
    assert all(entry_of(decode(raw)) == entry_of(decode(raw)) for raw in made())


@pytest.mark.parametrize("name", IDENTITY_NAMES)
def test_nobody_sends_what_is_said_of_identities(name: str) -> None:
    link = {"link_id": "l", "user_id": ANN, "since": RECEIVED.isoformat()}
    sent = {"event_name": name, "event_id": "e", "occurred_at": RECEIVED.isoformat(), "anonymous_id": PHONE}
    with pytest.raises(BadInput) as refused:
        parsed(sent | {"link": link})
    assert refused.value.reason == "unknown_event"
    assert parsed(sent | {"event_name": "page_view", "link": link}).link is None
    on_the_log = json.dumps(sent | {"source": "daogou"}).encode()
    with pytest.raises(BadInput) as refused:
        decode(on_the_log)
    assert refused.value.reason == "link_required"
    assert set(schemas()[name]["required"]) >= {"anonymous_id", "link"}
