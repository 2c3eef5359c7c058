"""The project's own fold of the same log, in this process and without any fault.

It is no part of the verdict: where a row differs from the truth, it tells damage from another reading of the design.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from features import shoppers
from infra.kafka import Outgoing
from infra.settings import Settings
from infra.topics import EVENTS
from streams.applied import Applied
from streams.batch import PartitionBatch, Rules, fold_visit, gather
from streams.commit import PartitionStore
from streams.outbox import unpack
from streams.statistics import ItemStatistics, Known
from tests.proofs.chaos.truth import Record, Who

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Read:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


@dataclass
class Alone:
    """What the fold makes of a log: packed rows by (partition, tenant, shopper), packed statistics by partition and
    item, and the events for other partitions, which are not applied.
    """

    rows: dict[Who, bytes] = field(default_factory=dict)
    partials: dict[int, dict[str, bytes | None]] = field(default_factory=dict)
    effects: list[Outgoing] = field(default_factory=list)


def folded_alone(log: Iterator[Record], settings: Settings) -> Alone:
    """Fold a log from its begin."""
    rules = Rules(settings.partition_count, settings.lateness_h * 3_600_000, settings.cart_abandoned_s * 1000)
    records: dict[int, list[_Read]] = {}
    for record in log:
        records.setdefault(record.partition, []).append(
            _Read(record.offset, record.key, record.value, record.timestamp_ms)
        )
    alone = Alone()
    statistics = ItemStatistics(cast(PartitionStore, None))  # it reads nothing here
    for partition, of_it in records.items():
        partials = alone.partials.setdefault(partition, {})
        for first in range(0, len(of_it), _AT_ONCE):
            share = gather(
                PartitionBatch(partition, "log", of_it[first : first + _AT_ONCE]),
                of_it[first].offset - 1,
                rules.partitions,
                Applied(),
            )
            for visit in share.visits:
                who = (partition, visit.ref.tenant, visit.ref.shopper_id)
                fold_visit(share, visit, alone.rows.get(who), rules, Applied())
            for visit in share.changed:
                alone.rows[partition, visit.ref.tenant, visit.ref.shopper_id] = shoppers.encode(visit.row)
            known = Known(len(partials), {item: partials.get(item) for item in share.items})
            partials |= statistics.applied(known, share.counted)
            alone.effects += [one for one in map(unpack, share.letters) if one.topic == EVENTS]
    return alone
