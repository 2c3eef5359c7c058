"""What `torchrun` starts in tests: the small fit by several processes. Rank 0 writes how it went as JSON."""

import json
import os
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import torch

from infra.errors import DaogouError
from models.checkpoint import Checkpoints
from models.distributed import Together
from models.ranks import Part
from tests.models.small_fit import options_of, small_fit

CUT_FROM = 8  # rows: the ids and the prices of the small fit are cut, brands and categories are not


def main(folder: Path, dropout: str, fits: str, dies: str, patience: str) -> None:
    """Args:
    folder: of checkpoints and of what is written.
    dropout: as is, or none.
    fits: how many, one after the other.
    dies: RANK:STEP:SIGNAL of the rank that gets a signal, or nobody.
    patience: seconds that a rank which does not answer is waited for.
    """
    said: list[str] = []
    with Together("cpu", timedelta(seconds=float(patience)), CUT_FROM) as ranks:
        _tell_what_is_held(ranks, folder)
        if dies != "nobody":
            rank, step, number = map(int, dies.split(":"))
            _die(ranks, rank, 2 * step - 1, number)
        if ranks.rank:
            ranks.follow()
            return
        kept = Checkpoints(folder / "kept", lambda: 0.0, said.append, every_steps=2)
        steps: list[int] = []
        towers = [
            small_fit(steps.append, kept.of(f"fit {number}"), ranks, options_of(dropout)) for number in range(int(fits))
        ]
        vectors = {name: value.tolist() for name, value in towers[-1].items.state_dict().items()}
        found = {"losses": [one.losses for one in towers], "items": vectors, "said": said, "began": steps[0]}
        (folder / "found.json").write_text(json.dumps(found))


def _tell_what_is_held(ranks: Together, folder: Path) -> None:
    """Each rank writes how many rows of each table it trains, and its plain ones hold meanwhile."""
    before = ranks.spread

    @contextmanager
    def spread(items: Any) -> Iterator[Mapping[str, Part]]:
        plain = items.tables
        with before(items) as parts:
            held = {name: len(value) for name, value in items.tables.named_parameters()}
            kept = {name: len(value) for name, value in plain.named_parameters()}
            (folder / f"held-{ranks.rank}.json").write_text(json.dumps({"trained": held, "plain": kept}))
            yield parts

    ranks.spread = spread  # type: ignore[method-assign]


def _die(ranks: Together, rank: int, at: int, number: int) -> None:
    """A rank gets a signal when it sums for the so-manieth time: it does so twice a step, losses and gradients."""
    sums, before = [0], ranks.summed

    def summed(values: torch.Tensor) -> torch.Tensor:
        sums[0] += 1
        if sums[0] == at:
            os.kill(os.getpid(), number)
        return before(values)

    if ranks.rank == rank:
        ranks.summed = summed  # type: ignore[method-assign]


if __name__ == "__main__":
    try:
        main(Path(sys.argv[1]), *sys.argv[2:])
    except DaogouError as error:
        print(f"{type(error).__name__}: {error.message}", file=sys.stderr, flush=True)
        sys.exit(1)
