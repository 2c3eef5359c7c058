"""Everything that the run left against the truth. Each comparison counts and names what differs.

This part may read what the project packs. A comparison of one more thing is one more function of `Found` among
`COMPARISONS`.
"""

from collections import Counter
from collections.abc import Callable, Iterator
from hashlib import blake2b
from itertools import islice
from typing import Any, Final

import redis

from features.archive import EventArchive
from infra.keys import ShardKeys, split_row_key
from streams.marketing.timers import CART_ABANDONED, split_member
from tests.proofs.chaos.compare_catalogue import catalogue
from tests.proofs.chaos.compare_changes import changes
from tests.proofs.chaos.compare_feast import feast_items, feast_rows
from tests.proofs.chaos.compare_rows import differences, excess
from tests.proofs.chaos.compare_statistics import merged_statistics, partials
from tests.proofs.chaos.compare_triggers import hand_overs, triggers
from tests.proofs.chaos.found import Found, Who
from tests.proofs.chaos.truth import DEAD_LETTERS, EVENTS, Record, read_log
from tests.proofs.chaos.truth_fold import cart_due, person
from tests.proofs.chaos.undisturbed import folded_alone

_AT_ONCE: Final = 1000
_SHOWN: Final = 5


def rows(found: Found) -> None:
    """Every row of every shopper, field by field; the lost and the doubled where they can be counted."""
    there = dict(_rows(found.client))
    lost = doubled = 0
    for who, admission in found.truth.shoppers.items():
        raw = there.pop(who, None)
        if not admission.admitted and not admission.told:
            differing: dict[str, tuple[Any, Any]] = {} if raw is None else {"row": (None, "a row")}
        else:
            differing = differences(admission, raw)
        if differing:
            found.differing[who] = differing
            over = len(admission.admitted) * -1 if raw is None else excess(differing)
            lost, doubled = lost + max(0, -over), doubled + max(0, over)
    found.said |= {"rows": len(found.truth.shoppers), "lost": lost, "doubled": doubled}
    found.said["rows_differing"] = len(found.differing) + len(there)
    if there:
        found.wrong.append(f"{len(there)} rows of shoppers that the log does not have")
    if found.differing:
        found.wrong.append(_told(found))


def timers(found: Found) -> None:
    """Every pending timer and when it is due; those that came due in the run are gone."""
    wanted, there = {}, {}
    abandoned_ms = found.settings.cart_abandoned_s * 1000
    for (partition, tenant, shopper), admission in found.truth.shoppers.items():
        due = cart_due(person(admission.admitted), abandoned_ms)
        if due is not None and due > found.ended_ms:
            wanted[partition, tenant, CART_ABANDONED, shopper] = due
    for partition in range(found.settings.partition_count):
        for member, due in found.client.zrange(ShardKeys(partition).timers, 0, -1, withscores=True):
            tenant, kind, shopper = split_member(member.decode())
            there[partition, tenant, kind, shopper] = int(due)
    found.said["timers"] = len(wanted)
    found.expect_equal("timers", wanted, there)


def letters(found: Found) -> None:
    """Each dead record once by its id, with its bytes and the reason; a repetition has the same bytes."""
    values = {
        (record.partition, record.offset): record.value
        for record in read_log(found.settings.kafka, EVENTS)
        if (record.partition, record.offset) in found.truth.dead
    }
    wanted = {
        f"{found.log}/{at[0]}/{at[1]}": (found.truth.dead[at], value if value is not None else b"")
        for at, value in values.items()
    }
    there: dict[str, tuple[str, bytes]] = {}
    repeated = 0
    for record in read_log(found.settings.kafka, DEAD_LETTERS):
        name = record.headers["daogou-id"].decode()
        told = (record.headers["daogou-reason"].decode(), record.value or b"")
        repeated += name in there
        if there.setdefault(name, told) != told:
            found.wrong.append(f"the dead letter {name} was written twice with different bytes")
    found.said |= {"letters": len(wanted), "letters_repeated": repeated}
    found.expect_equal("letters", wanted, there)


def archive(found: Found) -> None:
    """Every record of the log once in the archive, with its bytes."""
    wanted = {
        (record.partition, record.offset): _digest(record.key, record.value)
        for record in read_log(found.settings.kafka, EVENTS)
    }
    there: dict[tuple[int, int], bytes] = {}
    for batch in EventArchive(found.settings.archive_dir).scan(columns=["partition", "offset", "key", "value"]):
        for partition, offset, key, value in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            if (partition, offset) in there:
                found.wrong.append(f"the record {partition}/{offset} is in the archive twice")
            there[partition, offset] = _digest(key, value)
    found.said["archived"] = len(there)
    found.expect_equal("archived", wanted, there)


COMPARISONS: Final[tuple[Callable[[Found], None], ...]] = (
    rows,
    timers,
    letters,
    triggers,
    hand_overs,
    partials,
    merged_statistics,
    feast_rows,
    feast_items,
    catalogue,
    changes,
    archive,
)


def compare(found: Found) -> Found:
    """Make all comparisons."""
    for comparison in COMPARISONS:
        comparison(found)
    return found


def _rows(client: "redis.Redis") -> Iterator[tuple[Who, bytes]]:
    keys = client.scan_iter(match="daogou:*:row:*", count=_AT_ONCE)
    while chunk := list(dict.fromkeys(islice(keys, _AT_ONCE))):
        for key, raw in zip(chunk, client.mget(chunk), strict=True):
            text = key.decode()
            yield (int(text.split("}")[0].partition("{p")[2]), *split_row_key(text)), raw


def _told(found: Found) -> str:
    """Which fields differ how often, the first rows, and whether the code without any fault makes the same rows."""
    fields = Counter(name for differing in found.differing.values() for name in differing)
    shown = "; ".join(f"{who}: {differing}" for who, differing in list(found.differing.items())[:_SHOWN])
    alone = folded_alone(_log_of(found), found.settings)
    by_rule = sum(
        raw is not None and differences(found.truth.shoppers[who], raw) == found.differing[who]
        for who, raw in ((who, alone.rows.get(who)) for who in found.differing)
    )
    return (
        f"{len(found.differing)} rows differ ({dict(fields)}); {by_rule} of them would without any fault, by another "
        f"reading of the design; such as {shown}"
    )


def _digest(key: bytes | None, value: bytes | None) -> bytes:
    return blake2b(repr((key, value)).encode(), digest_size=16).digest()


def _log_of(found: Found) -> Iterator[Record]:
    partitions = {partition for partition, _, _ in found.differing}
    return (record for record in read_log(found.settings.kafka, EVENTS) if record.partition in partitions)
