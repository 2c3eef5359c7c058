"""The user tower: what may and what may not change a shopper's vector."""

from collections.abc import Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

from models.interactions import Floats
from models.user_tower import FACTS, KINDS, Histories, UserTower, pack

WIDTH, ITEMS = 8, 30
MINUTE = 60_000
DAY = 86_400_000

Row = list[tuple[int, int, int]]


@pytest.fixture(scope="module")
def tower() -> UserTower:
    """A tower whose every parameter says something."""
    with torch.random.fork_rng():
        torch.manual_seed(1)
        made = UserTower(WIDTH).eval()
        for parameter in made.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    return made


@pytest.fixture(scope="module")
def items() -> Tensor:
    """[items, width + 1]."""
    return torch.from_numpy(np.random.default_rng(2).normal(size=(ITEMS, WIDTH + 1)).astype(np.float32))


def made_row(length: int, seed: int) -> Row:
    rng = np.random.default_rng(seed)
    times = np.sort(rng.integers(0, 300 * DAY, length)).tolist()
    return [(int(rng.integers(ITEMS)), int(rng.integers(len(KINDS))), at) for at in times]


def packed(rows: Sequence[Row], told: Floats) -> Histories:
    items, kinds, times = np.array([one for row in rows for one in row], np.int64).reshape(-1, 3).T
    return pack(np.array([len(row) for row in rows], np.int64), items, kinds, times, told)


def facts(count: int) -> Floats:
    return np.random.default_rng(3).normal(size=(count, FACTS)).astype(np.float32)


def asked(tower: UserTower, items: Tensor, shoppers: Histories) -> Floats:
    with torch.inference_mode():
        out: Floats = tower(items[torch.from_numpy(shoppers.items)], shoppers).numpy()
    return out


LENGTHS = (0, 1, 2, 7, 49, 50, 61)


@pytest.fixture(scope="module")
def shoppers() -> Histories:
    return packed([made_row(length, seed) for seed, length in enumerate(LENGTHS)], facts(len(LENGTHS)))


def test_one_vector_for_each_shopper_and_no_two_alike(tower: UserTower, items: Tensor, shoppers: Histories) -> None:
    out = asked(tower, items, shoppers)
    assert out.shape == (len(LENGTHS), WIDTH + 1)
    assert np.isfinite(out).all()
    assert len(np.unique(out.round(4), axis=0)) == len(LENGTHS)


def test_permuting_the_batch_permutes_the_answers(tower: UserTower, items: Tensor, shoppers: Histories) -> None:
    order = np.array([3, 0, 6, 5, 1, 4, 2])
    moved = asked(tower, items, Histories(*(part[order] for part in shoppers)))
    assert moved == pytest.approx(asked(tower, items, shoppers)[order], abs=1e-5)


@pytest.mark.parametrize("place", range(len(LENGTHS)))
def test_a_shopper_alone_is_as_in_company(tower: UserTower, items: Tensor, shoppers: Histories, place: int) -> None:
    alone = asked(tower, items, Histories(*(part[[place]] for part in shoppers)))
    assert alone == pytest.approx(asked(tower, items, shoppers)[[place]], abs=1e-5)


def test_padding_changes_nothing(tower: UserTower, items: Tensor, shoppers: Histories) -> None:
    padded = np.arange(shoppers.items.shape[1])[None] >= shoppers.length[:, None]
    assert padded.sum() > 100
    changed = shoppers._replace(
        items=np.where(padded, 17, shoppers.items),
        kinds=np.where(padded, len(KINDS) - 1, shoppers.kinds),
        ages=np.where(padded, 5 * DAY, shoppers.ages),
    )
    assert asked(tower, items, changed) == pytest.approx(asked(tower, items, shoppers), abs=1e-5)


@pytest.mark.parametrize("what", ["items", "kinds", "ages"])
def test_what_is_not_padding_counts_the_oldest_as_the_newest(
    tower: UserTower, items: Tensor, shoppers: Histories, what: str
) -> None:
    before = asked(tower, items, shoppers)
    for place in (0, 6):  # of a shopper with seven interactions
        part = getattr(shoppers, what).copy()
        part[3, place] += 20 * DAY if what == "ages" else 1 if part[3, place] < 2 else -1
        out = asked(tower, items, shoppers._replace(**{what: part}))
        assert np.abs(out[3] - before[3]).max() > 1e-4
        assert np.delete(out, 3, 0) == pytest.approx(np.delete(before, 3, 0), abs=1e-5)


def everywhere(tower: UserTower, items: Tensor, shoppers: Histories, told: Floats) -> Floats:
    with torch.inference_mode():
        out: Floats = tower.everywhere(
            items[torch.from_numpy(shoppers.items)], shoppers, torch.from_numpy(told)
        ).numpy()
    return out


