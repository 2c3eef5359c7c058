"""The truth and the fold read the design alike; what the proof compares with can tell a damaged row."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from features import shoppers
from infra.settings import Settings
from tests.proofs.chaos.compare_rows import differences, excess
from tests.proofs.chaos.made_log import Recipe, records
from tests.proofs.chaos.schedule import FAULTS, WORKERS_AT_START, schedule
from tests.proofs.chaos.truth import Record, Truth, truth_of
from tests.proofs.chaos.undisturbed import folded_alone

PARTITIONS, LATENESS_H = 4, 2
BEGIN_MS = 1_794_441_600_000


def log(count: int, seed: int) -> Iterator[Record]:
    offsets: Counter[int] = Counter()
    recipe = Recipe(count, seed, BEGIN_MS, LATENESS_H * 3_600_000, PARTITIONS)
    for made in records(recipe):
        yield Record(made.partition, offsets[made.partition], made.key, made.value, {}, BEGIN_MS + 30 * 86_400_000)
        offsets[made.partition] += 1


def truth(count: int, seed: int) -> Truth:
    return truth_of(log(count, seed), PARTITIONS, LATENESS_H * 3_600_000)


def rows(count: int, seed: int, folder: Path) -> dict[tuple[int, str, str], bytes]:
    settings = Settings(data_dir=folder, partitions=PARTITIONS, lateness_h=LATENESS_H)
    return folded_alone(log(count, seed), settings)


@pytest.mark.parametrize("seed", [1, 2])
def test_an_undisturbed_fold_makes_the_rows_of_the_truth(seed: int, tmp_path: Path) -> None:
    wanted, found = truth(6000, seed), rows(6000, seed, tmp_path)
    counts = wanted.counts()
    assert min(counts["applied"], counts["duplicates"], counts["late"], counts["dead"]) > 0
    assert found.keys() == {who for who, one in wanted.shoppers.items() if one.admitted}
    assert {who: differences(wanted.shoppers[who], raw) for who, raw in found.items()} == {who: {} for who in found}


def test_an_event_lost_or_doubled_is_seen(tmp_path: Path) -> None:
    wanted, found = truth(2000, 1), rows(2000, 1, tmp_path)
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
