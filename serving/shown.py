"""What each shopper was shown lately, where a scenario lets it sink: written after an answer, and no more weighty than
that. Two pages at one moment may lose one of the two; a Redis that is away, all of it.
"""

from collections.abc import Iterable, Mapping
from typing import Final, NamedTuple

import msgspec

from infra.errors import RedisAway
from infra.keys import ShardKeys
from infra.redis_lane import RedisLane
from serving.shopper_reader import ShopperRef

_MOST: Final = 300  # items of a shopper

ShownAt = Mapping[str, int]  # item id -> when, ms
_decoder: Final = msgspec.msgpack.Decoder(dict[str, int])


class Lately(NamedTuple):
    """What was shown, when, and for how many seconds that is still kept."""

    at: ShownAt
    left_s: int


NOTHING: Final = Lately({}, 0)


class ShownLately:
    """Reads and notes, through the lane of page views."""

    def __init__(self, lane: RedisLane) -> None:
        self._lane = lane

    async def read(self, ref: ShopperRef) -> Lately:
        """What was shown; nothing where Redis does not answer or has something else there."""
        key = _key(ref)
        try:
            raw, left_s = await self._lane.ask((("GET", key), ("TTL", key)))
            return Lately(_decoder.decode(raw), max(left_s, 0)) if raw is not None else NOTHING
        except (RedisAway, msgspec.DecodeError):
            return NOTHING

    def note(self, ref: ShopperRef, before: Lately, item_ids: Iterable[str], now_ms: int, keep_s: int) -> None:
        """These are shown now, which is kept for as long as it counts: `keep_s`, or longer where another scenario still
        wants what was shown before. Does not wait.
        """
        shown = dict(before.at)
        for item_id in item_ids:
            shown.pop(item_id, None)
            shown[item_id] = now_ms
        kept = msgspec.msgpack.encode(dict(list(shown.items())[-_MOST:]))
        self._lane.tell((("SET", _key(ref), kept, "EX", str(max(keep_s, before.left_s))),))


def _key(ref: ShopperRef) -> str:
    return ShardKeys(ref.partition).shown(ref.tenant, ref.shopper_id)
