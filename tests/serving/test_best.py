"""The best items of a category: found once for many pages, and never shown where they may not be any more."""

from collections.abc import Mapping
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from features.catalog import Content, FacetRecord, Item, Price, Stock
from infra.clock import ManualClock
from serving.best import KEPT, KEPT_MS, MOST, SMALL, BestOfCategories
from serving.catalogue import Catalogue
from serving.facts import NOBODY
from serving.gathering import Wish, rank
from serving.item_lists import ItemLists, TrendingQuery
from serving.model import Known
from serving.scenarios import Scenario, Turn
from serving.sources import Shop
from serving.statistics_reader import ItemKnowledge, StatisticsReader
from tests.serving.test_ranking import ids

TEAS = [f"t{n:04}" for n in range(SMALL + 100)]


class Worth:
    """Popularities, and how many were asked for."""

    def __init__(self, of: Mapping[str, float]) -> None:
        self.of = of
        self.asked = 0

    def __call__(self, item_id: str) -> float:
        self.asked += 1
        return self.of.get(item_id, 0.0)


def test_a_large_category_is_walked_once_for_a_version_and_some_seconds() -> None:
    clock, worth = ManualClock(1_000_000), Worth({TEAS[5]: 1.0, TEAS[7]: 2.0})
    best, name = BestOfCategories(clock), ("popular", "m1", "tea")
    walks = []

    def found(version: str = "s1") -> list[str]:
        before = worth.asked
        items = [item_id for item_id, _ in best.of(name, version, TEAS, worth)]
        walks.append(worth.asked > before)
        return items

    assert found() == found() == [TEAS[7], TEAS[5]]
    worth.of = {TEAS[9]: 1.0}
    assert found("s2") == [TEAS[9]]
    clock.move_ms(KEPT_MS - 1)
    assert found("s2") == [TEAS[9]]
    clock.move_ms(1)
    assert found("s2") == [TEAS[9]]
    clock.move_ms(-10)  # a clock that was put back keeps nothing for longer
    assert found("s2") == [TEAS[9]]
    assert walks == [True, False, True, False, True, True]


def test_what_is_kept_is_bounded() -> None:
    best, worth = BestOfCategories(ManualClock(0)), Worth(dict.fromkeys(TEAS, 1.0))
    for n in range(KEPT + 1):
        assert len(best.of(("popular", "m1", str(n)), "s1", TEAS, worth)) == MOST
    asked = worth.asked
    best.of(("popular", "m1", "1"), "s1", TEAS, worth)
    assert worth.asked == asked
    best.of(("popular", "m1", "0"), "s1", TEAS, worth)
    assert worth.asked > asked


@given(st.dictionaries(st.sampled_from(TEAS), st.sampled_from([0.0, 0.5, 1.0, 2.0])), st.integers(0, len(TEAS)))
def test_they_are_the_best_ones_however_many_there_are(of: dict[str, float], many: int) -> None:
    found = BestOfCategories(ManualClock(0)).of(("popular", "m1", "tea"), "s1", TEAS[:many], Worth(of))
    wanted = sorted((one for one in of.items() if one[1] > 0 and one[0] in TEAS[:many]), key=lambda o: (-o[1], o[0]))
    assert found == wanted[:MOST]


def stock_of(item_id: str, *, available: bool) -> FacetRecord:
    return FacetRecord(tenant="default", item_id=item_id, stock=Stock(available=available))


async def test_an_item_that_was_hidden_since_is_in_no_list(redis: Redis) -> None:
    catalogue = Catalogue()
    price = Price(price=Decimal(2), currency="EUR")
    made = {i: Item(item_id=i, content=Content(name=i, category="tea"), price=price) for i in TEAS}
    catalogue.replace_all(made, {})
    model = Known(None, [(item_id, float(len(TEAS) - n)) for n, item_id in enumerate(TEAS)])
    knowledge = ItemKnowledge(model, StatisticsReader(redis, "default"), BestOfCategories(ManualClock(0)))
    scenario = Scenario(name="category", blend=(Turn("category"),), fallback=())

    def page() -> list[str]:
        return ids(rank(Wish(scenario, 3, context=(TEAS[9],)), NOBODY, (), Shop(catalogue, knowledge)))

    assert page() == TEAS[:3]
    catalogue.apply(stock_of(TEAS[1], available=False))
    assert page() == [TEAS[0], TEAS[2], TEAS[3]]


async def test_what_is_met_more_in_a_category_is_kept_too_and_still_only_shown_where_it_may_be(redis: Redis) -> None:
    catalogue = Catalogue()
    price = Price(price=Decimal(2), currency="EUR")
    catalogue.replace_all({i: Item(item_id=i, content=Content(name=i, category="tea"), price=price) for i in TEAS}, {})
    statistics = Trends(redis, "default")
    knowledge = ItemKnowledge(Known(), statistics, BestOfCategories(ManualClock(0)))
    lists = ItemLists(catalogue, knowledge, lambda _: nobody())

    def trending() -> list[str]:
        return [one.item_id for one in lists.trending(TrendingQuery(category="tea")).items]

    statistics.of = {TEAS[3]: 1.0, TEAS[4]: 2.0}
    assert trending() == [TEAS[4], TEAS[3]]
    statistics.of = {}
    assert trending() == [TEAS[4], TEAS[3]]
    catalogue.apply(stock_of(TEAS[4], available=False))
    assert trending() == [TEAS[3]]


class Trends(StatisticsReader):
    """Statistics that are written down."""

    of: Mapping[str, float] = {}

    def trend(self, item_id: str) -> float:
        return self.of.get(item_id, 0.0)


async def nobody() -> None:
    return None
