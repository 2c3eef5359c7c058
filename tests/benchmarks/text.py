"""How encoders do on real texts, before and after tuning and export: python -m tests.benchmarks.text --quick

Reads ../shared/data (or --data FOLDER): query–title match (zh-ecommerce), items bought one after the other
(amazon-office-text). Seconds are of the processor.
"""

import argparse
import ast
import csv
import gzip
import json
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from infra.errors import Refused
from models.text_encoder import Encoder, directions
from models.text_export import export
from models.text_lexical import LexicalEncoder
from models.text_matching import matching
from models.text_pairs import Pairs, of_items
from models.text_transformer import ENGLISH, TransformerEncoder
from models.text_tuning import Options, tune

_ZH = "zh-ecommerce/ZH-Multi_CPR-CLS-query_item_matching/test.json"
_SEED = 1


@dataclass(frozen=True, slots=True)
class Asked:
    """A query, a title, and whether they match."""

    query: str
    title: str
    match: bool


def asked(file: Path) -> list[Asked]:
    """The lines of the query–title match."""
    out = []
    for line in file.read_text(encoding="utf-8").splitlines():
        told = json.loads(line)
        query, _, title = told["sentences"].partition("\nDoc: ")
        out.append(Asked(query.removeprefix("Query: "), title, told["labels"]["en"] == ["match"]))
    return out


def chinese(encoder: Encoder, lines: Sequence[Asked]) -> dict[str, float]:
    """AUC of the cosine for match against no match; how each query's title is found among all titles."""
    quiet = _quiet
    queries = directions(encoder.encode([one.query for one in lines], quiet))
    titles = directions(encoder.encode([one.title for one in lines], quiet))
    cosines = (queries * titles).sum(1)
    yes = np.array([one.match for one in lines])
    right, wrong = cosines[yes][:, None], cosines[~yes][None, :]
    auc = float((right > wrong).mean() + (right == wrong).mean() / 2)
    pairs = Pairs(*zip(*((one.query, one.title) for one in lines if one.match), strict=True))
    others = Pairs(*zip(*(("", one.title) for one in lines if not one.match), strict=True))
    found = matching(encoder, pairs, [others])
    return {"auc": auc, **msgspec.to_builtins(found)}


def office(data: Path, most: int) -> Pairs:
    """Items bought one right after the other, drawn from the histories before the validation item."""
    folder = data / "amazon-office-text"
    with gzip.open(folder / "items.json.gz", "rt", encoding="utf-8") as raw:
        titles = {int(item): told["title"] for item, told in json.load(raw).items()}
    found: list[tuple[int, int]] = []
    with gzip.open(folder / "valid.csv.gz", "rt", encoding="utf-8") as raw:
        for line in csv.DictReader(raw):
            history = ast.literal_eval(line["history_item_id"])
            found += [(min(pair), max(pair)) for pair in pairwise(history)]
    distinct = list(dict.fromkeys(found))
    order = np.random.default_rng(_SEED).permutation(len(distinct))[:most]
    texts = [titles.get(item, "") for item in range(max(titles) + 1)]
    return of_items((distinct[at] for at in order.tolist()), texts)


def main() -> None:
    """Every row as one JSON line."""
    args = _args()
    lines = asked(args.data / _ZH)
    catalogue = [one.title for one in lines]
    for width in (64, 128, 256, 512):
        _say("zh", f"lexical {width}", chinese(LexicalEncoder.fit(catalogue, width), lines))
    english = TransformerEncoder.open(ENGLISH)
    _say("zh", ENGLISH, chinese(english, lines))
    pairs = office(args.data, 1_000 if args.quick else 8_000)
    learned, held = pairs.held_out(0.25, _SEED)
    _say("office", "lexical", matching(LexicalEncoder.fit([*pairs.left, *pairs.right]), held, [learned]))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = time.process_time()
        try:
            told = tune(english, pairs, Options(held=0.25, seed=_SEED, epochs=args.epochs), folder / "tuned", _quiet)
        except Refused as refused:
            _say("office", ENGLISH, {"refused": refused.message})
        else:
            _say("office", ENGLISH, {"cpu_s": round(time.process_time() - begin), **msgspec.to_builtins(told)})
        fresh = TransformerEncoder.open(ENGLISH)
        sample = list(dict.fromkeys(held.left))[: 100 if args.quick else 500]
        for int8 in (False, True):
            _say("export", "int8" if int8 else "fp32", export(fresh, sample, folder / f"onnx{int8}", int8=int8))


def _args() -> Any:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--quick", action="store_true", help="1,000 pairs instead of 8,000")
    parser.add_argument("--epochs", type=int, default=1)
    return parser.parse_args()


def _say(task: str, encoder: str, figures: Any) -> None:
    told = {"task": task, "encoder": encoder, **msgspec.to_builtins(figures)}
    print(json.dumps(told, ensure_ascii=False), flush=True)


def _quiet(_: int) -> None:
    return None


if __name__ == "__main__":
    main()
