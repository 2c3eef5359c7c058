"""The socket that the API listens on, taken before the process that serves it starts."""

import errno
import ipaddress
import socket
from collections.abc import Iterator

from infra.errors import SettingWrong

_NEIGHBOURS = 20
_BACKLOG = 2048


def listen(host: str, port: int) -> socket.socket:
    """A listening socket on that port, else on one of the next twenty, else on any free one (0 is any free one).

    Raises:
        SettingWrong: the address is none of this machine's, or the port may not be taken by this user.
    """
    for candidate in _candidates(port):
        try:
            return _bound(host, candidate)
        except OSError as error:
            if error.errno != errno.EADDRINUSE:
                raise SettingWrong(
                    f"cannot listen on {host}:{candidate}: {error.strerror}. Allowed: DAOGOU_HOST, an address of "
                    "this machine; DAOGOU_PORT, a port that this user may take",
                    path="host" if isinstance(error, socket.gaierror) else "port",
                ) from None
    raise SettingWrong(f"DAOGOU_PORT = {port}: no free port at {host}. Allowed: another DAOGOU_HOST.", path="port")


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches the address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def port_of(listener: socket.socket) -> int:
    """The port that it listens on."""
    return int(listener.getsockname()[1])


def _candidates(port: int) -> Iterator[int]:
    if port:
        yield from range(port, min(port + _NEIGHBOURS, 65_535) + 1)
    yield 0


def _bound(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        # A port whose last owner has just ended is free; one that is listened on is not, in spite of this option.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(_BACKLOG)
    except BaseException:
        listener.close()
        raise
    return listener
