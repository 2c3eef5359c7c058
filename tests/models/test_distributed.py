"""Several processes fit what one fits: gloo on this machine's CPU, TorchRec's larger tables cut over the ranks."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from infra.ports import listen, port_of
from models.distributed import launched
from models.item_features import PRICE_BINS
from tests.models.shops import SIDE
from tests.models.small_fit import STEPS, WIDTH, options_of, small_fit

CHILD = "tests.models.fit_together"
PATIENCE_S = 60
TABLES = ("id", "category", "brand", "price")
LOSS_TOLERANCE = 1e-5
WEIGHT_TOLERANCE = 1e-5


@pytest.fixture(autouse=True)
def _draws() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


def torchrun(folder: Path, ranks: int, *arguments: str) -> dict[str, Any]:
    """What rank 0 found."""
    launch = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    command = [*launch, "-m", CHILD, str(folder), *arguments, str(PATIENCE_S)]
    done = subprocess.run(command, capture_output=True, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr
    assert "Warning: " not in done.stderr, "nothing is said that nobody can do anything about"
    return _found(folder)


def _found(folder: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads((folder / "found.json").read_text())
    return found


def by_hand(folder: Path, *arguments: str, ranks: int = 2) -> list[subprocess.Popen[str]]:
    """Without `torchrun`, which would end what is left of the ranks itself, and takes seconds to begin."""
    with listen("127.0.0.1", 0) as listener:
        port = str(port_of(listener))
    together = {"WORLD_SIZE": str(ranks), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, "-m", CHILD, str(folder), *arguments],
            stderr=subprocess.PIPE,
            text=True,
            env=os.environ | together | {"RANK": str(rank), "LOCAL_RANK": str(rank)},
        )
        for rank in range(ranks)
    ]


def in_peace(folder: Path, ranks: int = 2) -> dict[str, Any]:
    """What rank 0 found in a training where nobody dies."""
    processes = by_hand(folder, "some", "1", "nobody", str(PATIENCE_S), ranks=ranks)
    said = [process.communicate(timeout=4 * PATIENCE_S)[1] for process in processes]
    assert [process.returncode for process in processes] == [0] * ranks, said
    return _found(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What a training found that nothing ever disturbed."""
    return in_peace(tmp_path_factory.mktemp("undisturbed"))


@pytest.mark.parametrize("ranks", [1, 2])
def test_the_same_batches_teach_several_processes_what_they_teach_one(tmp_path: Path, ranks: int) -> None:
    """Nothing is left out by chance here: each process would leave out others."""
    alone = small_fit(options=options_of("none"))
    found = torchrun(tmp_path, ranks, "none", "2", "nobody")
    assert len(found["losses"]) == 2, "the others can be called again"
    for losses in found["losses"]:
        assert losses == pytest.approx(alone.losses, abs=LOSS_TOLERANCE)
    assert found["items"].keys() == alone.items.state_dict().keys()
    for name, value in alone.items.state_dict().items():
        assert torch.tensor(found["items"][name]) == pytest.approx(value, abs=WEIGHT_TOLERANCE), name
    _each_held_its_rows(tmp_path, ranks)


def _each_held_its_rows(folder: Path, ranks: int) -> None:
    """A part of what is cut, all of the rest; the plain tables are kept by rank 0 alone."""
    told = [json.loads((folder / f"held-{rank}.json").read_text()) for rank in range(ranks)]
    rows = {name: [one["trained"][f"embedding_bags.{name}.weight"] for one in told] for name in TABLES}
    assert rows["id"] == {1: [SIDE], 2: [SIDE // 2, SIDE // 2]}[ranks]
    assert rows["price"] == {1: [PRICE_BINS + 1], 2: [9, 8]}[ranks]
    assert (rows["category"], rows["brand"]) == ([3] * ranks, [4] * ranks)
    assert [sum(one["plain"].values()) > 0 for one in told] == [True, False][:ranks]


def _is_whole(checkpoint: Path) -> None:
    """All rows of every table, and what the optimizer knows of them, in one file."""
    state = torch.load(checkpoint, weights_only=True)
    tables = {name: state["items"][f"tables.embedding_bags.{name}.weight"] for name in TABLES}
    shapes = [tuple(table.shape) for table in tables.values()]
    assert shapes == [(SIDE, WIDTH), (3, WIDTH), (4, WIDTH), (PRICE_BINS + 1, WIDTH)]
    known = state["optimizer"]["state"]
    assert [tuple(known[place]["exp_avg"].shape) for place in range(len(TABLES))] == shapes


@pytest.mark.parametrize("dead", [0, 1])
def test_a_rank_that_is_killed_ends_the_others_and_the_next_training_goes_on(
    tmp_path: Path, dead: int, undisturbed: dict[str, Any]
) -> None:
    processes = by_hand(tmp_path, "some", "1", f"{dead}:8:{signal.SIGKILL}", str(PATIENCE_S))
    said = [process.communicate(timeout=4 * PATIENCE_S)[1] for process in processes]
    assert processes[dead].returncode == -signal.SIGKILL
    assert processes[1 - dead].returncode == 1
    assert "RankLost: a process of this training has ended" in said[1 - dead]
    _is_whole(max((tmp_path / "kept").glob("*/*.checkpoint")))
    again = in_peace(tmp_path)
    assert again["began"] == 6
    assert again["losses"] == [pytest.approx(undisturbed["losses"][0], abs=LOSS_TOLERANCE)]
    assert len(again["losses"][0]) == STEPS


def test_a_rank_that_hangs_is_waited_for_no_longer_than_told(tmp_path: Path) -> None:
    """SIGSTOP: its connection stays open, and nothing comes."""
    processes = by_hand(tmp_path, "some", "1", f"1:3:{signal.SIGSTOP}", "20")
    try:
        said = processes[0].communicate(timeout=4 * PATIENCE_S)[1]
    finally:
        processes[1].kill()
        processes[1].communicate()
    assert processes[0].returncode == 1
    assert "did not answer within 20 s" in said


def test_a_state_of_another_number_of_processes_is_refused(tmp_path: Path) -> None:
    in_peace(tmp_path, ranks=1)
    processes = by_hand(tmp_path, "some", "1", "nobody", str(PATIENCE_S))
    said = [process.communicate(timeout=4 * PATIENCE_S)[1] for process in processes]
    assert "number of processes (1, now 2)" in said[0]
    assert "RankLost" in said[1]


def test_torchrun_is_known_by_what_it_leaves_in_the_environment() -> None:
    assert launched({"RANK": "0", "WORLD_SIZE": "1", "LOCAL_RANK": "0"})
    assert not launched({"PATH": "/bin"})


def test_without_torchrun_nothing_distributed_comes_in() -> None:
    """Importing and fitting: neither our module nor the sharded half of TorchRec."""
    told = (
        "import sys\n"
        "from tests.models.small_fit import small_fit\n"
        "small_fit()\n"
        "print([name for name in ('models.distributed', 'models.sharding') if name in sys.modules])\n"
    )
    done = subprocess.run([sys.executable, "-c", told], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
