"""What an operator is told of an item: what it is now, and how many shoppers watch it, in which partitions."""

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

from redis.asyncio import Redis

from features.catalog import Item
from features.catalog_store import CatalogStore
from features.watching import INTERESTS, Interest
from infra.errors import NotFound
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from streams.commit import PartitionStore
from streams.watchers import Watchers, Watching

_REDIS_TIMEOUT_MS: Final = 10_000
_WORDS: Final[dict[Interest, str]] = {"cart": "in the cart", "wish": "on the wish list", "seen": "looked at it"}


@dataclass(frozen=True, slots=True)
class _Told:
    item: Item | None
    counted: Sequence[Watching]
    shoppers: Sequence[tuple[int, str, Interest]]  # since when, who, why


def watchers_told(settings: Settings, item_id: str, since_ms: int, most: int) -> list[str]:
    """Lines about the watchers of an item; of those who looked at it the ones since then count.

    `most` shoppers are named, the newest first.

    Raises:
        NotFound: the catalogue does not know it, and nobody watches it.
        RedisAway.
    """
    told = asyncio.run(_read(settings, item_id, since_ms, most))
    watched = [one for one in told.counted if one.cart or one.wish or one.seen]
    if told.item is None and not watched:
        raise NotFound(f"no item {item_id!r} is in the catalogue, and nobody watches it", path="item")
    return [*_lines(told, item_id, watched)]


def _lines(told: _Told, item_id: str, watched: Sequence[Watching]) -> Iterator[str]:
    yield f"{item_id}  {_item(told.item)}"
    yield f"{'partition':>9}" + "".join(f"{_WORDS[interest]:>18}" for interest in INTERESTS)
    for one in watched:
        yield _row(str(one.partition), (one.cart, one.wish, one.seen))
    yield _row("all", [sum(getattr(one, interest) for one in watched) for interest in INTERESTS])
    for at, who, interest in told.shoppers:
        yield f"{datetime.fromtimestamp(at / 1000, UTC):%Y-%m-%d %H:%M:%S}  {who}  {_WORDS[interest]}"


def _row(first: str, counts: Sequence[int]) -> str:
    return f"{first:>9}" + "".join(f"{count:>18,}" for count in counts)


def _item(item: Item | None) -> str:
    if item is None:
        return "not in the catalogue"
    words = [item.content.name if item.content is not None else "without a name"]
    if item.price is not None:
        words.append(f"{item.price.price:f} {item.price.currency}")
    if item.stock is not None and item.stock.quantity is not None:
        words.append(f"{item.stock.quantity:,} pieces")
    words.append("can be bought" if item.may_be_shown else "cannot be bought")
    return ", ".join(words)


async def _read(settings: Settings, item_id: str, since_ms: int, most: int) -> _Told:
    where = address(settings.redis)
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        return await _found(settings, redis, where, item_id, since_ms, most)
    finally:
        await redis.aclose()


async def _found(settings: Settings, redis: Redis, where: str, item_id: str, since_ms: int, most: int) -> _Told:
    partitions, tenant = settings.partition_count, settings.tenant
    with told_as_away(where):
        items = await CatalogStore(redis).get(tenant, [item_id], partitions)
    watchers = Watchers(PartitionStore(redis, where=where))
    counted = await watchers.count(range(partitions), tenant, item_id, since_ms)
    shoppers: list[tuple[int, str, Interest]] = []
    for one in counted if most else ():
        for interest in INTERESTS:
            if getattr(one, interest):
                since = since_ms if interest == "seen" else 0
                found = await watchers.newest(one.partition, tenant, interest, item_id, since, most)
                shoppers += [(at, who, interest) for who, at in found]
    return _Told(items.get(item_id), counted, sorted(shoppers, reverse=True)[:most])
