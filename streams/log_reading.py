"""Reads a stretch of a topic from one offset to another, to its end or with an error: never less without a word."""

from collections.abc import Iterator, Mapping
from typing import Final

from infra.brokers import Bootstrap
from infra.errors import KafkaAway
from infra.kafka import Follower, Record

_AT_ONCE: Final = 200
_WAIT_S: Final = 0.5
_SILENT_S: Final = 10.0


def records_between(
    bootstrap: Bootstrap, topic: str, spans: Mapping[int, tuple[int, int]], *, embedded: bool
) -> Iterator[Record]:
    """The records of each partition from an offset up to another, exclusive.

    Raises:
        KafkaAway: nothing comes for ten seconds.
        Refused: an offset is not on the log any more.
    """
    left = {partition: end for partition, (start, end) in spans.items() if start < end}
    if not left:
        return
    positions = {partition: spans[partition][0] for partition in left}
    follower = Follower(bootstrap, topic, positions, embedded=embedded)
    silent_s = 0.0
    try:
        while left:
            read = follower.read(_AT_ONCE, _WAIT_S)
            silent_s = 0.0 if read else silent_s + _WAIT_S
            if silent_s > _SILENT_S:
                raise KafkaAway(f"Kafka at {bootstrap} gives nothing of {topic} for {_SILENT_S:g} s; try again")
            for record in read:
                end = left.get(record.partition)
                if end is None:
                    continue
                if record.offset + 1 >= end:
                    del left[record.partition]
                if record.offset < end:
                    yield record
    finally:
        follower.close()
