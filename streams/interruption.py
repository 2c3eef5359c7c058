"""An end that is asked for is noticed, between two steps of long work.

Python 3.11's `asyncio.wait_for` loses a cancellation that comes just when what it waits for has ended, and the
Redis client waits in that way for each command: Ctrl-C in the middle of a load would do nothing.
"""

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

_T = TypeVar("_T")


async def step_done() -> None:
    """Let others run, and end here if this task was asked to end.

    Raises:
        CancelledError: it was, now or some steps ago.
    """
    await asyncio.sleep(0)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError


async def to_its_end(step: Coroutine[Any, Any, _T]) -> _T:
    """Do a step that is worse half done than not begun: an end that is asked for meanwhile comes after it.

    Raises:
        CancelledError: the end was asked for; what became of the step is not told.
    """
    task = asyncio.ensure_future(step)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        try:
            await asyncio.wait([task])
        except asyncio.CancelledError:  # asked a second time: there is no time left
            task.cancel()
        raise
