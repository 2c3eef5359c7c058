"""What lies in Feast's online store, read without feast: what tests ask after a write."""

from collections.abc import Sequence

from redis.asyncio import Redis

from features.aggregates import Value, View
from features.value_codec import decode_value, entity_key, hash_field


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
