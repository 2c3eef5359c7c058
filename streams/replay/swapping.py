"""The moment of a promotion: in one Lua call another namespace is served, or nothing has changed.

The call is made by the owner of the partition, under the lock of its micro-batches, and compares what it believes:
its epoch, the namespace that is served, and that both namespaces have applied the log to the same offset. So the next
batch goes on in the new namespace without a gap and without a double.
"""

from dataclasses import dataclass
from typing import Final

from redis.asyncio import Redis

from infra.errors import Fenced
from infra.keys import ReplayKeys, ShardKeys
from streams.lua import Call, Script, run_scripts
from streams.replay.wishes import Wish

_LAPSED_AT_ONCE: Final = 1000
_DONE, _EPOCH, _NAMESPACE, _OLD_FENCE, _NEW_FENCE, _GUARD, _WISH = range(7)
_WHY: Final = {
    _EPOCH: "somebody else has taken the partition",
    _NAMESPACE: "another namespace is served",
    _OLD_FENCE: "what is served has another fence",
    _NEW_FENCE: "the namespace has another fence",
    _GUARD: "the namespace may not be written any more",
    _WISH: "nobody wants it any more",
}

# A timer of the past is decided already, unless it still waits where it was served.
# KEYS timers served, timers to be served, replaying · ARGV namespace, now in ms, from which of them on, how many
# → {looked at, taken away}
_LAPSE: Final = Script("""
if (redis.call('GET', KEYS[3]) or '') ~= ARGV[1] then return {0, 0} end
local due = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', ARGV[2], 'WITHSCORES', 'LIMIT', ARGV[3], ARGV[4])
local gone = 0
for i = 1, #due, 2 do
  local waits = redis.call('ZSCORE', KEYS[1], due[i])
  if not waits or tonumber(waits) ~= tonumber(due[i + 1]) then gone = gone + redis.call('ZREM', KEYS[2], due[i]) end
end
return {#due / 2, gone}
""")

# KEYS epoch, live, fence served, fence to be served, timers served, timers to be served, before, promoting, replaying
# ARGV epoch, namespace served, namespace to be served, log, fence, now in ms, wish
# → {0, timers of the past that were taken away} or {why not, 0}
_SWAP: Final = Script("""
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then return {1, 0} end
local live = redis.call('GET', KEYS[2]) or 'live'
if live == ARGV[3] then return {0, 0} end -- the same call, sent again because its answer was lost
if live ~= ARGV[2] then return {2, 0} end
if (redis.call('HGET', KEYS[3], ARGV[4]) or '-1') ~= ARGV[5] then return {3, 0} end
if (redis.call('HGET', KEYS[4], ARGV[4]) or '-1') ~= ARGV[5] then return {4, 0} end
if (redis.call('GET', KEYS[9]) or '') ~= ARGV[3] then return {5, 0} end
if (redis.call('GET', KEYS[8]) or '') ~= ARGV[7] then return {6, 0} end
local due = redis.call('ZRANGEBYSCORE', KEYS[6], '-inf', ARGV[6], 'WITHSCORES')
local gone = 0
for i = 1, #due, 2 do
  local waits = redis.call('ZSCORE', KEYS[5], due[i])
  if not waits or tonumber(waits) ~= tonumber(due[i + 1]) then gone = gone + redis.call('ZREM', KEYS[6], due[i]) end
end
redis.call('SET', KEYS[2], ARGV[3])
redis.call('SET', KEYS[7], ARGV[2])
redis.call('DEL', KEYS[8], KEYS[9])
return {0, gone}
""")


@dataclass(frozen=True, slots=True)
class Swap:
    """One partition's change from the namespace `old` to the one that is wished for, at one offset of the log."""

    partition: int
    epoch: int
    old: str
    wish: Wish
    log: str
    fence: int

    @property
    def keys(self) -> tuple[ShardKeys, ReplayKeys]:
        """The keys of what is served and of what is to be."""
        return ShardKeys(self.partition, self.old), ReplayKeys(self.partition, self.wish.namespace)


async def lapse(redis: Redis, where: str, partition: int, old: str, new: str, now_ms: int) -> int:
    """Take away the timers of the past, some at a time, before the swap itself; how many.

    Raises:
        RedisAway.
    """
    served, wanted = ShardKeys(partition, old), ReplayKeys(partition, new)
    start, taken = 0, 0
    while True:
        arguments = (new, str(now_ms), str(start), str(_LAPSED_AT_ONCE))
        call: Call = (_LAPSE, (served.timers, wanted.timers, wanted.replaying), arguments)
        [(looked, gone)] = await run_scripts(redis, where, [call])
        taken += int(gone)
        start += int(looked) - int(gone)
        if looked < _LAPSED_AT_ONCE:
            return taken


async def swap(redis: Redis, where: str, change: Swap, now_ms: int) -> int:
    """Serve the new namespace from this moment on; how many timers of the past were taken away.

    Raises:
        Fenced: something is not as believed; nothing has changed.
        RedisAway: it may or may not have happened; the same call again is harmless.
    """
    old, new = change.keys
    keys = (
        *(old.epoch, old.live, old.fence, new.fence, old.timers, new.timers),
        *(old.before, old.promoting, new.replaying),
    )
    names = (str(change.epoch), change.old, change.wish.namespace, change.log, str(change.fence), str(now_ms))
    [(status, gone)] = await run_scripts(redis, where, [(_SWAP, keys, (*names, change.wish.packed))])
    if status != _DONE:
        raise Fenced(f"partition {change.partition}: not promoted, {_WHY[int(status)]}")
    return int(gone)
