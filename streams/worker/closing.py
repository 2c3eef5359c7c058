"""How long the end of a worker may take: what it holds is safe on the log and in Redis, so nothing is waited for that
does not end by itself.

Faust's own end swallows that it is cancelled (it was seen to go on where a rebalance was under way): neither a time
limit that cancels, nor a loop that waits for all of its tasks, ends it.
"""

import asyncio
import os
import threading
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from typing import Any

from infra.logs import logger

_log = logger(__name__)


async def within(seconds: float, work: Coroutine[Any, Any, None]) -> None:
    """Wait for a step of the end, but not for long, whatever it does with being cancelled.

    Raises:
        Whatever it raised in time.
    """
    step = asyncio.ensure_future(work)
    done, _ = await asyncio.wait([step], timeout=seconds)
    if done:
        step.result()
        return
    step.add_done_callback(lambda ended: ended.cancelled() or ended.exception())
    step.cancel()
    _log.warning("a step of the end took too long", after_s=seconds)


@contextmanager
def ended_within(seconds: float, status: int) -> Iterator[None]:
    """What is done inside is the very last: if it takes longer, the process ends at once with this status."""
    end = threading.Timer(seconds, os._exit, (status,))
    end.daemon = True
    end.start()
    try:
        yield
    finally:
        end.cancel()
