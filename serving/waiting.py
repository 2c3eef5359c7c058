"""How far the logs are applied: waiting for a consistency token, and the lag of a partition."""

import asyncio
import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from infra.errors import RedisAway
from serving import tokens
from serving.catalogue import Catalogue
from serving.shopper_reader import ShopperReader, ShopperRef
from serving.tokens import Acknowledged, Positions

_POLL_S: Final = 0.005


class Waiting:
    """Waits for a shopper's partition in Redis, and for the catalogue in this process."""

    def __init__(
        self,
        reader: ShopperReader,
        catalogue: Catalogue,
        catalogue_log: str,
        acknowledged: Acknowledged,
        aside: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        """`aside` is entered while somebody waits."""
        self._aside = aside
        self._reader = reader
        self._catalogue = catalogue
        self._catalogue_log = catalogue_log
        self._acknowledged = acknowledged

    async def reached(self, wanted: Positions, ref: ShopperRef | None, within_ms: int) -> bool:
        """Wait until the token's positions that matter to this list are applied; whether they are.

        Positions in partitions of other shoppers do not matter to it.

        Raises:
            BadInput: it names a login in a partition that there is not.
        """
        if not wanted:
            return True
        with self._aside():
            return await self._reached(wanted, ref, within_ms)

    async def _reached(self, wanted: Positions, ref: ShopperRef | None, within_ms: int) -> bool:
        until = time.monotonic() + within_ms / 1000
        for log, offsets in wanted.items():
            if log == self._catalogue_log:
                if not await self._catalogue_at(offsets, until):
                    return False
            elif log.startswith(tokens.LINK):
                if not all(0 <= partition < self._reader.partitions for partition in offsets):
                    raise tokens.wrong("min_token")
                if not await self._linked(log.removeprefix(tokens.LINK), offsets, ref, until):
                    return False
            elif ref is not None and ref.partition in offsets:
                left_ms = max(0, int((until - time.monotonic()) * 1000))
                try:
                    if not await self._reader.wait_for(ref.partition, log, offsets[ref.partition], left_ms):
                        return False
                except RedisAway:
                    return False
        return True

    async def _linked(
        self, anonymous_shopper: str, offsets: Mapping[int, int], ref: ShopperRef | None, until: float
    ) -> bool:
        """Wait until a login is applied in the anonymous id's partition, and what it hands over in the user's."""
        if ref is None:
            return True
        try:
            for partition, offset in offsets.items():
                left_ms = max(0, int((until - time.monotonic()) * 1000))
                if not await self._reader.wait_for(partition, self._reader.log, offset, left_ms):
                    return False
                anonymous = ShopperRef(ref.tenant, anonymous_shopper, partition)
                while not await self._reader.has_absorbed(ref, anonymous):
                    if time.monotonic() >= until:
                        return False
                    await asyncio.sleep(_POLL_S)
        except RedisAway:
            return False
        return True

    def lag_ms(self, partition: int, applied: int, now_ms: int) -> int:
        """For how long the oldest record of this process that is not applied has been waiting."""
        return self._acknowledged.lag_ms(partition, applied, now_ms)

    async def _catalogue_at(self, offsets: dict[int, int], until: float) -> bool:
        while any(self._catalogue.positions.get(p, -1) < offset for p, offset in offsets.items()):
            if time.monotonic() >= until:
                return False
            await asyncio.sleep(_POLL_S)
        return True
