"""What one admitted step of a shopper changes in the statistics of items; pure, the same online and offline.

A step is told apart from those before it by the row that it was folded onto. So duplicates and what is too late
change nothing, and what a pair of steps says is said once: when the later-arriving of the two is admitted. The order
of arrival makes no difference, as long as no bound below is reached.

- An order counts from its own time. A refund takes back the shopper's newest order of the item before it; where there
  is none, nothing. Of settled orders a row knows the first and the last time and how many are left: with three and
  more, those in between are taken as evenly spread.
- A buyer is a shopper with an order of the item that was not given back.
- Two items are seen together when both were viewed within half an hour, bought together when they were bought in one
  order or within seven days. Of a step's neighbours the ten nearest on either side count, as far as the row's fifty
  interactions reach; of an order with more than thirty items the first thirty. A refund leaves pairs as they are.
"""

from bisect import bisect_left
from collections.abc import Sequence
from typing import Final, NamedTuple

from features.events import Event
from features.shopper_bought import orders_of
from features.shopper_state import INTERACTION_KINDS, Interaction, State, Step
from features.shopper_step import meet
from features.shoppers import Row, fold, unpacked
from infra.clock import DAY_MS

SEEN_TOGETHER_MS: Final = 30 * 60 * 1000
BOUGHT_TOGETHER_MS: Final = 7 * DAY_MS
NEAREST: Final = 10
PAIRED_LINES: Final = 30

_VIEW, _ORDER, _REFUND = "view_item", "purchase", "refund"
_WITHIN: Final = {_VIEW: SEEN_TOGETHER_MS, _ORDER: BOUGHT_TOGETHER_MS}
# The kinds of steps whose lines the statistics of items are made from.
COUNTED: Final = frozenset((_VIEW, _ORDER, _REFUND))

Met = tuple[str, int]  # the other item, and the event time of the later of the two steps, ms


class Review(NamedTuple):
    """A rating of 1 to 5, and what it is of."""

    rating: int
    item_ids: tuple[str, ...]


class Change(NamedTuple):
    """What becomes of one item. `at` is the step's event time, `since` the time that views and purchases decay from."""

    item_id: str
    at: int
    since: int
    views: int = 0
    purchases: int = 0
    buyers: int = 0
    stars: int = 0
    ratings: int = 0
    seen_with: Sequence[Met] = ()
    bought_with: Sequence[Met] = ()


def review_of(event: Event) -> Review | None:
    """The rating that an event tells; a step does not hold it."""
    if event.event_name != "review_item" or event.rating is None:
        return None
    return Review(event.rating, tuple(dict.fromkeys(item.item_id for item in event.items)))


def review_changes(review: Review, at: int) -> list[Change]:
    """What a rating changes."""
    return [Change(item_id, at, at, stars=review.rating, ratings=1) for item_id in review.item_ids]


def changes_of(row: Row, admitted: Sequence[Step], lateness_ms: int) -> list[list[Change]]:
    """What each of the admitted steps changes; they were folded onto the row in this order, duplicates left out."""
    if not any(step.name in COUNTED for step in admitted):
        return [[] for _ in admitted]
    if len(admitted) > 1 and _plain(row.state, admitted):
        return _one_after_another(row.state, admitted)
    changes = []
    for number, step in enumerate(admitted, 1):
        changes.append(_changes(row, step))
        if number < len(admitted):
            row = fold(row, [step], lateness_ms).row
    return changes


def _plain(state: State, steps: Sequence[Step]) -> bool:
    """Whether what the row knows at each step can be told without folding: all in order, nothing given back."""
    newest, orders = state.newest, 0
    for step in steps:
        if step.at <= newest or step.name == _REFUND:
            return False
        newest = step.at
        orders += step.name == _ORDER
    return orders <= 1 or not state.bought_before


def _one_after_another(state: State, steps: Sequence[Step]) -> list[list[Change]]:
    met = State(interactions=state.interactions.copy())
    bought: set[str] = set()
    changes = []
    for step in steps:
        changes.append(_newest(met.interactions, state, bought, step))
        if step.name in INTERACTION_KINDS:
            meet(met, step)
        if step.name == _ORDER:
            bought.update(line[0] for line in step.lines)
    return changes


