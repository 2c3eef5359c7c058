"""Redis remembers over how many partitions its data are spread."""

import pytest
from redis.asyncio import Redis

from infra.errors import Refused
from infra.shards import agree


async def test_the_first_number_is_remembered_and_another_refused(redis: Redis) -> None:
    await agree(redis, 8, "here")
    await agree(redis, 8, "here")
    with pytest.raises(Refused, match=r"over 8 partitions, the settings say 64.*DAOGOU_PARTITIONS=8") as caught:
        await agree(redis, 64, "here")
    assert caught.value.reason == "partitions_differ"
    await agree(redis, 8, "here")
