"""Items without a history in lists: recall@10 beside text neighbours, and what it costs the others.

    python -m tests.benchmarks.cold_recall --data beauty|office [--encoder NAME] [--part test] [--folds 0 1] [--seed N]

A twentieth of the items is cold at a time: taken out of every history before anything is fitted, and then taken up as a
worker takes new items up. Asked for is each shopper's last item (`--part valid`: the one before it, fitted on what is
before that), by all of their history but the cold items. What a shopper has is left out; ties count half.

Text neighbours: the whitened text vectors of the shopper's last ten items, their mean, by cosine. "alone" is a new
item's vector as the item tower makes it of its text, without what others lend it. What the others pay is told by
shoppers whose item is not cold: the same model with the cold items among its candidates and without. Fusion
weights and item-to-item table are those that the full run on Beauty chose (docs/benchmarks/models), for Office too.
"""

import argparse
import ast
import csv
import gzip
import tempfile
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np
import torch
from rich.console import Console
from rich.table import Table

from models.bootstrap import difference
from models.choosing import PARTS
from models.cold_neighbours import Lenders, Spoken
from models.examples import examples_of
from models.fusion import Weights, fuse
from models.interactions import Interactions
from models.item_features import features_of, text_of
from models.scorer import Fitted, Scorer
from models.sources import Choice
from models.splits import leave_one_out
from models.states import FoldedStates
from models.text import encode, whitened
from models.training import Prefix, fitted_on
from tests.benchmarks.enrich import items_of
from tests.benchmarks.machine import commit, described
from tests.benchmarks.models import Said
from tests.benchmarks.models_data import LOO_OPTIONS, SHARED, DataSet, beauty, sequences

TOP: Final = 10
ROUNDS: Final = 20
HISTORY: Final = 10
CHOICE: Final = Choice("regressed-100", 0.6, 30.0)
WEIGHTS: Final = Weights(tower=1.5, item_to_item=0.2, popular=0.02)
WARM: Final = 2000
_LATE: Final = 1_000_000_000_000
_AT_ONCE: Final = 256


class Row(msgspec.Struct, frozen=True):
    """One shopper: whether their item is among the ten best, by way. Of cold items also among the cold ones alone."""

    cold: bool
    found: dict[str, float]


def office(folder: Path, encoder: str) -> DataSet:
    """Amazon Office: sequences put together again of the windows that the files hold."""
    some = folder / "amazon-office-text"
    with tempfile.TemporaryDirectory() as work:
        file = Path(work) / "office.txt"
        file.write_text("\n".join(f"{who} {' '.join(map(str, line))}" for who, line in _lines(some).items()))
        data = sequences("office", file, {}, {})
        by_id = {item.item_id: item for item in items_of(some)}
        items = [by_id[name] for name in data.happened.items]
        vectors = encode([text_of(item) for item in items], encoder, Path(work) / "vectors", lambda _: None)
    return replace(data, features=features_of(items, whitened(vectors)), options=replace(LOO_OPTIONS, batch=512))


def _lines(folder: Path) -> dict[str, list[int]]:
    lines: dict[str, list[int]] = {}
    for part in ("valid", "test"):
        with gzip.open(folder / f"{part}.csv.gz", "rt") as rows:
            for row in csv.DictReader(rows):
                window = [*ast.literal_eval(row["history_item_id"]), int(row["item_id"])]
                line = lines.setdefault(row["user_id"], [])
                # A window begins within what is there: as much of it as is the end of the line.
                both = next(
                    n for n in range(min(len(line), len(window)), -1, -1) if line[len(line) - n :] == window[:n]
                )
                line.extend(window[both:])
    return lines


def rows_of(data: DataSet, part: str, fold: int, seed: int, id_dropout: float) -> list[Row]:
    """One fold: fit without its items, take them up, ask."""
    split = leave_one_out(data.happened, "validation" if part == "valid" else "test")
    size = len(data.happened.items)
    cold = np.random.default_rng(seed).permutation(size) % ROUNDS == fold
    before = split.before.chosen(~cold[split.before.item])
    options = replace(data.options, seed=seed, id_dropout=id_dropout)
    steps = examples_of(FoldedStates(before), before, seed, 1.0, options.examples)
    prefix = Prefix.of(replace(split, before=before), data.features, steps)
    fitted = fitted_on(prefix, CHOICE, options, Said(), "fitted")
    fitted = msgspec.structs.replace(fitted, weights={"new": WEIGHTS, "all": WEIGHTS})
    some = Lenders(
        data.features.text, fitted.candidates, fitted.vectors, fitted.neighbours, fitted.neighbour_scores
    ).lend(data.features.text[cold])
    alone = fitted.vectors[cold]
    lent = np.where(some.lent[:, None], some.vectors, alone)
    ways = {
        "alone": _with(fitted, cold, alone, None),
        "lent": _with(fitted, cold, lent, Spoken(some.speakers, some.shares)),
    }
    return _asked(data, split.before, before, split.after, cold, ways, seed)


def _with(fitted: Fitted, cold: Any, vectors: Any, spoken: Spoken | None) -> Scorer:
    """The cold items come as new ones, behind the others."""
    return Scorer(fitted).with_items([f"new {row}" for row in np.flatnonzero(cold).tolist()], vectors, spoken)


