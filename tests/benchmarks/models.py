"""`make bench-models`: the model beside all baselines on data that is not ours, at the bars that were set for it.

`--data NAME` names one of the data sets of `models_data`, which are read where they are (`--folder`); `--file PATH
--format loo|MAPPING` takes any file, of sequences (`user item item …`, oldest first) or of a format that `daogou load`
reads. What is tuned is tuned on a validation split that ends before the test begins. `--quick`: one pass over the
steps, and only the baselines that are fitted in a moment; this proves nothing of the bars.
"""

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import msgspec
import torch
from rich.console import Console

from models.baselines import Ranker
from models.beside import baselines, quick
from models.evaluation import Evaluation, interval, paired, table
from models.examples import examples_of
from models.fusion import Weights
from models.interactions import Interactions
from models.scorer import Fitted
from models.sources import Choice
from models.splits import Split
from models.states import FoldedStates
from models.training import Prefix, fitted_on, learned, table_of
from tests.benchmarks.machine import ROOT, commit, described
from tests.benchmarks.models_data import DATA, SHARED, DataSet, mapped, sequences

FIGURES: Final = ROOT / "docs" / "benchmarks" / "models"
MODEL: Final = ("tower alone", "fused")
LEADS_BY: Final = "ndcg"


class Said:
    """Phases as lines on stderr, with the CPU time that each took."""

    def __init__(self) -> None:
        self.cpu_s: dict[str, float] = {}

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        """As `models.training.Phases`."""
        begun = time.process_time()
        yield lambda more: None
        self.cpu_s[name] = round(self.cpu_s.get(name, 0) + time.process_time() - begun, 1)
        print(f"  {name}: {self.cpu_s[name]:.0f} s of CPU", file=sys.stderr, flush=True)


class Row(msgspec.Struct, frozen=True):
    """One model at one task: its means, and the 95 % interval of the first over shoppers."""

    model: str
    task: str
    ndcg: float
    low: float
    high: float
    recall: float
    mrr: float
    shoppers: int
    seed: int | None = None
    note: str = ""


class Figures(msgspec.Struct, frozen=True, kw_only=True):
    """What one run leaves: how it was made, the rows, what was chosen on validation."""

    data: str
    seed: int
    quick: bool
    command: str
    commit: str
    machine: str
    cpu_s: dict[str, float]
    options: dict[str, Any]
    choice: Choice
    weights: dict[str, Weights]
    bars: dict[str, float]
    rows: Sequence[Row]
    leads: dict[str, Any]


def model_of(data: DataSet, said: Said) -> tuple[Fitted, Choice, dict[str, Weights]]:
    """The model as it is tested: what is chosen is chosen on validation, then all is fitted on the test's prefix."""
    choice, weights = _learned(data, said)
    before = data.known_before(data.test)
    examples = _examples(data, before, said)
    prefix = Prefix.of(data.test, data.features, examples)
    fitted = fitted_on(prefix, choice, data.options, said, "fitted")
    return msgspec.structs.replace(fitted, weights=weights), choice, weights


def _learned(data: DataSet, said: Said) -> tuple[Choice, dict[str, Weights]]:
    before = data.known_before(data.validation)
    examples = _examples(data, before, said)
    states = FoldedStates(before)
    return learned(states, data.validation, data.features, examples, data.options, said, data.tasks)


def _examples(data: DataSet, before: Interactions, said: Said) -> Any:
    options = data.options
    with said.phase("steps read", 0, "steps"):
        return examples_of(FoldedStates(before), before, options.seed, options.repeats_kept, options.examples)


def tested(data: DataSet, fitted: Fitted, beside: Sequence[Ranker], said: Said) -> list[Evaluation]:
    """The table of the test."""
    split: Split = data.test
    states = FoldedStates(data.known_before(split))
    weeks = (split.at_ms, split.at_ms)
    return table_of(states, fitted, split.before, weeks, said, split, beside)


def rows_of(evaluations: Sequence[Evaluation], tasks: Sequence[str], seed: int) -> list[Row]:
    """The figures of a table."""
    rows = []
    for task in tasks:
        for one in evaluations:
            ndcg, recall, mrr = (round(one.mean(task, metric), 5) for metric in ("ndcg", "recall", "mrr"))
            low, high = (round(bound, 5) for bound in interval(one, task, LEADS_BY, seed))
            ours = seed if one.name in MODEL else one.seed
            rows.append(Row(one.name, task, ndcg, low, high, recall, mrr, len(one.per_shopper[task]), ours, one.note))
    return rows


