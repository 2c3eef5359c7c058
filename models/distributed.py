"""Several processes that fit one model, as `torchrun` starts them: each a part of every batch, the tables by TorchRec.

Rank 0 leads: it reads, chooses, writes and speaks; the others wait to be called into a fit, and learn with it. Of large
tables each rank trains its own rows, all else is whole on each. The optimizer is one and the same AdamW; gradients are
means over the ranks, so a batch teaches what it would teach one process.
"""

import atexit
import logging
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from types import TracebackType
from typing import Any, Final, Self

import torch
import torch.distributed as dist
from torch import Tensor, nn

from infra.errors import RankLost
from models.fitting import fit
from models.ranks import Part
from models.sharding import SHARDED_FROM, forget, learned, parts_of, quiet_steps, spread_tables

STEP_TIMEOUT: Final = timedelta(minutes=5)
CALL_TIMEOUT: Final = timedelta(hours=24)


def launched(environment: Mapping[str, str]) -> bool:
    """Whether `torchrun` started this process, with others or alone."""
    return "RANK" in environment and "WORLD_SIZE" in environment


class Together:
    """The processes of one `torchrun`, as `models.ranks.Ranks`. A context: leaving it lets the others go."""

    def __init__(self, device: str, step_timeout: timedelta = STEP_TIMEOUT, sharded_from: int = SHARDED_FROM) -> None:
        """Meet the others.

        Args:
            device: cpu or cuda; of several GPUs each rank takes that of its local rank.
            step_timeout: how long a rank that does not answer is waited for.
            sharded_from: rows from which on a table is cut over the ranks.

        Raises:
            RankLost: they do not come.
        """
        logging.getLogger("torchrec").setLevel(logging.ERROR)  # it tells its plan in a hundred lines
        local = int(os.environ.get("LOCAL_RANK", "0"))
        self.device = torch.device(device, local) if device == "cuda" else torch.device(device)
        if device == "cuda":
            torch.cuda.set_device(self.device)
        self._step_timeout, self._sharded_from = step_timeout, sharded_from
        with self.watched():
            dist.init_process_group("cpu:gloo,cuda:nccl" if device == "cuda" else "gloo", timeout=step_timeout)
            # Between two fits rank 0 reads and tests; the others wait for it in a group that is more patient.
            self._calls = dist.new_group(backend="gloo", timeout=CALL_TIMEOUT)
        self.rank, self.size = dist.get_rank(), dist.get_world_size()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None and self.rank == 0:
            self._call(None)
        # After an error the others find the connection closed; whoever waits for them in vain would end never.
        if kind is None:
            dist.destroy_process_group()
        elif issubclass(kind, RankLost):
            # Threads of torch still wait for the rank that is lost, and may abort the interpreter where it ends them.
            atexit.register(_end_without_them)

    def called(self, arguments: Callable[[], tuple[Any, ...]]) -> None:
        """Rank 0 calls the others into a fit."""
        if self.rank == 0:
            self._call(arguments())

    def follow(self) -> None:
        """What a rank other than 0 does: fit whenever it is called, until it is let go.

        Raises:
            RankLost: another process has ended.
        """
        while (arguments := self._call(None)) is not None:
            items, users, examples, index, counts, options = arguments
            torch.manual_seed(options.seed + self.rank)
            fit(items, users, examples, index, counts, options, _unheard, ranks=self)

    def told(self, value: Any) -> Any:
        """What rank 0 has."""
        return self._broadcast(value, None)

    def gathered(self, value: Any) -> list[Any]:
        """On rank 0 what each has; elsewhere nothing."""
        found: list[Any] | None = [None] * self.size if self.rank == 0 else None
        with self.watched():
            dist.gather_object(value, found, dst=0)
        return found or []

    def joined(self, part: Tensor) -> Tensor:
        """As plain tensors on the CPU."""
        found = self.gathered(part.detach().as_subclass(Tensor).to("cpu", copy=True))
        return torch.cat(found) if found else part

    def summed(self, values: Tensor) -> Tensor:
        """Over all ranks; in 64 bits."""
        total = values.to(torch.float64)
        with self.watched():
            dist.all_reduce(total)
        return total.to(values.dtype)

    @contextmanager
    def spread(self, items: Any) -> Iterator[Mapping[str, Part]]:
        """The tables by TorchRec, until the end of the block; ranks other than 0 have none afterwards."""
        whole = items.tables
        with self.watched():
            items.tables = spread = spread_tables(whole, self.device, self._sharded_from)
        if self.rank:
            forget(whole)
        parts = parts_of(spread)
        try:
            with quiet_steps():
                yield {f"tables.{name}": part for name, part in parts.items()}
            with self.watched():
                state = learned(spread, parts, self.joined)
            if self.rank == 0:
                whole.load_state_dict(state)
        finally:
            items.tables = whole

    def averaged(self, parameters: list[nn.Parameter]) -> None:
        """In one message."""
        for one in parameters:
            if one.grad is None:
                one.grad = torch.zeros_like(one)
        flat = torch.cat([one.grad.ravel() for one in parameters if one.grad is not None])
        with self.watched():
            dist.all_reduce(flat)
        means = torch.split(flat / self.size, [one.numel() for one in parameters])
        for one, mean in zip(parameters, means, strict=True):
            one.grad = mean.view_as(one)

    @contextmanager
    def watched(self) -> Iterator[None]:
        """What torch says of a connection that is gone becomes an error with a name.

        Raises:
            RankLost: another process has ended, or does not answer in time.
        """
        try:
            yield
        except RuntimeError as error:
            if not _of_a_connection(error):
                raise
            raise RankLost(
                "a process of this training has ended, or did not answer within "
                f"{self._step_timeout.total_seconds():.0f} s; what it said stands above. Start the training again: it "
                "goes on from its last checkpoint"
            ) from error

    def _call(self, arguments: tuple[Any, ...] | None) -> Any:
        return self._broadcast(arguments, self._calls)

    def _broadcast(self, value: Any, group: Any) -> Any:
        box = [value]
        with self.watched():
            dist.broadcast_object_list(box, src=0, group=group, device=torch.device("cpu"))
        return box[0]


def _unheard(_: int) -> None:
    """Rank 0 alone speaks."""


def _of_a_connection(error: RuntimeError) -> bool:
    return isinstance(error, dist.DistError) or "gloo" in str(error).lower() or "Connection" in str(error)


def _end_without_them() -> None:
    """Last of all: what was to be said has been said, and the status is that of a failure."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
