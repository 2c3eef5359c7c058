"""The number of partitions is chosen once: it says where every key of a Redis lies, so Redis itself remembers it."""

from redis.asyncio import Redis

from infra import keys
from infra.errors import Refused
from infra.redis import told_as_away


async def agree(redis: Redis, partitions: int, where: str) -> None:
    """Remember the number, or compare it with the one remembered.

    Raises:
        Refused: what is in this Redis is spread over another number (`partitions_differ`).
        RedisAway.
    """
    pipe = redis.pipeline(transaction=True)
    pipe.set(keys.shards(), partitions, nx=True)
    pipe.get(keys.shards())
    with told_as_away(where):
        _, held = await pipe.execute()
    if int(held) != partitions:
        raise Refused(
            f"Redis at {where} holds data spread over {int(held)} partitions, the settings say {partitions}; set "
            f"DAOGOU_PARTITIONS={int(held)}, or begin with an empty Redis (another DAOGOU_REDIS or DAOGOU_DATA_DIR)",
            code="partitions_differ",
        )
