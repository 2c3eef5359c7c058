"""The process that encodes texts of new items beside a worker, where the encoder is a transformers model.

That takes seconds to import and a gigabyte to hold. It is started before the first item comes and kept, unless it is
told how long it may be idle: then it starts when it is needed, and gives the memory back. It ends with the worker.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec
import numpy as np

from infra import logs
from infra.children import end_child, start_child
from infra.errors import DaogouError, Unavailable
from infra.ready import VARIABLE
from models.interactions import Floats

_WITHIN_S: Final = 60.0
_NICE: Final = 5
_MOST_BYTES: Final = 64 * 1024 * 1024
_COMMAND: Final = (sys.executable, "-m", "streams.text_process")


class Asked(msgspec.Struct):
    """Texts to encode."""

    texts: list[str]


class Answer(msgspec.Struct):
    """Their vectors, float32, little-endian; `trouble` says why there are none."""

    width: int = 0
    vectors: bytes = b""
    trouble: str = ""


class TextProcess:
    """The worker's end: starts the process when it is first needed, and anew after it has ended."""

    def __init__(
        self, setting: str, inherited: Mapping[str, str], command: Sequence[str] = _COMMAND, idle_s: int = 0
    ) -> None:
        """`setting` names the encoder; `command` is told it, the number of the socket that it inherits, and `idle_s`:
        after so many seconds without a question it ends, 0: never.
        """
        self.within_s = _WITHIN_S
        self.setting = setting
        self.idle_s = idle_s
        self._alone = asyncio.Lock()
        self._command = tuple(command)
        self._env = {name: value for name, value in inherited.items() if name != VARIABLE}
        self._process: subprocess.Popen[bytes] | None = None
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def encode(self, texts: Sequence[str]) -> Floats:
        """Vectors: [len(texts), width]. Call it from the main thread: the process ends with the thread that starts it.

        Raises:
            Unavailable: it came to nothing, or took longer than `within_s` seconds; the process has ended then.
        """
        async with self._alone:
            return await self._encode(texts)

    async def warm_up(self) -> None:
        """Start it and let it open the encoder; who asks meanwhile waits for the rest of that.

        Raises:
            Unavailable: as `encode`.
        """
        await self.encode(["a"])

    async def _encode(self, texts: Sequence[str]) -> Floats:
        try:
            reader, writer = await self._open()
            async with asyncio.timeout(self.within_s):
                writer.write(_framed(msgspec.msgpack.encode(Asked(list(texts)))))
                await writer.drain()
                size = int.from_bytes(await reader.readexactly(4))
                answer = msgspec.msgpack.decode(await reader.readexactly(size), type=Answer)
        except (OSError, EOFError, msgspec.DecodeError) as error:  # running out of time is an OSError, too
            answer = Answer(trouble=logs.said(error))
        except asyncio.CancelledError:  # what is asked already would be answered to the next
            self.forget()
            raise
        if answer.trouble:
            self.forget()
            raise Unavailable(f"texts of new items could not be encoded: {answer.trouble}", code="encoder_away")
        return np.frombuffer(answer.vectors, "<f4").reshape(len(texts), answer.width)

    def forget(self) -> None:
        """End the process, if there is one."""
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None
        if self._process is not None:
            end_child(self._process, within_s=0.0)
            self._process = None

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self._process is not None and self._process.poll() is not None:  # idle for long
            self.forget()
        if self._streams is None:
            mine, its = socket.socketpair()
            mine.setblocking(False)
            with its:
                number = its.fileno()
                command = (*self._command, self.setting, str(number), str(self.idle_s))
                self._process = start_child(command, env=self._env, keep_open=[number])
            self._streams = await asyncio.open_connection(sock=mine, limit=_MOST_BYTES)
        return self._streams


def _framed(raw: bytes) -> bytes:
    return len(raw).to_bytes(4) + raw


def _serve(setting: str, asked: socket.socket, idle_s: int) -> None:
    """Encode until nobody asks for a while, or nobody can ask any more."""
    asked.settimeout(idle_s or None)
    encoder = None
    with asked.makefile("rwb") as stream:
        while head := stream.read(4):
            texts = msgspec.msgpack.decode(stream.read(int.from_bytes(head)), type=Asked).texts
            try:
                if encoder is None:
                    from models.text_transformer import TransformerEncoder

                    encoder = TransformerEncoder.open(setting)
                vectors = encoder.encode(texts, lambda _: None)
                answer = Answer(vectors.shape[1], vectors.astype("<f4").tobytes())
            except Exception as error:  # the edge of this process: the worker says it, and asks again
                answer = Answer(trouble=error.message if isinstance(error, DaogouError) else logs.said(error))
            stream.write(_framed(msgspec.msgpack.encode(answer)))
            stream.flush()


def main(arguments: Sequence[str]) -> None:
    """Run as the child of a worker; the arguments are those that `TextProcess` tells."""
    os.nice(_NICE)
    logs.configure("WARNING", "json")
    with socket.socket(fileno=int(arguments[1])) as asked:
        try:
            _serve(arguments[0], asked, int(arguments[2]))
        except (ConnectionError, TimeoutError):
            return  # the worker ended, or has nothing to ask


if __name__ == "__main__":
    main(sys.argv[1:])
