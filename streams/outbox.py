"""The outbox: effects written with the state that caused them, then produced to Kafka, then removed.

An effect lies in the partition's list in Redis from the moment its cause is applied. It is produced with
acks=all and taken away after the acknowledgement; a crash in between produces it again, with the same bytes. An end
that is asked for waits for the taking away.
"""

import hashlib
from collections import Counter
from collections.abc import Sequence
from typing import Final

import msgspec
from redis.asyncio import Redis

from infra.errors import Fenced
from infra.kafka import Outgoing
from infra.keys import ShardKeys
from infra.redis import told_as_away
from streams.burying import Sending, sent_or_buried
from streams.interruption import to_its_end
from streams.lua import SENT, run_scripts

# Entries read at once: a dead letter may be 1 MB.
CHUNK: Final = 64


class _Packed(msgspec.Struct, array_like=True, frozen=True):
    topic: str
    partition: int
    key: str
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...]


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(_Packed)


def pack(record: Outgoing) -> bytes:
    """A record as it lies in the outbox."""
    return _encoder.encode(_Packed(record.topic, record.partition, record.key, record.value, record.headers))


def unpack(raw: bytes) -> Outgoing:
    """The inverse of `pack`.

    Raises:
        msgspec.DecodeError: the bytes are no effect.
    """
    packed = _decoder.decode(raw)
    return Outgoing(packed.topic, packed.partition, packed.key, packed.value, packed.headers)


class Outbox:
    """Empties the outboxes of the partitions that this process owns."""

    def __init__(self, redis: Redis, producer: Sending, *, where: str = "Redis") -> None:
        self._redis = redis
        self._producer = producer
        self._where = where

    async def lengths(self, partitions: list[int]) -> dict[int, int]:
        """How many effects wait, by partition.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        for partition in partitions:
            pipe.llen(ShardKeys(partition).outbox)
        with told_as_away(self._where):
            return dict(zip(partitions, await pipe.execute(), strict=True))

    async def drain(self, partition: int, epoch: int) -> tuple[int, Counter[str]]:
        """Produce what waits, oldest first, until nothing does: how many were sent, and how many of each topic went to
        the dead letters because they are larger than it takes.

        Raises:
            KafkaAway, RedisAway: what was not acknowledged and removed stays; so does what not even the dead letters
                take.
            Fenced: the partition has another owner.
        """
        keys = ShardKeys(partition)
        sent, refused = 0, Counter[str]()
        while True:
            pipe = self._redis.pipeline(transaction=False)
            pipe.lrange(keys.outbox, 0, CHUNK - 1)
            with told_as_away(self._where):
                [entries] = await pipe.execute()
            if not entries:
                return sent, refused
            too_large, left = await to_its_end(self._send(keys, epoch, entries))
            sent += len(entries) - too_large.total()
            refused += too_large
            if left < 0:
                raise Fenced(f"partition {partition}: somebody else has taken it; its outbox is theirs to empty")
            if left == 0:
                return sent, refused

    async def _send(self, keys: ShardKeys, epoch: int, entries: Sequence[bytes]) -> tuple[Counter[str], int]:
        """Produce these and take them away: how many were too large, by topic, and how many entries are left."""
        too_large = await sent_or_buried(self._producer, [unpack(entry) for entry in entries])
        # The digest of the first entry makes the removal safe to repeat: a second one finds another first.
        first = hashlib.sha1(entries[0], usedforsecurity=False).hexdigest()
        arguments = (str(epoch), first, str(len(entries)))
        [left] = await run_scripts(self._redis, self._where, [(SENT, (keys.epoch, keys.outbox), arguments)])
        return too_large, left
