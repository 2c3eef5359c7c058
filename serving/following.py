"""Following a log for as long as the process lives: trouble is told while it lasts, and never ends it."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final

from infra.errors import DaogouError, Unavailable
from infra.logs import logger

PAUSE_S: Final = 1.0

_log = logger(__name__)


class Following:
    """Calls `once` again and again. After trouble that may have lost records, `anew` comes first, until it works."""

    def __init__(
        self,
        what: str,
        once: Callable[[], Awaitable[None]],
        anew: Callable[[], Awaitable[None]],
        *,
        pause_s: float = PAUSE_S,
    ) -> None:
        """`what` is followed, for messages; `pause_s`: seconds between trouble and the next attempt."""
        self._what = what
        self._once = once
        self._anew = anew
        self._pause_s = pause_s
        self._trouble = ""

    @property
    def trouble(self) -> str:
        """Why it is not followed at this moment; empty when all is well. Holds no shopper's data."""
        return self._trouble

    async def run(self) -> None:
        """Follow until cancelled."""
        anew = False
        while True:
            try:
                if anew:
                    await self._anew()
                    anew = False
                await self._once()
                self._trouble = ""
                continue
            except DaogouError as error:
                # A service that was away has lost nothing: reading goes on where it was.
                anew = anew or not isinstance(error, Unavailable)
                self._tell(error.message)
            except Exception as error:  # an edge of the process: this loop has nobody above it
                anew = True
                _log.exception("a log cannot be followed at the moment", what=self._what)
                self._trouble = f"an error of this program ({type(error).__name__}); the server's log says more"
            await asyncio.sleep(self._pause_s)

    def _tell(self, why: str) -> None:
        if why != self._trouble:  # once, not at every attempt
            _log.warning("a log cannot be followed at the moment", what=self._what, why=why)
        self._trouble = why
