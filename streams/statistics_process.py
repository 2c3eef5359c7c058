"""The process that merges statistics of items beside a worker.

Merging is seconds of plain Python: in the worker's own process its lists would wait for them. The worker asks over a
socket, once for each pass; when the worker ends, however, so does this process.
"""

import asyncio
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from typing import Final

import msgspec

from infra import logs
from infra.children import end_child, start_child
from infra.errors import DaogouError
from infra.ready import VARIABLE
from infra.redis import address, connect
from infra.settings import Settings, environment, read_settings
from streams.statistics_job import MergeFailed
from streams.statistics_merging import Merging

_ASK: Final = b"merge\n"
_WITHIN_S: Final = 120.0
_REDIS_TIMEOUT_MS: Final = 30_000
_NICE: Final = 5
_MOST_BYTES: Final = 4096
_COMMAND: Final = (sys.executable, "-m", "streams.statistics_process")

_log = logs.logger(__name__)


class Answer(msgspec.Struct):
    """What became of a pass: `trouble` is empty when it is done."""

    trouble: str = ""


class MergingProcess:
    """The worker's end: starts the process when it is first needed, and anew after it has ended."""

    def __init__(self, settings: Settings, inherited: Mapping[str, str], command: Sequence[str] = _COMMAND) -> None:
        """`inherited` is the environment that the process gets beside the settings; secrets go there, too.

        `command` is told the number of the socket that it inherits.
        """
        self.within_s = _WITHIN_S
        self._command = tuple(command)
        self._env = {name: value for name, value in inherited.items() if name != VARIABLE} | environment(settings)
        self._socket: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The process; 0 where there is none."""
        return self._process.pid if self._process else 0

    async def merge(self) -> None:
        """Have one pass made.

        Raises:
            MergeFailed: it came to nothing, or took longer than `within_s` seconds; the process has ended then.
        """
        loop = asyncio.get_running_loop()
        try:
            mine = self._socket or self._start()
            async with asyncio.timeout(self.within_s):
                await loop.sock_sendall(mine, _ASK)
                said = await loop.sock_recv(mine, _MOST_BYTES)
            answer = msgspec.json.decode(said, type=Answer) if said else Answer("its process ended")
        except (OSError, msgspec.DecodeError) as error:  # running out of time is an OSError, too
            answer = Answer(logs.said(error))
        if answer.trouble:
            self.forget()
            raise MergeFailed(answer.trouble)

    def forget(self) -> None:
        """End the process, if there is one."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._process is not None:
            end_child(self._process, within_s=0.0)
            self._process = None

    def _start(self) -> socket.socket:
        mine, its = socket.socketpair()
        self._socket = mine  # from here on `forget` closes it, also where the start fails
        mine.setblocking(False)
        with its:
            number = its.fileno()
            self._process = start_child((*self._command, str(number)), env=self._env, keep_open=[number])
        return mine


async def _serve(settings: Settings, asked: socket.socket) -> None:
    """Make a pass whenever one is asked for, until nobody can ask any more."""
    loop = asyncio.get_running_loop()
    asked.setblocking(False)
    try:
        redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    except DaogouError as error:
        if await loop.sock_recv(asked, _MOST_BYTES):
            await loop.sock_sendall(asked, msgspec.json.encode(Answer(logs.said(error))))
        return
    merging = Merging(redis, settings.partition_count, address(settings.redis))
    try:
        while await loop.sock_recv(asked, _MOST_BYTES):
            await loop.sock_sendall(asked, msgspec.json.encode(await _passed(merging)))
    finally:
        await redis.aclose()


async def _passed(merging: Merging) -> Answer:
    try:
        await merging.merge()
    except Exception as error:  # the edge of this process: the worker says it, and asks again
        return Answer(logs.said(error))
    return Answer()


def main(arguments: Sequence[str]) -> None:
    """Run as the child of a worker; the argument is the number of the socket that it inherits."""
    os.nice(_NICE)
    settings = read_settings()
    logs.configure(settings.log_level, settings.log_format)
    with socket.socket(fileno=int(arguments[0])) as asked:
        try:
            asyncio.run(_serve(settings, asked))
        except ConnectionError:
            return  # the worker ended while a pass was made


if __name__ == "__main__":
    main(sys.argv[1:])
