"""Records that nobody waits for: taken without waiting, refused when the buffer is full, counted when they are lost."""

import asyncio
import threading

from infra.kafka import Outgoing
from infra.kafka_posting import Poster

NOBODY = "127.0.0.1:1"

RECORD = Outgoing("shop.decisions.v1", 0, "t|u-ann", b"{}")


async def test_what_a_full_buffer_does_not_hold_is_refused_and_what_nobody_takes_is_counted() -> None:
    lost = threading.Semaphore(0)
    poster = Poster(NOBODY, lost.release, embedded=True, buffer_records=2, kept_ms=200)
    poster.start()
    try:
        assert [poster.post(RECORD) for _ in range(4)] == [True, True, False, False]
        for _ in range(2):
            assert await asyncio.to_thread(lost.acquire, timeout=20)
        assert not lost.acquire(blocking=False)
        assert poster.post(RECORD), "the buffer is free again"
    finally:
        await asyncio.to_thread(poster.close)
    assert lost.acquire(blocking=False), "its end tells what it could not send"
