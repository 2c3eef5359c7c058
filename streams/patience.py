"""Trying again while a service is away: bounded, with a pause that grows, and said once in a while."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, ParamSpec, TypeVar

from infra.errors import Unavailable
from infra.logs import logger

_log = logger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")

PATIENCE_S: Final = 30.0
_FIRST_PAUSE_S: Final = 0.05
_LONGEST_PAUSE_S: Final = 2.0


async def patiently(what: str, call: Callable[_P, Awaitable[_T]], *args: _P.args, **kwargs: _P.kwargs) -> _T:
    """The answer of a call, which is repeated while it says that a service is away; `what` is for the logs.

    Raises:
        Unavailable: still away after half a minute. Whatever else `call` raises passes at once.
    """
    loop = asyncio.get_running_loop()
    until, pause = loop.time() + PATIENCE_S, _FIRST_PAUSE_S
    while True:
        try:
            return await call(*args, **kwargs)
        except Unavailable as error:
            if loop.time() + pause > until:
                _log.error("given up", what=what, after_s=PATIENCE_S, why=error.message)
                raise
            _log.warning("trying again", what=what, in_s=round(pause, 2), why=error.message)
        await asyncio.sleep(pause)
        pause = min(2 * pause, _LONGEST_PAUSE_S)
