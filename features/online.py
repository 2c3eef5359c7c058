"""Feast's Redis online store, written in bulk and read fast, without feast.

Rows have Feast's own layout, so Feast's SDK and server read them as their own. One field more, `_log:view`, holds the
position on the log that the row comes from; one Lua call a row compares it and writes only what is newer. So batches
that come again after a crash change nothing, in whatever order they come.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from features.aggregates import Value, View
from features.value_codec import decode_value, encode_time, encoder, entity_key, hash_field, time_field

_PIPELINE_ROWS: Final = 1000

# KEYS: the entity's hash. ARGV: position field, log, offset, then fields and values to write.
# Another log than the stored one is written: a direct load has its own beside Kafka's, and only one writes at a time.
_WRITE_IF_NEWER: Final = """
local position = redis.call('HGET', KEYS[1], ARGV[1])
if position then
  local space = string.find(position, ' ', 1, true)
  if string.sub(position, space + 1) == ARGV[2] and tonumber(string.sub(position, 1, space - 1)) >= tonumber(ARGV[3])
  then return 0 end
end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3] .. ' ' .. ARGV[2], unpack(ARGV, 4))
return 1
"""


@dataclass(frozen=True, slots=True)
class OnlineRow:
    """The values of one entity in one view. `key` is its record key, `at_ms` event time, `log` and `offset` where
    the values come from. A feature that `values` does not name is written as not known."""

    key: str
    at_ms: int
    values: Mapping[str, Value]
    log: str
    offset: int


class OnlineWriter:
    """Writes rows into one Feast project (one namespace)."""

    def __init__(self, redis: Redis, project: str) -> None:
        self._redis = redis
        self._project = project
        self._sha = ""

    def into(self, project: str) -> "OnlineWriter":
        """A writer into another project; this one, if it is the same."""
        return self if project == self._project else OnlineWriter(self._redis, project)

    async def write(self, view: View, rows: Sequence[OnlineRow]) -> int:
        """Write what is newer than the stored rows; how many rows that were.

        Rows of one entity may come more than once, in any order: the highest offset of a log stays.
        """
        encoders = [(name, hash_field(view.name, name), encoder(kind)) for name, kind in view.fields.items()]
        written = 0
        for start in range(0, len(rows), _PIPELINE_ROWS):
            calls = [self._arguments(view, encoders, row) for row in rows[start : start + _PIPELINE_ROWS]]
            written += sum(await self._call(calls))
        return written

    def _arguments(self, view: View, encoders: list[Any], row: OnlineRow) -> list[bytes | str | int]:
        arguments: list[bytes | str | int] = [
            entity_key(view.entity, row.key, self._project),
            _position_field(view),
            row.log,
            row.offset,
            time_field(view.name),
            encode_time(row.at_ms),
        ]
        for name, field, encode in encoders:
            arguments += (field, encode(row.values.get(name)))
        return arguments

    async def _call(self, calls: list[list[bytes | str | int]]) -> list[int]:
        if not self._sha:
            self._sha = await self._redis.script_load(_WRITE_IF_NEWER)
        answers = await self._evaluate(calls)
        if any(isinstance(each, NoScriptError) for each in answers):
            # Redis forgot its scripts (restart, flush). Rows that were written compare as not newer the second time.
            self._sha = await self._redis.script_load(_WRITE_IF_NEWER)
            answers = await self._evaluate(calls)
        for each in answers:
            if isinstance(each, Exception):
                raise each
        return answers

    async def _evaluate(self, calls: list[list[bytes | str | int]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.execute_command("EVALSHA", self._sha, 1, *call)
            return await pipe.execute(raise_on_error=False)


class OnlineReader:
    """Reads values from one Feast project, all entities in one round trip."""

    def __init__(self, redis: Redis, project: str) -> None:
        self._redis = redis
        self._project = project

    async def read(self, view: View, keys: Sequence[str], names: Sequence[str]) -> list[dict[str, Value]]:
        """The named features of each entity, in the order of `keys`; None for what is not known."""
        fields = [hash_field(view.name, name) for name in names]
        async with self._redis.pipeline(transaction=False) as pipe:
            for key in keys:
                pipe.execute_command("HMGET", entity_key(view.entity, key, self._project), *fields)
            found = await pipe.execute()
        return [dict(zip(names, map(decode_value, values), strict=True)) for values in found]


def _position_field(view: View) -> bytes:
    return f"_log:{view.name}".encode()
