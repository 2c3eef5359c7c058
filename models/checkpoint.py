"""Checkpoints of a training: what is needed to go on as if it had not been stopped.

Each fit of a training has a folder of its own. A checkpoint is one file, whose name holds the step and the SHA-256 of
what is in it: it is written beside, made durable and renamed, so it is there whole or not at all; one that was cut
short or altered later is found by its name, and the one before it is taken. It is read as tensors and plain values
alone, never as code.
"""

import hashlib
import os
import pickle
import shutil
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch

from infra.errors import Conflict, Refused
from models.artifact import checksum
from models.on_disk import DISK_FULL, synced, told_as_full

CURVE: Final = "loss.csv"
KEPT: Final = 2
EVERY_S: Final = 60.0
_SUFFIX: Final = ".checkpoint"

State = dict[str, Any]
"""Tensors and plain values; `losses` holds one for each step done, `about` what it is a state of."""


class Saved(Protocol):
    """Where the states of one fit are kept."""

    def latest(self, about: Mapping[str, str]) -> State | None:
        """The newest whole state; None where there is none.

        Raises:
            Conflict: it is of another training.
        """
        ...

    def due(self) -> bool:
        """Whether it is time for one more."""
        ...

    def stopping(self) -> bool:
        """Whether somebody asked for an end."""
        ...

    def keep(self, state: State) -> None:
        """Keep one more; the oldest goes."""
        ...

    def done(self, losses: list[float]) -> None:
        """The fit is at its end: the loss of each step."""
        ...


class Checkpoints:
    """Of all fits of one training, and the loss curves of those that are at their end."""

    def __init__(
        self,
        folder: Path | None,
        monotonic: Callable[[], float],
        say: Callable[[str], None],
        *,
        every_s: float = EVERY_S,
        every_steps: int = 0,
        stopping: Callable[[], bool] = lambda: False,
    ) -> None:
        """`fitting` says whether one of the fits is under way.

        Args:
        folder: of this training alone; None: nothing is kept but the loss curves.
        monotonic: seconds.
        say: hears what is gone on from, and what could not be written or read.
        every_s: seconds between two.
        every_steps: steps between two; 0: by seconds alone.
        stopping: whether somebody asked for an end.
        """
        self.folder = folder
        self.monotonic, self.say = monotonic, say
        self.every_s, self.every_steps = every_s, every_steps
        self.stopping = stopping
        self.losses: dict[str, list[float]] = {}
        self.fitting = False

    def of(self, name: str) -> "FitCheckpoints":
        """Those of one fit; `name` is unique in the training."""
        return FitCheckpoints(self, name)

    def begin_anew(self) -> None:
        """Forget all of them: the training is at its end, or is not to go on."""
        if self.folder is not None:
            for fit in {file.parent for file in self.folder.glob(f"*/[0-9]*{_SUFFIX}")}:
                shutil.rmtree(fit)

    def curve(self) -> str:
        """The loss of every step as CSV."""
        lines = ["fit,step,loss"]
        for name, losses in self.losses.items():
            lines += [f"{name},{step},{loss!r}" for step, loss in enumerate(losses, 1)]
        return "\n".join(lines) + "\n"


