"""Another policy's worth from lists of this one, in a shop whose truth is known; and what cannot be told."""

import json
from collections.abc import Sequence
from itertools import accumulate
from math import prod
from operator import mul
from pathlib import Path

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from infra.errors import BadInput, Refused
from models.off_policy import estimate
from serving.decisions import Decision
from serving.ranking import Choice, Inputs, Listed, Pin, decide
from serving.scenarios import Exploration, Scenario, SourceName, Turn
from streams.other_policy import NotJudged, slots_of
from streams.policy_estimate import PolicyEstimate, scenario_from
from tests.streams.lists import HOUR_MS, decision, did

DAY_MS = 24 * HOUR_MS
ITEMS = ("a", "b", "c", "d")
RATES = dict(zip(ITEMS, (0.1, 0.15, 0.3, 0.5), strict=True))
SLOTS = 2
RUNS = 100


def listed(source: SourceName, turn: int, items: Sequence[str]) -> Listed:
    return Listed(source, turn, [Choice(one, 1.0 - n / 10, source) for n, one in enumerate(items)])


def scenario(*blend: SourceName, share: float | None = 0.5, **more: object) -> Scenario:
    exploration = None if share is None else Exploration(share=share, source="popular", pool=len(ITEMS))
    made = Scenario(name="home", blend=tuple(Turn(one) for one in blend), exploration=exploration)
    return msgspec.structs.replace(made, **more)


LOGGING = scenario("shelf", "popular")
BASE = Inputs(
    scenario=LOGGING,
    count=SLOTS,
    seed=0,
    lists=[listed("shelf", 1, ITEMS), listed("popular", 1, ITEMS[::-1])],
    explored=[Choice(one, 0.0, "popular") for one in ITEMS],
)
OTHERS = {
    "the better ones, nothing explored": scenario("popular", share=None),
    "the better ones first, less explored": scenario("popular", "shelf", share=0.1),
    "the same": LOGGING,
}


def logged(seed: int, inputs: Inputs = BASE, user: str = "ann", list_id: str = "r") -> Decision:
    mine = msgspec.structs.replace(inputs, seed=seed)
    placed = decide(mine)
    return decision(
        list_id,
        [one.choice.item_id for one in placed],
        user=user,
        inputs=mine,
        propensities=[one.propensity for one in placed],
    )


def rate(items: Sequence[str], n: int) -> float:
    """How probable a click is: by the item, and less so the better the one above it is."""
    return RATES[items[n]] * (1.0 if n == 0 else 1.0 - RATES[items[n - 1]])


def all_lists(policy: Scenario) -> dict[tuple[str, ...], list[float]]:
    """Every list that a policy may make, with how probable each of its slots is."""
    inputs = msgspec.structs.replace(
        BASE,
        scenario=policy,
        lists=[next(one for one in BASE.lists if one.source == turn.source) for turn in policy.blend],
        explored=BASE.explored if policy.exploration else [],
    )
    found = {}
    for seed in range(3000):
        placed = decide(msgspec.structs.replace(inputs, seed=seed))
        found[tuple(one.choice.item_id for one in placed)] = [one.propensity for one in placed]
    assert sum(map(prod, found.values())) == pytest.approx(1.0)  # none is missing
    return found


def worth(policy: Scenario) -> float:
    """The true clicks a list."""
    each = all_lists(policy).items()
    return sum(prod(chances) * sum(rate(items, n) for n in range(SLOTS)) for items, chances in each)


