"""What the archive tells of items and shoppers beside purchases: categories for calibration, countries for segments."""

from collections.abc import Callable, Sequence
from typing import Final

import numpy as np

from features.archive import EventArchive
from features.events import event_time_ms, record_key_of
from models.beyond_accuracy import UNKNOWN
from models.comparison import Traits
from models.dataset import Sources

COUNTRY: Final = "country"
_EVERY: Final = 10_000


def traits_told(
    sources: Sources,
    items: Sequence[str],
    shoppers: Sequence[str],
    before_ms: int,
    progress: Callable[[int], None] = lambda _: None,
) -> Traits:
    """The category of each item, as the newest event says, and the trait `country` of each shopper.

    Args:
        sources: where the archive is.
        items: item ids, the rows of the categories.
        shoppers: record keys, the rows of the countries.
        before_ms: nothing that happened later is looked at.
        progress: hears how many more events are read.
    """
    index = {item_id: row for row, item_id in enumerate(items)}
    known = set(shoppers)
    categories: dict[int, tuple[int, str]] = {}
    countries: dict[str, tuple[int, str]] = {}
    number = 0
    for number, event in enumerate(EventArchive(sources.archive_dir).events(), 1):
        if number % _EVERY == 0:
            progress(_EVERY)
        if event.tenant != sources.tenant or (at := event_time_ms(event)) >= before_ms:
            continue
        for line in event.items:
            row = index.get(line.item_id)
            if row is not None and line.category is not None and at >= categories.get(row, (at,))[0]:
                categories[row] = (at, line.category)
        country = (event.traits or {}).get(COUNTRY)
        if country and (key := record_key_of(event)) in known and at >= countries.get(key, (at,))[0]:
            countries[key] = (at, country)
    progress(number % _EVERY)
    names = {name: place for place, name in enumerate(sorted({name for _, name in categories.values()}))}
    rows = [names[categories[row][1]] if row in categories else UNKNOWN for row in range(len(items))]
    return Traits(np.array(rows, np.int64), [countries[key][1] if key in countries else None for key in shoppers])
