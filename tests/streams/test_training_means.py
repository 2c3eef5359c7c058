"""`daogou train` that is stopped and started again; signals between two steps; two trainings at once."""

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
import torch

from infra.errors import BadInput, Conflict, Refused
from infra.settings import Settings
from models.artifact import Artifact
from models.checkpoint import CURVE
from models.release import artifacts
from streams import trainer
from streams.progress import Phases
from streams.trainer import Report
from streams.training_means import device_of, means_of, together
from tests.streams.trained import MADE_AT, OPTIONS, Shop, quiet


class Signalled(Phases):
    """Sends a signal to this process when a phase hears of so much work; keeps what is said."""

    def __init__(self, phase: str = "", after: int = 0, number: int = signal.SIGTERM) -> None:
        super().__init__()
        self.told: list[str] = []
        self._when = phase, after, number

    def say(self, text: str) -> None:
        self.told.append(text)

    @contextmanager
    def phase(self, name: str, total: int, unit: str, *, done: int = 0) -> Iterator[Callable[[int], None]]:
        reached = 0
        phase, after, number = self._when

        def advance(more: int) -> None:
            nonlocal reached
            reached += more
            if name == phase and reached == after:
                os.kill(os.getpid(), number)

        yield advance


def trained(settings: Settings, phases: Phases, day: int, *, resume: bool = True, seed: int = OPTIONS.seed) -> Report:
    with means_of(settings, phases, None, resume=resume) as means:
        made_at = MADE_AT + timedelta(days=day)
        return trainer.train(settings, replace(OPTIONS, seed=seed), phases, made_at, means)


def curve_of(settings: Settings, report: Report) -> str:
    return (Artifact.open(settings.models_dir / report.manifest.version).path / CURVE).read_text()


def test_a_training_that_is_asked_to_end_goes_on_to_the_same_curve(trained_shop: Shop, tmp_path: Path) -> None:
    """In the second fit: the first one is not done again, and of the second what was done is kept."""
    settings = trained_shop.restocked(tmp_path / "data")
    undisturbed = curve_of(settings, trained(settings, quiet(), 10))
    before = artifacts(settings.models_dir)
    with pytest.raises(Refused, match="the same command goes on from there") as caught:
        trained(settings, Signalled("fitted", 2), 11)
    assert caught.value.reason == "training_stopped"
    assert artifacts(settings.models_dir) == before, "nothing half made is in sight"
    with pytest.raises(Conflict, match="option seed"):
        trained(settings, quiet(), 12, seed=99)
    again = Signalled()
    report = trained(settings, again, 13)
    assert curve_of(settings, report) == undisturbed
    went_on = [line for line in again.told if "goes on after step" in line]
    assert [line.partition(":")[0] for line in went_on] == ["fitted for the weights", "fitted"]
    assert "step 3," in went_on[1]
    header, *lines = undisturbed.splitlines()
    assert header == "fit,step,loss"
    assert {line.split(",")[0] for line in lines} == {"fitted for the weights", "fitted"}
    assert not list((settings.data_dir / "training" / settings.tenant).iterdir()), "done, and forgotten"


def test_no_resume_begins_anew(trained_shop: Shop, tmp_path: Path) -> None:
    settings = trained_shop.restocked(tmp_path / "data")
    with pytest.raises(Refused):
        trained(settings, Signalled("fitted", 2, signal.SIGINT), 10)
    anew = Signalled()
    trained(settings, anew, 11, resume=False, seed=99)
    assert not [line for line in anew.told if "goes on" in line]


def test_outside_of_a_fit_a_signal_ends_at_once(trained_shop: Shop, tmp_path: Path) -> None:
    settings = trained_shop.restocked(tmp_path / "data")
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt):
        trained(settings, Signalled("sources chosen", 1), 10)
    assert signal.getsignal(signal.SIGTERM) is before


def test_the_second_of_two_trainings_keeps_no_checkpoints_and_says_so(trained_shop: Shop, tmp_path: Path) -> None:
    settings = trained_shop.settings.model_copy(update={"data_dir": tmp_path})
    other = Signalled()
    with means_of(settings, quiet(), None, resume=True) as first, means_of(settings, other, None, resume=False) as one:
        assert first.saved is not None
        assert first.saved.folder == tmp_path / "training" / "default"
        assert one.saved is not None
        assert one.saved.folder is None
        assert not one.saved.of("fitted").due()
    assert "keeps no checkpoints" in other.told[0]


def test_a_device_is_what_there_is_or_named() -> None:
    assert device_of("cpu") == "cpu"
    assert device_of("auto") == ("cuda" if torch.cuda.is_available() else "cpu")
    with pytest.raises(BadInput, match="auto, cpu or cuda"):
        device_of("tpu")
    if not torch.cuda.is_available():
        with pytest.raises(BadInput, match="torch finds no GPU") as caught:
            device_of("cuda")
        assert caught.value.reason == "no_gpu"


def test_without_torchrun_one_process_trains_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RANK", raising=False)
    with together("cpu") as ranks:
        assert (ranks.rank, ranks.size, ranks.device.type) == (0, 1, "cpu")
