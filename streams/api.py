"""The API process: uvicorn around the application, which is named by string so that nothing here imports it."""

import os
import socket

import uvicorn

from infra.ports import listen, port_of
from infra.settings import Settings, environment
from streams.processes import Say

APPLICATION = "serving.app:create"

_GRACE_S = 5


def serve(settings: Settings, say: Say, socket_fd: int | None) -> None:
    """Serve until a signal ends it, on the socket handed over, else on one of its own.

    Raises:
        RedisAway: Redis does not answer at the start (later, lists are answered without it).
        SettingWrong: the application says which setting.
    """
    listener = socket.socket(fileno=socket_fd) if socket_fd is not None else listen(settings.host, settings.port)
    with listener:
        port = port_of(listener)
        if socket_fd is None:
            say(f"listening on {settings.host}:{port}")
        os.environ.update(environment(settings.model_copy(update={"port": port})))
        uvicorn.Server(_config()).run(sockets=[listener])


def _config() -> uvicorn.Config:
    return uvicorn.Config(
        APPLICATION,
        factory=True,
        lifespan="on",
        log_config=None,  # the process's own logs
        access_log=False,
        server_header=False,
        timeout_graceful_shutdown=_GRACE_S,
    )
