"""Letters for the tests, and a log with some of them on a broker."""

import asyncio
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from features.events import Event, encode, record_key_of
from infra.kafka import Outgoing, Producer, Record
from infra.topics import EVENTS
from streams.batch import PartitionBatch
from streams.dead_letters import letter as letter_of
from streams.letters.box import LetterBox
from streams.letters.letter import Letter
from streams.letters.requeue import Operator, Requeue, Send
from tests.streams.shop import LOG, PARTITIONS, event, partition_of_event

NOW = datetime(2026, 11, 3, 12, tzinfo=UTC)
ANN = event("ann", "view_item", "tea")
HOME = partition_of_event(ANN)


def letter(**given: object) -> Letter:
    """A letter of Ann's event."""
    made = Letter(
        id=f"{LOG}/{HOME}/7",
        reason="unknown_version",
        message="why",
        topic=EVENTS,
        partition=HOME,
        offset=7,
        key=record_key_of(ANN).encode(),
        value=encode(ANN),
        at_ms=1_000,
    )
    return replace(made, **given)


def outgoing_letter(offset: int, one: Event, code: str = "unknown_version", partition: int | None = None) -> Outgoing:
    """The dead letter of an event that lay at an offset of its partition, or of another one."""
    home = partition_of_event(one) if partition is None else partition
    record = Record(EVENTS, home, offset, record_key_of(one).encode(), encode(one), 0)
    return letter_of(PartitionBatch(home, LOG, [record]), record, code, "why it failed")


@contextmanager
def sender(broker: str) -> Iterator[Send]:
    """Writes to the broker and waits."""
    with asyncio.Runner() as runner:
        producer = Producer(broker, embedded=True)
        runner.run(producer.start())
        try:
            yield lambda records: runner.run(producer.send_many(records))
        finally:
            producer.close()


def box_of(broker: str) -> LetterBox:
    return LetterBox(broker, embedded=True)


def requeue_of(broker: str, send: Send, by: str = "olga", *, later_s: int = 0) -> Requeue:
    """What an operator does, so many seconds after noon."""
    now = NOW + timedelta(seconds=later_s)
    return Requeue(box_of(broker), send, PARTITIONS, Operator(by, lambda: now, f"run of {by}, {later_s}"))


def on_log(broker: str, topic: str = EVENTS) -> Sequence[Record]:
    """Everything on a topic."""
    box = box_of(broker)
    return list(box.records(topic, box.span(topic, None)))
