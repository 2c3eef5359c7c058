"""Feast's Redis online store, written in bulk, without feast.

Rows have Feast's own layout, so Feast's SDK and server read them as their own. One field more, `_log:view`, holds the
position on the log that the row comes from; a Lua call for some rows compares each with its own and writes only what
is newer. So batches that come again after a crash change nothing, in whatever order they come.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final, NamedTuple

from redis.asyncio import Redis
from redis.exceptions import NoScriptError

from features.aggregates import Value, View
from features.value_codec import encode_time, encoder, entity_key, hash_field, time_field
from infra.portions import portions

# The call costs as much as one and a half rows, and others wait for Redis while it runs, for half a millisecond.
_CALL_ROWS: Final = 32
_PIPELINE_CALLS: Final = 32

# KEYS: the entities' hashes. ARGV: how many fields a row has; position field, time field, those of the features; then
# of each row log, offset, time, values.
# Another log than the stored one is written: a direct load has its own beside Kafka's, and only one writes at a time.
_WRITE_IF_NEWER: Final = """
local fields, set, written = tonumber(ARGV[1]), {}, 0
for field = 1, fields do set[2 * field - 1] = ARGV[field + 1] end
for row, key in ipairs(KEYS) do
  local at = row * (fields + 1) + 1
  local log, offset = ARGV[at], ARGV[at + 1]
  local position, newer = redis.call('HGET', key, ARGV[2]), true
  if position then
    local space = string.find(position, ' ', 1, true)
    newer = string.sub(position, space + 1) ~= log or tonumber(string.sub(position, 1, space - 1)) < tonumber(offset)
  end
  if newer then
    set[2] = offset .. ' ' .. log
    for field = 2, fields do set[2 * field] = ARGV[at + field] end
    redis.call('HSET', key, unpack(set))
    written = written + 1
  end
end
return written
"""

_Word = bytes | str | int


class OnlineRow(NamedTuple):
    """The values of one entity in one view. `key` is its record key, `at_ms` event time, `log` and `offset` where
    the values come from. A feature that `values` does not name is written as not known."""

    key: str
    at_ms: int
    values: Mapping[str, Value]
    log: str
    offset: int


class PackedRow(NamedTuple):
    """A row of some view as it goes to Redis: log, offset, time and values."""

    key: str
    words: Sequence[_Word]


class Packer:
    """Packs rows of one view."""

    def __init__(self, view: View) -> None:
        self.view = view
        self._encoders = [(name, encoder(kind)) for name, kind in view.fields.items()]

    def packed(self, row: OnlineRow) -> PackedRow:
        """The row, as `OnlineWriter.put` takes it."""
        value = row.values.get
        values = [encode(value(name)) for name, encode in self._encoders]
        return PackedRow(row.key, (row.log, row.offset, encode_time(row.at_ms), *values))


class OnlineWriter:
    """Writes rows into one Feast project (one namespace)."""

    def __init__(self, redis: Redis, project: str) -> None:
        self._redis = redis
        self._project = project
        self._sha = ""

    def into(self, project: str) -> "OnlineWriter":
        """A writer into another project; this one, if it is the same."""
        return self if project == self._project else OnlineWriter(self._redis, project)

    async def write(self, view: View, rows: Iterable[OnlineRow]) -> int:
        """Write what is newer than the stored rows; how many rows that were.

        Rows of one entity may come more than once, in any order: the highest offset of a log stays.
        """
        return await self.put(view, map(Packer(view).packed, rows))

    async def put(self, view: View, rows: Iterable[PackedRow]) -> int:
        """The same for rows that are packed."""
        fields = _fields(view)

        def call_of(some: Sequence[PackedRow]) -> list[_Word]:
            keys = [entity_key(view.entity, row.key, self._project) for row in some]
            call: list[_Word] = [len(keys), *keys, len(fields), *fields]
            for row in some:
                call += row.words
            return call

        calls = map(call_of, portions(rows, _CALL_ROWS))
        written = 0
        for part in portions(calls, _PIPELINE_CALLS):
            written += sum(await self._call(part))
        return written

    async def remove(self, view: View, keys: Iterable[str]) -> None:
        """Forget the values of these entities in a view; what other views say of them stays."""
        fields = _fields(view)
        for part in portions(keys, _CALL_ROWS * _PIPELINE_CALLS):
            async with self._redis.pipeline(transaction=False) as pipe:
                for key in part:
                    pipe.execute_command("HDEL", entity_key(view.entity, key, self._project), *fields)
                await pipe.execute()

    async def _call(self, calls: Sequence[Sequence[_Word]]) -> list[int]:
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

    async def _evaluate(self, calls: Sequence[Sequence[_Word]]) -> list[Any]:
        async with self._redis.pipeline(transaction=False) as pipe:
            for call in calls:
                pipe.execute_command("EVALSHA", self._sha, *call)
            return await pipe.execute(raise_on_error=False)


def _fields(view: View) -> list[bytes]:
    return [f"_log:{view.name}".encode(), time_field(view.name), *(hash_field(view.name, name) for name in view.fields)]
