"""Data sets for the benchmark of models: sequences without times, or any file that a mapping of the loader reads."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

import numpy as np

from features.catalog import Item
from features.events import Event, event_time_ms, record_key_of
from infra.errors import BadInput
from models.beside import Tuning
from models.fitting import Options
from models.interactions import KINDS, Floats, Interactions
from models.item_features import ItemFeatures, features_of
from models.splits import Split, leave_one_out, temporal
from models.text import whitened
from streams.mappings.origin import Origin, text_lines
from streams.mappings.outcomes import Described, Taken
from streams.mappings.table import files_of, named
from tests.benchmarks.machine import ROOT

SHARED: Final = ROOT.parent / "shared" / "data"
_STEP_MS: Final = 60_000  # between two interactions of a sequence that has no times


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set, with its splits and what is to be reached.

    Args:
        name: of it.
        happened: every step, of all kinds.
        goals: the kinds that are to be found.
        features: of its items.
        validation, test: splits of the goals.
        tasks: that are judged, the first one first.
        options: how to fit.
        tuning: of the baselines.
        bars: by task, the NDCG to reach.
    """

    name: str
    happened: Interactions
    goals: Sequence[str]
    features: ItemFeatures
    validation: Split
    test: Split
    tasks: Sequence[str]
    options: Options
    tuning: Tuning
    bars: dict[str, float] = field(default_factory=dict)

    def known_before(self, split: Split) -> Interactions:
        """All kinds of steps that may be known at a split."""
        return split.before if split.name == "loo" else self.happened.before(split.at_ms)


LOO_OPTIONS: Final = Options(
    batch=1536,
    negatives=1024,
    positives=1,
    epochs=10,
    repeats_kept=1.0,
    id_dropout=0.0,
    dropout=0.2,
    examples=1_000_000,
    candidates=1_000_000,
    popular_then=False,  # the times are places in a sequence
)
TIMED_OPTIONS: Final = Options(
    batch=256, epochs=6, dropout=0.2, examples=1_000_000, candidates=1_000_000, popular_then=False
)
LOO_TUNING: Final = Tuning(knn_recency=0.6, ease_recency=0.6)


def beauty(folder: Path = SHARED) -> DataSet:
    """Amazon Beauty, leave-one-out, with its attributes as the items' text."""
    some = folder / "amazon-loo"
    attributes = json.loads((some / "Beauty_item2attributes.json").read_text())
    return sequences("beauty", some / "Beauty.txt", {"new": 0.0525}, attributes)


def toys(folder: Path = SHARED) -> DataSet:
    """Amazon Toys and Games, leave-one-out; ids are all that is known of an item."""
    return sequences("toys", folder / "amazon-loo" / "Toys_and_Games.txt", {"new": 0.060}, {})


def sequences(name: str, file: Path, bars: dict[str, float], attributes: dict[str, list[int]]) -> DataSet:
    """Lines of `user item item …`, oldest first.

    Raises:
        BadInput: a line has no item, or there is none.
    """
    rows: list[tuple[int, int, str]] = []
    shoppers: list[str] = []
    for number, line in enumerate(text_lines(file), 1):
        user, *items = line.split() or [""]
        if not items:
            raise BadInput(f"line {number} has no item: `user item item …` is due", path=file.name, code="cut")
        rows += [(len(shoppers), place, item) for place, item in enumerate(items)]
        shoppers.append(user)
    if not rows:
        raise BadInput("the file has no line", path=file.name, code="no_events")
    names = sorted({item for _, _, item in rows})
    index = {item: row for row, item in enumerate(names)}
    shopper, place, item = np.array([(who, at, index[what]) for who, at, what in rows], np.int64).T
    bought = Interactions(tuple(shoppers), tuple(names), shopper, item, place * _STEP_MS, np.arange(len(rows)))
    none = np.zeros(len(names), np.int64)
    features = ItemFeatures(none, none, none, _described(names, attributes), 1, 1)
    splits = leave_one_out(bought, "validation"), leave_one_out(bought)
    return DataSet(name, bought, ("purchase",), features, *splits, ("new",), LOO_OPTIONS, LOO_TUNING, bars)


def online_retail(folder: Path = SHARED) -> DataSet:
    """UCI Online Retail: everything before November 2011, then what earlier customers bought; October validates."""
    file = folder / "online-retail" / "online_retail.csv.gz"
    days = [_ms(2011, 10, 1), _ms(2011, 11, 1), _ms(2012, 1, 1)]
    found = mapped("online-retail", file, "online-retail", days, ("purchase",))
    return replace(found, bars={"all": 0.37, "new": 0.097}, tuning=Tuning(popular_half_life_days=7))


