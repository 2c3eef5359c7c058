"""What enrichment is worth to items without a history: text neighbours of the shopper's items, plain and enriched.

    python -m tests.benchmarks.enrich [--folder ../shared/data/amazon-office-text] [--encoder NAME] [--quick] [--seed N]

A twentieth of the items is cold at a time: taken out of every history. A shopper is the mean of the text vectors
(whitened, cosine) of the last ten items that are left; asked for is the next item, if it is a cold one that the shopper
does not have. Twenty such rounds make each item cold once. No model is trained: what differs is the text alone.
Enriched is by rules, and by a language model's double that answers from the same rules with a fifth of noise, through
the client, its checks and its faults: it knows no more than the rules do, so it shows what faults cost, not what a
language model is worth.
"""

import argparse
import ast
import asyncio
import csv
import gzip
import json
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from features.catalog import Content, Item
from infra.clock import ManualClock
from infra.llm import Endpoint, LanguageModel, LlmClient
from infra.llm_limits import Budget, Rate
from models.bootstrap import difference
from models.enrichment import Counts, Enricher
from models.enrichment_reading import reading_of
from models.enrichment_store import EnrichmentStore
from models.enrichment_text import texts_of
from models.text import encode, encoder_name, whitened
from tests.benchmarks.machine import commit, described
from tests.llm_double import Scripted
from tests.models.enriching import from_rules

FOLDER: Final = Path("../shared/data/amazon-office-text")
ROUNDS: Final = 20
TOP: Final = 10
HISTORY: Final = 10
NOISE: Final = 0.2


@dataclass(frozen=True)
class Next:
    """What a shopper took next, by the items' numbers."""

    shopper: str
    history: list[int]
    item: int


def items_of(folder: Path) -> list[Item]:
    """The items, by their number."""
    with gzip.open(folder / "items.json.gz") as file:
        raw: dict[str, dict[str, str]] = json.load(file)
    return [
        Item(
            item_id=number,
            content=Content(
                name=raw[number]["title"], description=_joined(raw[number]["description"]), brand=raw[number]["brand"]
            ),
        )
        for number in sorted(raw, key=int)
    ]


def _joined(told: str) -> str:
    """The file has a description as Python writes a list of texts."""
    try:
        parts = ast.literal_eval(told)
    except (SyntaxError, ValueError):
        return told
    return " ".join(map(str, parts)) if isinstance(parts, list) else str(parts)


def nexts_of(file: Path) -> list[Next]:
    """The rows of a file of histories."""
    with gzip.open(file, "rt") as rows:
        return [
            Next(row["user_id"], ast.literal_eval(row["history_item_id"]), int(row["item_id"]))
            for row in csv.DictReader(rows)
        ]


def enriched(items: Sequence[Item], folder: Path, model: LanguageModel | None) -> Counts:
    """Enrich into a folder."""
    with EnrichmentStore(folder) as store:
        enricher = Enricher(store, model, ManualClock(0))
        return asyncio.run(enricher.run(enricher.plan([reading_of(item) for item in items]), lambda _: None))


def hits(vectors: Any, nexts: Sequence[Next], seed: int) -> tuple[dict[str, list[bool]], dict[str, list[bool]]]:
    """Whether the next item is among the ten nearest: of all that the shopper has not, and of the cold ones alone."""
    near = vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-9)
    turn = np.random.default_rng(seed).permutation(len(vectors)) % ROUNDS
    of_all: dict[str, list[bool]] = {}
    of_cold: dict[str, list[bool]] = {}
    for one in nexts:
        cold = turn == turn[one.item]
        left = [item for item in one.history if not cold[item]][-HISTORY:]
        if one.item in one.history or not left:
            continue
        scores = near @ near[left].mean(0)
        scores[one.history] = -np.inf
        above = scores > scores[one.item]
        of_all.setdefault(one.shopper, []).append(bool(above.sum() < TOP))
        of_cold.setdefault(one.shopper, []).append(bool((above & cold).sum() < TOP))
    return of_all, of_cold


def by_shopper(found: dict[str, list[bool]]) -> Any:
    """The share of hits of each shopper."""
    return np.array([np.mean(found[shopper]) for shopper in sorted(found)])


def main() -> None:
    """Measure, and print a table."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--folder", type=Path, default=FOLDER)
    asked.add_argument("--encoder", default="")
    asked.add_argument("--part", choices=["valid", "test"], default="test")
    asked.add_argument("--cache", type=Path)
    asked.add_argument("--quick", action="store_true", help="a quarter of the histories")
    asked.add_argument("--seed", type=int, default=1)
    given = asked.parse_args()
    items, nexts = items_of(given.folder), nexts_of(given.folder / f"{given.part}.csv.gz")
    nexts = nexts[::4] if given.quick else nexts
    console = Console(width=120)
    console.print(f"{described()}, commit {commit()}")
    double = Scripted(from_rules(NOISE, given.seed))
    budget = Budget()
    client = LlmClient(Endpoint("http://double/v1", "double", SecretStr("")), budget, Rate(), transport=double)
    with tempfile.TemporaryDirectory() as work:
        cache = given.cache or Path(work) / "vectors"
        folders = {"plain": Path(work) / "none", "rules": Path(work) / "rules", "double": Path(work) / "double"}
        enriched(items, folders["rules"], None)
        counts = enriched(items, folders["double"], client)
        texts = {name: texts_of(items, folder) for name, folder in folders.items()}
        vectors = {name: whitened(encode(told, given.encoder, cache, lambda _: None)) for name, told in texts.items()}
    found = {name: hits(one, nexts, given.seed) for name, one in vectors.items()}
    console.print(
        f"{len(items):,} items, {sum(map(len, found['plain'][0].values())):,} next items of "
        f"{len(found['plain'][0]):,} shoppers ({given.part}), encoder {encoder_name(given.encoder)}, seed {given.seed}"
    )
    console.print(
        f"double: {counts.by_model:,} by the model, {dict(Counter(counts.by_reason))} by rules in its place, "
        f"{dict(Counter(counts.dropped))} not believed, {budget.told()}"
    )
    console.print(_table(found, given.seed))


def _table(found: dict[str, tuple[dict[str, list[bool]], dict[str, list[bool]]]], seed: int) -> Table:
    shown = Table(
        title=f"recall@{TOP} of cold items, mean over shoppers; difference to plain with 95 %", title_style=""
    )
    for column in ("texts", "among all items", "", "among cold items", ""):
        shown.add_column(column)
    for name, sides in found.items():
        cells = [name]
        for side, plain in zip(sides, found["plain"], strict=True):
            mine, theirs = by_shopper(side), by_shopper(plain)
            apart = difference(mine, theirs, seed)
            cells.append(f"{mine.mean():.4f}")
            told = f"{apart.mean / theirs.mean():+.1%} ({apart.low:+.4f} to {apart.high:+.4f})"
            cells.append("" if name == "plain" else told)
        shown.add_row(*cells)
    return shown


if __name__ == "__main__":
    main()
