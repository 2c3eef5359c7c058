"""An end that is asked for is noticed, between two steps of long work.

Python 3.11's `asyncio.wait_for` loses a cancellation that comes just when what it waits for has ended, and the
Redis client waits in that way for each command: Ctrl-C in the middle of a load would do nothing.
"""

import asyncio


async def step_done() -> None:
    """Let others run, and end here if this task was asked to end.

    Raises:
        CancelledError: it was, now or some steps ago.
    """
    await asyncio.sleep(0)
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
