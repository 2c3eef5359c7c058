"""The API process: the server around the application, which is named by string so that nothing here imports it."""

import os
import socket

from infra.ports import listen, port_of
from infra.settings import Settings, environment
from streams.api_server import ApiServer, bounds_of
from streams.processes import Say

APPLICATION = "serving.app:create"


def serve(settings: Settings, say: Say, socket_fd: int | None, own_fd: int | None = None) -> None:
    """Serve until a signal ends it, on the socket handed over, else on one of its own; on the port that is this
    process' alone, too.

    Raises:
        RedisAway: Redis does not answer at the start (later, lists are answered without it).
        SettingWrong: the application says which setting, or too many connections are wanted.
    """
    bounds = bounds_of(settings)
    listener = _taken(socket_fd) if socket_fd is not None else listen(settings.host, settings.port)
    sockets = [listener]
    if own_fd is not None:
        sockets.append(_taken(own_fd))
    elif settings.process_port and socket_fd is None:
        sockets.append(listen(settings.host, settings.process_port))
    try:
        port = port_of(listener)
        if socket_fd is None:
            say(f"listening on {settings.host}:{port}")
        os.environ.update(environment(settings.model_copy(update={"port": port})))
        ApiServer(APPLICATION, bounds, settings.drain_s).run(sockets=sockets)
    finally:
        for one in sockets:
            one.close()


def _taken(fd: int) -> socket.socket:
    return socket.socket(fileno=fd)
