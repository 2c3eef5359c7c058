"""What each shopper was shown lately, where a scenario lets it sink: written after an answer, and no more weighty than
that. Two pages at one moment may lose one of the two; a Redis that is away, all of it.
"""

from collections.abc import Iterable, Mapping
from typing import Final

import msgspec

from infra.errors import RedisAway
from infra.keys import ShardKeys
from infra.redis_lane import RedisLane
from serving.shopper_reader import ShopperRef

_MOST: Final = 300  # items of a shopper
_KEPT_S: Final = 7 * 86_400

ShownAt = Mapping[str, int]  # item id -> when, ms
_decoder: Final = msgspec.msgpack.Decoder(dict[str, int])


class ShownLately:
    """Reads and notes, through the lane of page views."""

    def __init__(self, lane: RedisLane) -> None:
        self._lane = lane

    async def read(self, ref: ShopperRef) -> ShownAt:
        """What was shown, and when; nothing where Redis does not answer or has something else there."""
        try:
            (raw,) = await self._lane.ask((("GET", _key(ref)),))
            return _decoder.decode(raw) if raw is not None else {}
        except (RedisAway, msgspec.DecodeError):
            return {}

    def note(self, ref: ShopperRef, before: ShownAt, item_ids: Iterable[str], now_ms: int) -> None:
        """These are shown now. Does not wait."""
        shown = dict(before)
        for item_id in item_ids:
            shown.pop(item_id, None)
            shown[item_id] = now_ms
        kept = dict(list(shown.items())[-_MOST:])
        self._lane.tell((("SET", _key(ref), msgspec.msgpack.encode(kept), "EX", str(_KEPT_S)),))


def _key(ref: ShopperRef) -> str:
    return ShardKeys(ref.partition).shown(ref.tenant, ref.shopper_id)
