"""Laws of the list: what is never in it, and that it is never empty while something may be shown."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
from hypothesis import given, settings
from hypothesis import strategies as st

from features.shopper_bought import added
from features.shoppers import CartLine, Interaction, Purchased, Session, State
from models.candidates import Candidate
from serving.facts import NOBODY, facts_of
from serving.gathering import Wish, rank
from serving.ranking import Choice, Placed, WhyNot
from serving.reasons import TEXTS, VIEWS, Explainer, language_of
from serving.scenarios import SCENARIOS
from serving.sources import Facts, Shop

IDS = [f"i{n}" for n in range(14)]
NOW = 1_000_000_000_000
some_ids = st.sets(st.sampled_from(IDS), max_size=6)
KINDS = ("view_item", "select_item", "add_to_cart", "purchase", "add_to_wishlist")


@dataclass(frozen=True)
class AShop:
    """A catalogue view and a model's knowledge, written down."""

    shown: frozenset[str]
    categories: dict[str, str] = field(default_factory=dict)
    neighbours: dict[str, list[tuple[str, float]]] = field(default_factory=dict)
    popularities: dict[str, float] = field(default_factory=dict)

    def may_be_shown(self, item_id: str) -> bool:
        return item_id in self.shown

    def category(self, item_id: str) -> str | None:
        return self.categories.get(item_id)

    def in_category(self, category: str) -> Collection[str]:
        return [i for i, c in self.categories.items() if c == category and i in self.shown]

    def why_not(self, item_id: str) -> WhyNot:
        return "out_of_stock"

    def all_items(self) -> Iterable[str]:
        return sorted(self.shown)

    def newest_first(self) -> Iterable[str]:
        return sorted(self.shown, reverse=True)

    def similar(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        return self.neighbours.get(item_id, [])[:k]

    def popular(self) -> Sequence[tuple[str, float]]:
        return sorted(((i, p) for i, p in self.popularities.items() if p > 0), key=lambda one: -one[1])

    def popularity(self, item_id: str) -> float:
        return self.popularities.get(item_id, 0.0)

    def unmet(self, item_ids: Iterable[str]) -> list[str]:
        return [one for one in item_ids if self.popularity(one) <= 0]

    def bought_with(self, item_id: str, k: int) -> Sequence[tuple[str, float]]:
        return self.similar(item_id, k)

    def trending(self) -> Sequence[tuple[str, float]]:
        return self.popular()

    def popular_in(self, category: str, item_ids: Collection[str]) -> Sequence[tuple[str, float]]:
        return [one for one in self.popular() if one[0] in item_ids]

    def trending_in(self, category: str, item_ids: Collection[str]) -> Sequence[tuple[str, float]]:
        return self.popular_in(category, item_ids)

    def likeness(self, item_ids: Sequence[str]) -> npt.NDArray[np.float64] | None:
        return None


@st.composite
def shops(draw: st.DrawFn) -> AShop:
    return AShop(
        shown=frozenset(draw(st.sets(st.sampled_from(IDS)))),
        categories=draw(st.dictionaries(st.sampled_from(IDS), st.sampled_from(["tea", "cake"]))),
        neighbours=draw(
            st.dictionaries(
                st.sampled_from(IDS),
                st.lists(st.tuples(st.sampled_from(IDS), st.floats(0.01, 1)), max_size=5, unique_by=lambda n: n[0]),
                max_size=6,
            )
        ),
        popularities=draw(st.dictionaries(st.sampled_from(IDS), st.floats(0, 5))),
    )


@st.composite
def states(draw: st.DrawFn) -> State:
    met = draw(st.lists(st.tuples(st.sampled_from(IDS), st.sampled_from(KINDS)), max_size=8))
    interactions = [Interaction(item, kind, NOW - 1000 * (len(met) - n)) for n, (item, kind) in enumerate(met)]
    session = Session("s", draw(st.integers(NOW - 8000, NOW)), NOW, 3) if draw(st.booleans()) else None
    return State(
        interactions=interactions,
        cart={i: CartLine(1, None, None, NOW) for i in draw(some_ids)},
        purchased={i: Purchased(draw(st.integers(-1, 2)), NOW, NOW, 1.0) for i in draw(some_ids)},
        disliked=dict.fromkeys(draw(some_ids), NOW),
        wishes=dict.fromkeys(draw(some_ids), NOW),
        session=session,
        newest=NOW,
    )


candidates = st.lists(
    st.builds(
        Candidate,
        item_id=st.sampled_from(IDS),
        score=st.floats(0, 1),
        repeat_score=st.floats(0, 1),
        source=st.sampled_from(["tower", "item_to_item", "repeat", "popular"]),
        because=st.none() | st.sampled_from(IDS),
    ),
    max_size=10,
)
wishes = st.builds(
    Wish,
    scenario=st.sampled_from(list(SCENARIOS.values())),
    count=st.integers(1, 16),
    repeats=st.booleans(),
    context=st.lists(st.sampled_from(IDS), max_size=3).map(tuple),
    excluded=some_ids.map(frozenset),
)
personalizations = st.sampled_from(["full", "session", "none"])


def ids(placed: Sequence[Placed]) -> list[str]:
    return [one.choice.item_id for one in placed]


@settings(max_examples=60)
@given(states(), shops(), candidates, wishes, st.sampled_from(["full", "session"]))
def test_nothing_forbidden_nothing_twice_and_everything_that_fits(
    state: State, shop: AShop, shelf: list[Candidate], wish: Wish, how: str
) -> None:
    facts = facts_of(state, how, None, NOW)
    found = ids(rank(wish, facts, shelf, Shop(shop, shop)))
    bought = {i for i, one in state.purchased.items() if one.orders > 0}
    forbidden = set(state.cart) | set(state.disliked) | set(wish.excluded) | set(wish.context)
    if not wish.repeats:
        forbidden |= bought
    allowed = shop.shown - forbidden
    assert set(found) <= allowed
    assert len(found) == len(set(found)) == min(wish.count, len(allowed))


@settings(max_examples=60)
@given(states(), shops(), candidates, wishes, personalizations)
def test_reasons_are_true_of_the_state(state: State, shop: AShop, shelf: list[Candidate], wish: Wish, how: str) -> None:
    facts = NOBODY if how == "none" else facts_of(state, how, None, NOW)
    whole = Shop(shop, shop)
    explainer = Explainer(facts, wish.context, whole, str.upper, "en")
    kinds = {(one.item_id, one.kind) for one in state.interactions}
    for one in rank(wish, facts, shelf if how == "full" else [], whole):
        every = explainer.reasons(one.choice, every=True)
        assert explainer.reasons(one.choice) == every[:1]
        assert len({reason.code for reason in every}) == len(every)
        for reason in every:
            about = reason.evidence.get("item_id", "")
            match reason.code:
                case "because_in_cart":
                    assert about in state.cart
                case "because_viewed":
                    assert any((about, kind) in kinds for kind in VIEWS)
                case "because_bought":
                    assert state.purchased[about].orders > 0
                case "because_wished":
                    assert about in state.wishes
                case "buy_again":
                    assert state.purchased[one.choice.item_id].orders > 0
                    assert wish.repeats
                case "similar_to_context":
                    assert about in wish.context
                    assert one.choice.item_id in dict(shop.similar(about, 50))
                case "popular_in_category" | "popular":
                    assert shop.popularity(one.choice.item_id) > 0
                    assert reason.evidence.get("category") in (None, shop.category(one.choice.item_id))
                case "for_you":
                    assert facts.interactions
                case "because_category":
                    assert reason.evidence["category"] == shop.category(one.choice.item_id)
                    assert reason.evidence["category"] in facts.categories
                case _:
                    assert reason.code == "from_range"
                    assert shop.popularity(one.choice.item_id) <= 0
            assert "{" not in reason.text
            if how == "none":
                assert reason.code in ("similar_to_context", "popular_in_category", "popular", "from_range")


@given(states(), shops(), wishes)
def test_a_list_of_the_session_rests_on_the_session(state: State, shop: AShop, wish: Wish) -> None:
    facts = facts_of(state, "session", None, NOW)
    since = state.session.started_at if state.session else NOW + 1
    met = {one.item_id for one in state.interactions if one.at >= since}
    explainer = Explainer(facts, (), Shop(shop, shop), str, "zh")
    for one in rank(wish, facts, [], Shop(shop, shop)):
        for reason in explainer.reasons(one.choice):
            assert reason.evidence.get("item_id") in met | {None}


@settings(max_examples=60)
@given(states(), shops(), candidates, wishes, some_ids, st.sampled_from(["full", "session"]))
def test_nothing_is_shown_that_was_bought_before_all_that_is_weighed(
    state: State, shop: AShop, shelf: list[Candidate], wish: Wish, before: set[str], how: str
) -> None:
    for item_id in before:
        state.bought_before = added(state.bought_before, item_id, NOW, 1)
    found = ids(rank(wish, facts_of(state, how, None, NOW), shelf, Shop(shop, shop)))
    assert wish.repeats or not before & set(found)


def test_sources_fill_in_their_order_and_say_when_the_plan_ran_out() -> None:
    shop = AShop(
        shown=frozenset(IDS),
        categories={"i0": "tea", "i5": "tea", "i6": "cake"},
        neighbours={"i0": [("i3", 0.9), ("i4", 0.5)]},
        popularities={"i5": 2.0, "i6": 3.0, "i7": 1.0},
    )
    facts = Facts(interactions=[Interaction("i0", "view_item", 1)], in_cart={"i9"}, owned={"i0"})
    shelf = [Candidate("i1", 0.9, 0.9, "tower"), Candidate("i2", 0.8, 0.8, "item_to_item", "i0")]
    placed = rank(Wish(SCENARIOS["home"], 8), facts, shelf, Shop(shop, shop))
    assert [(one.choice.item_id, one.choice.source, one.planned) for one in placed] == [
        ("i1", "tower", True),
        ("i2", "item_to_item", True),
        ("i3", "item_to_item", False),
        ("i4", "item_to_item", False),
        ("i5", "category", False),
        ("i6", "popular", False),
        ("i7", "popular", False),
        ("i10", "catalogue", False),
    ]
    explainer = Explainer(facts, (), Shop(shop, shop), str.upper, "en")
    assert [explainer.reasons(one.choice)[0].code for one in placed] == [
        "for_you",
        "because_viewed",
        "because_viewed",
        "because_viewed",
        "popular_in_category",
        "popular",
        "popular",
        "from_range",
    ]
    assert explainer.reasons(placed[1].choice)[0].text == "Because you looked at “I0”"
    alike = Explainer(facts, (), Shop(shop, shop), lambda _: "Milk", "en", lambda one, other: f"{one}, not {other}")
    assert alike.reasons(placed[1].choice)[0].text == "Because you looked at “Milk (i0, not i2)”"


def test_repeats_are_ranked_by_their_own_score_where_they_are_allowed() -> None:
    shop = AShop(shown=frozenset(IDS))
    shelf = [Candidate("i1", 0.9, 0.2, "tower"), Candidate("i2", 0.1, 0.8, "repeat")]
    facts = Facts(owned={"i2"}, bought={"i2"})
    home = SCENARIOS["home"]
    assert ids(rank(Wish(home, 2, repeats=True), facts, shelf, Shop(shop, shop))) == ["i2", "i1"]
    assert ids(rank(Wish(home, 1), facts, shelf, Shop(shop, shop))) == ["i1"]


def test_a_blend_takes_turns() -> None:
    shop = AShop(shown=frozenset(IDS), neighbours={"i0": [(f"i{n}", 1 / n) for n in range(1, 6)]})
    shelf = [Candidate(f"i{n}", 0.5, 0.5, "tower") for n in (10, 11)]
    placed = rank(Wish(SCENARIOS["product"], 7, context=("i0",)), Facts(), shelf, Shop(shop, shop))
    assert ids(placed) == ["i1", "i2", "i3", "i10", "i4", "i5", "i11"]


def test_before_a_model_is_released_the_list_keeps_to_the_categories_at_hand_in_turns() -> None:
    shop = AShop(frozenset(IDS), categories={"i0": "tea", "i8": "tea", "i9": "tea", "i1": "cake", "i7": "cake"})
    looks = [Interaction(item_id, "view_item", n) for n, item_id in enumerate(("i0", "i1"))]
    facts = Facts(interactions=looks, in_cart={"i0", "i1"}, categories={"tea", "cake"})
    placed = rank(Wish(SCENARIOS["home"], 5), facts, [], Shop(shop, shop))
    assert ids(placed) == ["i7", "i8", "i9", "i10", "i11"]
    reasons = [Explainer(facts, (), Shop(shop, shop), str, "en").reasons(one.choice)[0] for one in placed]
    assert [one.text for one in reasons[:3]] == [f"Fits your interest in {one}" for one in ("cake", "tea", "tea")]
    assert [one.code for one in reasons[3:]] == ["from_range", "from_range"]


def test_every_reason_is_given_where_all_are_wanted() -> None:
    looks = [Interaction("i0", "view_item", 1)]
    facts = Facts(interactions=looks, cart={"i0"}, bought={"i1"}, categories={"tea"})
    shop = AShop(frozenset(IDS), categories={"i1": "tea"}, popularities={"i1": 1.0})
    explainer = Explainer(facts, ("i0",), Shop(shop, shop), str, "en")
    every = explainer.reasons(Choice("i1", 0.5, "item_to_item", "i0"), every=True)
    assert [(one.code, one.evidence) for one in every] == [
        ("buy_again", {}),
        ("because_in_cart", {"item_id": "i0"}),
        ("because_viewed", {"item_id": "i0"}),
        ("because_category", {"category": "tea"}),
        ("for_you", {}),
        ("popular", {}),
    ]


def test_what_was_not_chosen_by_what_the_shopper_did_does_not_say_so() -> None:
    facts = Facts(interactions=[Interaction("i0", "view_item", 1)])
    shop = AShop(frozenset(IDS), popularities={"i1": 1.0})
    explainer = Explainer(facts, (), Shop(shop, shop), str, "en")
    for source in ("pin", "trending", "new_arrivals", "bought_together"):
        said = [explainer.reasons(Choice(item_id, 0.0, source))[0].code for item_id in ("i1", "i2")]
        assert said == ["popular", "from_range"], source
    for source in ("tower", "item_to_item", "repeat", "recently_viewed"):
        assert explainer.reasons(Choice("i1", 0.0, source))[0].code == "for_you"


def test_what_is_bought_with_the_item_on_the_page_goes_with_it() -> None:
    shop = Shop(AShop(frozenset(IDS)), AShop(frozenset()))
    (reason,) = Explainer(NOBODY, ("i0",), shop, str, "en").reasons(Choice("i1", 1.0, "bought_together", "i0"))
    assert (reason.code, reason.evidence) == ("similar_to_context", {"item_id": "i0"})


def test_every_reason_is_said_in_both_languages() -> None:
    for texts in TEXTS.values():
        assert texts.keys() == {"en", "zh"}
    choice = Choice("i1", 1.0, "popular")
    shop = Shop(AShop(frozenset(IDS), popularities={"i1": 1.0}), AShop(frozenset(), popularities={"i1": 1.0}))
    assert Explainer(NOBODY, (), shop, str, "zh").reasons(choice)[0].text == "近期热门"
    assert [language_of(one) for one in (None, "", "de", "fr,zh-CN;q=0.8,en", "zh_TW", "EN-us")] == [
        "en",
        "en",
        "en",
        "zh",
        "zh",
        "en",
    ]
    assert language_of(None, "zh-CN") == "zh"