class FitCheckpoints:
    """The checkpoints of one fit, as `Saved`."""

    def __init__(self, training: Checkpoints, name: str) -> None:
        self._training, self._name = training, name
        self._folder = training.folder / name.replace(" ", "-") if training.folder is not None else None
        self._last = training.monotonic()
        self._steps = 0

    def latest(self, about: Mapping[str, str]) -> State | None:
        """As `Saved`; one that is not whole is passed over, and said."""
        self._training.fitting = True
        for file in reversed(self._files()):
            state = self._read(file)
            if state is None:
                continue
            _check(file, state["about"], about)
            self._training.say(f"{self._name}: goes on after step {len(state['losses']):,}, from {file.parent.name}")
            return state
        return None

    def due(self) -> bool:
        """As `Saved`; called once a step."""
        self._steps += 1
        training = self._training
        if self._folder is None:
            return False
        by_steps = bool(training.every_steps) and self._steps >= training.every_steps
        return by_steps or training.monotonic() - self._last >= training.every_s

    def stopping(self) -> bool:
        """As `Saved`."""
        return self._training.stopping()

    def keep(self, state: State) -> None:
        """Where the disk is full the training goes on, and says so."""
        self._last, self._steps = self._training.monotonic(), 0
        if self._folder is None:
            return
        try:
            with told_as_full(self._folder):
                self._write(self._folder, state)
        except Refused as error:
            if error.reason != DISK_FULL:
                raise
            self._training.say(f"{self._name}: no checkpoint of step {len(state['losses']):,}: {error.message}")

    def done(self, losses: list[float]) -> None:
        """As `Saved`."""
        self._training.losses[self._name] = losses
        self._training.fitting = False

    def _write(self, folder: Path, state: State) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        work = folder / ".new"
        try:
            digest = _stored(work, state)
            final = folder / f"{len(state['losses']):010}-{digest}{_SUFFIX}"
            os.replace(work, final)
        except BaseException:
            work.unlink(missing_ok=True)
            raise
        synced(folder)
        for old in self._files()[:-KEPT]:
            old.unlink()

    def _read(self, file: Path) -> State | None:
        if checksum(file) != file.name.removesuffix(_SUFFIX).partition("-")[2]:
            self._training.say(f"{self._name}: {file} is cut short or altered; the checkpoint before it is taken")
            return None
        state: State = torch.load(file, map_location="cpu", weights_only=True)
        return state

    def _files(self) -> list[Path]:
        """Oldest first."""
        return sorted(self._folder.glob(f"[0-9]*{_SUFFIX}")) if self._folder is not None else []


def about_of(options: Any, processes: int, device: str, *data: Any) -> dict[str, str]:
    """What a state must agree in to be gone on from.

    Args:
        options: a record.
        processes: how many there are.
        device: of what kind they fit on.
        data: arrays and texts.
    """
    told = {f"option {name}": repr(value) for name, value in asdict(options).items()}
    return {**told, "number of processes": str(processes), "device": device, "data": digest_of(*data)}


def digest_of(*data: Any) -> str:
    """SHA-256, hexadecimal, of arrays and of texts."""
    digest = hashlib.sha256()
    for one in data:
        array = np.ascontiguousarray(one)
        digest.update(f"{array.dtype} {array.shape} ".encode())
        digest.update(array.tobytes() if array.dtype != object else pickle.dumps(array.tolist()))
    return digest.hexdigest()


def _check(file: Path, held: Mapping[str, str], wanted: Mapping[str, str]) -> None:
    if held == wanted:
        return
    differs = [name for name in {**wanted, **held} if held.get(name) != wanted.get(name)]
    told = [name if name == "data" else f"{name} ({held.get(name)}, now {wanted.get(name)})" for name in differs]
    raise Conflict(
        f"{file.parent} holds the state of another training: other {', '.join(told)}. Train as it was begun, or begin "
        "anew: daogou train --no-resume",
        code="checkpoint_of_other",
    )


def _stored(file: Path, state: State) -> str:
    """Write it durably; its SHA-256."""
    with file.open("wb") as raw:
        hashing = _Hashing(raw)
        try:
            torch.save(state, hashing)  # type: ignore[arg-type]
        except RuntimeError:
            if hashing.failed is None:
                raise
        if hashing.failed is not None:  # torch says of its own streams only that they failed
            raise hashing.failed
        raw.flush()
        os.fsync(raw.fileno())
    return hashing.digest.hexdigest()


class _Hashing:
    """Hashes what goes through it."""

    def __init__(self, raw: Any) -> None:
        self._raw = raw
        self.digest = hashlib.sha256()
        self.failed: OSError | None = None

    def write(self, chunk: Any) -> int:
        self.digest.update(chunk)
        try:
            self._raw.write(chunk)
        except OSError as error:
            self.failed = self.failed or error
            raise
        return len(chunk)

    def flush(self) -> None:
        self._raw.flush()