def taobao(folder: Path = SHARED) -> DataSet:
    """Taobao, 815 shoppers: the last day is to be found, whatever they did with an item; the day before validates."""
    file = folder / "taobao-userbehavior" / "users815_9days.csv.gz"
    days = [_ms(2017, 12, 1, 16), _ms(2017, 12, 2, 16), _ms(2017, 12, 3, 16)]  # midnights in Shanghai
    found = mapped("taobao", file, "taobao", days, ("view_item", "add_to_cart", "add_to_wishlist", "purchase"))
    tuning = Tuning(
        popular_half_life_days=1, repeat_half_life_days=3, ease_items=10_000, session_gap_ms=3_600_000, knn_recency=0.9
    )
    # One pass is not tuned: six take minutes for a day of 815 shoppers.
    return replace(found, tuning=tuning, options=replace(found.options, epochs=1))


DATA: Final = {"beauty": beauty, "toys": toys, "online-retail": online_retail, "taobao": taobao}


def mapped(name: str, file: Path, mapping: str, days: Sequence[int], goals: Sequence[str]) -> DataSet:
    """A file as the loader reads it; `days`: where validation begins, where the test does, where it ends, in ms.

    Empty days: the last eighth of the time is the test, the eighth before it validates.
    """
    events, items = _read(file, mapping)
    happened = _happened(events, [item.item_id for item in items])
    if not days:
        begin, end = int(happened.at.min()), int(happened.at.max()) + 1
        days = [end - (end - begin) // 4, end - (end - begin) // 8, end]
    wanted = happened.of_kinds(goals)
    names = [item.content.name if item.content else "" for item in items]
    features = features_of(items, whitened(_encoded(names)))
    validation, test = (_of_earlier(temporal(wanted, days[at], days[at + 1])) for at in (0, 1))
    tasks = ("all", "new")
    return DataSet(name, happened, goals, features, validation, test, tasks, TIMED_OPTIONS, Tuning())


def _of_earlier(split: Split) -> Split:
    """Of shoppers with a history alone."""
    known = np.isin(split.after.shopper, split.before.shopper)
    return replace(split, after=split.after.chosen(known))


def _read(file: Path, mapping: str) -> tuple[list[Event], list[Item]]:
    way = named(mapping)
    origin = Origin(files_of(str(file), way), "bench", "default", datetime(2030, 1, 1, tzinfo=UTC), "bench")
    events, items = [], {}
    for outcome in way.outcomes(origin):
        match outcome:
            case Taken(event):
                events.append(event)
            case Described():
                items[outcome.item_id] = outcome.item()
    return events, [items[item_id] for item_id in sorted(items)]


def _happened(events: Sequence[Event], items: Sequence[str]) -> Interactions:
    """Steps of known shoppers: baskets of nobody known have neither before nor after."""
    index, kinds = {item: row for row, item in enumerate(items)}, {name: place for place, name in enumerate(KINDS)}
    shoppers: dict[str, int] = {}
    rows, seen = [], set()
    for number, event in enumerate(events):
        identity = (event.source, event.event_id)
        if event.user_id is None or event.event_name not in kinds or identity in seen:
            continue
        seen.add(identity)
        shopper = shoppers.setdefault(record_key_of(event), len(shoppers))
        at, kind = event_time_ms(event), kinds[event.event_name]
        some = dict.fromkeys(line.item_id for line in event.items if line.item_id in index)
        rows += [(shopper, at, number, index[item], kind) for item in some]
    table = np.array(rows, np.int64).reshape(-1, 5)
    who, when, which, what, kind = table[np.lexsort(table[:, [3, 2, 1, 0]].T)].T
    return Interactions(tuple(shoppers), tuple(items), who, what, when, which, kind)


def _encoded(texts: Sequence[str]) -> Floats:
    from models.text_lexical import fitted

    with tempfile.TemporaryDirectory() as folder:
        return fitted(texts, Path(folder) / "lexical.npz").encode(texts, lambda more: None)


def _described(items: Sequence[str], attributes: dict[str, list[int]]) -> Floats:
    """Attributes as the text of items: rare ones count more, then as any text, whitened to 64 numbers."""
    import scipy.sparse as sp
    from scipy.sparse.linalg import svds

    lines = [attributes.get(item, []) for item in items]
    if not any(lines):
        return np.zeros((len(items), 64), np.float32)
    rows = np.repeat(np.arange(len(lines)), [len(line) for line in lines])
    columns = np.array([attribute for line in lines for attribute in line])
    table: Any = sp.csr_matrix((np.ones(len(rows)), (rows, columns)))
    rarity = np.log(len(items) / (1 + np.asarray((table > 0).sum(0)).ravel()))
    left, strengths, _ = svds(table @ sp.diags(np.maximum(rarity, 0)), k=64, random_state=0)
    return whitened((left * strengths).astype(np.float32))


def _ms(*date: int) -> int:
    return round(datetime(*date, tzinfo=UTC).timestamp() * 1000)