def _asked(
    data: DataSet,
    has: Interactions,
    before: Interactions,
    after: Interactions,
    cold: Any,
    ways: dict[str, Scorer],
    seed: int,
) -> list[Row]:
    edges = np.searchsorted(has.shopper, np.arange(len(has.shoppers) + 1))
    known = np.searchsorted(before.shopper, np.arange(len(has.shoppers) + 1))
    able = np.array(
        [
            known[who] < known[who + 1] and item not in has.item[edges[who] : edges[who + 1]]
            for who, item in zip(after.shopper.tolist(), after.item.tolist(), strict=True)
        ]
    )
    of_cold = np.flatnonzero(able & cold[after.item])
    of_warm = np.random.default_rng(seed).permutation(np.flatnonzero(able & ~cold[after.item]))[:WARM]
    near = data.features.text / np.maximum(np.linalg.norm(data.features.text, axis=1, keepdims=True), 1e-9)
    rows = np.concatenate([of_cold, np.sort(of_warm)])
    out = []
    for begin in range(0, len(rows), _AT_ONCE):
        batch = rows[begin : begin + _AT_ONCE]
        shoppers, items = after.shopper[batch], after.item[batch]
        states = FoldedStates(before).at([has.shoppers[who] for who in shoppers], [_LATE] * len(batch))
        histories = [before.item[known[who] : known[who + 1]][-HISTORY:] for who in shoppers.tolist()]
        scores = {"text": np.stack([near[history].mean(0) for history in histories]) @ near.T}
        scores |= {name: _spread(scorer, states, cold) for name, scorer in ways.items()}
        for row, (who, item) in enumerate(zip(shoppers.tolist(), items.tolist(), strict=True)):
            barred = has.item[edges[who] : edges[who + 1]]
            found = {}
            for name, line in scores.items():
                found[name] = _hit(line[row], item, barred)
                found[f"{name}, among cold"] = _hit(line[row], item, np.append(barred, np.flatnonzero(~cold)))
                found[f"{name}, without cold"] = _hit(line[row], item, np.append(barred, np.flatnonzero(cold)))
            out.append(Row(bool(cold[item]), found))
    return out


def _spread(scorer: Scorer, states: Sequence[Any], cold: Any) -> Any:
    """[shoppers, items]: the fused scores, those of the new rows at the places of the cold items."""
    parts = scorer.parts(states, _LATE)
    fused = fuse({name: parts[name] for name in PARTS}, WEIGHTS)
    many = len(cold)
    out = np.full((len(states), many), -np.inf, np.float32)
    rows = scorer.candidate_rows
    place = np.where(rows < many, rows, np.flatnonzero(cold)[np.maximum(rows - many, 0)])
    out[:, place] = fused
    return out


def _hit(scores: Any, item: int, barred: Any) -> float:
    """Among the ten best; a tie at the edge counts half."""
    line, own = scores.copy(), scores[item]
    line[barred] = -np.inf
    if line[item] == -np.inf:
        return 0.0
    return float((line > own).sum() + ((line == own).sum() - 1) / 2 < TOP)


def table(rows: Sequence[Row], seed: int) -> Table:
    """Recall of each way beside text neighbours, and what shoppers of other items lose."""
    shown = Table(title=f"recall@{TOP}; differences with 95 % over shoppers", title_style="")
    for column in ("", "text neighbours", "alone", "", "lent", ""):
        shown.add_column(column)
    cold, warm = ([row.found for row in rows if row.cold is side] for side in (True, False))
    for name, some, suffix in (
        ("cold, among all items", cold, ""),
        ("cold, among the cold ones", cold, ", among cold"),
    ):
        of = {way: np.array([one[way + suffix] for one in some]) for way in ("text", "alone", "lent")}
        cells = [name, f"{of['text'].mean():.4f}"]
        for way in ("alone", "lent"):
            cells += [f"{of[way].mean():.4f}", _apart(of[way], of["text"], seed)]
        shown.add_row(*cells)
    cells = ["warm, cold ones beside them", ""]
    for way in ("alone", "lent"):
        mine, without = (np.array([one[way + end] for one in warm]) for end in ("", ", without cold"))
        cells += [f"{mine.mean():.4f}", f"{_apart(mine, without, seed)} of {without.mean():.4f}"]
    shown.add_row(*cells)
    return shown


def _apart(mine: Any, theirs: Any, seed: int) -> str:
    apart = difference(mine, theirs, seed)
    share = f"{apart.mean / theirs.mean():+.1%} " if theirs.any() else ""
    return f"{share}({apart.low:+.4f} to {apart.high:+.4f})"


def main() -> None:
    """Measure, keep, print."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--data", choices=("beauty", "office"), default="beauty")
    asked.add_argument("--folder", type=Path, default=SHARED)
    asked.add_argument("--encoder", default="lexical")
    asked.add_argument("--part", choices=("valid", "test"), default="test")
    asked.add_argument("--folds", type=int, nargs="+", default=[0])
    asked.add_argument("--id-dropout", type=float, default=LOO_OPTIONS.id_dropout)
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    torch.set_num_threads(1)
    data = beauty(given.folder) if given.data == "beauty" else office(given.folder, given.encoder)
    begun, rows = time.process_time(), []
    for fold in given.folds:
        rows += rows_of(data, given.part, fold, given.seed, given.id_dropout)
        console = Console(width=150)
        texts = given.encoder if given.data == "office" else "attributes"
        told = f"{given.data}, {texts}, {given.part}, folds {given.folds[: given.folds.index(fold) + 1]}"
        many = sum(row.cold for row in rows)
        console.print(
            f"{told}, seed {given.seed}, id dropout {given.id_dropout}: {many:,} cold, {len(rows) - many:,} warm"
        )
        console.print(table(rows, given.seed))
    print(f"{described()}, commit {commit()}, {time.process_time() - begun:.0f} s of CPU")


if __name__ == "__main__":
    main()
