"""The partition store: shopper rows, shelves, timers and the fence of each partition, written in one Lua
call.

The call compares what the writer believes with what Redis holds (the fence of its log, its epoch, the live
namespace) and writes everything or nothing. A fence lower than expected means that Redis went back in time; a
higher one, or another epoch, that somebody else writes. Either way the writer must end. Applying the same
call twice is applying it once, so a call whose answer was lost is repeated.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from redis.asyncio import Redis

from infra.errors import Refused
from infra.keys import LIVE, ShardKeys, all_rows_pattern, split_shard_key
from infra.redis import told_as_away
from streams.calls import EPOCH, FENCE, STORED, commit_call, fire_call, lost
from streams.lua import CLAIM, Call, run_scripts
from streams.partition import Claimed, Due, Fired, PartitionFire, PartitionWrite, RowRef

NO_FENCE: Final = -1
_TOLD_AT_ONCE: Final = 1000


class PartitionStore:
    """Reads and writes the partitions in the namespaces that they are served from; the only writer of their keys.

    Each partition has a namespace of its own, as its `live` key says: `claim`, `fences` and `look` follow it.
    """

    def __init__(self, redis: Redis, *, where: str = "Redis") -> None:
        """`where` is Redis' address, for messages."""
        self._redis = redis
        self._namespaces: dict[int, str] = {}
        self.where = where

    def namespace(self, partition: int) -> str:
        """The namespace that a partition is served from, as far as is known here."""
        return self._namespaces.get(partition, LIVE)

    def serve(self, partition: int, namespace: str) -> None:
        """From now on the partition is read and written in this namespace: its `live` key says so."""
        self._namespaces[partition] = namespace

    def keys(self, partition: int) -> ShardKeys:
        """The keys of a partition in its namespace."""
        return ShardKeys(partition, self.namespace(partition))

    async def look(self, partitions: Iterable[int]) -> None:
        """Learn which namespaces are served.

        Raises:
            RedisAway.
        """
        wanted = list(partitions)
        pipe = self._redis.pipeline(transaction=False)
        for partition in wanted:
            pipe.get(self.keys(partition).live)
        with told_as_away(self.where):
            found = await pipe.execute()
        for partition, live in zip(wanted, found, strict=True):
            self.serve(partition, LIVE if live is None else live.decode())

    async def claim(self, partitions: Iterable[int], log: str, *, forget_logs: str = "") -> dict[int, Claimed]:
        """Raise the epochs: every earlier owner is shut out. The fences are those of `log`.

        `forget_logs` is the prefix of other logs whose fences go (logs of embedded brokers that have ended).

        Raises:
            Refused: the namespace changed just now, or may not be written (`other_namespace`).
            RedisAway.
        """
        wanted = list(partitions)
        await self.look(wanted)
        calls: list[Call] = [
            (CLAIM, (keys.epoch, keys.fence, keys.live), (log, forget_logs)) for keys in map(self.keys, wanted)
        ]
        claimed = {}
        for partition, (epoch, fence, live) in zip(
            wanted, await run_scripts(self._redis, self.where, calls), strict=True
        ):
            if live.decode() != self.namespace(partition):
                raise Refused(
                    f"partition {partition} serves the namespace {live.decode()!r} now, not "
                    f"{self.namespace(partition)!r}; start again",
                    code="other_namespace",
                )
            claimed[partition] = Claimed(int(epoch), int(fence))
        return claimed

    async def fences(self, partitions: Iterable[int], log: str) -> dict[int, int]:
        """The last offset of `log` applied, by partition; -1 where none was.

        Raises:
            RedisAway.
        """
        wanted = list(partitions)
        await self.look(wanted)
        pipe = self._redis.pipeline(transaction=False)
        for partition in wanted:
            pipe.hget(self.keys(partition).fence, log)
        with told_as_away(self.where):
            found = await pipe.execute()
        return {p: NO_FENCE if raw is None else int(raw) for p, raw in zip(wanted, found, strict=True)}

    async def rows(self, refs: Sequence[RowRef]) -> list[bytes | None]:
        """The packed rows in the order of `refs`; None for shoppers never seen. One round trip.

        Raises:
            RedisAway.
        """
        return await self._get(refs, [self.keys(r.partition).row(r.tenant, r.shopper_id) for r in refs])

    async def rows_and(
        self, refs: Sequence[RowRef], also: Sequence[tuple[str | int, ...]]
    ) -> tuple[list[bytes | None], list[Any]]:
        """The same, and the answers to other commands, in the same round trip.

        Raises:
            RedisAway.
        """
        places = _by_partition(refs)
        pipe = self._redis.pipeline(transaction=False)
        for at in places.values():
            of_it = [refs[place] for place in at]
            pipe.mget([self.keys(r.partition).row(r.tenant, r.shopper_id) for r in of_it])
        for command in also:
            pipe.execute_command(*command)
        with told_as_away(self.where):
            answers = await pipe.execute()
        return _placed(places, len(refs), answers[: len(places)]), answers[len(places) :]

    def questions(self, owned: Mapping[int, Claimed], log: str) -> list[tuple[str, ...]]:
        """Commands that ask how far Redis is in these partitions; `compare` reads the answers."""
        asked: list[tuple[str, ...]] = []
        for keys in map(self.keys, owned):
            asked += [("GET", keys.epoch), ("HGET", keys.fence, log)]
        return asked

    def compare(self, owned: Mapping[int, Claimed], log: str, answers: Sequence[bytes | None]) -> None:
        """Whether what was read with `questions` is what this writer left, or newer, which `commit` says more of.

        Raises:
            WentBack: it is older.
        """
        for (partition, mine), epoch, fence in zip(owned.items(), answers[::2], answers[1::2], strict=True):
            write = PartitionWrite(partition, log, mine.epoch, mine.fence, mine.fence)
            if int(epoch or 0) < mine.epoch:
                raise lost(write, EPOCH, epoch or b"0")
            if int(fence or NO_FENCE) < mine.fence:
                raise lost(write, FENCE, fence or str(NO_FENCE).encode())

    async def scan_rows(self, cursor: int, about: int) -> tuple[int, list[RowRef]]:
        """Shoppers with a row, some at a time and perhaps twice, of all partitions: from cursor 0 until it is 0 again.

        Raises:
            RedisAway.
        """
        namespaces = {*self._namespaces.values()} or {LIVE}
        return await self._scan(all_rows_pattern(namespaces.pop() if len(namespaces) == 1 else None), cursor, about)

    async def _scan(self, pattern: str, cursor: int, about: int) -> tuple[int, list[RowRef]]:
        pipe = self._redis.pipeline(transaction=False)
        pipe.scan(cursor, match=pattern, count=about)
        with told_as_away(self.where):
            [(following, keys)] = await pipe.execute()
        refs = [RowRef(*split_shard_key(key.decode())) for key in keys]
        return int(following), [
            ref
            for ref, key in zip(refs, keys, strict=True)
            if key.decode() == self.keys(ref.partition).row(ref.tenant, ref.shopper_id)
        ]

    async def shelves(self, refs: Sequence[RowRef]) -> list[bytes | None]:
        """The packed shelves in the order of `refs`; None where there is none. One round trip.

        Raises:
            RedisAway.
        """
        return await self._get(refs, [self.keys(r.partition).shelf(r.tenant, r.shopper_id) for r in refs])

    async def _get(self, refs: Sequence[RowRef], keys: Sequence[str]) -> list[bytes | None]:
        places = _by_partition(refs)
        pipe = self._redis.pipeline(transaction=False)
        for at in places.values():
            pipe.mget([keys[place] for place in at])
        with told_as_away(self.where):
            found = await pipe.execute()
        return _placed(places, len(refs), found)

    async def commit(self, writes: Sequence[PartitionWrite]) -> dict[int, int]:
        """Write the partitions, each wholly or not at all, in one round trip; the outbox lengths after it.

        Raises:
            WentBack: Redis holds an older state than this writer left.
            Fenced: somebody else has claimed a partition, or another namespace is served.
            RedisAway: it may or may not have been written; the same call again is harmless.
        """
        answers = await run_scripts(
            self._redis,
            self.where,
            [commit_call(self.keys(w.partition), self.namespace(w.partition), w) for w in writes],
        )
        for write, (status, held) in zip(writes, answers, strict=True):
            if status != STORED:
                raise lost(write, int(status), bytes(held))
        return {write.partition: int(answer[1]) for write, answer in zip(writes, answers, strict=True)}

    async def fire(self, fires: Sequence[PartitionFire]) -> list[Fired]:
        """Take timers away and put their effects into the outbox: one call a partition, one round trip. `told` knows
        of those that had one.

        A timer that is gone, or due at another time by now, is left as it is.

        Raises:
            Fenced, WentBack: as `commit`.
            RedisAway: they may or may not have been taken; the outboxes may be longer than was known.
        """
        answers = await run_scripts(
            self._redis,
            self.where,
            [fire_call(self.keys(f.partition), self.namespace(f.partition), f) for f in fires],
        )
        for fire, (status, held, *_) in zip(fires, answers, strict=True):
            if status != STORED:
                write = PartitionWrite(fire.partition, fire.log, fire.epoch, fire.fence, fire.fence)
                raise lost(write, int(status), bytes(held))
        return [Fired(int(length), [letter == "1" for letter in taken.decode()]) for _, length, taken in answers]

    async def due(self, partitions: Sequence[int], now_ms: int, most: int) -> list[Due]:
        """Timers that are due, earliest first, at most so many of each partition.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        for partition in partitions:
            pipe.zrangebyscore(self.keys(partition).timers, "-inf", now_ms, start=0, num=most, withscores=True)
        with told_as_away(self.where):
            found = await pipe.execute()
        due = [
            Due(partition, member.decode(), int(score))
            for partition, timers in zip(partitions, found, strict=True)
            for member, score in timers
        ]
        return sorted(due, key=lambda timer: timer.due_ms)

    async def told(self, timers: Sequence[Due]) -> list[int | None]:
        """For each timer when the last one of its name that had an effect was due, ms; None: none that is known of.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        for timer in timers:
            pipe.zscore(self.keys(timer.partition).told, timer.member)
        with told_as_away(self.where):
            found = await pipe.execute()
        return [None if at is None else int(at) for at in found]

    async def sent_after(self, partitions: Sequence[int]) -> dict[int, int | None]:
        """How far `told` knows the topic of messages, by partition: the next offset; None where it knows nothing.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        for partition in partitions:
            pipe.get(self.keys(partition).sent)
        with told_as_away(self.where):
            found = await pipe.execute()
        return {p: None if raw is None else int(raw) for p, raw in zip(partitions, found, strict=True)}

    async def note_sent(self, partition: int, told: Mapping[str, int], after: int) -> None:
        """`told` learns what the topic of messages holds up to an offset. Whoever says so is right: no fence is needed.

        Raises:
            RedisAway.
        """
        keys, names = self.keys(partition), list(told)
        pipe = self._redis.pipeline(transaction=True)
        for begin in range(0, len(names), _TOLD_AT_ONCE):
            some = {name: told[name] for name in names[begin : begin + _TOLD_AT_ONCE]}
            pipe.zadd(keys.told, some, gt=True)
        pipe.set(keys.sent, after)
        with told_as_away(self.where):
            await pipe.execute()


def _by_partition(refs: Sequence[RowRef]) -> dict[int, list[int]]:
    """Which of them lie in which partition."""
    places: dict[int, list[int]] = {}
    for place, ref in enumerate(refs):
        places.setdefault(ref.partition, []).append(place)
    return places


def _placed(
    places: Mapping[int, Sequence[int]], many: int, answers: Iterable[Sequence[bytes | None]]
) -> list[bytes | None]:
    """Answers by partition in their places."""
    values: list[bytes | None] = [None] * many
    for at, answer in zip(places.values(), answers, strict=True):
        for place, raw in zip(at, answer, strict=True):
            values[place] = raw
    return values
