"""What puts letters back for a command: a client that writes, and who does it."""

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Final
from uuid import uuid4

from infra.kafka import Producer
from infra.settings import Settings
from streams.letters.box import LetterBox
from streams.letters.lateness import Old
from streams.letters.requeue import Operator, Requeue, Send

_TIMEOUT_MS: Final = 30_000


@contextmanager
def sender(settings: Settings) -> Iterator[Send]:
    """What writes records and returns when all are acknowledged, with a loop of its own."""
    with asyncio.Runner() as runner:
        producer = Producer(settings.brokers, embedded=settings.embedded_kafka, timeout_ms=_TIMEOUT_MS)
        runner.run(producer.start())
        try:
            yield lambda records: runner.run(producer.send_many(records))
        finally:
            producer.close()


def requeue_of(settings: Settings, box: LetterBox, send: Send, by: str, old: Old) -> Requeue:
    """One run of a command; `old`: which letters are marked so."""
    operator = Operator(by, lambda: datetime.now(UTC), uuid4().hex)
    return Requeue(box, send, settings.partition_count, operator, old)
