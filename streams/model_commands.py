"""The commands for models: train, evaluate, release. Each imports what it needs itself, when it runs."""

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.errors import BadInput
from streams.terminal import DataDir, say, settings_from

if TYPE_CHECKING:
    from datetime import datetime

    from infra.settings import Settings
    from models.release import Release
    from streams.trainer import Report

JsonFile = Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON, too.")]
Released = Annotated[str | None, typer.Argument(help="The artifact to test; without it the one in service.")]
Candidate = Annotated[str | None, typer.Argument(help="The artifact to release; without it the newest.")]


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
        report = run(outside, Options(seed=seed, epochs=epochs), phases, _now(settings))
    _tell(report, json_file)
    if release:
        _release(settings, report.manifest.version, None, report)


def evaluate(version: Released = None, json_file: JsonFile = None, data_dir: DataDir = None) -> None:
    """Test an artifact again, beside the baselines, on the weeks after those it was fitted on."""
    quiet_threads()
    from streams.progress import Phases
    from streams.trainer import evaluate as run

    _writable(json_file)
    with Phases() as phases:
        report = run(settings_from(data_dir=data_dir), version, phases)
    _tell(report, json_file)


def release(
    version: Candidate = None,
    force: Annotated[str | None, typer.Option(help="Pass the gate over; give the reason, it is kept.")] = None,
    back: Annotated[bool, typer.Option("--rollback", help="Put the release before into service again.")] = False,
    listed: Annotated[bool, typer.Option("--list", help="Only list artifacts and releases.")] = False,
    data_dir: DataDir = None,
) -> None:
    """Put an artifact into service, by default the newest one.

    It is tested beside the one in service, on the weeks that it was not fitted on; one that does worse there, or worse
    than decayed popularity, is refused. Workers and API take it up within seconds.
    """
    from models.release import rollback

    settings = settings_from(data_dir=data_dir)
    if back and (version or force):
        raise BadInput("--rollback goes to the release before: give no version and no --force", path="rollback")
    if listed:
        _list(settings)
    elif back:
        say(f"released {rollback(settings.models_dir, _now(settings), by=_who()).version} again")
    else:
        quiet_threads()
        _release(settings, version or _newest(settings), force)


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


def _release(settings: "Settings", version: str, force: str | None, tested: "Report | None" = None) -> None:
    from streams.progress import Phases
    from streams.releasing import release as swap

    with Phases() as phases:
        done = swap(settings, version, phases, _now(settings), force=force, tested=tested, by=_who())
    for line in _figures(done):
        say(line)
    say(f"released {done.version}")


def _figures(done: "Release") -> list[str]:
    from models.gate import FLOOR, METRIC

    one = done.compared
    if one is None:
        return []
    lines = [f"{METRIC} from {one.begin:%Y-%m-%d} to {one.end:%Y-%m-%d}: {done.version} {one.fused:.4f}"]
    lines.append(f"  {FLOOR} {one.floor:.4f}")
    if one.in_service_fused is not None:
        saw = ", fitted on some of these weeks" if one.in_service_saw else ""
        lines.append(f"  {one.in_service} in service {one.in_service_fused:.4f}{saw}")
    if one.untested is not None:
        lines.append(f"  {one.in_service} in service could not be tested: {one.untested}")
    return lines


def _newest(settings: "Settings") -> str:
    from models.release import artifacts

    found = artifacts(settings.models_dir)
    if not found:
        raise BadInput(f"there is no artifact in {settings.models_dir}: daogou train makes one", path="version")
    return found[-1]


def _list(settings: "Settings") -> None:
    from infra.errors import DaogouError
    from models.artifact import Artifact
    from models.gate import METRIC, MODEL
    from models.release import artifacts, pointer

    known, made = pointer(settings.models_dir), artifacts(settings.models_dir)
    if not made:
        say(f"no model yet in {settings.models_dir}: daogou train makes one")
    for name in made:
        try:
            metrics = Artifact.open(settings.models_dir / name, verify=False).manifest.metrics
            told = f"{METRIC} {metrics[MODEL][METRIC]:.4f}"
        except DaogouError as error:
            told = error.message
        mark = "in service" if name == known.live else ""
        say(f"{name}  {told}  {mark}".rstrip())
    for one in known.releases:
        say(f"released {one.at:%Y-%m-%d %H:%M}  {one.version}  {_why(one)}".rstrip())


def _why(one: "Release") -> str:
    """By whom, and for what reason where the gate was passed over."""
    from models.release import ROLLBACK

    by = f"by {one.by}" if one.by else ""
    if one.forced is None or one.forced == ROLLBACK:
        return f"{one.forced or ''} {by}".strip()
    return f"forced {by}".strip() + f": {one.forced}"


def _who() -> str | None:
    """The account that this runs under, where it has a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return None


def _now(settings: "Settings") -> "datetime":
    from datetime import UTC, datetime

    from infra.clock import clock_from

    return datetime.fromtimestamp(clock_from(settings.clock_shift_file).now_ms() / 1000, UTC)


def quiet_threads() -> None:
    """Before torch comes in: threads that wait for each other give the processor away instead of burning it."""
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
