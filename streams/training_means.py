"""With what `daogou train` trains: a folder of checkpoints of its own, signals that are heard between two steps."""

import fcntl
import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType

from infra.errors import BadInput, Refused
from infra.settings import Settings
from models.checkpoint import Checkpoints
from models.ranks import Alone, Ranks
from models.training import Means
from streams.progress import Phases


@contextmanager
def means_of(settings: Settings, phases: Phases, ranks: Ranks | None, *, resume: bool) -> Iterator[Means]:
    """What a training needs; in the block SIGTERM and Ctrl-C end a fit after the step that it is at.

    Args:
        settings: whose data folder keeps the checkpoints.
        phases: hears what is gone on from.
        ranks: the processes that fit; None: this one alone.
        resume: whether to go on from what is kept; else it is forgotten.
    """
    folder = settings.data_dir / "training" / settings.tenant
    folder.mkdir(parents=True, exist_ok=True)
    with _lock(folder) as alone:
        if not alone:
            phases.say("another training of this data folder is under way: this one keeps no checkpoints")
        stop = StopBetweenSteps()
        kept = Checkpoints(folder if alone else None, phases.monotonic, phases.say, stopping=stop.asked)
        if not resume:
            kept.begin_anew()
        with stop.heard_for(kept):
            yield Means(kept, ranks)


def device_of(name: str) -> str:
    """`cpu` or `cuda`; for `auto` what there is.

    Raises:
        BadInput: a GPU is asked for, and there is none.
    """
    import torch

    there = torch.cuda.is_available()
    if name not in ("auto", "cpu", "cuda"):
        raise BadInput(f"--device {name}: it is auto, cpu or cuda", path="device", code="device_unknown")
    if name == "cuda" and not there:
        raise BadInput("--device cuda: torch finds no GPU here; leave it out", path="device", code="no_gpu")
    return "cuda" if there and name != "cpu" else "cpu"


@contextmanager
def together(device: str) -> Iterator[Ranks]:
    """Under `torchrun` the processes that train together; else this one alone, and nothing of it is imported.

    Rank 0 alone is asked to end: the others end with it. Only what they lost is told by them.
    """
    if not ("RANK" in os.environ and "WORLD_SIZE" in os.environ):
        yield Alone(device)
        return
    from models.distributed import Together

    with Together(device) as ranks:
        if ranks.rank == 0:
            yield ranks
            return
        for one in (signal.SIGTERM, signal.SIGINT):
            signal.signal(one, signal.SIG_IGN)
        try:
            yield ranks
        except Refused:  # rank 0 says why
            sys.exit(1)


class StopBetweenSteps:
    """SIGTERM and Ctrl-C: during a fit the first lets the step be done and its state be kept; else they end at once."""

    def __init__(self) -> None:
        self._asked = False
        self._kept: Checkpoints | None = None

    def asked(self) -> bool:
        """Whether an end was asked for during a fit."""
        return self._asked

    @contextmanager
    def heard_for(self, kept: Checkpoints) -> Iterator[None]:
        """Hear them in the block; from the main thread."""
        self._kept = kept
        before = {one: signal.signal(one, self.heard) for one in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for one, handler in before.items():
                signal.signal(one, handler)

    def heard(self, _: int, __: FrameType | None) -> None:
        """A signal has come.

        Raises:
            KeyboardInterrupt: no fit is under way, or it is the second.
        """
        if self._asked or self._kept is None or not self._kept.fitting:
            raise KeyboardInterrupt
        self._asked = True


@contextmanager
def _lock(folder: Path) -> Iterator[bool]:
    """Whether no other process is in such a block for this folder; one that dies lets go of it."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
        else:
            yield True
    finally:
        os.close(handle)