def _changes(row: Row, step: Step) -> list[Change]:
    if step.name not in COUNTED:
        return []
    if step.at > row.state.newest and step.name != _REFUND:
        return _newest(row.state.interactions, row.state, frozenset(), step)
    settled, recent = unpacked(row)
    if step.name == _VIEW:
        met = _around(settled, recent, step)
        return [Change(item, step.at, step.at, views=1, seen_with=met.of(item, n)) for n, item in _items(step)]
    with_it = sorted([*recent, step], key=_order)
    changes = []
    met = _around(settled, recent, step) if step.name == _ORDER else _Met((), ())
    for n, item in _items(step):
        before, after = _left(settled, recent, item), _left(settled, with_it, item)
        buyers, with_others = bool(after) - bool(before), met.of(item, n)
        if buyers or with_others:
            changes.append(Change(item, step.at, step.at, buyers=buyers, bought_with=with_others))
        changes += [Change(item, step.at, since, purchases=-1) for since in _less(before, after)]
        changes += [Change(item, step.at, since, purchases=1) for since in _less(after, before)]
    return changes


def _newest(met: Sequence[Interaction], state: State, bought: "set[str] | frozenset[str]", step: Step) -> list[Change]:
    """Of a view or an order that is newer than all that the row knows of."""
    at, name = step.at, step.name
    if name not in _WITHIN:
        return []
    since = at - _WITHIN[name]
    nearest: list[Met] = []
    for each in reversed(met):
        if each.at < since or len(nearest) == NEAREST:
            break
        if each.kind == name:
            nearest.append((each.item_id, at))
    if name == _VIEW and len(step.lines) == 1:
        item = step.lines[0][0]
        return [Change(item, at, at, 1, seen_with=[other for other in nearest if other[0] != item])]
    around = _Met(nearest, [] if name == _VIEW else _lines(step))
    if name == _VIEW:
        return [Change(item, at, at, views=1, seen_with=around.of(item, n)) for n, item in _items(step)]
    return [
        Change(
            item,
            at,
            at,
            purchases=1,
            buyers=not (item in bought or item in state.purchased or orders_of(state.bought_before, item)),
            bought_with=around.of(item, n),
        )
        for n, item in _items(step)
    ]


class _Met(NamedTuple):
    """What stands around a step: lines of other steps, and the lines of its own order."""

    others: Sequence[Met]
    own: Sequence[Met]

    def of(self, item: str, n: int) -> list[Met]:
        """The neighbours of its n-th line; two lines of one order are told at the later one."""
        if n >= PAIRED_LINES:
            return []
        return [other for other in (*self.others, *self.own[:n]) if other[0] != item]


def _items(step: Step) -> list[tuple[int, str]]:
    return [(n, line[0]) for n, line in enumerate(step.lines)]


def _lines(step: Step) -> list[Met]:
    return [(line[0], step.at) for line in step.lines[:PAIRED_LINES]]


def _order(step: Step) -> tuple[int, str, str]:
    return step.at, step.source, step.event_id


def _around(settled: State, recent: Sequence[Step], step: Step) -> _Met:
    """The nearest lines of the same kind on either side of a step that comes late."""
    place = bisect_left(recent, _order(step), key=_order)
    within = _WITHIN[step.name]
    known = [(each.item_id, each.at) for each in settled.interactions if each.kind == step.name]
    known += [(line[0], one.at) for one in recent[:place] if one.name == step.name for line in one.lines]
    before = [(item, step.at) for item, at in known[-NEAREST:] if at >= step.at - within]
    later = [(line[0], one.at) for one in recent[place:] if one.name == step.name for line in one.lines]
    after = [(item, at) for item, at in later[:NEAREST] if at <= step.at + within]
    return _Met([*before, *after], _lines(step) if step.name == _ORDER else [])


def _left(settled: State, steps: Sequence[Step], item: str) -> list[int]:
    """When the orders of an item were, as far as they were not given back, oldest first."""
    left = _settled_orders(settled, item)
    for step in steps:
        if step.name in (_ORDER, _REFUND) and any(line[0] == item for line in step.lines):
            if step.name == _ORDER:
                left.append(step.at)
            elif left:
                left.pop()
    return left


def _settled_orders(state: State, item: str) -> list[int]:
    found = orders_of(state.bought_before, item)
    left = [] if found is None else [found.last_day * DAY_MS] * found.orders
    bought = state.purchased.get(item)
    if bought is None:
        return left
    if bought.orders == 1:
        return [*left, bought.first_at]
    gap = (bought.last_at - bought.first_at) / (bought.orders - 1)
    return [*left, *(round(bought.first_at + gap * n) for n in range(bought.orders))]


def _less(one: Sequence[int], other: Sequence[int]) -> list[int]:
    """What is in `one` more often than in `other`."""
    rest = list(one)
    for at in other:
        if at in rest:
            rest.remove(at)
    return rest
