"""The truth and the fold read the design alike; what the proof compares with can tell a damaged row."""

import json
import random
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

import msgspec
import pytest

from features import item_changes, shoppers
from features.item_partials import Partial, add, encode
from infra.keys import split_record_key
from infra.settings import Settings
from tests.proofs.chaos.compare_rows import differences, excess
from tests.proofs.chaos.compare_statistics import partial_differing
from tests.proofs.chaos.made_log import Recipe, records
from tests.proofs.chaos.schedule import FAULTS, WORKERS_AT_START, schedule
from tests.proofs.chaos.truth import EVENTS, Record, Truth, truth_of
from tests.proofs.chaos.truth_fold import DAY_MS, cart_due, person
from tests.proofs.chaos.truth_statistics import ERA_MS, Change, sums_of
from tests.proofs.chaos.truth_triggers import message
from tests.proofs.chaos.undisturbed import Alone, folded_alone

PARTITIONS, LATENESS_H = 4, 2
BEGIN_MS = 1_794_441_600_000


def log(count: int, seed: int) -> list[Record]:
    recipe = Recipe(count, seed, BEGIN_MS, LATENESS_H * 3_600_000, PARTITIONS, BEGIN_MS + 12 * DAY_MS, 14 * DAY_MS)
    return numbered((made.partition, made.key, made.value) for made in records(recipe) if made.topic == EVENTS)


def numbered(made: Iterable[tuple[int, bytes, bytes | None]]) -> list[Record]:
    offsets: Counter[int] = Counter()
    found = []
    for partition, key, value in made:
        found.append(Record(partition, offsets[partition], key, value, {}, BEGIN_MS + 30 * DAY_MS))
        offsets[partition] += 1
    return found


def handed_over(base: list[Record], seed: int, folder: Path) -> list[Record]:
    """The log with the events that its devices hand over, in their order, somewhere among the users' own."""
    of_devices = [one for one in base if (one.key or b"").startswith(b"default|a-d")]
    coming = [(one.partition, one.key.encode(), one.value) for one in folded(of_devices, folder).effects]
    places = sorted(random.Random(seed).randrange(len(base) + 1) for _ in coming)
    made: list[tuple[int, bytes, bytes | None]] = [(one.partition, one.key or b"", one.value) for one in base]
    for place, one in reversed([*zip(places, coming, strict=True)]):
        made.insert(place, one)
    return numbered(made)


def truth(log: list[Record]) -> Truth:
    return truth_of(iter(log), PARTITIONS, LATENESS_H * 3_600_000)


def folded(log: list[Record], folder: Path) -> Alone:
    settings = Settings(data_dir=folder, partitions=PARTITIONS, lateness_h=LATENESS_H)
    return folded_alone(iter(log), settings)


@pytest.mark.parametrize("seed", [1, 3])
def test_an_undisturbed_fold_makes_the_rows_and_the_statistics_of_the_truth(seed: int, tmp_path: Path) -> None:
    whole = handed_over(log(12_000, seed), seed, tmp_path)
    wanted, found = truth(whole), folded(whole, tmp_path)
    counts = wanted.counts()
    assert min(count for name, count in counts.items() if name != "news") > 0
    assert found.rows.keys() == {who for who, one in wanted.shoppers.items() if one.admitted or one.told}
    differing = {who: differences(wanted.shoppers[who], raw) for who, raw in found.rows.items()}
    assert {who: it for who, it in differing.items() if it} == {}
    assert {json.loads(one.value or b"")["event_id"] for one in found.effects} == wanted.handed.keys()
    assert any(sums.most > 50 for items in wanted.statistics.values() for sums in items.values())
    for partition, items in found.partials.items():
        there = {split_record_key(key)[1]: raw for key, raw in items.items() if raw is not None}
        sums_there = wanted.statistics[partition, "default"]
        assert there.keys() == sums_there.keys()
        unlike = {
            item: partial_differing(sums, msgspec.msgpack.decode(there[item])) for item, sums in sums_there.items()
        }
        assert {item: it for item, it in unlike.items() if it} == {}


def test_sums_of_an_era_before_are_told_in_the_present_one() -> None:
    """Loaded history may be that old; 2024-05 and 2026-11 are of two eras."""
    old, new = (ERA_MS * era + 10 * DAY_MS for era in (22, 23))
    views = [Change("tea", at, at, views=1, seen=[("cup", at)]) for at in (old, new)]
    wanted = Partial()
    for view in views:
        add(wanted, item_changes.Change("tea", view.at, view.at, 1, seen_with=view.seen))
    [sums] = sums_of(views).values()
    assert partial_differing(sums, msgspec.msgpack.decode(encode(wanted))) == []


def test_the_made_carts_have_every_outcome() -> None:
    whole = truth(log(12_000, 1))
    said: Counter[str] = Counter()
    for (_, _, shopper), admission in whole.shoppers.items():
        who = person(admission.admitted)
        due = cart_due(who, 14 * DAY_MS)
        if due is not None and due <= BEGIN_MS + 12 * DAY_MS + 100_000:
            assert shopper[2] == "c"
            said["fired"] += 1
            said["told"] += message(shopper, who, 14 * DAY_MS, BEGIN_MS + 12 * DAY_MS) is not None
        elif shopper[2] == "c":
            said["none"] += 1
    assert said["fired"] > said["told"] > 0
    assert said["none"] > 0


def test_an_event_lost_or_doubled_is_seen(tmp_path: Path) -> None:
    wanted, found = truth(log(2000, 1)), folded(log(2000, 1), tmp_path).rows
    who = next(who for who, raw in found.items() if shoppers.decode_state(raw).views > 1)
    row = shoppers.decode(found[who])
    for change in (-1, 1):
        state = msgspec.structs.replace(row.state, views=row.state.views + change)
        damaged = shoppers.encode(msgspec.structs.replace(row, state=state))
        assert excess(differences(wanted.shoppers[who], damaged)) == change
    assert differences(wanted.shoppers[who], None).keys() == {"row"}


@pytest.mark.parametrize("quick", [True, False])
def test_every_schedule_has_all_kinds_of_faults_and_leaves_a_worker(*, quick: bool) -> None:
    for seed in range(50):
        faults = schedule(seed, quick=quick)
        assert {fault.kind for fault in faults} == set(FAULTS)
        assert faults == schedule(seed, quick=quick)
        assert [fault.share for fault in faults] == sorted(fault.share for fault in faults)
        workers = WORKERS_AT_START
        for fault in faults:
            workers += (fault.kind == "join") - (fault.kind == "leave")
            assert workers >= (2 if fault.kind == "pause_worker" else 1)
