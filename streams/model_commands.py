"""The commands that make and test models: train, evaluate. Each imports what it needs itself, when it runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.errors import BadInput
from streams.release_commands import put_into_service
from streams.terminal import DataDir, now_in, settings_from

if TYPE_CHECKING:
    from streams.trainer import Report

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON, too.")]
Released = Annotated[str | None, typer.Argument(help="The artifact to test; without it the one in service.")]


def train(
    release: Annotated[bool, typer.Option("--release", help="Put it into service if the gate lets it.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")] = 1,
    epochs: Annotated[
        float, typer.Option(min=0.01, max=100, help="Passes over the orders that are learned from.")
    ] = 0.6,
    rebuild: Annotated[
        bool, typer.Option("--features/--no-features", help="Make the offline features anew from the archive first.")
    ] = True,
    resume: Annotated[
        bool, typer.Option("--resume/--no-resume", help="Go on with a training that was stopped, if there is one.")
    ] = True,
    device: Annotated[str, typer.Option(help="cpu or cuda; auto: a GPU if there is one.")] = "auto",
    json_file: JsonFile = None,
    data_dir: DataDir = None,
) -> None:
    """Train the two towers and print them beside the baselines.

    Reads the event archive and the catalogue in Redis; leaves an artifact in the models folder. Under torchrun several
    processes train together: torchrun --nproc-per-node 2 -m streams.cli train.
    """
    quiet_threads()
    from infra.embedded.outside import Outside
    from models.fitting import Options
    from streams.offline_features import build_features
    from streams.progress import Phases
    from streams.trainer import train as run
    from streams.training_means import device_of, means_of, together

    _writable(json_file)
    settings = settings_from(data_dir=data_dir)
    with together(device_of(device)) as ranks:
        if ranks.rank:
            ranks.follow()
            return
        with (
            Outside(settings) as outside,
            Phases() as phases,
            means_of(settings, phases, ranks, resume=resume) as means,
        ):
            if rebuild:
                build_features(outside, phases)
            report = run(outside, Options(seed=seed, epochs=epochs), phases, now_in(settings), means)
    _tell(report, json_file)
    if release:
        put_into_service(settings, report.manifest.version, None, report)


def evaluate(
    version: Released = None,
    split: Annotated[
        str, typer.Option(help="temporal: every purchase after the fit; loo: of each shopper only the last of them.")
    ] = "temporal",
    seeds: Annotated[int, typer.Option(min=1, max=20, help="Of each model that draws in its fit.")] = 1,
    train_seeds: Annotated[
        bool, typer.Option("--train-seeds", help="Train the seeds of the model that are missing, on the same weeks.")
    ] = False,
    html_file: Annotated[
        Path | None, typer.Option("--html", help="Write the report with plots, one HTML file.")
    ] = None,
    json_file: JsonFile = None,
    data_dir: DataDir = None,
) -> None:
    """Test an artifact again, beside all baselines.

    On the weeks after those it was fitted on.
    """
    quiet_threads()
    from streams.evaluating import chosen_artifact, figures_of, write_page
    from streams.evaluating import evaluate as run
    from streams.progress import Phases
    from streams.seeds import train_missing

    _writable(json_file)
    _writable(html_file, "html")
    settings = settings_from(data_dir=data_dir)
    with Phases() as phases:
        if train_seeds:
            from infra.embedded.outside import Outside

            with Outside(settings) as outside:
                train_missing(outside, chosen_artifact(settings, version), seeds - 1, phases, now_in(settings))
        evaluated = run(settings, version, phases, split, seeds)
    _tell(evaluated.report, None)
    if json_file is not None:
        json_file.write_bytes(figures_of(evaluated))
    if html_file is not None:
        write_page(evaluated, html_file)


def _writable(file: Path | None, name: str = "json") -> None:
    """Before the work of minutes, and not after it."""
    if file is not None and not file.absolute().parent.is_dir():
        raise BadInput(f"--{name} {file}: there is no folder {file.parent}", path=name)
    if file is not None and file.is_dir():
        raise BadInput(f"--{name} {file}: this is a folder; name a file in it", path=name)


def _tell(report: "Report", json_file: Path | None) -> None:
    from rich.console import Console

    from streams.trainer import print_report, write_report

    print_report(report, Console())
    if json_file is not None:
        json_file.write_bytes(write_report(report))


def quiet_threads() -> None:
    """Before torch comes in: threads that wait for each other give the processor away instead of burning it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
