"""A training that was stopped goes on as if it had not been: to the bit, on one process."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from infra.errors import Conflict, Refused
from models.checkpoint import KEPT, Checkpoints, digest_of
from tests.full_disk import no_room_beyond
from tests.models.small_fit import OPTIONS, STEPS, Towers, learned_from, small_fit


class Killed(Exception):
    """The process is gone."""


class Run:
    """One try of a training that keeps checkpoints in a folder; it is killed after a step, if told so."""

    def __init__(self, folder: Path, every: int = 3, stop_after: int | None = None) -> None:
        self.said: list[str] = []
        self.steps: list[int] = []
        self.stop_after = stop_after
        self.kept = Checkpoints(
            folder, lambda: 0.0, self.said.append, every_steps=every, stopping=lambda: sum(self.steps) + 1 == stop_after
        )

    def fit(self, killed_after: int | None = None, **given: object) -> Towers:
        def progress(more: int) -> None:
            self.steps.append(more)
            if sum(self.steps) == killed_after:
                raise Killed

        return small_fit(progress, self.kept.of("fitted"), **given)


@pytest.fixture(autouse=True)
def _draws() -> Iterator[None]:
    with torch.random.fork_rng():
        yield


@pytest.fixture(scope="module")
def whole() -> Towers:
    """Not stopped, nothing kept."""
    return small_fit()


def test_the_small_fit_takes_more_than_one_pass_and_no_two_steps_are_alike(whole: Towers) -> None:
    assert len(whole.losses) == len(set(whole.losses)) == STEPS > len(learned_from().bought) / OPTIONS.batch


def test_keeping_checkpoints_changes_nothing(whole: Towers, tmp_path: Path) -> None:
    assert Run(tmp_path).fit().same_as(whole)


@pytest.mark.parametrize("after", [1, 3, 4, 8, 13, STEPS])
def test_a_training_that_is_killed_goes_on_to_the_same_towers_and_curve(
    whole: Towers, tmp_path: Path, after: int
) -> None:
    with pytest.raises(Killed):
        Run(tmp_path).fit(killed_after=after)
    again = Run(tmp_path)
    assert again.fit().same_as(whole)
    assert again.steps[0] == (after - 1) // 3 * 3, "not from the beginning"
    assert again.kept.losses == {"fitted": whole.losses}


def test_killed_again_and_again(whole: Towers, tmp_path: Path) -> None:
    for after in (5, 6, 9, 14):
        with pytest.raises(Killed):
            Run(tmp_path, every=2).fit(killed_after=after)
    assert Run(tmp_path, every=2).fit().same_as(whole)


def test_an_end_that_is_asked_for_keeps_the_step_it_came_in(whole: Towers, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="stopped at step 7 of 15") as caught:
        Run(tmp_path, every=100, stop_after=7).fit()
    assert caught.value.reason == "training_stopped"
    again = Run(tmp_path)
    assert again.fit().same_as(whole)
    assert again.steps[0] == 7
    assert any("goes on after step 7" in line for line in again.said)


def test_a_fit_at_its_end_is_not_done_again(whole: Towers, tmp_path: Path) -> None:
    Run(tmp_path).fit()
    again = Run(tmp_path)
    assert again.fit().same_as(whole)
    assert again.steps == [STEPS]


def test_a_checkpoint_cut_short_is_said_and_the_one_before_is_taken(whole: Towers, tmp_path: Path) -> None:
    for cut in (1, 100, 5000):
        folder = tmp_path / str(cut)
        with pytest.raises(Killed):
            Run(folder).fit(killed_after=8)
        newest = max((folder / "fitted").iterdir())
        newest.write_bytes(newest.read_bytes()[:-cut])
        again = Run(folder)
        assert again.fit().same_as(whole)
        assert again.steps[0] == 3
        assert newest.name in again.said[0]
        assert "cut short or altered" in again.said[0]


def test_an_altered_byte_is_found_and_with_no_whole_one_it_begins_anew(whole: Towers, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Run(tmp_path).fit(killed_after=8)
    for file in (tmp_path / "fitted").iterdir():
        raw = bytearray(file.read_bytes())
        raw[len(raw) // 2] ^= 1
        file.write_bytes(raw)
    again = Run(tmp_path)
    assert again.fit().same_as(whole)
    assert again.steps[0] == 0
    assert len([line for line in again.said if "altered" in line]) == 2


def test_a_bounded_number_is_kept_and_nothing_half_written(tmp_path: Path) -> None:
    Run(tmp_path, every=1).fit()
    assert [file.name[:10] for file in sorted((tmp_path / "fitted").iterdir())] == ["0000000014", "0000000015"]
    assert KEPT == 2


def test_what_was_left_by_a_kill_while_writing_is_no_checkpoint(whole: Towers, tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Run(tmp_path).fit(killed_after=5)
    (tmp_path / "fitted" / ".new").write_bytes(b"half of")
    assert Run(tmp_path).fit().same_as(whole)
    assert not (tmp_path / "fitted" / ".new").exists()


def test_the_state_of_other_data_or_options_is_refused_and_says_which(tmp_path: Path) -> None:
    with pytest.raises(Killed):
        Run(tmp_path).fit(killed_after=5)
    with pytest.raises(Conflict, match=r"other data\. .*--no-resume") as caught:
        Run(tmp_path).fit(examples=learned_from(2))
    assert caught.value.reason == "checkpoint_of_other"
    with pytest.raises(Conflict, match=r"option epochs \(1\.2, now 2\.0\)"):
        Run(tmp_path).fit(options=replace(OPTIONS, epochs=2.0))
    anew = Run(tmp_path)
    anew.kept.begin_anew()
    assert len(anew.fit(options=replace(OPTIONS, epochs=2.0)).losses) == 25


def test_a_digest_is_of_kind_shape_and_every_value() -> None:
    one = torch.arange(6).numpy()
    others = [one[::-1], one.reshape(2, 3), one.astype("int32"), one[:5], [*one[:5].tolist(), 6]]
    assert len({digest_of(other) for other in [one, *others]}) == len(others) + 1
    assert digest_of(one, one[:2]) != digest_of(one[:2], one)
    assert digest_of(one.copy()) == digest_of(one)


def test_by_seconds_too(tmp_path: Path) -> None:
    now = [0.0]
    kept = Checkpoints(tmp_path, lambda: now[0], lambda line: None, every_s=60)
    fit = kept.of("fitted")
    assert not fit.due()
    now[0] = 60.0
    assert fit.due()
    fit.keep({"losses": [0.5]})
    assert not fit.due()


def test_with_a_full_disk_training_goes_on_and_says_what_it_could_not_keep(whole: Towers, tmp_path: Path) -> None:
    run = Run(tmp_path)
    with no_room_beyond(4096):
        assert run.fit().same_as(whole)
    assert len(run.said) == STEPS // 3
    assert all("no checkpoint of step" in line and "no room" in line for line in run.said)
    assert list((tmp_path / "fitted").iterdir()) == []


def test_a_process_killed_for_good_leaves_what_the_next_one_goes_on_from(tmp_path: Path) -> None:
    """SIGKILL, as the kernel sends it when memory ends; the curve is that of a process that nobody killed."""
    command = [sys.executable, "-m", "tests.models.small_fit"]
    undisturbed = subprocess.run([*command, str(tmp_path / "other")], capture_output=True, text=True, check=True)
    child = subprocess.Popen([*command, str(tmp_path / "one")], stdout=subprocess.PIPE, text=True)
    with child:
        assert child.stdout is not None
        for number, _ in enumerate(child.stdout):
            if number == 8:  # the first line says that nothing was done before
                child.send_signal(signal.SIGKILL)
    assert child.returncode == -signal.SIGKILL
    again = subprocess.run([*command, str(tmp_path / "one")], capture_output=True, text=True, check=True)
    assert "goes on after step" in again.stdout
    curve = again.stdout[again.stdout.index("fit,step,loss") :]
    assert curve == undisturbed.stdout[undisturbed.stdout.index("fit,step,loss") :]
    assert len(curve.splitlines()) == STEPS + 1
