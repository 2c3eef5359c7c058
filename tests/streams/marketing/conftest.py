"""A pipeline that owns all partitions of a shop with two items."""

import pytest
from redis.asyncio import Redis

from infra.settings import Settings
from streams.pipeline import Pipeline
from tests.streams.marketing.till import stocked_pipeline


@pytest.fixture
async def shop(settings: Settings, redis: Redis) -> Pipeline:
    return await stocked_pipeline(settings, redis)
