"""The whole story on a made-up shop: from an archive to a fitted model that does better than popularity."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from features.events import Event, event_time_ms, record_key_of
from features.shoppers import Row, State, empty, fold, step_of
from infra.errors import BadInput
from models.dataset import Sources, purchases, states_before
from models.examples import examples_of
from models.fitting import Options
from models.item_features import features_of
from models.scorer import Scorer, facts_of, packed
from models.sources import HALF_LIVES_DAYS, RECENCIES
from models.text import whitened
from models.training import TEST_DAYS, Data, Trained, table_of, train
from tests.features.past import LATENESS_MS, Past, archived, before, moment, past
from tests.models.made_shop import DAYS, HALVES, START, catalogue, visits

DAY_MS = 86_400_000
OPTIONS = Options(width=16, batch=64, negatives=64, positives=4, epochs=1.0, learning_rate=5e-3)


class Heard:
    """Keeps which phases there were and how much was done in each."""

    def __init__(self) -> None:
        self.done: dict[str, int] = {}

    @contextmanager
    def phase(self, name: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
        self.done[name] = 0

        def advance(more: int) -> None:
            self.done[name] += more

        yield advance


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return past(tmp_path_factory.mktemp("shop"), visits())


@pytest.fixture(scope="module")
def data(made: Past) -> Data:
    return read(made)


def stored(data: Data) -> Sources:
    assert isinstance(data.sources, Sources)
    return data.sources


def read(made: Past) -> Data:
    items = catalogue()
    sources = Sources(made.root / "archive", made.store, "default")
    bought = purchases(sources, [item.item_id for item in items], lambda more: None)
    texts = np.random.default_rng(1).normal(size=(len(items), 24)).astype(np.float32)
    return Data(sources, bought, features_of(items, whitened(texts)))


@pytest.fixture(scope="module")
def heard() -> Heard:
    return Heard()


@pytest.fixture(scope="module")
def trained(data: Data, heard: Heard) -> Trained:
    return train(data, OPTIONS, heard)


def folded(events: list[Event]) -> State:
    return fold(empty(), [step_of(event) for event in events], LATENESS_MS).row.state


def test_every_purchase_is_read_once_and_in_order(made: Past, data: Data) -> None:
    bought = data.bought
    found = [
        (bought.shoppers[s], at, bought.items[i])
        for s, at, i in zip(bought.shopper.tolist(), bought.at.tolist(), bought.item.tolist(), strict=True)
    ]
    told = [
        (record_key_of(event), event_time_ms(event), line.item_id)
        for event in made.events
        if event.event_name == "purchase"
        for line in event.items
    ]
    assert sorted(found) == sorted(told)
    place = list(zip(bought.shopper.tolist(), bought.at.tolist(), bought.order.tolist(), strict=True))
    assert place == sorted(place)


def test_orders_that_are_on_the_log_twice_are_counted_once(made: Past, data: Data, tmp_path: Path) -> None:
    for log in ("first", "again"):
        archived(tmp_path / "archive", made.events, log=log)
    sources = replace(stored(data), archive_dir=tmp_path / "archive")
    told: list[int] = []
    repeats: list[int] = []
    bought = purchases(sources, data.bought.items, told.append, repeats.append)
    orders = sum(event.event_name == "purchase" for event in made.events)
    assert (sum(told), repeats) == (orders, [orders])
    assert len(bought) == len(data.bought)


def test_items_outside_the_catalogue_and_other_tenants_are_left_out(data: Data) -> None:
    some = purchases(stored(data), ["i01", "i07"], lambda more: None)
    assert len(some) == np.isin(data.bought.item, [1, 7]).sum()
    for sources, items in ((stored(data), ["hat"]), (replace(stored(data), tenant="other"), ["i01"])):
        with pytest.raises(BadInput) as caught:
            purchases(sources, items, lambda more: None)
        assert caught.value.reason == "no_events"


def test_no_example_knows_of_its_own_order_or_of_anything_later(made: Past, data: Data) -> None:
    """Against the fold of the archive's events before each order: the same interactions, the same facts."""
    bought = data.bought
    examples = examples_of(data.sources, bought, seed=1)
    stood = states_at_orders(made.events)
    assert len(examples.bought) > 500
    assert len(examples.known) < len(examples.bought) / 2, "steps share histories"
    rows, backs = examples.row.tolist(), examples.back.tolist()
    for row, back, told, at in zip(rows, backs, examples.facts, examples.at.tolist(), strict=True):
        met = examples.known[row].interactions
        met = met[: len(met) - back]
        assert all(one.at < at for one in met)
        same = [one for one in stood[at] if one.interactions[-len(met) :] == met]
        assert same, "what the archive's events before the order fold to"
        assert len(met) >= min(len(same[0].interactions), 25), "and enough of it"
        assert any(told == pytest.approx(facts_of(one), rel=1e-6) for one in same)


