"""Partial statistics of items: known answers, and that neither order, batches nor shards make a difference."""

from collections import defaultdict
from collections.abc import Iterable, Sequence
from math import exp2

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from features import item_partials
from features.item_changes import Change, changes_of
from features.item_partials import (
    ERA_MS,
    HALF_LIFE_MS,
    KEPT_NEIGHBOURS,
    MAX_NEIGHBOURS,
    ORDER_TREND,
    TREND_HALF_LIFE_MS,
    Partial,
    add,
    decode,
    encode,
    worth,
)
from features.item_snapshot import Merger
from features.shoppers import Row, Step, empty, fold
from tests.features.steps import DAY, LATENESS, Story, T

MINUTE = 60_000


def decayed(value: float, at: int, now: int) -> float:
    """What a sum of the era of `at` is worth at a time (ms)."""
    return value * exp2((at // ERA_MS * ERA_MS - now) / HALF_LIFE_MS)


def trend_at(value: float, at: int, now: int) -> float:
    return value * exp2((at // ERA_MS * ERA_MS - now) / TREND_HALF_LIFE_MS)


class Shop:
    """Partials as a partition makes them: shoppers' steps in the order of the log, in batches."""

    def __init__(self) -> None:
        self.rows: dict[str, Row] = defaultdict(empty)
        self.partials: dict[str, Partial] = defaultdict(Partial)

    def take(self, batch: Sequence[tuple[str, Step]]) -> "Shop":
        found: list[tuple[int, list[Change]]] = []
        for shopper in dict.fromkeys(who for who, _ in batch):
            mine = [(n, step) for n, (who, step) in enumerate(batch) if who == shopper]
            folded = fold(self.rows[shopper], [step for _, step in mine], LATENESS)
            places = {id(step): n for n, step in mine}
            changes = changes_of(self.rows[shopper], folded.admitted, LATENESS)
            found += [(places[id(step)], each) for step, each in zip(folded.admitted, changes, strict=True)]
            self.rows[shopper] = folded.row
        for _, of_step in sorted(found, key=lambda one: one[0]):
            for change in of_step:
                add(self.partials[change.item_id], change)
        return self

    def bytes(self) -> dict[str, bytes]:
        return {item: encode(partial) for item, partial in self.partials.items()}

    def now(self, at: int) -> dict[str, dict[str, float]]:
        """What is known as of a moment, pairs in both directions; nothing where all is nothing."""
        known: dict[str, dict[str, float]] = defaultdict(lambda: defaultdict(float))
        for item, one in self.partials.items():
            mine = known[item]
            mine["views"] = decayed(one.views, one.at, at)
            mine["purchases"] = decayed(one.purchases, one.at, at)
            mine["trend"] = trend_at(one.trend, one.at, at)
            mine["buyers"] = one.buyers
            for kind, neighbours in (("seen", one.seen_with), ("bought", one.bought_with)):
                for other, weight in neighbours.items():
                    mine[f"{kind} {other}"] += decayed(weight, one.at, at)
                    known[other][f"{kind} {item}"] += decayed(weight, one.at, at)
        kept = {item: {name: value for name, value in of.items() if abs(value) > 1e-12} for item, of in known.items()}
        return {item: of for item, of in kept.items() if of}


def of(*steps: Step, shopper: str = "ann") -> Shop:
    return Shop().take([(shopper, step) for step in steps])


def about(known: dict[str, dict[str, float]]) -> dict[str, object]:
    return {item: pytest.approx(of, rel=1e-9, abs=1e-9) for item, of in known.items()}


def test_views_and_orders_decay_from_their_own_time() -> None:
    story = Story()
    shop = of(
        story.step("view_item", "tea", at=T),
        story.step("purchase", "tea", at=T + 1),
        story.step("view_item", "tea", at=T + 14 * DAY),
    )
    known = shop.now(T + 14 * DAY)["tea"]
    assert known["views"] == pytest.approx(1.5)
    assert known["purchases"] == pytest.approx(0.5)
    assert known["trend"] == pytest.approx(1 + (1 + ORDER_TREND) * exp2(-14))
    assert known["buyers"] == 1


def test_a_refund_after_a_purchase_leaves_nothing() -> None:
    story = Story()
    shop = of(story.step("purchase", "tea"), story.step("refund", "tea"))
    assert shop.now(T + DAY) == {}
    assert shop.partials["tea"].purchases == 0.0


def test_a_refund_takes_back_the_newest_order_however_long_ago() -> None:
    story = Story()
    first, second = story.step("purchase", "tea", at=T), story.step("purchase", "tea", at=T + 10 * DAY)
    shop = of(first, second, story.step("refund", "tea", at=T + 20 * DAY), story.step("page_view", at=T + 30 * DAY))
    assert shop.now(T + 30 * DAY) == about(of(first).now(T + 30 * DAY))
    shop.take([("ann", story.step("refund", "tea", at=T + 31 * DAY))])
    assert shop.now(T + 31 * DAY) == {}


def test_a_refund_of_what_was_never_bought_and_dislikes_change_nothing() -> None:
    story = Story()
    assert of(story.step("refund", "tea"), story.step("dislike_item", "tea"), story.step("page_view")).partials == {}


def test_items_viewed_in_one_visit_and_bought_within_a_week_go_together() -> None:
    story = Story()
    shop = of(
        story.step("view_item", "tea", at=T),
        story.step("view_item", "cup", at=T + 30 * MINUTE),
        story.step("view_item", "pot", at=T + 61 * MINUTE),
        story.step("purchase", "tea", "pot", at=T + DAY),
        story.step("purchase", "cup", at=T + 8 * DAY),
        story.step("purchase", "mat", at=T + 16 * DAY),
    )
    pairs = {(item, name) for item, of_it in shop.now(T + 16 * DAY).items() for name in of_it if " " in name}
    assert pairs == {
        ("tea", "seen cup"), ("cup", "seen tea"),
        ("tea", "bought pot"), ("pot", "bought tea"), ("cup", "bought tea"), ("tea", "bought cup"),
        ("cup", "bought pot"), ("pot", "bought cup"),
    }  # fmt: skip


def test_only_the_ten_nearest_views_count() -> None:
    story = Story()
    shop = of(*(story.step("view_item", f"i{n}") for n in range(15)))
    assert set(shop.partials["i14"].seen_with) == {f"i{n}" for n in range(4, 14)}


def test_of_too_many_neighbours_the_lightest_go() -> None:
    partial = Partial()
    add(partial, Change("tea", T, T, seen_with=[("often", T), ("often", T)]))
    add(partial, Change("tea", T, T, seen_with=[(f"i{n:02}", T) for n in range(MAX_NEIGHBOURS - 1)]))
    assert len(partial.seen_with) == MAX_NEIGHBOURS
    add(partial, Change("tea", T, T, seen_with=[("late", T)]))
    assert set(partial.seen_with) == {"often", *(f"i{n:02}" for n in range(KEPT_NEIGHBOURS - 1))}
    assert partial.seen_with["often"] == 2 * exp2((T % ERA_MS) / HALF_LIFE_MS)


def test_a_new_era_changes_units_only() -> None:
    begin = (T // ERA_MS + 1) * ERA_MS
    story = Story()
    steps = [
        story.step("view_item", "tea", at=begin - 20 * MINUTE),
        story.step("view_item", "cup", at=begin - 20 * MINUTE + 1),
    ]
    steps += [story.step("view_item", "tea", at=begin + n) for n in (0, 1)]
    known = of(*steps).now(begin + 1)
    assert known["tea"]["views"] == pytest.approx(2 + exp2(-20 * MINUTE / HALF_LIFE_MS))
    assert known["cup"]["seen tea"] == pytest.approx(3, rel=1e-3)
    far = of(*steps, story.step("view_item", "tea", at=begin + 9 * ERA_MS)).now(begin + 9 * ERA_MS)
    assert far["tea"]["views"] == pytest.approx(1)


def test_history_of_any_age_can_be_loaded() -> None:
    partial = Partial()
    add(partial, Change("tea", T, T, views=1))
    add(partial, Change("tea", T - 9 * ERA_MS, T - 9 * ERA_MS, views=1))
    assert decayed(partial.views, partial.at, T) == pytest.approx(1)
    assert worth(partial) > worth(Partial())


ids = st.sampled_from(["a", "b", "c", "茶"])
names = st.sampled_from(["view_item", "purchase", "refund", "add_to_cart", "select_item", "page_view"])


@st.composite
def logs(draw: st.DrawFn, most: int = 9, shoppers: int = 2, halves: int = 46) -> list[tuple[str, Step]]:
    """Steps within a day, few enough of each shopper that no bound is reached; some at one moment."""
    moments = draw(st.lists(st.integers(0, halves).map(lambda half: half * 29 * MINUTE), max_size=most))
    log = []
    for n, at in enumerate(moments):
        lines = tuple((item, None, 1, None, None) for item in draw(st.lists(ids, max_size=2, unique=True)))
        step = Step(T + at, "site", f"e{n}", draw(names), True, None, lines, "EUR", None)
        log.append((f"s{draw(st.integers(1, shoppers))}", step))
    return log


@given(logs().flatmap(lambda log: st.tuples(st.just(log), st.permutations(log))))
def test_the_order_of_arrival_makes_no_difference(both: tuple[list[tuple[str, Step]], list[tuple[str, Step]]]) -> None:
    one, other = (Shop().take(log).now(T + DAY) for log in both)
    assert one == about(other)


@given(
    logs(30) | logs(40, 1, 9 * 46), st.lists(st.integers(0, 40), max_size=5), st.lists(st.integers(0, 29), max_size=8)
)
def test_neither_batches_nor_duplicates_leave_a_trace_in_the_bytes(
    log: list[tuple[str, Step]], cuts: list[int], again: list[int]
) -> None:
    doubled = [*log, *((log[n][0], replace(log[n][1])) for n in again if n < len(log))]
    one_by_one, in_batches = Shop(), Shop()
    for each in log:
        one_by_one.take([each])
    for start, stop in zip([0, *sorted(cuts)], [*sorted(cuts), len(doubled)], strict=True):
        in_batches.take(doubled[start:stop])
    assert in_batches.bytes() == one_by_one.bytes()
    assert list(in_batches.partials) == list(one_by_one.partials)


@given(logs(shoppers=4))
def test_the_sum_over_partitions_is_the_partial_of_the_whole(log: list[tuple[str, Step]]) -> None:
    whole = Shop().take(log)
    shards = [Shop().take([each for each in log if each[0] in who]) for who in (("s1", "s2"), ("s3",), ("s4",))]
    one, other = Merger(), Merger()
    for merger, shops in ((one, [whole]), (other, shards)):
        for shop in shops:
            for item, partial in sorted(shop.partials.items()):
                merger.add(item, partial)
    expected, found = one.totals(), other.totals()
    if expected is None or found is None:
        assert expected is found
        return
    assert (found.item_ids, found.era, found.at.tolist()) == (expected.item_ids, expected.era, expected.at.tolist())
    for name in ("views", "purchases", "trend", "buyers", "stars", "ratings"):
        column = getattr(expected, name)
        assert getattr(found, name) == pytest.approx(column, rel=1e-9, abs=1e-9 * max(1.0, float(column.max())))
    for pairs, known in ((found.seen, expected.seen), (found.bought, expected.bought)):
        assert (pairs.items.tolist(), pairs.others.tolist()) == (known.items.tolist(), known.others.tolist())
        assert pairs.sums == pytest.approx(known.sums, rel=1e-9)


@given(logs(60, shoppers=1))
def test_bounds_and_codec_hold(log: list[tuple[str, Step]]) -> None:
    for partial in Shop().take(log).partials.values():
        assert max(len(partial.seen_with), len(partial.bought_with)) <= MAX_NEIGHBOURS
        assert encode(decode(encode(partial))) == encode(partial)


def test_a_partial_is_small() -> None:
    partial = Partial()
    neighbours: Iterable[tuple[str, int]] = [(f"item-{n:07}", T) for n in range(MAX_NEIGHBOURS)]
    add(partial, Change("tea", T, T, views=1, seen_with=list(neighbours), bought_with=list(neighbours)))
    assert len(encode(partial)) < 2300
    assert len(item_partials.encode(Partial())) < 50
