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
    json_file: JsonFile = None,
    data_dir: DataDir = None,
) -> None:
    """Train the two towers and print them beside the baselines.

    Reads the event archive and the catalogue in Redis; leaves an artifact in the models folder.
    """
    quiet_threads()
    from infra.embedded.outside import Outside
    from models.fitting import Options
    from streams.offline_features import build_features
    from streams.progress import Phases
    from streams.trainer import train as run

    _writable(json_file)
    settings = settings_from(data_dir=data_dir)
    with Outside(settings) as outside, Phases() as phases:
        if rebuild:
            build_features(outside, phases)
        report = run(outside, Options(seed=seed, epochs=epochs), phases, now_in(settings))
    _tell(report, json_file)
    if release:
        put_into_service(settings, report.manifest.version, None, report)


def evaluate(version: Released = None, json_file: JsonFile = None, data_dir: DataDir = None) -> None:
    """Test an artifact again, beside the baselines, on the weeks after those it was fitted on."""
    quiet_threads()
    from streams.progress import Phases
    from streams.trainer import evaluate as run

    _writable(json_file)
    with Phases() as phases:
        report = run(settings_from(data_dir=data_dir), version, phases)
    _tell(report, json_file)


def _writable(json_file: Path | None) -> None:
    """Before the work of minutes, and not after it."""
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise BadInput(f"--json {json_file}: there is no folder {json_file.parent}", path="json")


def _tell(report: "Report", json_file: Path | None) -> None:
    from rich.console import Console

    from streams.trainer import print_report, write_report

    print_report(report, Console())
    if json_file is not None:
        json_file.write_bytes(write_report(report))


def quiet_threads() -> None:
    """Before torch comes in: threads that wait for each other give the processor away instead of burning it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
