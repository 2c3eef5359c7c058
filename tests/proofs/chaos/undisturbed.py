"""The project's own fold of the same log, in this process and without any fault.

It is no part of the verdict: where a row differs from the truth, it tells damage from another reading of the design.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from features import shoppers
from infra.settings import Settings
from streams.batch import Applied, PartitionBatch, Rules, fold_visit, gather
from tests.proofs.chaos.truth import Record

_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class _Read:
    offset: int
    key: bytes | None
    value: bytes | None
    timestamp: int


def folded_alone(log: Iterator[Record], settings: Settings) -> dict[tuple[int, str, str], bytes]:
    """The packed rows by (partition, tenant, shopper)."""
    rules = Rules(settings.partition_count, settings.lateness_h * 3_600_000, settings.cart_abandoned_s * 1000)
    records: dict[int, list[_Read]] = {}
    for record in log:
        records.setdefault(record.partition, []).append(
            _Read(record.offset, record.key, record.value, record.timestamp_ms)
        )
    rows: dict[tuple[int, str, str], bytes] = {}
    for partition, of_it in records.items():
        for first in range(0, len(of_it), _AT_ONCE):
            share = gather(
                PartitionBatch(partition, "log", of_it[first : first + _AT_ONCE]),
                of_it[first].offset - 1,
                rules.partitions,
                Applied(),
            )
            for visit in share.visits:
                who = (partition, visit.ref.tenant, visit.ref.shopper_id)
                fold_visit(share, visit, rows.get(who), rules, Applied())
            for visit in share.changed:
                rows[partition, visit.ref.tenant, visit.ref.shopper_id] = shoppers.encode(visit.row)
    return rows
