"""An effect that went to the dead letters in pieces comes back as one letter, and onto its topic by the command."""

import random
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from features.events import encode, record_key_of
from infra.errors import BadInput
from infra.kafka import Outgoing, Record
from infra.topics import EVENTS
from streams.dead_letters import PIECE, letters_of_effect
from streams.letters.joining import Joining
from streams.letters.letter import Letter, Wanted, read_letter
from streams.letters.requeue import refusal
from streams.letters.words import to_do
from tests.streams.letters.made import ANN, HOME, box_of, letter, on_log, requeue_of, sender

LARGE = encode(ANN) + b" " * 450_000
EFFECT = Outgoing(EVENTS, HOME, record_key_of(ANN), LARGE)
PIECES = letters_of_effect(EFFECT)


def as_read(made: Sequence[Outgoing]) -> list[Letter]:
    return [read_letter(Record(one.topic, one.partition, 0, None, one.value, 7, one.headers)) for one in made]


def joined(letters: Sequence[Letter], held_bytes: int = 1 << 20) -> list[Letter]:
    joining = Joining(held_bytes)
    found = [given_out for one in letters for given_out in joining.add(one)]
    return found + list(joining.left())


@given(st.integers(0, 2**32), st.integers(1, 6))
def test_pieces_in_any_order_among_other_letters_are_one_letter_again(seed: int, others: int) -> None:
    mixed = [*as_read(PIECES), *(letter(id=str(n)) for n in range(others))]
    random.Random(seed).shuffle(mixed)
    found = joined(mixed)
    [one] = [each for each in found if each.offset == -1]
    assert (one.value, one.whole, one.id) == (LARGE, True, as_read(PIECES)[0].id)
    assert len(found) == 1 + others


@pytest.mark.parametrize("gone", range(len(PIECES)))
def test_what_lacks_a_piece_stays_in_pieces_and_is_refused(gone: int) -> None:
    left = [one for number, one in enumerate(as_read(PIECES)) if number != gone]
    assert joined(left) == left
    for one in left:
        assert "not all of them are here" in (refusal(one, None) or "")
        assert "not all here" in to_do(one)


def test_pieces_that_do_not_fit_together_stay_pieces() -> None:
    first, *rest = as_read(PIECES)
    other = Letter(**{name: getattr(first, name) for name in first.__slots__} | {"value": b"another"})
    assert joined([other, *rest]) == [other, *rest]


def test_no_more_is_held_than_was_said() -> None:
    pieces = as_read(PIECES)
    joining = Joining(300_000)
    assert list(joining.add(pieces[0])) == []
    assert list(joining.add(pieces[1])) == pieces[:2]
    assert list(joining.left()) == []


def test_an_effect_in_pieces_is_requeued_as_it_was_made(broker: str) -> None:
    with sender(broker) as send:
        send(PIECES)
        box = box_of(broker)
        [one] = list(box.letters(Wanted(reasons=frozenset(["effect_too_large"]))))
        assert "then requeue" in to_do(one)
        done = requeue_of(broker, send).requeue(box.letters(Wanted()), box.marks(), lambda _: None)
        again = requeue_of(broker, send).requeue(box.letters(Wanted()), box.marks(), lambda _: None)
    assert (done.requeued, done.left_out.count, again.requeued, again.left_out.count) == (1, 0, 0, 1)
    [record] = on_log(broker)
    assert (record.value, record.partition, record.key) == (LARGE, HOME, EFFECT.key.encode())


def test_a_header_that_says_no_piece_is_refused_by_position() -> None:
    headers = tuple((name, b"x" if name == PIECE else raw) for name, raw in PIECES[0].headers)
    with pytest.raises(BadInput, match="offset 0 is no dead letter"):
        read_letter(Record(EVENTS, 0, 0, None, b"", 0, headers))
