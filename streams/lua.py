"""The Lua scripts that run inside Redis. Each is one step: it happens wholly or not at all.

All keys of one call carry one hash tag, so Redis Cluster runs them too.
"""

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from infra.errors import RedisAway
from infra.redis import told_as_away


class Script:
    """A script and the digest that Redis knows it by."""

    __slots__ = ("sha", "source")

    def __init__(self, source: str) -> None:
        self.source = source
        self.sha = hashlib.sha1(source.encode(), usedforsecurity=False).hexdigest()


# A script, its keys, its arguments.
Call = tuple[Script, Sequence[str], Sequence[str | bytes]]

# KEYS epoch, fence, live · ARGV log, prefix of logs to forget · → {epoch, fence, live namespace}
CLAIM: Final = Script("""
if ARGV[2] ~= '' then
  for _, log in ipairs(redis.call('HKEYS', KEYS[2])) do
    if log ~= ARGV[1] and string.sub(log, 1, #ARGV[2]) == ARGV[2] then redis.call('HDEL', KEYS[2], log) end
  end
end
local epoch = redis.call('INCR', KEYS[1])
return {epoch, tonumber(redis.call('HGET', KEYS[2], ARGV[1]) or '-1'), redis.call('GET', KEYS[3]) or 'live'}
""")

# KEYS fence, epoch, live, timers, outbox, partials, heard, then the keys to set, then that of each change of watchers
# ARGV log, expected fence, new fence, epoch, namespace, counts of values, timers set, timers removed, partials set,
#      partials removed, changes of watchers, of what was heard; then values, due and member of each timer set, members
#      removed, field and value of each partial set, fields removed, since when ('': not any more) and who of each
#      change of watchers, field and value of each of what was heard, outbox entries
# → {0, outbox length} or {1 epoch | 2 namespace | 3 fence, what Redis holds}
COMMIT: Final = Script("""
local epoch = redis.call('GET', KEYS[2]) or '0'
if epoch ~= ARGV[4] then return {1, epoch} end
local live = redis.call('GET', KEYS[3]) or 'live'
if live ~= ARGV[5] then return {2, live} end
local fence = redis.call('HGET', KEYS[1], ARGV[1]) or '-1'
if fence ~= ARGV[2] then
  -- The same call, sent again because its answer was lost: only this owner can have written that fence.
  if fence == ARGV[3] then return {0, redis.call('LLEN', KEYS[5])} end
  return {3, fence}
end
local values, set, gone = tonumber(ARGV[6]), tonumber(ARGV[7]), tonumber(ARGV[8])
local counted, forgotten = tonumber(ARGV[9]), tonumber(ARGV[10])
local watching, heard = tonumber(ARGV[11]), tonumber(ARGV[12])
local at = 12
for i = 1, values do redis.call('SET', KEYS[7 + i], ARGV[at + i]) end
at = at + values
for i = at + 1, at + 2 * set, 2 do redis.call('ZADD', KEYS[4], ARGV[i], ARGV[i + 1]) end
at = at + 2 * set
for i = at + 1, at + gone do redis.call('ZREM', KEYS[4], ARGV[i]) end
at = at + gone
for i = at + 1, at + 2 * counted, 2 do redis.call('HSET', KEYS[6], ARGV[i], ARGV[i + 1]) end
at = at + 2 * counted
for i = at + 1, at + forgotten do redis.call('HDEL', KEYS[6], ARGV[i]) end
at = at + forgotten
for i = 1, watching do
  local since, who = ARGV[at + 2 * i - 1], ARGV[at + 2 * i]
  if since == '' then redis.call('ZREM', KEYS[7 + values + i], who)
  else redis.call('ZADD', KEYS[7 + values + i], since, who) end
end
at = at + 2 * watching
for i = at + 1, at + 2 * heard, 2 do redis.call('HSET', KEYS[7], ARGV[i], ARGV[i + 1]) end
at = at + 2 * heard
for i = at + 1, #ARGV do redis.call('RPUSH', KEYS[5], ARGV[i]) end
if ARGV[3] ~= ARGV[2] then redis.call('HSET', KEYS[1], ARGV[1], ARGV[3]) end
return {0, redis.call('LLEN', KEYS[5])}
""")

