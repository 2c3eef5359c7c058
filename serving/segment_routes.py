"""Segment's paths: an SDK of theirs may point here, with the key as its write key."""

from datetime import UTC, datetime
from typing import Any, Final

import msgspec

from infra.clock import Clock
from serving import bodies, segment
from serving.events import Collector
from serving.operations import Call, Operation
from serving.segment import Kind, SegmentBatch, SegmentCall, SegmentTaken

_decoder: Final = msgspec.json.Decoder()


class SegmentHandlers:
    """One method per operation."""

    def __init__(self, collector: Collector, clock: Clock) -> None:
        self._collector = collector
        self._clock = clock

    async def track(self, call: Call) -> SegmentTaken:
        """Something a shopper did."""
        return await self._one("track", call)

    async def page(self, call: Call) -> SegmentTaken:
        """A page was looked at."""
        return await self._one("page", call)

    async def batch(self, call: Call) -> SegmentTaken:
        """Several calls."""
        calls = segment.calls(bodies.decode(_decoder, call.raw), self._now())
        return segment.answer(await self._collector.take(calls, call.may_be, call.trace))

    async def _one(self, kind: Kind, call: Call) -> SegmentTaken:
        told = segment.one(kind, bodies.decode(_decoder, call.raw), self._now())
        return segment.answer(await self._collector.take((told,), call.may_be, call.trace))

    def _now(self) -> datetime:
        return datetime.fromtimestamp(self._clock.now_ms() / 1000, UTC)


def operations(collector: Collector, clock: Clock) -> list[Operation]:
    """The rows of the table; `/v1/identify` takes both forms (`serving.routes`)."""
    do = SegmentHandlers(collector, clock)
    known: dict[str, Any] = {"access": "publishable", "refusals": (503,)}
    return [
        Operation(
            "POST", "/v1/track", "Segment's track call, as an event.", do.track, SegmentTaken, body=SegmentCall, **known
        ),
        Operation(
            "POST", "/v1/page", "Segment's page call, as an event.", do.page, SegmentTaken, body=SegmentCall, **known
        ),
        Operation(
            "POST",
            "/v1/batch",
            "Segment's batch: its good calls are taken, the others named.",
            do.batch,
            SegmentTaken,
            body=SegmentBatch,
            **known,
        ),
    ]
