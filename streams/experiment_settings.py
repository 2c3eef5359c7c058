"""How an experiment is set: read from `shop.settings.v1`."""

from collections.abc import Iterator
from typing import Final

import msgspec

from infra import setting_records
from infra.errors import Refused
from infra.kafka import Follower, Record
from infra.kafka_admin import end_offsets, start_offsets
from infra.keys import partition_of, record_key
from infra.settings import Settings
from infra.topics import SETTINGS

_READ_MOST: Final = 500
_READ_S: Final = 2.0
_FIRST_VERSION: Final = 2  # as serving counts: 1 is what a shop begins with


class Weighed(msgspec.Struct, frozen=True):
    """A variation."""

    id: str
    weight: int = 1


class Wanted(msgspec.Struct, frozen=True):
    """What is compared, the first variation being what the others are compared with; `version` by its place."""

    scenario: str
    variations: tuple[Weighed, ...]
    version: int = 0

    @property
    def weights(self) -> dict[str, float]:
        """By variation, in their order."""
        return {one.id: float(one.weight) for one in self.variations}


def experiment(settings: Settings, experiment_id: str) -> Wanted | None:
    """The experiment as it was set last, running or not; None: nobody has set it, or it is removed.

    Raises:
        KafkaAway, NotFound, Refused: it cannot be read.
    """
    key = record_key(settings.tenant, "experiment", experiment_id)
    ends = end_offsets(settings.brokers, SETTINGS)
    partition = partition_of(key, len(ends))
    start = start_offsets(settings.brokers, SETTINGS)[partition]
    last = None
    for record in _records(settings, partition, start, ends[partition]):
        if record.key == key.encode():
            last = record
    return None if last is None or last.value is None else _wanted(last)


def _wanted(record: Record) -> Wanted:
    try:
        wanted = msgspec.json.decode(setting_records.decode(record.value or b"").value, type=Wanted)
    except ValueError:
        raise Refused(
            f"the setting of this experiment cannot be read by this version (partition {record.partition}, offset "
            f"{record.offset} of {SETTINGS}): set it anew, or run the version that wrote it",
            code="setting_unreadable",
        ) from None
    return msgspec.structs.replace(wanted, version=record.offset + _FIRST_VERSION)


def _records(settings: Settings, partition: int, start: int, end: int) -> Iterator[Record]:
    """Everything in a partition. What compaction took leaves holes, at the end too: silence is the end."""
    if start >= end:
        return
    follower = Follower(settings.brokers, SETTINGS, {partition: start}, embedded=bool(settings.embedded_log))
    try:
        while read := follower.read(_READ_MOST, _READ_S):
            yield from read
            if read[-1].offset + 1 >= end:
                return
    finally:
        follower.close()
