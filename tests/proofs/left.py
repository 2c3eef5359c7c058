"""What a run leaves behind, in a form that can be compared with what another run left."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import islice
from pathlib import Path
from typing import Any, Final

import msgspec
import redis

from features.aggregates import ITEM_CONTENT, ITEM_STATISTICS
from features.archive import EventArchive
from features.events import decode, encode
from features.value_codec import hash_field, time_field
from infra.errors import BadInput
from infra.kafka import Follower
from infra.kafka_admin import end_offsets, start_offsets
from infra.settings import Settings
from infra.topics import DEAD_LETTERS

# Count assignments, holds, what was sent: never the same in two runs. What is merged from the statistics of all
# partitions, in Feast's store too, is as of the last pass, a few seconds ago; the statistics themselves are compared.
_PASSING: Final = ("epoch", "owner", "outbox", "resting", "merged", "snapshot")
_PASSING_FIELDS: Final = {
    *(hash_field(ITEM_STATISTICS.name, name) for name in ITEM_STATISTICS.fields),
    time_field(ITEM_STATISTICS.name),
    time_field(ITEM_CONTENT.name),  # when the catalogue was loaded, which each load does anew
}
_AT_ONCE: Final = 1000

# A key of Redis and the field in it (a string has one, without a name).
Entry = tuple[bytes, bytes]
Values = dict[Entry, bytes]


@dataclass(frozen=True, slots=True)
class Left:
    """All values in Redis, the archive by (partition, offset), dead letters with how often each was written."""

    values: Values
    archive: dict[tuple[int, int], bytes]
    letters: Counter[bytes]

    def count(self, family: str) -> int:
        """Entries of a family of keys; `features` are entities with a row in Feast's store."""
        found = [entry for entry in self.values if family_of(entry) == family]
        return len({key for key, _ in found}) if family == "features" else len(found)


def family_of(entry: Entry) -> str:
    """The family of an entry's key; keys of Feast's own are `features`."""
    key = entry[0]
    return key.split(b":")[4].decode() if key.startswith(b"daogou:") else "features"


def differing(one: Values, other: Values, families: Sequence[str] = ()) -> list[Entry]:
    """Entries (of these families) whose values differ, or that only one of them has."""
    return sorted(
        entry
        for entry in one.keys() | other.keys()
        if one.get(entry) != other.get(entry) and (not families or family_of(entry) in families)
    )


def told(entries: Sequence[Entry]) -> str:
    """How many entries of which family, and the first of them."""
    families = Counter(map(family_of, entries))
    return ", ".join(f"{count} of {family}" for family, count in families.items()) + f", such as {entries[:1]}"


def values_in(client: "redis.Redis", logs: Sequence[str]) -> Values:
    """Everything in Redis that must not depend on how the log was applied.

    The names of the logs are masked, for each run has its own. Where a Feast row was written from, and how often the
    items of a partition were, follows from the batches and is left out.
    """
    found: Values = {}
    keys = client.scan_iter(count=_AT_ONCE)
    while chunk := list(islice(keys, _AT_ONCE)):
        for (key, field), value in _read(client, chunk):
            family = family_of((key, field))
            if family in _PASSING or field.startswith(b"_log:") or field == b"writes":
                continue
            if family == "features" and field in _PASSING_FIELDS:
                continue
            found[key, _masked(field, logs)] = _masked(value, logs)
    return found


def archived(folder: Path) -> dict[tuple[int, int], bytes]:
    """A digest of each archived record, but for the instant of receipt, in which two loads differ.

    Raises:
        SystemExit: a record is there twice, or a file's name says otherwise than the file.
    """
    named: Counter[tuple[int, int]] = Counter()
    for file in folder.glob("day=*/*.parquet"):
        for part in file.stem.split("@")[1:]:
            partition, _, span = part.partition(".")
            first, last = map(int, span.split("-"))
            named.update((int(partition), offset) for offset in range(first, last + 1))
    held: dict[tuple[int, int], bytes] = {}
    for batch in EventArchive(folder).scan(columns=["partition", "offset", "key", "value"]):
        for partition, offset, key, value in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            held[partition, offset] = blake2b((key or b"") + b"\n" + _timeless(value), digest_size=16).digest()
    if max(named.values(), default=1) > 1 or named.keys() != held.keys():
        raise SystemExit(f"the archive's names say {named.total()} records, the files hold {len(held)}")
    return held


def letters(settings: Settings) -> Counter[bytes]:
    """How often each record was written to the dead letters."""
    bootstrap, found = settings.kafka, Counter[bytes]()
    left = sum(end_offsets(bootstrap, DEAD_LETTERS).values()) - sum(start_offsets(bootstrap, DEAD_LETTERS).values())
    follower = Follower(bootstrap, DEAD_LETTERS, "start", embedded=settings.embedded_kafka)
    while left > 0:
        for record in follower.read(_AT_ONCE, 5.0):
            left -= 1
            found[record.value or b""] += 1
    follower.close()
    return found


def _read(client: "redis.Redis", keys: Sequence[bytes]) -> Iterator[tuple[Entry, bytes]]:
    pipe = client.pipeline(transaction=False)
    for key in keys:
        pipe.type(key)
    kinds = pipe.execute()
    for key, kind in zip(keys, kinds, strict=True):
        match kind:
            case b"string":
                pipe.get(key)
            case b"hash":
                pipe.hgetall(key)
            case b"zset":
                pipe.zrange(key, 0, -1, withscores=True)
            case _:
                pipe.lrange(key, 0, -1)
    for key, kind, value in zip(keys, kinds, pipe.execute(), strict=True):
        for field, held in _fields(kind, value):
            yield (key, field), held


def _fields(kind: bytes, value: Any) -> Iterator[tuple[bytes, bytes]]:
    match kind:
        case b"string":
            yield b"", value
        case b"hash":
            yield from value.items()
        case b"zset":
            yield from ((member, b"%d" % score) for member, score in value)
        case _:
            yield from ((b"%d" % place, held) for place, held in enumerate(value))


def _masked(raw: bytes, logs: Sequence[str]) -> bytes:
    for number, log in enumerate(logs):
        raw = raw.replace(log.encode(), b"LOG%d" % number)
    return raw


def _timeless(value: bytes) -> bytes:
    try:
        return encode(msgspec.structs.replace(decode(value), received_at=None))
    except BadInput:
        return value
