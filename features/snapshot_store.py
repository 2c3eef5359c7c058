"""Where the merged statistics of items stand in Redis: one immutable string a version, and which one is the newest."""

from typing import Any, Final, NamedTuple

from redis.asyncio import Redis

from infra import keys

KEPT_MS: Final = 10 * 60 * 1000
"""A version that is not the newest any more can be read for so long."""

# KEYS newest, snapshot, … of the one before is made from ARGV[3] · ARGV version, snapshot, prefix of snapshot keys,
# ms that the one before is kept · → the number of the newest version
_PUBLISH: Final = """
local newest = redis.call('HMGET', KEYS[1], 'version', 'number')
if newest[1] == ARGV[1] and redis.call('EXISTS', KEYS[2]) == 1 then return tonumber(newest[2]) end
if newest[1] then redis.call('PEXPIRE', ARGV[3] .. newest[1], ARGV[4]) end
redis.call('SET', KEYS[2], ARGV[2])
local number = (tonumber(newest[2] or '0') or 0) + 1
redis.call('HSET', KEYS[1], 'version', ARGV[1], 'number', number)
return number
"""


class Newest(NamedTuple):
    """The newest version; `number` counts versions."""

    version: str
    number: int


class SnapshotStore:
    """Writer and reader of the families `merged` and `snapshot`."""

    def __init__(self, redis: Redis, tenant: str) -> None:
        self._redis = redis
        self._tenant = tenant
        self._publish = redis.register_script(_PUBLISH)

    async def publish(self, version: str, raw: bytes) -> int:
        """Make a packed snapshot the newest, if it is not; its number."""
        at, prefix = keys.merged(self._tenant), keys.snapshot(self._tenant, "")
        return int(await self._publish([at, prefix + version], [version, raw, prefix, KEPT_MS]))

    async def newest(self) -> Newest | None:
        """Which version is the newest; None before the first."""
        found: Any = self._redis.hmget(keys.merged(self._tenant), ["version", "number"])
        version, number = await found
        return None if version is None or number is None else Newest(version.decode(), int(number))

    async def load(self, version: str) -> bytes | None:
        """A packed snapshot; None if it is too old."""
        raw: bytes | None = await self._redis.get(keys.snapshot(self._tenant, version))
        return raw
