"""Settings that a newer version of this program wrote: this one passes over them and goes on."""

import asyncio

from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.topics import SETTINGS
from tests.serving.shop import AShop

HOME = {"name": "home", "blend": [["popular", 1]]}


async def test_a_scenario_of_a_newer_version_that_is_taken_back_keeps_nobody_from_following(shop: AShop) -> None:
    key = record_key(shop.settings.tenant, "scenario", "attic")
    producer = Producer(shop.settings.brokers, embedded=True)
    await producer.start()
    partition = partition_of(key, shop.settings.partition_count)
    try:
        await producer.send(Outgoing(SETTINGS, partition, key, None))
    finally:
        await asyncio.to_thread(producer.close)
    written = (await shop.client.put("/v1/settings/scenario/home", json=HOME)).json()
    await shop.until(lambda a: a["policy_version"] == f"home-{written['version']}", count=2)
    async with asyncio.timeout(20):
        while shop.api.services.settings.positions.get(partition, -1) < 0:
            await asyncio.sleep(0.01)
    assert shop.api.services.settings.trouble == ""