def test_a_position_says_what_is_said_after_it_alone(tower: UserTower, items: Tensor, shoppers: Histories) -> None:
    """All steps of a history are read in one pass, as serving reads each of them."""
    told = np.random.default_rng(5).normal(size=(len(LENGTHS), 51, FACTS)).astype(np.float32)
    out = everywhere(tower, items, shoppers, told)
    for steps in (0, 1, 2, 6, 7, 30, 50):
        rows = np.flatnonzero(shoppers.length >= steps)
        cut = shoppers._replace(length=np.full(len(LENGTHS), steps), facts=told[:, steps])
        newest = shoppers.ages[:, max(steps - 1, 0)][:, None]
        cut = Histories(*(part[rows] for part in cut._replace(ages=shoppers.ages - newest)))
        assert out[rows, steps] == pytest.approx(asked(tower, items, cut), abs=1e-4)


@pytest.mark.parametrize("what", ["items", "kinds", "ages"])
def test_nothing_later_is_heard(tower: UserTower, items: Tensor, shoppers: Histories, what: str) -> None:
    told = np.zeros((len(LENGTHS), 51, FACTS), np.float32)
    changed = getattr(shoppers, what).copy()
    changed[:, 20:] = 1 if what != "ages" else changed[:, 20:] // 2
    before, after = (everywhere(tower, items, one, told) for one in (shoppers, shoppers._replace(**{what: changed})))
    assert before[:, :21] == pytest.approx(after[:, :21], abs=1e-5)
    assert np.abs(before[5, 25:] - after[5, 25:]).max() > 1e-3


def test_histories_are_read_as_far_as_the_longest(tower: UserTower, items: Tensor) -> None:
    long, short = made_row(50, 1), made_row(4, 2)
    wide, narrow = packed([long, short], facts(2)), packed([short], facts(2)[1:])
    assert (wide.items.shape[1], narrow.items.shape[1]) == (50, 4)
    assert asked(tower, items, narrow)[0] == pytest.approx(asked(tower, items, wide)[1], abs=1e-5)


def test_without_a_history_the_facts_speak(tower: UserTower, items: Tensor) -> None:
    lines = np.zeros((3, FACTS), np.float32)
    lines[2] = 1
    out = asked(tower, items, packed([[], [], []], lines))
    assert np.isfinite(out).all()
    assert out[0] == pytest.approx(out[1], abs=1e-6)
    assert np.abs(out[0] - out[2]).max() > 1e-3


def test_a_new_tower_is_deaf_to_kinds_and_facts_it_was_not_trained_on(items: Tensor) -> None:
    fresh = UserTower(WIDTH).eval()
    rows: Sequence[Row] = [made_row(7, 1), [(item, 0, at) for item, _, at in made_row(7, 1)]]
    out = asked(fresh, items, packed(rows, facts(2)))
    assert out[0] == pytest.approx(out[1], abs=1e-6)
    assert out[:, -1] == pytest.approx([1, 1]), "popularity counts once"


def test_an_items_popularity_is_not_read_as_what_it_is(tower: UserTower, items: Tensor, shoppers: Histories) -> None:
    other = torch.cat([items[:, :-1], items[:, -1:] + 9], 1)
    assert asked(tower, other, shoppers) == pytest.approx(asked(tower, items, shoppers), abs=1e-6)


def test_pack_keeps_the_last_fifty_in_order() -> None:
    whole = [(n, n % len(KINDS), n * DAY) for n in range(70)]
    out = packed([whole, whole[-50:]], np.zeros((2, FACTS), np.float32))
    for part in out:
        assert (part[0] == part[1]).all()
    assert out.length.tolist() == [50, 50]
    assert out.items[0].tolist() == list(range(20, 70))


def test_pack_counts_time_back_from_the_newest_and_pads_behind() -> None:
    row = [(4, 1, 0), (5, 2, 3 * DAY), (6, 3, 3 * DAY + 2 * MINUTE)]
    out = packed([row, [], made_row(5, 1)], np.zeros((3, FACTS), np.float32))
    assert out.length.tolist() == [3, 0, 5]
    assert out.items[0].tolist() == [4, 5, 6, 0, 0]
    assert out.kinds[0].tolist() == [1, 2, 3, 0, 0]
    oldest, middle, newest = out.ages[0, :3].tolist()
    assert oldest > middle > newest
    later = packed([[(item, kind, at + 999 * DAY) for item, kind, at in row]], np.zeros((1, FACTS), np.float32))
    assert later.ages[0].tolist() == out.ages[0, :3].tolist(), "no absolute time"
