"""What training reads: what shoppers did, from the archive, and each of them as Feast knew them before a step."""

from collections.abc import Callable, Container, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import exp2
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd

from features.aggregates import SHOPPER_BEHAVIOUR
from features.archive import EventArchive
from features.events import Event, event_time_ms, record_key_of
from features.offline import StoreAt
from features.shoppers import PURCHASE_HALF_LIFE_MS, Decayed, Interaction, Purchased, State
from features.training_frames import training_frame
from infra.errors import BadInput
from infra.places import Place
from models.interactions import KINDS, Interactions

HISTORY: Final = (
    "recent_items", "recent_kinds", "recent_times", "orders", "views", "mean_log_price", "last_event_at",
)  # fmt: skip
"""Features that the user tower reads."""

BEHAVIOUR: Final = (*HISTORY, "purchased_items", "purchased_weights", "purchased_last_at")
"""Features that all sources of the fused score read."""


@dataclass(frozen=True, slots=True)
class Sources:
    """Where training reads: the archive, the offline store of the tenant."""

    archive_dir: Place | Path
    store: StoreAt
    tenant: str

    def at(self, shoppers: Sequence[str], at_ms: Sequence[int], *, history_alone: bool = False) -> list[State]:
        """As `models.states.StatesAt`: what Feast knew."""
        return states_before(self, shoppers, at_ms, HISTORY if history_alone else BEHAVIOUR)


def purchases(
    sources: Sources,
    items: Sequence[str],
    progress: Callable[[int], None],
    repeats: Callable[[int], None] = lambda _: None,
) -> Interactions:
    """Every purchase of the archive: as `happened`, of one kind."""
    return happened(sources, items, progress, repeats, ("purchase",))


def happened(
    sources: Sources,
    items: Sequence[str],
    progress: Callable[[int], None],
    repeats: Callable[[int], None] = lambda _: None,
    kinds: Sequence[str] = KINDS,
    strange: Callable[[int], None] = lambda _: None,
) -> Interactions:
    """What shoppers did, one row for each item of an event; items outside of `items` are left out.

    An event that is on the log more than once is one event. `progress` hears how many more are read, `repeats` at the
    end how many records said an event again, `strange` of how many lines the item is left out.

    Raises:
        BadInput: there is no purchase among it (`no_events`).
    """
    index = {item_id: row for row, item_id in enumerate(items)}
    place_of = {name: place for place, name in enumerate(KINDS) if name in kinds}
    seen: set[tuple[str, str, str]] = set()
    rows: list[tuple[int, int, int, int, int]] = []
    shoppers: dict[str, int] = {}
    repeated = left_out = 0
    for number, event in enumerate(_of_kinds(sources, place_of)):
        key = record_key_of(event)
        identity = (key, event.source, event.event_id)
        if identity in seen:
            repeated += 1
            continue
        progress(1)
        seen.add(identity)
        shopper = shoppers.setdefault(key, len(shoppers))
        at, kind = event_time_ms(event), place_of[event.event_name]
        distinct = dict.fromkeys(line.item_id for line in event.items if line.item_id in index)
        left_out += len({line.item_id for line in event.items}) - len(distinct)
        rows.extend((shopper, at, number, index[item_id], kind) for item_id in distinct)
    repeats(repeated)
    strange(left_out)
    if not any(row[-1] == KINDS.index("purchase") for row in rows):
        raise BadInput("the archive holds no purchase of an item of the catalogue: load events first", code="no_events")
    table = np.array(rows, dtype=np.int64)
    shopper_, at_, order, item, kind_ = table[np.lexsort(table[:, [3, 2, 1, 0]].T)].T
    return Interactions(tuple(shoppers), tuple(items), shopper_, item, at_, order, kind_)


def _of_kinds(sources: Sources, kinds: Container[str]) -> Iterator[Event]:
    return (
        event
        for event in EventArchive(sources.archive_dir).events()
        if event.event_name in kinds and event.tenant == sources.tenant
    )


def states_before(
    sources: Sources, shoppers: Sequence[str], at_ms: Sequence[int], features: Sequence[str] = BEHAVIOUR
) -> list[State]:
    """Each shopper as Feast knew them just before a moment: what the fold had made of the events before it.

    Args:
        sources: where to read.
        shoppers: record keys.
        at_ms: the moments, one for each.
        features: of `shopper_behaviour`; what is not asked for stays empty in the state.
    """
    labels = pd.DataFrame(
        {
            "shopper": list(shoppers),
            "event_timestamp": pd.to_datetime(np.asarray(at_ms, dtype=np.int64), unit="ms", utc=True),
        }
    )
    frame = training_frame(sources.store, labels, [f"{SHOPPER_BEHAVIOUR.name}:{name}" for name in features])
    columns = {name: frame[name].tolist() for name in features}
    return [_state({name: values[row] for name, values in columns.items()}) for row in range(len(labels))]


def _state(values: dict[str, Any]) -> State:
    """A row of the feature store as the state that it was made from, as far as models look at it."""
    newest = values["last_event_at"]
    if newest is None or pd.isna(newest):
        return State()
    now = int(newest)
    met = zip(values["recent_items"], values["recent_kinds"], values["recent_times"], strict=True)
    lists = ("purchased_items", "purchased_weights", "purchased_last_at")
    bought = zip(*(values.get(name, ()) for name in lists), strict=True)
    mean = values["mean_log_price"]
    known = mean is not None and not pd.isna(mean)
    return State(
        interactions=[Interaction(str(item), str(kind), int(at)) for item, kind, at in met],
        purchased={str(item): _purchased(float(weight), int(at), now) for item, weight, at in bought},
        orders=int(values["orders"]),
        views=int(values["views"]),
        log_price_sum=Decayed(float(mean) if known else 0.0, now),
        log_price_weight=Decayed(1.0 if known else 0.0, now),
        newest=now,
    )


def _purchased(weight: float, last_at: int, now: int) -> Purchased:
    """Of a weight as of `now`; how many orders it sums up is not in the row of the feature store, nor is the first."""
    return Purchased(1, last_at, last_at, weight * exp2((now - last_at) / PURCHASE_HALF_LIFE_MS))


def day_of(at_ms: int) -> datetime:
    """A time in ms as an aware time."""
    return datetime.fromtimestamp(at_ms / 1000, UTC)