# KEYS epoch, live, timers, outbox, told, fence · ARGV epoch, namespace, ms for which it is known who was told
#      something, log, expected fence, then member, due and effect ('' for none) of each timer
# → {0, outbox length, a letter for each timer: 1 taken, 0 gone or due at another time by now} or as COMMIT
FIRE: Final = Script("""
local epoch = redis.call('GET', KEYS[1]) or '0'
if epoch ~= ARGV[1] then return {1, epoch} end
local live = redis.call('GET', KEYS[2]) or 'live'
if live ~= ARGV[2] then return {2, live} end
local fence = redis.call('HGET', KEYS[6], ARGV[4]) or '-1'
if fence ~= ARGV[5] then return {3, fence} end
local taken = {}
for i = 6, #ARGV, 3 do
  local due = redis.call('ZSCORE', KEYS[3], ARGV[i])
  if due and tonumber(due) == tonumber(ARGV[i + 1]) then
    redis.call('ZREM', KEYS[3], ARGV[i])
    if ARGV[i + 2] ~= '' then
      redis.call('RPUSH', KEYS[4], ARGV[i + 2])
      redis.call('ZADD', KEYS[5], ARGV[i + 1], ARGV[i])
      redis.call('ZREMRANGEBYSCORE', KEYS[5], '-inf', tonumber(ARGV[i + 1]) - tonumber(ARGV[3]))
    end
    taken[#taken + 1] = '1'
  else
    taken[#taken + 1] = '0'
  end
end
return {0, redis.call('LLEN', KEYS[4]), table.concat(taken)}
""")

# KEYS epoch, outbox · ARGV epoch, digest of the first entry, how many to remove · → entries left, or -1
SENT: Final = Script("""
if (redis.call('GET', KEYS[1]) or '0') ~= ARGV[1] then return -1 end
local first = redis.call('LINDEX', KEYS[2], 0)
if first and redis.sha1hex(first) == ARGV[2] then redis.call('LTRIM', KEYS[2], ARGV[3], -1) end
return redis.call('LLEN', KEYS[2])
""")

# KEYS holders · ARGV me (`alone:…` or `shared:…`), ms to hold · → '' when held, else one who holds it
# A zset of holders by the end of their hold, on Redis' clock.
HOLD: Final = Script("""
local now = redis.call('TIME')
local ms = now[1] * 1000 + math.floor(now[2] / 1000)
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ms)
local alone = string.sub(ARGV[1], 1, 6) == 'alone:'
for _, other in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if other ~= ARGV[1] and (alone or string.sub(other, 1, 6) == 'alone:') then return other end
end
redis.call('ZADD', KEYS[1], ms + tonumber(ARGV[2]), ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return ''
""")


async def run_scripts(redis: Redis, where: str, calls: Sequence[Call]) -> list[Any]:
    """Run scripts in one round trip (three, the first time that Redis sees one of them).

    Raises:
        RedisAway.
    """
    with told_as_away(where):
        answers = await _evaluate(redis, calls)
        missing = [i for i, answer in enumerate(answers) if isinstance(answer, NoScriptError)]
        if missing:
            pipe = redis.pipeline(transaction=False)
            for source in {calls[i][0].source for i in missing}:
                pipe.script_load(source)
            await pipe.execute()
            for i, answer in zip(missing, await _evaluate(redis, [calls[i] for i in missing]), strict=True):
                answers[i] = answer
        for answer in answers:
            if isinstance(answer, NoScriptError):
                raise RedisAway(f"{where} started anew in the middle of a call")
            if isinstance(answer, Exception):
                raise answer
    return answers


async def _evaluate(redis: Redis, calls: Sequence[Call]) -> list[Any]:
    pipe = redis.pipeline(transaction=False)
    for script, keys, arguments in calls:
        pipe.evalsha(script.sha, len(keys), *keys, *arguments)
    return await pipe.execute(raise_on_error=False)
