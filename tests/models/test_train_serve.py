"""Train and serve: what a shopper's vector is made of is the same in training and in service, and never of later.

Training reads the offline log through Feast's point-in-time join, service the row that the stream folded. Of one
shopper at one moment both make one vector, to `TOLERANCE`, as far as the same events had come: what arrives after the
moment it tells of is known to a training only.
"""

import random
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import msgspec
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from features import shoppers
from features.events import Event, event_time_ms, record_key_of
from features.shoppers import State, step_of
from models.dataset import BEHAVIOUR, HISTORY, Sources, happened, states_before
from models.examples import examples_of
from models.fusion import Weights
from models.scorer import Fitted, Scorer
from tests.features.past import LATENESS_MS, Past, made_events, past
from tests.models.test_scorer import loud

TOLERANCE: Final = 1e-5  # of numbers of about 1
ITEMS: Final = [f"i{number}" for number in range(12)]
LABELS: Final = 60


def scorer() -> Scorer:
    """A tower that listens to everything, over the items of the made past."""
    model = loud().fitted
    rng = np.random.default_rng(4)
    count, width = len(ITEMS), model.vectors.shape[1]
    wide: Fitted = msgspec.structs.replace(
        model,
        item_ids=ITEMS,
        vectors=rng.normal(size=(count, width)).astype(np.float32),
        popularity=np.ones(count, np.float32),
        neighbours=np.full((count, 50), -1, np.int32),
        neighbour_scores=np.zeros((count, 50), np.float32),
        candidates=np.arange(count, dtype=np.int32),
        weights=dict.fromkeys(("new", "all"), Weights(1, 1, 1, 1)),
    )
    return Scorer(wide)


def sources(made: Past) -> Sources:
    return Sources(made.root / "archive", made.store, "default")


def labels_of(events: Sequence[Event], seed: int, count: int = LABELS) -> tuple[list[str], list[int]]:
    """Shoppers and moments: of events, of just after them, and of no event."""
    choose = random.Random(seed)
    chosen = [choose.choice(events) for _ in range(count)]
    moments = [event_time_ms(one) + choose.choice([0, 1, 3_600_000]) for one in chosen]
    return [record_key_of(one) for one in chosen], moments


def served(events: Sequence[Event], key: str, before_ms: int) -> State:
    """The row as the worker had it then: each event folded as it came, packed and unpacked between."""
    row = shoppers.empty()
    for one in events:
        if record_key_of(one) == key and event_time_ms(one) < before_ms:
            folded = shoppers.fold(row, [step_of(one)], LATENESS_MS).row
            row = shoppers.decode(shoppers.encode(folded))
    return row.state


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Past:
    return past(tmp_path_factory.mktemp("train-serve"), made_events(600, seed=11))


@pytest.mark.parametrize("order", ["as it happened", "late"])
def test_the_vector_in_training_is_the_one_in_service(made: Past, order: str) -> None:
    events = list(made.events)
    if order == "late":  # neighbours change places: within the lateness that is allowed, it is all the same
        for at in range(0, len(events) - 1, 2):
            events[at], events[at + 1] = events[at + 1], events[at]
    keys, moments = labels_of(made.events, seed=5)
    trained = states_before(sources(made), keys, moments)
    live = [served(events, key, moment) for key, moment in zip(keys, moments, strict=True)]
    one, other = scorer().vectors(trained), scorer().vectors(live)
    assert np.abs(one).max() > 0.1, "a vector of nothing proves nothing"
    assert len({row.tobytes() for row in np.round(one, 3)}) > LABELS / 2
    assert np.abs(one - other).max() <= TOLERANCE


def test_all_sources_say_the_same_in_training_and_in_service(made: Past) -> None:
    keys, moments = labels_of(made.events, seed=6)
    trained = states_before(sources(made), keys, moments)
    live = [served(made.events, key, moment) for key, moment in zip(keys, moments, strict=True)]
    at_ms = max(moments)
    one, other = scorer().parts(trained, at_ms), scorer().parts(live, at_ms)
    for name, part in one.items():
        assert np.abs(part - other[name]).max() <= 1e-4, name


def test_what_the_tower_reads_alone_makes_the_same_vector(made: Past) -> None:
    keys, moments = labels_of(made.events, seed=7)
    one = scorer().vectors(states_before(sources(made), keys, moments, HISTORY))
    assert (one == scorer().vectors(states_before(sources(made), keys, moments, BEHAVIOUR))).all()


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 10_000), share=st.floats(0.2, 0.8))
def test_nothing_later_than_its_label_is_in_a_feature(
    tmp_path_factory: pytest.TempPathFactory, seed: int, share: float
) -> None:
    """What is known at a label is what is known where the log ends just before it: nothing later could be in it."""
    events = made_events(120, seed)
    moment = event_time_ms(events[int(len(events) * share)])
    earlier = [one for one in events if event_time_ms(one) < moment]
    keys = sorted({record_key_of(one) for one in events})
    whole, cut = (
        states_before(sources(past(tmp_path_factory.mktemp("law"), some)), keys, [moment] * len(keys))
        for some in (events, earlier)
    )
    assert whole == cut
    for state in whole:
        assert state.newest < moment
        assert all(one.at < moment for one in state.interactions)
        assert all(one.last_at < moment for one in state.purchased.values())


@pytest.mark.parametrize("seed", [1, 2])
def test_an_example_reads_nothing_that_came_with_its_label_or_later(tmp_path: Path, seed: int) -> None:
    made = past(tmp_path, made_events(300, seed))
    steps = happened(sources(made), ITEMS, lambda _: None)
    examples = examples_of(sources(made), steps, seed, repeats_kept=1.0)
    assert len(examples.bought) > 20
    for row, back, at in zip(examples.row.tolist(), examples.back.tolist(), examples.at.tolist(), strict=True):
        read = examples.known[row].interactions
        assert all(one.at < at for one in read[: len(read) - back])
        assert all(one.at >= at for one in read[len(read) - back :])
