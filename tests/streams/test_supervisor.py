"""What comes before anything starts: Kafka and Redis are there and agree with the settings."""

import pytest
from redis import Redis

from infra.errors import Refused
from infra.keys import shards
from infra.settings import Settings
from streams.supervisor import prepare


def test_a_wrong_number_of_partitions_is_not_left_in_an_empty_redis(settings: Settings, redis_url: str) -> None:
    with Redis.from_url(redis_url) as client:
        client.flushall()
        with pytest.raises(Refused, match="has 8 partitions, the settings say 64"):
            prepare(settings.model_copy(update={"partitions": 64}))
        assert client.get(shards()) is None
        prepare(settings)
        assert client.get(shards()) == b"8"
