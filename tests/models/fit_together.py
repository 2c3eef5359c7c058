"""What `torchrun` starts in tests: the small fit by several processes. Rank 0 writes how it went as JSON."""

import json
import os
import sys
from datetime import timedelta
from pathlib import Path

import torch

from infra.errors import DaogouError
from models.checkpoint import Checkpoints
from models.distributed import Together
from tests.models.small_fit import options_of, small_fit


def main(folder: Path, dropout: str, fits: str, dies: str, patience: str) -> None:
    """Args:
    folder: of checkpoints and of what is written.
    dropout: as is, or none.
    fits: how many, one after the other.
    dies: RANK:STEP:SIGNAL of the rank that gets a signal, or nobody.
    patience: seconds that a rank which does not answer is waited for.
    """
    said: list[str] = []
    with Together("cpu", timedelta(seconds=float(patience))) as ranks:
        if dies != "nobody":
            _die(ranks, *map(int, dies.split(":")))
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


def _die(ranks: Together, rank: int, step: int, number: int) -> None:
    """A rank gets a signal when it sums for the so-manieth time: it does so once a step."""
    sums, before = [0], ranks.summed

    def summed(values: torch.Tensor) -> torch.Tensor:
        sums[0] += 1
        if sums[0] == step:
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