def states_at_orders(events: Sequence[Event]) -> dict[int, list[State]]:
    """By the time of an order: the shopper's state just before it, of each shopper who ordered then."""
    rows: dict[str, Row] = {}
    stood: dict[int, list[State]] = {}
    for event in events:
        row = rows.get(record_key_of(event), empty())
        if event.event_name == "purchase":
            stood.setdefault(event_time_ms(event), []).append(row.state)
        rows[record_key_of(event)] = fold(row, [step_of(event)], LATENESS_MS).row
    return stood


def test_examples_are_orders_of_shoppers_who_came_back_and_few_of_them_repeats(data: Data) -> None:
    bought = data.bought
    examples = examples_of(data.sources, bought, seed=1, repeats_kept=0.3)
    first = {shopper: int(bought.at[bought.shopper == shopper].min()) for shopper in range(len(bought.shoppers))}
    assert (examples.facts[:, 0] > 0).all(), "orders before"
    later = bought.at > np.array([first[shopper] for shopper in bought.shopper.tolist()])
    pairs = bought.shopper * len(bought.items) + bought.item
    new = np.zeros(len(bought), bool)
    new[np.unique(pairs, return_index=True)[1]] = True
    kept = sum(len(items) for items in examples.bought) - int((new & later).sum())
    assert kept / int((~new & later).sum()) == pytest.approx(0.3, abs=0.07), "what is new is kept whole"


def test_serving_sees_a_shopper_as_training_did(made: Past, data: Data, trained: Trained) -> None:
    """From Feast's frame and from the live fold the towers are told the same. Weights are stored in 32 bits."""
    at = int(data.bought.at.max()) + 1
    keys = data.bought.shoppers
    offline = states_before(data.sources, keys, [at] * len(keys))
    live = [folded(before(made.events, key, moment(at))) for key in keys]
    index = {item_id: row for row, item_id in enumerate(data.bought.items)}
    theirs, ours = packed(offline, index), packed(live, index)
    assert ours.length.min() > 20
    for name in ("items", "kinds", "ages", "length"):
        assert (getattr(theirs, name) == getattr(ours, name)).all()
    assert theirs.facts == pytest.approx(ours.facts, rel=1e-6)
    scorer = Scorer(trained.fitted)
    now = at + 3 * DAY_MS
    parts, others = scorer.parts(offline, now), scorer.parts(live, now)
    for name, part in parts.items():
        assert part == pytest.approx(others[name], rel=1e-5, abs=1e-5), name


def test_the_table_has_the_model_beside_the_baselines(trained: Trained) -> None:
    assert [one.name for one in trained.evaluations] == [
        "popularity",
        "decayed popularity",
        "own repeats",
        "recency item-kNN",
        "tower alone",
        "fused",
    ]


def test_the_model_does_better_than_popularity(trained: Trained) -> None:
    figures = {one.name: one.means() for one in trained.evaluations}
    for task in ("all/ndcg", "new/ndcg"):
        assert figures["fused"][task] > 1.2 * figures["popularity"][task]
        assert figures["tower alone"][task] > 1.1 * figures["popularity"][task]
    assert figures["own repeats"]["all/mrr"] > figures["popularity"]["all/mrr"]
    assert all(0 < value <= 1 for one in figures.values() for value in one.values())


def test_a_shoppers_list_is_of_their_half_of_the_shop(made: Past, data: Data, trained: Trained) -> None:
    at = trained.tested_until_ms
    states = states_before(data.sources, data.bought.shoppers, [at] * len(data.bought.shoppers))
    right = total = 0
    for key, listed in zip(data.bought.shoppers, Scorer(trained.fitted).score(states, 10, at), strict=True):
        for one in islice(listed, 10):
            right += int(one.item_id[1:]) % HALVES == int(key[-2:]) % HALVES
            total += 1
    assert right > 0.95 * total


