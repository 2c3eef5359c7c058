"""uvicorn's server, with an end that loses no request, and with connections that are looked at."""

import asyncio
import functools
import resource
import socket
from typing import Any, Final, cast

import uvicorn

from infra.errors import SettingWrong
from infra.settings import Settings
from streams.connections import Bounds, Connection

_GRACE_S: Final = 10
_LOOK_EVERY_TICKS: Final = 10  # of 0.1 s
_OTHER_FILES: Final = 256  # Kafka, Redis, models, archive
_CONNECTIONS: Final = 16_384
_POLL_S: Final = 0.05
_LAST_WORD_S: Final = 0.2


def bounds_of(settings: Settings) -> Bounds:
    """The bounds that the settings ask for; the limit of open files of this process is raised as far as it may be.

    Raises:
        SettingWrong: so many connections cannot be had.
    """
    wanted = settings.connections_max or _CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < wanted + _OTHER_FILES:
        soft = wanted + _OTHER_FILES if hard == resource.RLIM_INFINITY else min(hard, wanted + _OTHER_FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    left = wanted if soft == resource.RLIM_INFINITY else max(1, soft - _OTHER_FILES)
    if settings.connections_max > left:
        raise SettingWrong(
            f"DAOGOU_CONNECTIONS_MAX = {settings.connections_max}: this process may have {soft} files open, which "
            f"leaves {left}. Allowed: {left} at most, or raise the limit (ulimit -n, LimitNOFILE=).",
            path="connections_max",
        )
    return Bounds(min(wanted, left), settings.request_s, settings.idle_s)


class ApiServer(uvicorn.Server):
    """Serves an application, named by string, within bounds."""

    def __init__(self, application: str, bounds: Bounds, drain_s: float) -> None:
        self._bounds = bounds
        self._drain_s = drain_s
        super().__init__(_config(application, bounds))

    async def on_tick(self, counter: int) -> bool:
        """Look at the connections once a second."""
        if counter % _LOOK_EVERY_TICKS == 0:
            now_s = asyncio.get_running_loop().time()
            for connection in self._connections():
                connection.look(now_s)
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Answer as before for a while, not ready and each connection's last; then take no more, finish, and end."""
        self._bounds.draining = True
        self.lifespan.state["draining"] = True
        for connection in self._connections():
            connection.drain()
        await self._let_pass(self._drain_s)
        for server in self.servers:
            server.close()
        # Who was let in just now has not been heard yet.
        await self._let_pass(_LAST_WORD_S)
        await super().shutdown(sockets)

    async def _let_pass(self, so_long_s: float) -> None:
        loop = asyncio.get_running_loop()
        until_s = loop.time() + so_long_s
        while loop.time() < until_s and not self.force_exit:
            await asyncio.sleep(_POLL_S)

    def _connections(self) -> list[Connection]:
        return [one for one in self.server_state.connections if isinstance(one, Connection)]


def _config(application: str, bounds: Bounds) -> uvicorn.Config:
    protocol = cast(Any, functools.partial(Connection, bounds))  # uvicorn calls it, whatever it is
    return uvicorn.Config(
        application,
        factory=True,
        lifespan="on",
        http=protocol,
        ws="none",
        log_config=None,  # the process's own logs
        access_log=False,
        server_header=False,
        backlog=2048,
        timeout_keep_alive=round(bounds.idle_s),
        timeout_graceful_shutdown=_GRACE_S,
    )