@pytest.mark.parametrize("name", OTHERS)
def test_both_estimates_hold_the_true_worth_of_another_policy_in_their_intervals(name: str) -> None:
    other, truth, mine = OTHERS[name], worth(OTHERS[name]), all_lists(LOGGING)
    rng, covered, means = np.random.default_rng(3), np.zeros(2), list[tuple[float, float]]()
    chances = [prod(one) for one in mine.values()]
    clicked = np.array([[rate(items, n) for n in range(SLOTS)] for items in mine])
    weights = np.array([weights_of(items, one, other) for items, one in mine.items()])
    for _ in range(RUNS):
        drawn = rng.choice(len(mine), 3000, p=np.array(chances) / sum(chances))
        clicks = rng.random((3000, SLOTS)) < clicked[drawn]
        found = estimate(weights[drawn], clicks, rng.integers(0, 1000, 3000))
        covered += [found.ips.low <= truth <= found.ips.high, found.snips.low <= truth <= found.snips.high]
        means.append((found.ips.value, found.snips.value))
    assert (covered >= 0.9 * RUNS).all()
    assert np.abs(np.mean(means, axis=0) - truth).max() < 0.02
    if other is not LOGGING:
        assert truth > worth(LOGGING) + 0.05  # it is told apart from the one that showed the lists


def weights_of(items: Sequence[str], chances: Sequence[float], other: Scenario) -> list[float]:
    slots = slots_of(decision("r", items, inputs=BASE, propensities=chances), other)
    return list(accumulate((one.other / one.logged for one in slots), mul))


def test_from_records_and_events_to_the_same_truth() -> None:
    other, rng = OTHERS["the better ones first, less explored"], np.random.default_rng(9)
    found = PolicyEstimate(other, "clicks", DAY_MS)
    lists = [logged(seed, user=f"s{seed % 300}", list_id=f"r{seed}") for seed in range(1500)]
    for one in lists:
        found.shown(one)
    found.shown(decision("p1", ["a"], scenario="product"))
    found.shown(msgspec.structs.replace(logged(1, list_id="h1"), holdout=True))
    for one in lists:
        items = [shown.item_id for shown in one.shown]
        for n, item in enumerate(items):
            if rng.random() < rate(items, n):
                found.event(did("select_item", item, user=one.request.user_id, named=one.recommendation_id))
    report = found.report()
    truth = worth(other)
    assert report.found.ips.low <= truth <= report.found.ips.high
    assert report.found.snips.low <= truth <= report.found.snips.high
    assert report.found.logged.high < truth
    assert (report.found.lists, report.found.shoppers, report.explored) == (1500, 300, 1500)
    assert report.uncovered == 0
    assert not report.left_out
    assert report.notes[0] == "1 lists of holdouts are left out."


@given(
    seed=st.integers(0, 2**64 - 1),
    share=st.sampled_from([None, 0.1, 0.5]),
    pool=st.integers(0, 4),
    count=st.integers(1, 6),
    pin=st.sampled_from([None, 1, 2]),
    diversity=st.sampled_from([0.0, 0.5]),
    cap=st.sampled_from([None, 1]),
)
def test_a_policy_sees_its_own_lists_as_it_made_them(
    seed: int, share: float | None, pool: int, count: int, pin: int | None, diversity: float, cap: int | None
) -> None:
    own = scenario("shelf", "popular", share=share, diversity=diversity, category_cap=cap, fallback=())
    inputs = msgspec.structs.replace(
        BASE,
        scenario=own,
        count=count,
        pins=[] if pin is None or pin > count else [Pin("c", pin)],
        explored=BASE.explored[:pool] if share else [],
        categories={one: "tea" if one < "c" else "cake" for one in ITEMS} if cap else {},
        alike_ids=list(ITEMS) if diversity else [],
        alike=bytes(range(0, 240, 40)) if diversity else b"",
    )
    made = logged(seed, inputs)
    for slot in slots_of(made, own):
        assert slot.other == pytest.approx(slot.logged)
        assert slot.covered == pytest.approx(1.0)


@given(seed=st.integers(0, 10_000), name=st.sampled_from(sorted(OTHERS)))
def test_what_the_other_would_show_adds_up_to_one_where_all_of_it_could_be_shown(seed: int, name: str) -> None:
    assert all(slot.covered == pytest.approx(1.0) for slot in slots_of(logged(seed), OTHERS[name]))


def estimated(other: Scenario, *lists: Decision) -> PolicyEstimate:
    found = PolicyEstimate(other, "clicks", DAY_MS)
    for one in lists:
        found.shown(one)
    return found