def test_the_weeks_follow_one_another_and_the_last_are_for_the_test(data: Data, trained: Trained) -> None:
    assert trained.tested_until_ms == int(data.bought.at.max()) + 1
    assert trained.tested_until_ms - trained.fitted_before_ms == TEST_DAYS * DAY_MS
    assert trained.orders == len(np.unique(data.bought.order))
    after = data.bought.between(trained.fitted_before_ms, trained.tested_until_ms)
    assert {len(one.per_shopper["all"]) for one in trained.evaluations} == {len(np.unique(after.shopper))}


def test_nothing_of_the_test_weeks_is_in_the_model(data: Data, trained: Trained) -> None:
    """Popularity, neighbours and candidates are counted from what came before."""
    early = data.bought.before(trained.fitted_before_ms)
    counts = np.bincount(early.item, minlength=len(early.items))
    assert trained.fitted.candidates.tolist() == np.flatnonzero(counts).tolist()
    decayed = {
        days: np.bincount(
            early.item, 0.5 ** ((trained.fitted_before_ms - early.at) / (days * DAY_MS)), minlength=len(early.items)
        )
        for days in HALF_LIVES_DAYS
    }
    assert any(trained.fitted.popularity == pytest.approx(one, rel=1e-5) for one in decayed.values())
    assert trained.fitted.recency in RECENCIES
    assert trained.fitted.weights["new"].repeat == 0


def test_the_table_made_again_is_the_same(data: Data, trained: Trained) -> None:
    weeks = (trained.fitted_before_ms, trained.tested_until_ms)
    again = table_of(data.sources, trained.fitted, data.bought, weeks, Heard())
    assert [one.means() for one in again] == [one.means() for one in trained.evaluations]


def test_progress_is_told_of_every_phase(trained: Trained, heard: Heard) -> None:
    assert len(heard.done) >= 6, "join, two fits, item-to-item scores, fusion, test"
    assert all(done > 0 for done in heard.done.values())
    assert heard.done["tested"] == len(trained.evaluations[0].per_shopper["all"])


@pytest.fixture(scope="module")
def elsewhere(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, list[Event]], Data]:
    """Other pasts of the same shop."""
    return lambda name, events: read(past(tmp_path_factory.mktemp(name), events))


Elsewhere = Callable[[str, list[Event]], Data]


def test_less_than_three_times_four_weeks_are_refused(elsewhere: Elsewhere) -> None:
    short = [event for event in visits() if event.occurred_at < START + timedelta(days=3 * TEST_DAYS)]
    with pytest.raises(BadInput, match=r"less than 84 days.*load more history") as caught:
        train(elsewhere("short", short), OPTIONS, Heard())
    assert caught.value.reason == "window_too_short"


def test_a_shop_where_nobody_came_back_is_refused_and_not_waited_on(elsewhere: Elsewhere) -> None:
    once = {event.user_id: event for event in reversed(visits()) if event.event_name == "purchase"}
    late = [event for event in visits() if event.occurred_at > START + timedelta(days=DAYS - 20)]
    events = sorted([*once.values(), *late], key=lambda event: event.occurred_at)
    with pytest.raises(BadInput, match="ordered a second time") as caught:
        train(elsewhere("once", events), OPTIONS, Heard())
    assert caught.value.reason == "nobody_came_back"


def test_weeks_without_a_purchase_leave_the_tower_alone_in_the_fusion(elsewhere: Elsewhere) -> None:
    """The weeks that weights are learned on are a holiday: there is a model, and a table of the weeks after."""
    end = START + timedelta(days=DAYS)
    begin, over = end - timedelta(days=2 * TEST_DAYS + 3), end - timedelta(days=TEST_DAYS - 3)
    some = [event for event in visits() if event.user_id in {f"s{number:02}" for number in range(20)}]
    events = [event for event in some if not begin < event.occurred_at < over]
    few = replace(OPTIONS, epochs=0.1)
    found = train(elsewhere("holiday", events), few, Heard())
    assert {weights.tower for weights in found.fitted.weights.values()} == {1.0}
    assert {weights.item_to_item for weights in found.fitted.weights.values()} == {0.0}
    assert len(found.evaluations) == 6
