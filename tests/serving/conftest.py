"""The shop that most tests here start from."""

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from features.catalog import Stock
from infra.settings import Settings
from tests.serving.shop import AShop, items, opened


@pytest.fixture
async def shop(settings: Settings, redis: Redis) -> AsyncIterator[AShop]:
    """Seven items, black tea sold out."""
    async with opened(settings, redis, items(black=Stock(available=False))) as one:
        yield one
