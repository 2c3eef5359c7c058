"""Requeueing on a broker: each letter once, whatever is repeated or breaks off."""

from collections.abc import Iterator, Sequence
from datetime import timedelta

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from features import catalog
from features.catalog import FacetRecord, Stock
from features.events import encode, record_key_of
from infra.errors import BadInput, KafkaAway
from infra.kafka import Outgoing
from infra.keys import partition_of, record_key
from infra.topics import CATALOG, COMMANDS, DEAD_LETTERS, EVENTS, TRIGGERS
from streams.dead_letters import FIRST, REQUEUED_FROM
from streams.letters.census import take
from streams.letters.choice import chosen
from streams.letters.lateness import older_than, warnings
from streams.letters.letter import Wanted
from streams.letters.marks import Mark, stands
from streams.letters.requeue import Done, Operator, Requeue, Send, destination, refusal
from tests.features.test_items_changed import EVENT as CATALOGUE_NEWS
from tests.streams.letters.made import ANN, HOME, NOW, box_of, letter, on_log, outgoing_letter, requeue_of, sender
from tests.streams.shop import LOG, PARTITIONS, event

ALL = Wanted()
SHOPPERS = [event(f"shopper-{n}", "view_item", "tea") for n in range(12)]


@pytest.fixture
def send(broker: str) -> Iterator[Send]:
    """Writes to a broker that has the letters of twelve shoppers and one of them twice."""
    with sender(broker) as one:
        letters = [outgoing_letter(n, shopper) for n, shopper in enumerate(SHOPPERS)]
        one([*letters, letters[0]])
        yield one


def heard(more: int) -> None:
    assert more > 0


def test_each_letter_is_read_once(broker: str, send: Send) -> None:
    found = list(box_of(broker).letters(ALL))
    assert sorted(one.offset for one in found) == list(range(12))
    assert {one.value for one in found} == {encode(one) for one in SHOPPERS}
    assert {one.tenant for one in found} == {"default"}


def test_letters_go_back_with_their_bytes_and_key_once(broker: str, send: Send) -> None:
    box, work = box_of(broker), requeue_of(broker, send)
    done = work.requeue(box.letters(ALL), box.marks(), heard)
    assert (done.requeued, done.found, done.left_out.count) == (12, 0, 0)
    again = work.requeue(box.letters(ALL), box.marks(), heard)
    assert (again.requeued, again.left_out.count) == (0, 12)
    assert again.left_out.examples[0][1] == "requeued by olga at 2026-11-03 12:00"
    records = on_log(broker)
    assert sorted((one.key, one.value, one.partition) for one in records) == sorted(
        (
            record_key_of(one).encode(),
            encode(one),
            partition_of(record_key_of(one), PARTITIONS),
        )
        for one in SHOPPERS
    )
    assert len({dict(one.headers)[REQUEUED_FROM] for one in records}) == 12


@pytest.mark.parametrize("breaks_at", [1, 2, 3])
def test_a_crash_between_any_two_steps_doubles_nothing(broker: str, send: Send, breaks_at: int) -> None:
    """The steps are: mark, produce, mark. The one at which it breaks off has reached the log, its answer is lost."""
    calls = 0

    def breaking(records: Sequence[Outgoing]) -> object:
        nonlocal calls
        calls += 1
        send(records)
        if calls == breaks_at:
            raise KafkaAway("no answer")
        return None

    box = box_of(broker)
    with pytest.raises(KafkaAway):
        requeue_of(broker, breaking).requeue(box.letters(ALL), box.marks(), heard)
    done = requeue_of(broker, send, by="paul", later_s=60).requeue(box.letters(ALL), box.marks(), lambda _: None)
    assert {1: (12, 0, 0), 2: (0, 12, 0), 3: (0, 0, 12)}[breaks_at] == (
        done.requeued,
        done.found,
        done.left_out.count,
    )
    assert len(on_log(broker)) == 12
    assert {mark.state for mark in box.marks().values()} == {"requeued"}


