"""Reads the dead letters and what became of them, from the start of their topics to the end as it was then."""

from collections.abc import Callable, Generator, Iterator, Mapping
from dataclasses import dataclass

from infra.brokers import Bootstrap
from infra.errors import BadInput
from infra.kafka import Record, end_offsets, start_offsets
from infra.kafka_admin import offsets_at
from infra.topics import COMMANDS, DEAD_LETTERS
from streams.letters.joining import Joining
from streams.letters.letter import Letter, Wanted, read_letter
from streams.letters.marks import Mark, read_mark, stands
from streams.log_reading import records_between

Advance = Callable[[int], None]


@dataclass(slots=True)
class Skipped:
    """What lay among the letters and was none of those given out."""

    repeated: int = 0
    foreign: int = 0


class LetterBox:
    """The dead letters of one Kafka."""

    def __init__(self, bootstrap: Bootstrap, *, embedded: bool) -> None:
        self.bootstrap = bootstrap
        self.embedded = embedded
        self._heard: dict[int, int] = {}  # the next offset of the commands, by partition

    def count(self, wanted: Wanted) -> int:
        """How many records reading will go through, about.

        Raises:
            KafkaAway, NotFound.
        """
        return sum(end - start for start, end in self._span_of(wanted).values())

    def letters(
        self, wanted: Wanted, advance: Advance = lambda _: None, skipped: Skipped | None = None
    ) -> Generator[Letter]:
        """Each wanted letter once, though the outbox may have written it twice; in order within a partition. The
        pieces of an effect are one letter, named by the first.

        Raises:
            KafkaAway, NotFound, Refused: the topic cannot be read to its end.
        """
        skipped = skipped or Skipped()
        seen: set[int] = set()  # of hashes: some bytes for each letter
        joining = Joining()
        for record in self.records(DEAD_LETTERS, self._span_of(wanted)):
            advance(1)
            try:
                letter = read_letter(record)
            except BadInput:
                skipped.foreign += 1
                continue
            mark = hash(letter.id)
            if mark in seen:
                skipped.repeated += 1
                continue
            seen.add(mark)
            yield from filter(wanted.takes, joining.add(letter))
        yield from filter(wanted.takes, joining.left())

    def marks(self) -> dict[str, Mark]:
        """What holds of each letter that anything was said about.

        Raises:
            KafkaAway, NotFound, Refused.
        """
        self._heard, marks = {}, dict[str, Mark]()
        self.hear(marks)
        return marks

    def hear(self, marks: dict[str, Mark]) -> None:
        """Add what was said since this box was last asked. What was heard already changes nothing.

        Raises:
            KafkaAway, NotFound, Refused.
        """
        spans = {p: (max(start, self._heard.get(p, 0)), end) for p, (start, end) in self.span(COMMANDS, None).items()}
        for record in self.records(COMMANDS, spans):
            mark = read_mark(record)
            if mark is not None:
                marks[mark.letter_id] = stands(marks.get(mark.letter_id), mark)
        self._heard = {partition: end for partition, (_, end) in spans.items()}

    def records(self, topic: str, spans: Mapping[int, tuple[int, int]]) -> Iterator[Record]:
        """The records of each partition from an offset up to another, exclusive.

        Raises:
            KafkaAway: nothing comes for ten seconds.
            Refused: an offset is not on the log any more.
        """
        return records_between(self.bootstrap, topic, spans, embedded=self.embedded)

    def span(self, topic: str, partition: int | None) -> dict[int, tuple[int, int]]:
        """From where to where a topic reaches, by partition; all of them, or one.

        Raises:
            BadInput: there is no such partition.
            KafkaAway, NotFound.
        """
        starts, ends = start_offsets(self.bootstrap, topic), end_offsets(self.bootstrap, topic)
        if partition is not None and partition not in ends:
            raise BadInput(f"{topic} has the partitions 0 to {max(ends)}, not {partition}", path="--partition")
        return {p: (starts[p], end) for p, end in ends.items() if partition in (None, p)}

    def _span_of(self, wanted: Wanted) -> dict[int, tuple[int, int]]:
        """Where the wanted letters can be; an embedded broker, which is small, finds no offsets by time."""
        spans = self.span(DEAD_LETTERS, wanted.partition)
        if wanted.since_ms is None or self.embedded:
            return spans
        first = offsets_at(self.bootstrap, DEAD_LETTERS, wanted.since_ms)
        return {p: (max(start, min(first[p], end)), end) for p, (start, end) in spans.items()}
