"""Reads what was shown and what shoppers did then: decision records from Kafka, events from the archive and from Kafka,
both by time and each once.
"""

from collections.abc import Callable, Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final, NamedTuple

import msgspec
import pyarrow as pa

from features.archive import EventArchive
from features.events import Event, received, to_ms
from infra.errors import BadInput, NotEmbedded
from infra.kafka_admin import end_offsets, log_id, offsets_at, start_offsets
from infra.settings import Settings
from infra.topics import DECISIONS, EVENTS
from serving.decisions import Decision, decode
from streams.log_reading import records_between

# A record lies on the log a moment after what it tells of; an outage of Kafka makes two minutes of that at most.
_EARLY_MS: Final = 1_000
_LATE_MS: Final = 120_000

Advance = Callable[[int], None]
Spans = dict[int, tuple[int, int]]


class Period(NamedTuple):
    """From one time (ms) to another, exclusive."""

    since: int
    until: int

    def holds(self, at_ms: int) -> bool:
        """Whether a time is in it."""
        return self.since <= at_ms < self.until


@dataclass(slots=True)
class Passed:
    """What was read and not given out."""

    repeated: int = 0
    unreadable: int = 0


class DecisionReading:
    """The decision records of a shop; its API processes may go on meanwhile."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._embedded = bool(settings.embedded_log)
        self.passed = Passed()

    def spans(self, period: Period) -> Spans:
        """Where the records of a time can be.

        Raises:
            KafkaAway, NotFound.
        """
        return _spans(self._settings, DECISIONS, period)

    def forgotten(self, spans: Spans) -> bool:
        """Whether the log begins later than what is asked for, in any partition; it keeps 30 days."""
        starts = start_offsets(self._settings.brokers, DECISIONS)
        return any(0 < starts[partition] >= first for partition, (first, _) in spans.items())

    def read(self, spans: Spans, period: Period, advance: Advance) -> Iterator[Decision]:
        """The lists made in a period, by the clock of who made them, in the order of the log by partition.

        Raises:
            KafkaAway, Refused: the log cannot be read to its end.
        """
        seen: set[int] = set()  # of hashes: some bytes for each list
        for record in records_between(self._settings.brokers, DECISIONS, spans, embedded=self._embedded):
            advance(1)
            try:
                decision = decode(record.value or b"")
            except msgspec.DecodeError:  # by another version, or not by us
                self.passed.unreadable += 1
                continue
            if decision.tenant != self._settings.tenant or not period.holds(decision.at):
                continue
            mark = hash(decision.recommendation_id)
            self.passed.repeated += mark in seen
            if mark not in seen:
                seen.add(mark)
                yield decision


class EventReading:
    """The events of a shop: those that are archived from the archive, the others from Kafka."""

    def __init__(self, settings: Settings, names: Collection[str]) -> None:
        self._settings = settings
        self._names = frozenset(names)
        self._embedded = bool(settings.embedded_log)
        self.passed = Passed()

    def read(self, period: Period, advance: Advance) -> Iterator[Event]:
        """The events received in a period.

        Raises:
            ArchiveAway, DamagedFile, KafkaAway, NotFound, Refused.
        """
        archive = EventArchive(self._settings.archive_at)
        log = log_id(self._settings.brokers, EVENTS, self._settings.embedded_log)
        reached = archive.through(log)
        spans = {
            partition: (max(first, reached.get(partition, -1) + 1), end)
            for partition, (first, end) in _spans(self._settings, EVENTS, period).items()
        }
        seen: set[int] = set()
        for raw, at_ms in self._raw(archive, spans, period, advance):
            event = self._event(raw, at_ms, period)
            if event is None:
                continue
            mark = hash((event.source, event.event_id))
            self.passed.repeated += mark in seen
            if mark not in seen:
                seen.add(mark)
                yield event

    def _raw(
        self, archive: EventArchive, spans: Spans, period: Period, advance: Advance
    ) -> Iterator[tuple[bytes | None, int]]:
        for batch in archive.scan(period.since, period.until, ("event_name", "tenant", "value", "received_at")):
            advance(batch.num_rows)
            yield from self._of_batch(batch)
        for record in records_between(self._settings.brokers, EVENTS, spans, embedded=self._embedded):
            advance(1)
            yield record.value, record.timestamp_ms

    def _of_batch(self, batch: Any) -> Iterator[tuple[bytes | None, int]]:
        names, tenants, values, times = batch.columns
        columns = (names.to_pylist(), tenants.to_pylist(), values.to_pylist(), times.cast(pa.int64()).to_pylist())
        for name, tenant, value, at_ms in zip(*columns, strict=True):
            if name in self._names and tenant == self._settings.tenant:
                yield value, at_ms

    def _event(self, raw: bytes | None, at_ms: int, period: Period) -> Event | None:
        try:
            event = received(raw or b"", at_ms)
        except BadInput:  # the worker puts it among the dead letters
            self.passed.unreadable += 1
            return None
        wanted = event.event_name in self._names and event.tenant == self._settings.tenant
        assert event.received_at is not None, "received sees to it"
        return event if wanted and period.holds(to_ms(event.received_at)) else None


def opened(settings: Settings) -> Settings:
    """The settings with a broker that has records.

    Raises:
        NotEmbedded: the embedded one is due, and does not run.
    """
    from infra.embedded.outside import running

    found = settings if settings.kafka else running(settings)
    if found is None:
        raise NotEmbedded(
            "No shop runs with this data folder, and the embedded broker forgets the lists that were shown when it "
            "ends: ask while `daogou up` runs, or set DAOGOU_KAFKA.",
            path="kafka",
        )
    return found


def _spans(settings: Settings, topic: str, period: Period) -> Spans:
    """Where the records of a time can be; an embedded broker, which is small, finds no offsets by time."""
    ends = end_offsets(settings.brokers, topic)
    if settings.embedded_log:
        return {
            partition: (start, ends[partition]) for partition, start in start_offsets(settings.brokers, topic).items()
        }
    first = offsets_at(settings.brokers, topic, max(period.since - _EARLY_MS, 0))
    last = offsets_at(settings.brokers, topic, period.until + _LATE_MS)
    return {partition: (first[partition], min(last[partition], end)) for partition, end in ends.items()}