def test_a_record_that_was_produced_in_part_is_completed(broker: str, send: Send) -> None:
    def half(records: Sequence[Outgoing]) -> object:
        if records[0].topic == EVENTS:
            send(records[: len(records) // 2])
            raise KafkaAway("no answer")
        return send(records)

    box = box_of(broker)
    with pytest.raises(KafkaAway):
        requeue_of(broker, half).requeue(box.letters(ALL), box.marks(), heard)
    done = requeue_of(broker, send, later_s=60).requeue(box.letters(ALL), box.marks(), heard)
    assert (done.requeued, done.found) == (6, 6)
    assert len(on_log(broker)) == len({one.value for one in on_log(broker)}) == 12


@pytest.mark.parametrize("at", [1, 2, 3])
@pytest.mark.parametrize("after", [False, True])
def test_of_two_operators_at_the_same_moment_one_puts_each_letter_back(
    broker: str, send: Send, at: int, *, after: bool
) -> None:
    """Both have looked and found the letters open; all of what Paul does comes between two steps of Olga's."""
    box = box_of(broker)
    pauls, olgas = box.marks(), box.marks()
    calls, of_paul = 0, list[Done]()

    def interrupted(records: Sequence[Outgoing]) -> object:
        nonlocal calls
        calls += 1
        if after:
            send(records)
        if calls == at:
            of_paul.append(requeue_of(broker, send, by="paul").requeue(box.letters(ALL), pauls, lambda _: None))
        return None if after else send(records)

    of_olga = requeue_of(broker, interrupted).requeue(box.letters(ALL), olgas, lambda _: None)
    [paul] = of_paul
    assert {of_olga.requeued, paul.requeued} == {0, 12}
    assert {of_olga.left_out.count, paul.left_out.count} == {0, 12}
    assert len(on_log(broker)) == len({one.value for one in on_log(broker)}) == 12
    assert {mark.state for mark in box.marks().values()} == {"requeued"}


def test_who_is_at_it_is_named_and_when_to_try_again(broker: str, send: Send) -> None:
    def breaking(records: Sequence[Outgoing]) -> object:
        send(records)
        raise KafkaAway("no answer")

    box = box_of(broker)
    with pytest.raises(KafkaAway):
        requeue_of(broker, breaking).requeue(box.letters(ALL), box.marks(), heard)
    early = requeue_of(broker, send, by="paul", later_s=59).requeue(box.letters(ALL), box.marks(), heard)
    assert (early.requeued, early.left_out.count) == (0, 12)
    assert early.left_out.examples[0][1] == (
        "requeuing by olga at 2026-11-03 12:00; if that broke off, the same again goes on after 12:01:00 UTC"
    )
    assert on_log(broker) == []


def test_whoever_waits_too_long_for_its_claim_puts_nothing_back(broker: str, send: Send) -> None:
    times = iter(NOW + timedelta(seconds=10 * n) for n in range(100))
    slow = Requeue(box_of(broker), send, PARTITIONS, Operator("olga", lambda: next(times), "slow"))
    box = box_of(broker)
    with pytest.raises(KafkaAway, match="took more than 30 s"):
        slow.requeue(box.letters(ALL), box.marks(), heard)
    assert on_log(broker) == []


MARKS = st.lists(
    st.builds(
        Mark,
        letter_id=st.just("x"),
        state=st.sampled_from(["requeuing", "requeued", "discarded"]),
        by=st.just("olga"),
        at=st.integers(0, 200).map(lambda s: NOW + timedelta(seconds=s)),
        reason=st.just("r"),
        topic=st.just(EVENTS),
        claim=st.sampled_from("abc"),
    ),
    max_size=8,
)


@given(MARKS)
def test_what_was_heard_already_changes_nothing(marks: list[Mark]) -> None:
    holds = None
    for mark in marks:
        holds = stands(holds, mark)
    again = holds
    for mark in marks:
        again = stands(again, mark)
    assert (again and again.state, again and again.claim) == (holds and holds.state, holds and holds.claim)


def test_letters_whose_event_is_older_than_the_lateness_are_counted() -> None:
    now_ms = round(NOW.timestamp() * 1000)
    times = {hours: NOW - timedelta(hours=hours) for hours in (1, 23, 25, 300)}
    letters = [
        letter(id=str(hours), value=encode(msgspec.structs.replace(ANN, occurred_at=at, received_at=at)))
        for hours, at in times.items()
    ]
    letters += [letter(id="poison", value=b"x"), letter(id="facet", topic=CATALOG)]
    assert [one.id for one in letters if older_than(24 * 3_600_000, now_ms)(one)] == ["25", "300"]
    choice = chosen("requeue", letters, ALL, {}, older_than(24 * 3_600_000, now_ms))
    assert (len(choice.ids), choice.old) == (5, 2)


def test_letters_of_changes_of_items_are_counted_by_themselves_and_are_never_old() -> None:
    news = letter(id="news", value=encode(CATALOGUE_NEWS), key=record_key_of(CATALOGUE_NEWS).encode())
    a_year_on = round(NOW.timestamp() * 1000) + 365 * 86_400_000
    choice = chosen("requeue", [letter(), news], ALL, {}, older_than(0, a_year_on))
    assert (len(choice.ids), choice.old, choice.news) == (2, 1, 1)
    assert ["are late" in line for line in warnings(1, 1, 24)] == [True, False]
    assert list(warnings(0, 0, 24)) == []


def test_what_became_of_letters_is_on_the_commands_topic(broker: str, send: Send) -> None:
    box, work = box_of(broker), requeue_of(broker, send)
    first, second = (f"{LOG}/{one.partition}/{one.offset}" for one in list(box.letters(ALL))[:2])
    work.requeue(box.letters(Wanted(ids=frozenset([first]))), box.marks(), heard)
    work.discard(box.letters(Wanted(ids=frozenset([second]))), box.marks(), heard)
    marks = box.marks()
    assert (marks[first].state, marks[first].by, marks[first].at) == ("requeued", "olga", NOW)
    assert marks[second].state == "discarded"
    census = take(box.letters(ALL), marks, 3)
    assert census.counts == {
        ("unknown_version", "open"): 10,
        ("unknown_version", "requeued"): 1,
        ("unknown_version", "discarded"): 1,
    }
    assert len(census.newest) == 3
    keys = [record.key for record in on_log(broker, COMMANDS)]
    assert keys.count(f"dead_letter:{first}".encode()) == 2
    assert all(record.partition == partition_of(record.key.decode(), PARTITIONS) for record in on_log(broker, COMMANDS))


def test_other_commands_are_passed_over(broker: str, send: Send) -> None:
    values = (b"{}", b'{"command":"replay"}', b"\xff", None, b'{"command":"dead_letter"}')
    send([Outgoing(COMMANDS, 0, "c-1", value) for value in values])
    assert box_of(broker).marks() == {}


def test_what_is_no_letter_is_counted_and_left(broker: str, send: Send) -> None:
    from streams.letters.box import Skipped

    send([Outgoing(DEAD_LETTERS, 1, "k", b"x")])
    skipped = Skipped()
    assert len(list(box_of(broker).letters(ALL, skipped=skipped))) == 12
    assert (skipped.foreign, skipped.repeated) == (1, 1)


def test_letters_are_chosen_by_reason_source_time_and_tenant() -> None:
    one = letter(at_ms=5000)
    for wanted in (
        Wanted(reasons=frozenset(["unknown_version", "empty"])),
        Wanted(topic=EVENTS, partition=HOME),
        Wanted(since_ms=5000, until_ms=5001),
        Wanted(tenant="default"),
        Wanted(ids=frozenset([one.id])),
    ):
        assert wanted.takes(one)
    for wanted in (
        Wanted(reasons=frozenset(["empty"])),
        Wanted(topic=CATALOG),
        Wanted(partition=HOME + 1),
        Wanted(until_ms=5000),
        Wanted(since_ms=5001),
        Wanted(tenant="shop-2"),
        Wanted(ids=frozenset(["other"])),
    ):
        assert not wanted.takes(one)


@pytest.mark.parametrize(
    ("key", "value", "tenant"),
    [
        (b"shop-2|u-ann", b"", "shop-2"),
        (b"", b'{"tenant":"shop-3"}', "shop-3"),
        (b"\xff", b'{"tenant":"shop-3"}', "shop-3"),
        (b"", b"\xff", ""),
        (b"", None, ""),
    ],
)
def test_the_tenant_of_a_letter(key: bytes, value: bytes | None, tenant: str) -> None:
    assert letter(key=key, value=value).tenant == tenant


def test_a_record_in_the_wrong_partition_goes_to_the_right_one() -> None:
    right = (HOME, record_key_of(ANN))
    for key in (record_key_of(ANN).encode(), b"", b"\xff", b"default|u-somebody-else"):
        assert destination(letter(partition=(HOME + 1) % PARTITIONS, key=key), PARTITIONS) == right


def test_what_cannot_be_read_goes_by_its_key_or_back_where_it_was() -> None:
    key = "default|u-bob"
    unreadable = letter(value=b"\xff", key=key.encode())
    assert destination(unreadable, PARTITIONS) == (partition_of(key, PARTITIONS), key)
    assert destination(letter(value=b"\xff", key=b"", partition=3), PARTITIONS) == (3, "")


def test_a_facet_keeps_its_key_and_goes_by_its_item() -> None:
    facet = FacetRecord(tenant="default", item_id="tea", stock=Stock(available=False))
    key = catalog.key_of(facet)
    one = letter(topic=CATALOG, key=key.encode(), value=catalog.encode_record(facet), partition=0)
    assert destination(one, PARTITIONS) == (partition_of(record_key("default", "tea"), PARTITIONS), key)


def test_what_must_not_go_back_says_why() -> None:
    assert refusal(letter(), None) is None
    assert "the first of its 2,000,000 bytes" in (refusal(letter(cut_from=2_000_000), None) or "")
    assert TRIGGERS in (refusal(letter(topic=TRIGGERS), None) or "")


def test_old_facets_are_requeued_only_by_name() -> None:
    facet = letter(topic=CATALOG)
    by_reason = chosen("requeue", [facet], Wanted(reasons=frozenset(["unknown_version"])), {})
    assert (by_reason.ids, by_reason.left_out.count) == (set(), 1)
    assert chosen("requeue", [facet], Wanted(ids=frozenset([facet.id])), {}).ids == {facet.id}


def test_a_letter_that_fails_again_names_the_first(broker: str, send: Send) -> None:
    box, work = box_of(broker), requeue_of(broker, send)
    first = next(iter(box.letters(ALL)))
    work.requeue([first], box.marks(), heard)
    [record] = on_log(broker)
    second = _failed_again(record)
    assert dict(second.headers)[FIRST] == first.id.encode()
    send([second])
    [again] = [one for one in box.letters(ALL) if one.first]
    assert again.first == first.id
    assert again.id != first.id
    work.requeue([again], box.marks(), heard)
    third = _failed_again(on_log(broker)[-1])
    assert dict(third.headers)[FIRST] == first.id.encode()


def _failed_again(record: object) -> Outgoing:
    from infra.kafka import Record
    from streams.batch import PartitionBatch
    from streams.dead_letters import letter as letter_of

    assert isinstance(record, Record)
    return letter_of(PartitionBatch(record.partition, LOG, [record]), record, "not_foldable", "still")


def test_a_letter_without_its_headers_is_refused_by_position() -> None:
    from infra.kafka import Record
    from streams.letters.letter import read_letter

    with pytest.raises(BadInput, match="partition 1 offset 2 is no dead letter"):
        read_letter(Record(DEAD_LETTERS, 1, 2, None, b"x", 0))
