"""`make bench-models-ablations`: the model on Beauty, every technique in it taken out one at a time, one seed.

The tower is fitted anew where the technique is in it. What was chosen on validation for the whole model, fusion weights
among it, is kept for all rows: so each one may lose a little more than it would with weights of its own. Rows go one by
one into a file of JSON lines; a run that is ended goes on with those that are missing. The differences are paired over
shoppers.
"""

import argparse
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import torch

from models.artifact import FORMAT, Artifact, Manifest, write
from models.bootstrap import difference
from models.evaluation import METRICS, Evaluation
from models.interactions import Floats
from models.scorer import opened
from models.sources import Choice
from models.states import FoldedStates
from models.training import learned
from tests.benchmarks.machine import commit
from tests.benchmarks.models import FIGURES, Said, tested
from tests.benchmarks.models_data import SHARED, DataSet, beauty
from tests.benchmarks.models_techniques import TECHNIQUES, Fit, Made, examples_for, refitted

TASK: Final = "new"
WHOLE: Final = "the whole model"


class Kept(msgspec.Struct, frozen=True):
    """One line of the file: a technique that is taken out, and what that changes."""

    without: str
    tower: float
    fused: float
    difference: float
    low: float
    high: float
    commit: str
    seed: int


def whole(data: DataSet, folder: Path, said: Said) -> Made:
    """The whole model: kept in the folder, so that it is fitted once."""
    kept = folder / "whole"
    if kept.exists():
        artifact = Artifact.open(kept)
        choice = msgspec.json.decode((folder / "choice.json").read_bytes(), type=Choice)
        return Made(opened(artifact), choice, artifact.manifest.weights)
    before = data.validation.before
    examples = examples_for(data, validation=True)
    choice, weights = learned(
        FoldedStates(before), data.validation, data.features, examples, data.options, said, (TASK,)
    )
    fitted = refitted(lambda same: same)(data, Made(None, choice, weights), said)
    (folder / "choice.json").write_bytes(msgspec.json.encode(choice))
    now = datetime.fromtimestamp(0, UTC)
    manifest = Manifest(
        version="whole",
        format=FORMAT,
        made_at=now,
        fitted_before=now,
        tested_until=now,
        events=0,
        code=commit(),
        seed=data.options.seed,
        text_encoder="attributes",
        weights=weights,
        recency=choice.recency,
        metrics={},
        shape={},
        checksums={},
    )
    names = ("vectors", "popularity", "neighbours", "neighbour_scores", "candidates")
    write(folder, manifest, {name: getattr(fitted, name) for name in names}, fitted.tower, fitted.item_ids)
    return Made(fitted, choice, weights)


def run(data: DataSet, folder: Path, lines: Path, said: Said, techniques: Mapping[str, Fit]) -> None:
    """All rows that the file does not have yet."""
    done = {one.without: one for one in _read(lines)}
    made = whole(data, folder, said)
    base_file = folder / "whole.npy"
    if not base_file.exists() or WHOLE not in done:
        base = tested(data, made.whole, [], said)
        np.save(base_file, _ndcg(base[-1]))
        _append(lines, WHOLE, base, _ndcg(base[-1]), data.options.seed)
    reference = np.load(base_file)
    for name, fit in techniques.items():
        if name not in done:
            _append(lines, name, tested(data, fit(data, made, said), [], said), reference, data.options.seed)


def _append(lines: Path, name: str, table: Sequence[Evaluation], reference: Floats, seed: int) -> None:
    tower, fused = table[-2], table[-1]
    less = difference(_ndcg(fused), reference, seed)
    alone, together = (round(one.mean(TASK, "ndcg"), 5) for one in (tower, fused))
    mean, low, high = (round(value, 5) for value in (less.mean, less.low, less.high))
    row = Kept(name, alone, together, mean, low, high, commit(), seed)
    with lines.open("ab") as out:
        out.write(msgspec.json.encode(row) + b"\n")
    print(
        f"without {name}: NDCG@10 {row.fused:.4f} ({row.difference:+.4f}, {row.low:+.4f} to {row.high:+.4f})",
        flush=True,
    )


def _ndcg(one: Evaluation) -> Floats:
    values: Floats = one.per_shopper[TASK][:, METRICS.index("ndcg")]
    return values


def _read(lines: Path) -> list[Kept]:
    if not lines.exists():
        return []
    # A line that was cut short by the end of a run is made again.
    whole_ = [line for line in lines.read_bytes().splitlines(keepends=True) if line.endswith(b"\n")]
    lines.write_bytes(b"".join(whole_))
    return [msgspec.json.decode(line, type=Kept) for line in whole_]


def main(words: Sequence[str]) -> int:
    """0 when all rows are there."""
    parser = argparse.ArgumentParser(prog="bench-models-ablations", description=__doc__)
    parser.add_argument("--folder", type=Path, default=SHARED, help="where the data sets are")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=float)
    parser.add_argument("--work", type=Path, required=True, help="where the whole model is kept between runs")
    parser.add_argument("--out", type=Path, default=FIGURES / "ablations.jsonl")
    parser.add_argument("--threads", type=int, default=2)
    asked = parser.parse_args(words)
    torch.set_num_threads(asked.threads)
    data = beauty(asked.folder)
    options = replace(data.options, seed=asked.seed, epochs=asked.epochs or data.options.epochs)
    asked.work.mkdir(parents=True, exist_ok=True)
    asked.out.parent.mkdir(parents=True, exist_ok=True)
    run(replace(data, options=options), asked.work, asked.out, Said(), TECHNIQUES)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
