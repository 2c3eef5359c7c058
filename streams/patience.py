"""Trying again while a service is away, with a pause that grows: for half a minute, or for good."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, NamedTuple, ParamSpec, TypeVar

from infra.errors import Unavailable
from infra.logs import logger

_log = logger(__name__)
_P = ParamSpec("_P")
_T = TypeVar("_T")
_E = TypeVar("_E", bound=Unavailable)

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


class Pauses(NamedTuple):
    """Seconds before the second try, and between two tries at most."""

    first_s: float
    longest_s: float


# Of what waits for Kafka.
KAFKA_PAUSES: Final = Pauses(0.1, 5.0)


async def for_good(
    call: Callable[[], Awaitable[_T]],
    away: type[_E],
    told: Callable[[_E, float], None],
    pauses: Pauses,
    before_again: Callable[[], Awaitable[None]] | None = None,
) -> _T:
    """The answer of a call, which is repeated without end while it says that this service is away.

    `told` hears of each failure and of the pause that follows, in seconds; `before_again` is called after the pause.

    Raises:
        Whatever else `call` or `before_again` raises.
    """
    pause_s = pauses.first_s
    while True:
        try:
            return await call()
        except away as error:
            told(error, pause_s)
        await asyncio.sleep(pause_s)
        pause_s = min(2 * pause_s, pauses.longest_s)
        if before_again is not None:
            await before_again()
