"""`daogou api --processes N`: several API processes on one listening socket, kept running until a signal ends them.

They share the socket itself, not the port alone: its queue is one, and a process that ends leaves nobody in a queue of
its own who would be sent away.
"""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Final

from infra.errors import Unavailable
from infra.ports import listen, port_of
from infra.ready import tell_ready
from infra.settings import Settings, environment
from streams.api_server import bounds_of
from streams.processes import KeptProcess, Say

_READY_WITHIN_S: Final = 120.0
_END_WITHIN_S: Final = 30.0  # beyond draining
_POLL_S: Final = 0.1


def serve_many(settings: Settings, say: Say, processes: int) -> None:
    """Serve by so many processes; a dead one is started again. Ends with KeyboardInterrupt.

    Raises:
        Unavailable: they are not ready in time.
        ChildFailed: one of them cannot run.
        SettingWrong: more connections are wanted than may be had.
    """
    bounds_of(settings)  # said here, before it is said by each
    with ExitStack() as stack:
        listener = stack.enter_context(listen(settings.host, settings.port))
        own = [
            stack.enter_context(listen(settings.host, settings.process_port + n))
            for n in range(processes)
            if settings.process_port
        ]
        port = port_of(listener)
        env = dict(os.environ) | environment(settings.model_copy(update={"port": port}))
        say(f"listening on {settings.host}:{port}, {processes} processes")
        kept = []
        for n in range(processes):
            fds = [listener.fileno()]
            argv = [sys.executable, "-m", "streams.cli", "api", "--socket", str(fds[0])]
            if own:
                fds.append(own[n].fileno())
                argv += ["--own-socket", str(fds[1])]
                say(f"API {n}   {settings.host}:{port_of(own[n])}")
            kept.append(KeptProcess(f"API {n}", argv, env, say, keep_open=fds))
        try:
            _keep(kept)
        finally:
            _end(kept, settings.drain_s + _END_WITHIN_S)


def _keep(kept: Sequence[KeptProcess]) -> None:
    now = time.monotonic()
    for one in kept:
        one.start(now)
    told = False
    while True:
        time.sleep(_POLL_S)  # until a signal ends it: whether children live can only be asked
        for one in kept:
            one.check(time.monotonic())
        missing = [one.name for one in kept if not one.ready]
        if not told and not missing:
            tell_ready()
            told = True
        if not told and time.monotonic() - now > _READY_WITHIN_S:
            raise Unavailable(f"not ready after {_READY_WITHIN_S:.0f} s: {', '.join(missing)}")


def _end(kept: Sequence[KeptProcess], within_s: float) -> None:
    """All at once, each as long as it needs."""
    with ThreadPoolExecutor(len(kept)) as pool:
        list(pool.map(lambda one: one.stop(within_s), kept))
