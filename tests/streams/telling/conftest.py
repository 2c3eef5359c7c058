"""A shop whose catalogue may be made as often as a test wants."""

from collections.abc import AsyncIterator, Callable

import pytest
from redis.asyncio import Redis

from infra.kafka import Producer
from tests.streams.telling.catalogue import Catalogue


@pytest.fixture
async def make(redis: Redis, kafka: str) -> AsyncIterator[Callable[[], Catalogue]]:
    producer = Producer(kafka, embedded=True)
    await producer.start()
    yield lambda: Catalogue(redis, producer, kafka)
    producer.close()
