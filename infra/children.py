"""Child processes that end with the process that started them, however that one ends (Linux)."""

import ctypes
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO

_PR_SET_PDEATHSIG = 1


def start_child(
    argv: Sequence[str],
    *,
    on_orphan: signal.Signals = signal.SIGKILL,
    env: Mapping[str, str] | None = None,
    output: int | IO[bytes] | None = None,
    keep_open: Sequence[int] = (),
) -> "subprocess.Popen[bytes]":
    """Start a child in a session of its own: it gets no Ctrl-C from the terminal, its parent says when to end.

    `on_orphan` reaches it when the *thread* that started it ends: start children from the main thread.
    `output` is for both of its outputs; None leaves it the parent's.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def tie_to_parent() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, int(on_orphan), 0, 0, 0)
        if os.getppid() != parent:  # the parent ended before the line above
            os._exit(1)

    return subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=output,
        stderr=output if output in (None, subprocess.DEVNULL) else subprocess.STDOUT,
        env=None if env is None else dict(env),
        start_new_session=True,
        pass_fds=tuple(keep_open),
        preexec_fn=tie_to_parent,
    )


def end_child(process: "subprocess.Popen[bytes]", within_s: float) -> int:
    """Ask it to end, insist after `within_s` seconds; its exit status."""
    if process.poll() is None:
        process.terminate()
        try:
            process.wait(within_s)
        except subprocess.TimeoutExpired:
            process.kill()
    status = process.wait()
    if process.stdout is not None:
        process.stdout.close()
    return status
