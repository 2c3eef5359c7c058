"""What an operator wants to be served: the command line asks, the worker that owns the partition carries it out.

A wish is a key beside the partition's `live` key. It goes with the swap itself, in the same Lua call; what cannot be
carried out gets the reason written into it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec
from redis.asyncio import Redis

from infra.errors import BadInput
from infra.keys import ShardKeys
from infra.redis import told_as_away
from streams.lua import Call, Script, run_scripts

# KEYS promoting · ARGV the wish as it was, as it is to be (empty: gone)
_CHANGE: Final = Script("""
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
if ARGV[2] == '' then redis.call('DEL', KEYS[1]) else redis.call('SET', KEYS[1], ARGV[2]) end
return 1
""")


# The reasons against serving a namespace that an operator may pass over, each by its name.
NAMESPACE_LACKS: Final = "namespace_lacks"
OTHER_CODE: Final = "other_code"
REASONS: Final = (NAMESPACE_LACKS, OTHER_CODE)


def passed_over(names: Iterable[str]) -> tuple[str, ...]:
    """The reasons that an operator names to be passed over, once each.

    Raises:
        BadInput: one is no reason that can be passed over (`unknown_reason`).
    """
    wanted = sorted(set(names))
    for name in wanted:
        if name not in REASONS:
            raise BadInput(
                f"--force {name}: nothing of that name can be passed over; there is {' and '.join(REASONS)}",
                path="force",
                code="unknown_reason",
            )
    return tuple(wanted)


class Wish(msgspec.Struct, frozen=True):
    """A namespace that is to be served; `refused` says why it cannot be, `passing` which reasons are passed over."""

    namespace: str
    command_id: str
    refused: str = ""
    passing: tuple[str, ...] = ()

    @property
    def packed(self) -> bytes:
        """The bytes in Redis; equal wishes have equal bytes."""
        return msgspec.json.encode(self)


class Wishes:
    """Reads and writes wishes."""

    def __init__(self, redis: Redis, where: str) -> None:
        self._redis = redis
        self._where = where

    async def of(self, partitions: Iterable[int]) -> dict[int, Wish]:
        """The wishes for these partitions, where there is one.

        Raises:
            RedisAway.
        """
        wanted = list(partitions)
        pipe = self._redis.pipeline(transaction=False)
        for partition in wanted:
            pipe.get(ShardKeys(partition).promoting)
        with told_as_away(self._where):
            found = await pipe.execute()
        return {p: msgspec.json.decode(raw, type=Wish) for p, raw in zip(wanted, found, strict=True) if raw}

    async def put(self, wishes: Mapping[int, Wish]) -> None:
        """Ask; an older wish for the same partition goes.

        Raises:
            RedisAway.
        """
        pipe = self._redis.pipeline(transaction=False)
        for partition, wish in wishes.items():
            pipe.set(ShardKeys(partition).promoting, wish.packed)
        with told_as_away(self._where):
            await pipe.execute()

    async def refuse(self, partition: int, wish: Wish, why: str) -> None:
        """Say why a wish cannot be carried out, if it is still the same.

        Raises:
            RedisAway.
        """
        refused = msgspec.structs.replace(wish, refused=why)
        await self._change({partition: wish}, refused.packed)

    async def withdraw(self, wishes: Mapping[int, Wish]) -> None:
        """Take wishes back, those that are still the same.

        Raises:
            RedisAway.
        """
        await self._change(wishes, b"")

    async def _change(self, wishes: Mapping[int, Wish], to: bytes) -> None:
        calls: list[Call] = [(_CHANGE, (ShardKeys(p).promoting,), (wish.packed, to)) for p, wish in wishes.items()]
        if calls:
            await run_scripts(self._redis, self._where, calls)