def test_what_was_not_recorded_is_named() -> None:
    made = logged(1)
    for other, why in (
        (scenario("neighbours"), "'neighbours' was not asked"),
        (scenario("popular", filter="item.price < 3.0"), "filter is another"),
        (scenario("popular", rotation_rate=0.5), "rotation_rate is another"),
        (scenario("popular", repeats=True), "repeats is another"),
        (scenario("popular", diversity=0.5), "diversity needs"),
        (scenario("popular", category_cap=2), "category_cap needs"),
        (scenario("popular", exploration=Exploration(share=0.1)), "exploration draws from other items"),
    ):
        with pytest.raises(NotJudged, match=why):
            slots_of(made, other)
        with pytest.raises(Refused, match=why) as refused:
            estimated(other, made).report()
        assert refused.value.reason == "not_recorded"


def test_a_source_that_only_filled_up_is_known_in_part() -> None:
    short = msgspec.structs.replace(BASE, lists=[listed("shelf", 1, "a"), listed("popular", 0, ITEMS[:3])])
    with pytest.raises(NotJudged, match="only filled up"):
        slots_of(logged(1, short), scenario("popular"))
    whole = msgspec.structs.replace(short, lists=[listed("shelf", 1, "a"), listed("popular", 0, ITEMS[:2])])
    assert slots_of(logged(1, whole), scenario("popular"))
    strict = msgspec.structs.replace(logged(1, whole).request, strict_filtering=True)
    only = scenario("shelf")
    with pytest.raises(NotJudged, match="'context' would have to fill up"):
        slots_of(logged(1, whole), only)
    assert slots_of(msgspec.structs.replace(logged(1, whole), request=strict), only)


def test_a_record_that_is_not_made_again_is_not_judged() -> None:
    made = logged(1)
    altered = msgspec.structs.replace(made.shown[0], propensity=0.5)
    with pytest.raises(NotJudged, match="not made again"):
        slots_of(msgspec.structs.replace(made, shown=[altered, *made.shown[1:]]), LOGGING)


def test_where_chance_had_no_part_nothing_is_estimated() -> None:
    plain = msgspec.structs.replace(BASE, scenario=scenario("shelf", "popular", share=None), explored=[])
    with pytest.raises(Refused, match="explored") as refused:
        estimated(scenario("popular", share=None), logged(1, plain)).report()
    assert refused.value.reason == "nothing_explored"
    with pytest.raises(Refused, match="no list of scenario 'home'"):
        estimated(LOGGING).report()


def test_what_could_never_be_shown_is_not_estimated() -> None:
    """Exploration draws from a and b alone: a list that begins with d was never possible."""
    narrow = msgspec.structs.replace(BASE, explored=BASE.explored[:2])
    with pytest.raises(Refused, match="could never have been shown") as refused:
        estimated(scenario("popular", share=None), *(logged(n, narrow, list_id=f"r{n}") for n in range(50))).report()
    assert refused.value.reason == "not_covered"


def test_wishes_of_the_request_hold_for_the_other_policy_too() -> None:
    wished = msgspec.structs.replace(LOGGING, booster="item.price")
    made = logged(1, msgspec.structs.replace(BASE, scenario=wished))
    asked = msgspec.structs.replace(made.request, booster="item.price", filter="item.price < 3.0")
    assert slots_of(msgspec.structs.replace(made, request=asked), scenario("popular"))


def test_a_file_that_is_no_scenario_is_told(tmp_path: Path) -> None:
    file = tmp_path / "home.json"
    file.write_text(json.dumps({"name": "home", "blend": [["popular", 1]]}))
    assert scenario_from(file).blend == (Turn("popular"),)
    file.write_text(json.dumps({"name": "home", "blend": [["moon", 1]]}))
    with pytest.raises(BadInput) as refused:
        scenario_from(file)
    assert refused.value.path.startswith("FILE.blend")
    with pytest.raises(BadInput) as refused:
        scenario_from(tmp_path / "none.json")
    assert refused.value.reason == "no_file"
