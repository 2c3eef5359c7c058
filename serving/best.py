"""The best items of each category: a walk through a large one takes milliseconds, in which no page is answered, so it
is made once for many pages.
"""

from collections.abc import Callable, Collection, Sequence
from heapq import nsmallest
from typing import Final, NamedTuple

from infra.clock import Clock

MOST: Final = 200  # items of a category
SMALL: Final = 200  # a category of no more items is walked each time
KEPT: Final = 512  # categories
KEPT_MS: Final = 5000  # for so long an item that has just come may be missing

Worth = Callable[[str], float]


class _Best(NamedTuple):
    version: str
    at_ms: int
    items: Sequence[tuple[str, float]]


class BestOfCategories:
    """Keeps them, as long as what is known of items is of one version, and no longer than seconds. Whether an item may
    be shown is for whoever lists it to ask: it may have been hidden since.
    """

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._kept: dict[tuple[str, str, str], _Best] = {}

    def of(
        self, name: tuple[str, str, str], version: str, item_ids: Collection[str], worth: Worth
    ) -> Sequence[tuple[str, float]]:
        """Items of some worth, best first. `name` is what is kept (a category by one worth of one model), `version`
        that of the statistics.
        """
        if len(item_ids) <= SMALL:
            return _best(item_ids, worth)
        now_ms, found = self._clock.now_ms(), self._kept.get(name)
        if found is None or found.version != version or not 0 <= now_ms - found.at_ms < KEPT_MS:
            self._kept.pop(name, None)
            if len(self._kept) == KEPT:
                del self._kept[next(iter(self._kept))]
            found = self._kept[name] = _Best(version, now_ms, _best(item_ids, worth))
        return found.items


def _best(item_ids: Collection[str], worth: Worth) -> Sequence[tuple[str, float]]:
    known = ((item_id, worth(item_id)) for item_id in item_ids)
    return nsmallest(MOST, (one for one in known if one[1] > 0), key=lambda one: (-one[1], one[0]))
