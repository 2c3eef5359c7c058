"""What is known of an id's links, and the way to undo one: a word on the log, which the workers carry out."""

import asyncio
from collections.abc import Iterator
from typing import Final

from redis.asyncio import Redis

from features.events import encode, record_key_of
from features.identity import owner_at, unlinked
from features.links import Known, known_of, time_of
from features.shoppers import Row, decode, empty
from infra.clock import Clock
from infra.errors import NotFound, Refused
from infra.kafka import Outgoing, Producer
from infra.keys import partition_of, record_key
from infra.redis import address, connect
from infra.settings import Settings
from infra.topics import EVENTS
from streams.commit import PartitionStore
from streams.partition import RowRef

_REDIS_TIMEOUT_MS: Final = 10_000
_PREFIXES: Final = ("u-", "a-")
_WHY: Final = {
    "shared": "nobody's: shared by three users or more",
    "unlinked": "nobody's: unlinked, its history is on its way back",
    "returned": "nobody's: unlinked",
}


def show(settings: Settings, given: str) -> list[str]:
    """Lines that tell the links of a user or an anonymous id, given plainly or as `u-ID` or `a-ID`.

    Raises:
        NotFound: there is no such shopper.
        RedisAway.
    """
    names = [*([given] if given.startswith(_PREFIXES) else []), *(prefix + given for prefix in _PREFIXES)]
    rows = dict(zip(names, asyncio.run(_read(settings, names)), strict=True))
    for row in rows.values():
        known = known_of(row)
        if lines := [*_spans(known), *_sources(known)]:
            return lines
    shopper = next((name for name, row in rows.items() if row != empty()), None)
    if shopper is None:
        raise NotFound(f"there is no shopper {given!r}, neither a user's id nor an anonymous one", path="id")
    return [f"{shopper} is a shopper, and linked with nobody"]


def unlink(settings: Settings, user_id: str, anonymous_id: str, clock: Clock) -> str:
    """Put on the log that these two were never one; the id of the word. The workers carry it out. Ids are given
    plainly, or as `show` tells them, with `u-` and `a-`.

    Raises:
        NotFound: they are not linked (`not_linked`).
        Refused: it is too long ago (`link_forgotten`).
        RedisAway, KafkaAway.
    """
    return asyncio.run(_unlink(settings, user_id, anonymous_id, clock))


async def _unlink(settings: Settings, user_id: str, anonymous_id: str, clock: Clock) -> str:
    of_device, of_user = map(known_of, await _read(settings, [f"a-{anonymous_id}", f"u-{user_id}"]))
    mine = {span.link_id for span in of_device.spans if span.user_id == user_id}
    if not mine and (user_id.startswith("u-") or anonymous_id.startswith("a-")):
        return await _unlink(settings, user_id.removeprefix("u-"), anonymous_id.removeprefix("a-"), clock)
    if not mine:
        raise NotFound(f"{anonymous_id!r} is not linked to {user_id!r}", path="anonymous_id", code="not_linked")
    if any(source.forgotten for source in of_user.sources if source.link_id in mine):
        raise Refused(
            f"what came from {anonymous_id!r} is {user_id!r}'s own by now: parts are kept apart for 30 days, and eight "
            "at most. Later only a replay of both, without the link, undoes it",
            code="link_forgotten",
        )
    word = unlinked(settings.tenant, anonymous_id, user_id, clock.now_ms())
    key = record_key_of(word)
    producer = Producer(settings.brokers, embedded=settings.embedded_kafka)
    await producer.start()
    try:
        await producer.send(Outgoing(EVENTS, partition_of(key, settings.partition_count), key, encode(word)))
    finally:
        await asyncio.to_thread(producer.close)
    return word.event_id


async def _read(settings: Settings, shopper_ids: list[str]) -> list[Row]:
    redis: Redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        store = PartitionStore(redis, where=address(settings.redis))
        refs = [
            RowRef(partition_of(record_key(settings.tenant, one), settings.partition_count), settings.tenant, one)
            for one in shopper_ids
        ]
        await store.look({ref.partition for ref in refs})
        return [empty() if raw is None else decode(raw) for raw in await store.rows(refs)]
    finally:
        await redis.aclose()


def _spans(known: Known) -> Iterator[str]:
    for span in known.spans:
        whose = _WHY.get(span.why, "") if span.user_id is None else f"user {span.user_id}"
        yield f"since {time_of(span.at):%Y-%m-%d %H:%M:%S} UTC  {whose}  (link {span.link_id})"
    if known.spans and owner_at(known.spans, known.spans[0].at - 1) is not None:
        yield "what was before the first link is that user's, too"


def _sources(known: Known) -> Iterator[str]:
    for source in known.sources:
        state = "undone" if source.ended else "cannot be undone any more" if source.forgotten else "can be undone"
        since = f"{time_of(source.at):%Y-%m-%d %H:%M:%S}"
        yield f"since {since} UTC  device {source.anonymous_id}  {state}  (link {source.link_id})"
