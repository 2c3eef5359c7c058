"""From candidates to a list: pure. The same inputs give the same list, at the page view and when its record is read.

Sources are taken in turns, best first, no item twice; then likeness and categories spread them, now and then a slot is
explored, and pins get their slots. What may not be shown has been left out of the inputs before (`serving.gathering`).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import lru_cache
from itertools import islice
from typing import Any, Final, Literal, TypeVar

import msgspec
import numpy as np
import numpy.typing as npt

from serving.scenarios import Scenario, SourceName

# Why an item is not in a list. unknown_item: the catalogue has no name for it.
WhyNot = Literal[
    "unknown_item", "hidden", "out_of_stock", "excluded", "context", "in_cart", "disliked", "owned", "filtered"
]

_T = TypeVar("_T")
POOL: Final = 60  # candidates that a list is chosen from, at least, where their order is not the list's
_MOST_LIKE: Final = 255
_MASK: Final = (1 << 64) - 1


class Choice(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A candidate of one source; `because` is the item that it goes with."""

    item_id: str
    score: float
    source: str
    because: str | None = None


class Dropped(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A candidate that may not be shown."""

    item_id: str
    score: float
    why: WhyNot


class Listed(msgspec.Struct, array_like=True, frozen=True):
    """What a source brought, best first as it says. `factors` multiply the scores; `turn` of 0: it only fills up.

    Of what was dropped the first are told by name, the rest by their number.
    """

    source: SourceName
    turn: int
    choices: list[Choice]
    factors: list[float] | None = None
    dropped: list[Dropped] = []
    dropped_more: int = 0


class Pin(msgspec.Struct, array_like=True, frozen=True):
    """An item that has a slot of its own; positions begin at 1."""

    item_id: str
    position: int


class Inputs(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """Everything that a list follows from.

    `alike` is the likeness of each item of `alike_ids` to each that comes after it, 0 to 255, row after row.
    `categories` holds those of the candidates, where a cap asks for them; pins are such as may be shown, and
    `refused_pins` tells why others may not.
    """

    scenario: Scenario
    count: int
    seed: int
    lists: list[Listed]
    pins: list[Pin] = []
    refused_pins: list[Dropped] = []
    explored: list[Choice] = []
    categories: dict[str, str] = {}
    alike_ids: list[str] = []
    alike: bytes = b""


class Placed(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """An item of the list. `planned` is False when the blend was used up; `propensity` is how probable this item was in
    this slot, given those above it. `score` has the factors in it.
    """

    choice: Choice
    position: int
    score: float
    planned: bool = True
    propensity: float = 1.0
    explored: bool = False
    pinned: bool = False


class Ranked(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """A candidate in the order of the blend."""

    choice: Choice
    score: float
    planned: bool


def decide(inputs: Inputs) -> list[Placed]:
    """The list: `inputs.count` items, fewer only when there are no more candidates."""
    as_blended = not inputs.pins and not reorders(inputs.scenario)
    if as_blended and len(inputs.lists) == 1 and inputs.lists[0].factors is None:
        return _as_it_came(inputs.lists[0], inputs.count)
    slots = inputs.count - len(inputs.pins)
    ranked = blended(inputs, pool_size(inputs.scenario, inputs.count))
    if as_blended:
        return [Placed(one.choice, n, one.score, one.planned) for n, one in enumerate(ranked, 1)]
    return list(_with_pins(inputs, _explored(inputs, spread(inputs, ranked, slots), slots)))


def _as_it_came(listed: Listed, most: int) -> list[Placed]:
    """What `blended` gives of one source alone, without its turns: most lists are of a shelf that fills them."""
    taken: set[str] = set()
    placed: list[Placed] = []
    planned = listed.turn > 0
    for choice in listed.choices:
        if choice.item_id not in taken:
            taken.add(choice.item_id)
            placed.append(Placed(choice, len(placed) + 1, choice.score, planned))
            if len(placed) == most:
                break
    return placed


def pool_size(scenario: Scenario, count: int) -> int:
    """How many candidates a list of so many items is chosen from."""
    return max(count, POOL) if reorders(scenario) else count


def reorders(scenario: Scenario) -> bool:
    """Whether the order of the blend is not yet the order of the list."""
    return scenario.diversity > 0 or scenario.category_cap is not None or scenario.exploration is not None


def raised(score: float, factor: float) -> float:
    """A score times a factor; a negative one is brought as much nearer to 0, for a factor above 1 always helps."""
    return score * factor if score >= 0 else score / max(factor, 1e-6)


def blended(inputs: Inputs, most: int) -> list[Ranked]:
    """The first candidates of all sources in turns, pins apart, none twice."""
    planned = [(_best_first(one), one.turn) for one in inputs.lists if one.turn]
    filling = (_best_first(one) for one in inputs.lists if not one.turn)
    taken = {pin.item_id for pin in inputs.pins}
    found: list[Ranked] = []
    for of_blend, ranked in ((True, in_turns(planned)), *((False, one) for one in filling)):
        for choice, score in ranked:
            if choice.item_id not in taken:
                taken.add(choice.item_id)
                found.append(Ranked(choice, score, of_blend))
                if len(found) >= most:
                    return found
    return found


def spread(inputs: Inputs, ranked: Sequence[Ranked], slots: int) -> list[Ranked]:
    """All of them, those first that are told apart from what is above them and of categories not yet used up.

    Maximal marginal relevance (Carbonell and Goldstein 1998), with the place in the blend as relevance: scores of
    different sources have no scale in common.
    """
    scenario = inputs.scenario
    if len(ranked) <= 1 or not (scenario.diversity > 0 or scenario.category_cap is not None):
        return list(ranked)
    many, weight = len(ranked), scenario.diversity
    relevance = (1.0 - weight) * (1.0 - np.arange(many) / many)
    alike = _alike(inputs, ranked) if weight > 0 else None
    nearest = np.zeros(many)
    free = np.ones(many, bool)
    room = _Room(inputs, ranked)
    order: list[int] = []
    for _ in range(min(slots, many)):
        worth = relevance - weight * nearest
        allowed = free & room.left if (free & room.left).any() else free
        pick = int(np.argmax(np.where(allowed, worth, -np.inf)))
        free[pick] = False
        room.take(pick)
        order.append(pick)
        if alike is not None:
            np.maximum(nearest, alike[pick], out=nearest)
    return [ranked[n] for n in (*order, *np.flatnonzero(free).tolist())]


class _Room:
    """How many more of each category fit under the cap."""

    def __init__(self, inputs: Inputs, ranked: Sequence[Ranked]) -> None:
        self.left = np.ones(len(ranked), bool)
        self._cap = inputs.scenario.category_cap
        self._of = [inputs.categories.get(one.choice.item_id) for one in ranked]
        self._taken: dict[str, int] = {}

    def take(self, n: int) -> None:
        category = self._of[n]
        if self._cap is None or category is None:
            return
        self._taken[category] = self._taken.get(category, 0) + 1
        if self._taken[category] >= self._cap:
            self.left &= np.array([one != category for one in self._of])


def packed_likeness(likeness: npt.NDArray[Any]) -> bytes:
    """A symmetric matrix of likenesses, 0 to 1, as `Inputs.alike` has it."""
    upper = likeness[_upper(len(likeness))]
    packed: bytes = np.rint(np.clip(upper, 0.0, 1.0) * _MOST_LIKE).astype(np.uint8).tobytes()
    return packed


def _alike(inputs: Inputs, ranked: Sequence[Ranked]) -> npt.NDArray[np.float64]:
    many = len(inputs.alike_ids)
    full = np.zeros((many + 1, many + 1))  # the last row: an item of which nothing is known is like no other
    rows, columns = _upper(many)
    full[rows, columns] = np.frombuffer(inputs.alike, np.uint8) / _MOST_LIKE
    full += full.T
    place = {item_id: n for n, item_id in enumerate(inputs.alike_ids)}
    at = [place.get(one.choice.item_id, many) for one in ranked]
    picked: npt.NDArray[np.float64] = full[np.ix_(at, at)]
    return picked


@lru_cache(maxsize=128)
def _upper(many: int) -> tuple[npt.NDArray[Any], npt.NDArray[Any]]:
    return np.triu_indices(many, 1)


def _explored(inputs: Inputs, ranked: Sequence[Ranked], slots: int) -> list[Placed]:
    """Each slot goes to the next in order, or by chance to an item of the pool; how probable it was is noted."""
    exploration = inputs.scenario.exploration
    pool = inputs.explored if exploration is not None else []
    if exploration is None or not pool:
        return [Placed(one.choice, 0, one.score, one.planned) for one in islice(ranked, slots)]
    pinned = {pin.item_id for pin in inputs.pins}
    left = {one.item_id: one for one in pool if one.item_id not in pinned}
    waiting = {one.choice.item_id: one for one in ranked}
    placed = []
    for slot in range(slots):
        first = next(iter(waiting.values()), None)
        item_id = _drawn(inputs.seed, slot, exploration.share if first is not None else 1.0, left) if left else None
        if item_id is None and first is None:
            break
        chosen = item_id if item_id is not None else first.choice.item_id if first is not None else ""
        propensity = slot_propensity(chosen, first, left, exploration.share)
        ranked_one = waiting.pop(chosen, None)
        from_pool = left.pop(chosen, None)
        if item_id is not None and from_pool is not None:
            placed.append(Placed(from_pool, 0, from_pool.score, propensity=propensity, explored=True))
        elif ranked_one is not None:
            placed.append(Placed(ranked_one.choice, 0, ranked_one.score, ranked_one.planned, propensity))
    return placed


def slot_propensity(item_id: str, first: Ranked | None, pool: Mapping[str, Choice], share: float) -> float:
    """How probable an item is in a slot whose next in order is `first`, where `pool` is left to explore."""
    drawn = 1.0 / len(pool) if item_id in pool else 0.0
    if first is None:
        return drawn
    share = share if pool else 0.0
    return share * drawn + (1.0 - share if item_id == first.choice.item_id else 0.0)


def _drawn(seed: int, slot: int, share: float, pool: Mapping[str, Choice]) -> str | None:
    """The item of the pool that chance puts here; None: the order is kept."""
    if even(seed, 2 * slot) >= share:
        return None
    return next(islice(pool, int(even(seed, 2 * slot + 1) * len(pool)), None))


def even(seed: int, n: int) -> float:
    """The n-th of a row of numbers evenly spread over [0, 1): SplitMix64 (Steele, Lea and Flood 2014)."""
    z = (seed + (n + 1) * 0x9E3779B97F4A7C15) & _MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK
    return ((z ^ (z >> 31)) >> 11) / (1 << 53)


def _with_pins(inputs: Inputs, placed: Sequence[Placed]) -> Iterator[Placed]:
    """In their slots; where too few are left to reach a pin's slot, there is a gap before it."""
    pins = {pin.position: pin.item_id for pin in inputs.pins}
    rest = iter(placed)
    for position in range(1, inputs.count + 1):
        pinned = pins.get(position)
        if pinned is not None:
            yield Placed(Choice(pinned, 0.0, "pin"), position, 0.0, pinned=True)
        elif (one := next(rest, None)) is not None:
            yield Placed(one.choice, position, one.score, one.planned, one.propensity, one.explored)


def _best_first(listed: Listed) -> Iterator[tuple[Choice, float]]:
    factors = listed.factors
    if factors is None:
        return ((choice, choice.score) for choice in listed.choices)
    raised_ones = ((one, raised(one.score, by)) for one, by in zip(listed.choices, factors, strict=True))
    return iter(sorted(raised_ones, key=lambda one: -one[1]))


def in_turns(sources: Iterable[tuple[Iterator[_T], int]]) -> Iterator[_T]:
    """So many of each in turns; a source that is used up leaves its turn to the others."""
    left = list(sources)
    while len(left) > 1:
        still = []
        for source, turns in left:
            brought = list(islice(source, turns))
            yield from brought
            if len(brought) == turns:
                still.append((source, turns))
        left = still
    for source, _ in left:
        yield from source
