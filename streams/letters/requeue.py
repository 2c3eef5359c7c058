"""Puts dead letters back where they came from, each once in effect, and writes down what became of them.

For each letter: a mark that says from which offset on it will be, the record with its own bytes, and a mark
that says it is done. The first mark is a claim: whose comes first on the log puts the record back, for a minute nobody
else does. Whoever goes on after a crash between the two looks on the log whether the record is there. Past that the
fold itself knows an event by its id.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from features.catalog import decode_record
from features.events import decode, home_of, record_key_of
from infra.errors import BadInput, KafkaAway
from infra.kafka import Outgoing, end_offsets, start_offsets
from infra.keys import partition_of, record_key
from infra.topics import CATALOG, EVENTS
from streams.dead_letters import FIRST, REQUEUED_FROM
from streams.letters.box import Advance, LetterBox
from streams.letters.census import LeftOut
from streams.letters.lateness import Old, never
from streams.letters.letter import Letter
from streams.letters.marks import HELD, Mark, State, outgoing, told

# Writes records and returns when each is acknowledged with acks=all.
Send = Callable[[Sequence[Outgoing]], object]

_AT_ONCE: Final = 200
_BYTES_AT_ONCE: Final = 8 << 20


@dataclass(frozen=True, slots=True)
class Operator:
    """Who does it, the time to write down, and what tells this run from any other."""

    by: str
    now: Callable[[], datetime]
    claim: str


@dataclass(slots=True)
class Done:
    """How many letters it became of what; `found` were on the log already, from before a crash."""

    requeued: int = 0
    found: int = 0
    discarded: int = 0
    left_out: LeftOut = field(default_factory=LeftOut)


def destination(letter: Letter, partitions: int) -> tuple[int, str]:
    """Partition and key that the record belongs to: by what it holds, if that can be read, else by its key."""
    try:
        kept = letter.key.decode()
    except UnicodeDecodeError:
        kept = ""
    right = _right_place(letter, partitions)
    if right is None:
        return (partition_of(kept, partitions), kept) if kept else (letter.partition % partitions, "")
    partition, key = right
    keeps = bool(kept) and (letter.topic == CATALOG or partition_of(kept, partitions) == partition)
    return partition, kept if keeps else key


def refusal(letter: Letter, mark: Mark | None) -> str | None:
    """Why a letter is not requeued; None: it may be."""
    if mark is not None and mark.state == "requeued":
        return told(mark)
    if letter.piece is not None:
        number, many = letter.piece
        return f"is piece {number} of {many} of an effect of {letter.cut_from:,} bytes, and not all of them are here"
    if not letter.whole:
        return f"holds only the first of its {letter.cut_from:,} bytes: send it again from where it was made"
    if letter.topic not in (EVENTS, CATALOG):
        return f"came from {letter.topic}, which takes nothing back"
    return None


class Requeue:
    """Requeues and discards on one Kafka."""

    def __init__(self, box: LetterBox, send: Send, partitions: int, operator: Operator, old: Old = never) -> None:
        self._box = box
        self._send = send
        self._partitions = partitions
        self._operator = operator
        self._old = old

    def requeue(self, letters: Iterable[Letter], marks: dict[str, Mark], advance: Advance) -> Done:
        """Put letters back, some at a time; `marks` is kept up to date.

        Raises:
            KafkaAway: the same call again goes on from here.
        """
        done = Done()
        for chunk in _chunks(self._allowed(letters, marks, done)):
            there = self._there([letter for letter in chunk if _begun(marks.get(letter.id))], marks)
            mine = self._claimed([letter for letter in chunk if letter.id not in there], marks, done)
            self._send([self._record(letter) for letter in mine])
            settled = [letter for letter in chunk if letter.id in there] + mine
            self._tell(marks, (self._mark(letter, "requeued") for letter in settled))
            done.requeued += len(mine)
            done.found += len(there)
            advance(len(chunk))
        return done

    def _claimed(self, new: list[Letter], marks: dict[str, Mark], done: Done) -> list[Letter]:
        """Those of the letters that are now for this run alone."""
        ends = {topic: end_offsets(self._box.bootstrap, topic) for topic in {one.topic for one in new}}
        places = [(letter, destination(letter, self._partitions)[0]) for letter in new]
        begun = self._operator.now()
        claims = [self._mark(letter, "requeuing", (p, ends[letter.topic][p])) for letter, p in places]
        self._send([outgoing(mark, self._partitions) for mark in claims])
        self._box.hear(marks)
        mine = []
        for letter in new:
            if marks[letter.id].claim == self._operator.claim:
                mine.append(letter)
            else:
                done.left_out.add(letter, _elsewhere(marks[letter.id]))
        if mine and self._operator.now() - begun > HELD / 2:
            raise KafkaAway(
                f"Kafka at {self._box.bootstrap} took more than {HELD.seconds // 2} s to say whose these letters are; "
                "nothing was put back: the same again, a minute later, goes on"
            )
        return mine

    def discard(self, letters: Iterable[Letter], marks: dict[str, Mark], advance: Advance) -> Done:
        """Write down that nothing will come of these letters.

        Raises:
            KafkaAway: the same call again goes on from here.
        """
        done = Done()
        for chunk in _chunks(letters):
            open_ones = []
            for letter in chunk:
                mark = marks.get(letter.id)
                if mark is None:
                    open_ones.append(letter)
                else:
                    done.left_out.add(letter, told(mark))
            self._send([outgoing(self._mark(letter, "discarded"), self._partitions) for letter in open_ones])
            self._box.hear(marks)
            for letter in open_ones:
                if marks[letter.id].state == "discarded":
                    done.discarded += 1
                else:
                    done.left_out.add(letter, _elsewhere(marks[letter.id]))
            advance(len(chunk))
        return done

    def _allowed(self, letters: Iterable[Letter], marks: dict[str, Mark], done: Done) -> Iterator[Letter]:
        for letter in letters:
            mark = marks.get(letter.id)
            why = refusal(letter, mark)
            if why is None and mark is not None and mark.holds_at(self._operator.now()):
                why = _elsewhere(mark)
            if why is None:
                yield letter
            else:
                done.left_out.add(letter, why)

    def _there(self, begun: Sequence[Letter], marks: dict[str, Mark]) -> set[str]:
        """Which of those that somebody began to requeue are on the log."""
        wanted = {letter.id for letter in begun}
        found: set[str] = set()
        for topic in {letter.topic for letter in begun}:
            spans = self._spans(topic, [marks[letter.id] for letter in begun if letter.topic == topic])
            for record in self._box.records(topic, spans):
                origin = dict(record.headers).get(REQUEUED_FROM, b"").decode(errors="replace")
                if origin in wanted:
                    found.add(origin)
        return found

    def _spans(self, topic: str, marks: Sequence[Mark]) -> dict[int, tuple[int, int]]:
        starts, ends = start_offsets(self._box.bootstrap, topic), end_offsets(self._box.bootstrap, topic)
        spans: dict[int, tuple[int, int]] = {}
        for mark in marks:
            at = mark.to_partition
            if at is not None and at in ends:
                first = max(starts[at], mark.from_offset or 0)
                spans[at] = (min(first, spans.get(at, (first, 0))[0]), ends[at])
        return spans

    def _record(self, letter: Letter) -> Outgoing:
        partition, key = destination(letter, self._partitions)
        headers = [(REQUEUED_FROM, letter.id.encode())]
        if letter.first:
            headers.append((FIRST, letter.first.encode()))
        return Outgoing(letter.topic, partition, key, letter.value, tuple(headers))

    def _mark(self, letter: Letter, state: State, to: tuple[int, int] | None = None) -> Mark:
        return Mark(
            letter_id=letter.id,
            state=state,
            by=self._operator.by,
            at=self._operator.now(),
            reason=letter.reason,
            topic=letter.topic,
            to_partition=to[0] if to else None,
            from_offset=to[1] if to else None,
            claim=self._operator.claim if to else "",
            old=state == "requeued" and self._old(letter),
        )

    def _tell(self, marks: dict[str, Mark], new: Iterable[Mark]) -> None:
        written = list(new)
        self._send([outgoing(mark, self._partitions) for mark in written])
        marks.update((mark.letter_id, mark) for mark in written)


def _elsewhere(mark: Mark) -> str:
    """Why a letter is left to another run."""
    if mark.state != "requeuing":
        return told(mark)
    return f"{told(mark)}; if that broke off, the same again goes on after {mark.at + HELD:%H:%M:%S} UTC"


def _begun(mark: Mark | None) -> bool:
    return mark is not None and mark.state == "requeuing"


def _right_place(letter: Letter, partitions: int) -> tuple[int, str] | None:
    """The partition that the record belongs to, and its key; None: its bytes do not say."""
    try:
        if letter.topic == EVENTS:
            event = decode(letter.value or b"")
            return home_of(event, partitions), record_key_of(event)
        if letter.topic == CATALOG:
            record = decode_record(letter.key, letter.value)
            key = record_key(record.tenant, record.item_id)
            return partition_of(key, partitions), key
    except BadInput:
        return None
    return None


def _chunks(letters: Iterable[Letter]) -> Iterator[list[Letter]]:
    """So many, or so many bytes, at once: a letter may be 1 MB."""
    left = iter(letters)
    for first in left:
        chunk, size = [first], len(first.value or b"")
        while len(chunk) < _AT_ONCE and size < _BYTES_AT_ONCE and (more := next(left, None)) is not None:
            chunk.append(more)
            size += len(more.value or b"")
        yield chunk
