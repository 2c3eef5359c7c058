"""Where reading begins when partitions are assigned: after the fence in Redis, whatever the group has
committed.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial

from infra import metrics
from infra.brokers import Bootstrap
from infra.errors import KafkaAway, Refused
from infra.kafka_admin import end_offsets, log_id, start_offsets
from infra.kafka_probe import Next, next_record
from infra.logs import logger
from infra.metrics import Metrics
from infra.settings import Settings
from infra.topics import CATALOG, EVENTS

_log = logger(__name__)

EMBEDDED_LOGS = "embedded-"


@dataclass(frozen=True, slots=True)
class Logs:
    """The identities of the two logs that a worker reads, and how to reach their broker."""

    bootstrap: Bootstrap
    events: str
    catalogue: str
    embedded: bool

    @property
    def forget(self) -> str:
        """The prefix of logs whose fences mean nothing any more; empty for a real broker, whose logs may
        come back.
        """
        return EMBEDDED_LOGS if self.embedded else ""


async def identify(settings: Settings) -> Logs:
    """Ask the broker which logs these are.

    Raises:
        KafkaAway, NotFound.
    """
    embedded, bootstrap = settings.embedded_log, settings.brokers
    events, catalogue = await asyncio.gather(
        *(asyncio.to_thread(log_id, bootstrap, topic, embedded) for topic in (EVENTS, CATALOG))
    )
    return Logs(bootstrap, events, catalogue, settings.embedded_kafka)


async def after_fences(logs: Logs, topic: str, fences: Mapping[int, int], measured: Metrics) -> dict[int, int]:
    """The next offset to read of each partition, by the last one applied (-1: none).

    Raises:
        Refused: a fence lies beyond the end of its log: this Redis belongs to another Kafka.
        KafkaAway.
    """
    starts, ends = await asyncio.gather(
        asyncio.to_thread(start_offsets, logs.bootstrap, topic),
        asyncio.to_thread(end_offsets, logs.bootstrap, topic),
    )
    positions = {}
    for partition, fence in fences.items():
        start, end = starts[partition], ends[partition]
        if fence >= end:
            raise Refused(
                f"{topic} partition {partition}: Redis says that offset {fence} was applied, but the log "
                f"ends at {end}. Kafka has lost records, or this Redis belongs to another Kafka. Correct "
                f"DAOGOU_KAFKA or DAOGOU_REDIS; or give DAOGOU_REDIS an empty Redis: the worker then applies what "
                f"Kafka still keeps, and a replay of the archive and its promotion bring back the rest",
                code="fence_beyond_end",
            )
        if fence + 1 < start:
            _alarm(measured, topic, partition, fence + 1, start)
        positions[partition] = max(fence + 1, start)
    return positions


def _alarm(measured: Metrics, topic: str, partition: int, first: int, start: int) -> None:
    """Retention took records before they were applied. Going on is all that is left, loudly."""
    _log.error(
        "records were lost: the log begins behind what was applied last (of an emptied Redis: nothing was); bring them "
        "back by a replay of the archive and its promotion (daogou replay run, promote); let Kafka keep records longer "
        "than workers stand still",
        topic=topic,
        partition=partition,
        first=first,
        last=start - 1,
    )
    measured.count(metrics.RECORDS_LOST, start - first, topic=topic)


async def next_kept(logs: Logs, topic: str, measured: Metrics, partition: int, offset: int) -> int:
    """As `next_on_log`, for a reader that found a hole: what retention took while it read is told.

    Raises:
        KafkaAway.
    """
    start, found = await _from_start(logs, topic, partition, offset)
    if start > offset:
        _alarm(measured, topic, partition, offset, start)
    return found


async def next_on_log(logs: Logs, topic: str, partition: int, offset: int) -> int:
    """The offset of the first record at or after `offset` that is kept.

    Raises:
        KafkaAway: none can be read: none is there yet, or nobody answers within ten seconds.
    """
    return (await _from_start(logs, topic, partition, offset))[1]


async def _from_start(logs: Logs, topic: str, partition: int, offset: int) -> tuple[int, int]:
    """(where the log begins, the first record from there and from `offset` on)."""
    start, found = await _next(logs, topic, partition, offset)
    if not found.there:
        raise KafkaAway(f"{topic} partition {partition}: nothing can be read at offset {max(start, offset)}")
    return start, found.offset


async def next_or_end(logs: Logs, topic: str, partition: int, offset: int) -> int:
    """The offset of the next record at or after that one; of the partition's end where there is none.

    Raises:
        KafkaAway.
    """
    return (await _next(logs, topic, partition, offset))[1].offset


async def _next(logs: Logs, topic: str, partition: int, offset: int) -> tuple[int, Next]:
    """(where the log begins, what comes first from there and from `offset` on)."""
    start = (await asyncio.to_thread(start_offsets, logs.bootstrap, topic))[partition]
    ask = partial(next_record, logs.bootstrap, topic, partition, max(start, offset), embedded=logs.embedded)
    return start, await asyncio.to_thread(ask)