def judged(data: DataSet, evaluations: Sequence[Evaluation], seed: int) -> tuple[dict[str, Any], list[str]]:
    """The lead of the model over the best baseline at each task, with its paired interval; and what is missed."""
    *others, fused = evaluations
    leads, missed = {}, []
    for task in data.tasks:
        best = max((one for one in others if one.name not in MODEL), key=lambda one: one.mean(task, LEADS_BY))
        lead = paired(fused, best, task, LEADS_BY, seed)
        leads[task] = {
            "over": best.name,
            "mean": round(lead.mean, 5),
            "interval": [round(lead.low, 5), round(lead.high, 5)],
        }
        reached, bar = fused.mean(task, LEADS_BY), data.bars.get(task)
        if bar is not None and reached < bar:
            missed.append(f"{task} NDCG {reached:.4f}, {bar:.4f} is due")
        if lead.mean <= 0:
            missed.append(f"{task} NDCG {reached:.4f} is below {best.name}, {best.mean(task, LEADS_BY):.4f}")
    return leads, missed


def run(data: DataSet, asked: argparse.Namespace, console: Console) -> list[str]:
    """One seed: fit, test, print, keep. What is missed."""
    said, code, machine = Said(), commit(), described()
    fitted, choice, weights = model_of(data, said)
    before, at_ms = data.test.before, data.test.at_ms
    with said.phase("baselines fitted", 0, "models"):
        beside = (
            quick(before, at_ms)
            if asked.quick or asked.beside == "moment"
            else baselines(before, at_ms, asked.seed, data.tuning)
        )
    evaluations = tested(data, fitted, beside, said)
    for task in data.tasks:
        console.print(table(evaluations, task, asked.seed))
    leads, missed = judged(data, evaluations, asked.seed)
    figures = Figures(
        data=data.name,
        seed=asked.seed,
        quick=asked.quick,
        command=f'make bench-models ARGS="{" ".join(asked.words)}"',
        commit=code,
        machine=machine,
        cpu_s=said.cpu_s,
        options={name: getattr(data.options, name) for name in data.options.__dataclass_fields__},
        choice=choice,
        weights=weights,
        bars=data.bars,
        rows=rows_of(evaluations, data.tasks, asked.seed),
        leads=leads,
    )
    kept(figures, asked.out)
    lines = [
        f"{task} {evaluations[-1].mean(task, LEADS_BY):.4f} (+{leads[task]['mean']:.4f} over {leads[task]['over']})"
        for task in data.tasks
    ]
    verdict = "missed: " + "; ".join(missed) if missed else "every bar is reached"
    spent = sum(cpu for name, cpu in said.cpu_s.items() if name in ("fitted", "fitted for the weights"))
    print(
        f"{data.name}, seed {asked.seed}: NDCG@{data.test.k} {', '.join(lines)}; towers {spent:.0f} s of CPU; {verdict}"
    )
    return missed


def kept(figures: Figures, folder: Path) -> None:
    """The raw figures as JSON; quick ones are kept beside the others."""
    folder.mkdir(parents=True, exist_ok=True)
    name = f"{figures.data}-{figures.seed}{'-quick' if figures.quick else ''}.json"
    (folder / name).write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")


def data_of(asked: argparse.Namespace) -> DataSet:
    """What the arguments name, with the options as they say."""
    if asked.file is None:
        if not asked.folder.is_dir():
            raise SystemExit(f"{asked.folder} is not there: docs/benchmarks/models.md says where the data comes from")
        data = DATA[asked.data](asked.folder)
    elif asked.format == "loo":
        data = sequences(asked.file.stem, asked.file, {}, {})
    else:
        data = mapped(asked.file.stem, asked.file, asked.format, [], ("purchase",))
    options = replace(data.options, seed=asked.seed, epochs=1.0 if asked.quick else data.options.epochs)
    return replace(data, options=options)


def arguments(words: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="bench-models", description=__doc__)
    parser.add_argument("--data", choices=sorted(DATA), default="beauty")
    parser.add_argument("--folder", type=Path, default=SHARED, help="where the data sets are")
    parser.add_argument("--file", type=Path, help="any file instead")
    parser.add_argument("--format", default="loo", help="of that file: loo, or a mapping of daogou load")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--beside", choices=("all", "moment"), default="all", help="which baselines are fitted")
    parser.add_argument("--out", type=Path, default=FIGURES)
    parser.add_argument("--threads", type=int, default=len(os.sched_getaffinity(0)))
    return parser.parse_args(words, argparse.Namespace(words=words))


def main(words: Sequence[str]) -> int:
    """0 where every bar is reached."""
    asked = arguments(words)
    torch.set_num_threads(asked.threads)
    return 1 if run(data_of(asked), asked, Console(width=110)) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
