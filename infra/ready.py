"""How a process says that it is ready to whoever started it: systemd's notify protocol, one datagram.

`daogou up` listens for it; under systemd (`Type=notify`) the same word reaches systemd.
"""

import os
import select
import socket
import uuid
from collections.abc import MutableMapping
from types import TracebackType

VARIABLE = "NOTIFY_SOCKET"
_READY = b"READY=1"


def tell_ready(environment: MutableMapping[str, str] = os.environ) -> None:
    """Say it; nothing happens when nobody asked."""
    address = environment.get(VARIABLE, "")
    if not address:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.connect(_raw(address))
            sender.sendall(_READY)
        except OSError:
            return  # whoever asked has ended; that is not this process's trouble


class ReadyListener:
    """Hears one child say that it is ready: give it `{VARIABLE: listener.address}` as environment."""

    def __init__(self) -> None:
        self.address = f"@daogou-{uuid.uuid4().hex}"  # Linux' abstract names need no file
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(_raw(self.address))

    def heard(self, within_s: float) -> bool:
        """Whether it was said, now or within so many seconds."""
        while select.select([self._socket], [], [], within_s)[0]:
            if _READY in self._socket.recv(4096).split(b"\n"):
                return True
        return False

    def close(self) -> None:
        """Listen no more."""
        self._socket.close()

    def __enter__(self) -> "ReadyListener":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _raw(address: str) -> str:
    return "\0" + address[1:] if address.startswith("@") else address
