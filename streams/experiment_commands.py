"""The commands that tell what lists were worth. Imported by the command line; each imports what it needs itself."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from streams.terminal import DataDir, instant, now_in, say, settings_from

if TYPE_CHECKING:
    from infra.settings import Settings
    from streams.decision_reading import Period

experiments_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
attribution_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)
policies_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

_DAYS = 30  # as long as the log keeps what was shown

Since = Annotated[
    str | None, typer.Option("--from", help="The first list: 2026-11-02T09:00:00Z. Without it: 30 days ago.")
]
Until = Annotated[str | None, typer.Option("--to", help="The end of the lists, exclusive. Without it: now.")]
Hours = Annotated[
    int,
    typer.Option("--hours", min=1, max=720, help="For how long what a list showed is owed to it, if no list is named."),
]
Json = Annotated[Path | None, typer.Option("--json", help="Write the figures as JSON, too.")]


@experiments_app.command("report", epilog="Example: daogou experiments report cakes --from 2026-11-02")
def experiments_report(
    experiment_id: Annotated[str, typer.Argument(metavar="ID", help="The experiment, as its setting is named.")],
    since: Since = None,
    until: Until = None,
    hours: Hours = 24,
    version: Annotated[
        int | None, typer.Option("--version", help="Of the experiment. Without it: the newest that made a list.")
    ] = None,
    json_file: Json = None,
    data_dir: DataDir = None,
) -> None:
    """Tell what each variation did, and how sure that is.

    Shoppers, lists, clicks, orders, revenue; differences to the first variation with intervals of 95 % over shoppers;
    whether the shoppers are divided as they should be. Status 1: they are not, and the figures are not to be believed.
    """
    from streams.experiment_command import report_on
    from streams.experiments_told import experiment_tables

    settings, period = _asked(since, until, data_dir)
    found = report_on(settings, experiment_id, period, hours, version)
    _told(experiment_tables(found), found, json_file)
    if found.split is not None and found.split.broken:
        raise typer.Exit(1)


@attribution_app.command("report", epilog="Example: daogou attribution report --from 2026-11-02 --to 2026-11-09")
def attribution_report(
    since: Since = None,
    until: Until = None,
    hours: Hours = 24,
    json_file: Json = None,
    data_dir: DataDir = None,
) -> None:
    """Tell what the lists of each scenario brought.

    Clicks, carts, orders and revenue, each owed to the list that the event names, else to the newest one that showed
    the item to that shopper.
    """
    from streams.experiment_command import attributed
    from streams.experiments_told import attribution_tables

    settings, period = _asked(since, until, data_dir)
    found = attributed(settings, period, hours)
    _told(attribution_tables(found), found, json_file)


@policies_app.command("estimate", epilog="Example: daogou policies estimate home-next.json --from 2026-11-02")
def policies_estimate(
    scenario: Annotated[
        Path, typer.Argument(metavar="FILE", help="A scenario as JSON, as PUT /v1/settings/scenario/... takes it.")
    ],
    since: Since = None,
    until: Until = None,
    reward: Annotated[
        Literal["clicks", "purchases"], typer.Option("--reward", help="What a list is worth: clicks or purchases.")
    ] = "clicks",
    hours: Hours = 24,
    json_file: Json = None,
    data_dir: DataDir = None,
) -> None:
    """Estimate what another scenario would be worth, untried.

    From lists in which slots were explored by chance. Filter, booster, rotation and sources must be as they were when
    the lists were made.
    """
    from streams.experiment_command import estimated
    from streams.experiments_told import policy_tables

    settings, period = _asked(since, until, data_dir)
    found = estimated(settings, scenario, period, hours, reward)
    _told(policy_tables(found), found, json_file)


def _asked(since: str | None, until: str | None, data_dir: Path | None) -> "tuple[Settings, Period]":
    from datetime import UTC, timedelta

    from features.events import to_ms
    from infra.errors import BadInput
    from streams.decision_reading import Period, opened

    given = settings_from(data_dir=data_dir)
    last = instant("--to", until) or now_in(given)
    first = instant("--from", since) or last - timedelta(days=_DAYS)
    period = Period(*(to_ms(one if one.tzinfo else one.replace(tzinfo=UTC)) for one in (first, last)))
    if period.since >= period.until:
        raise BadInput(f"--from {first} is not before --to {last}", path="--from", code="empty_period")
    return opened(given), period


def _told(tables: Any, found: Any, json_file: Path | None) -> None:
    import msgspec
    from rich.console import Console

    console = Console(highlight=False)
    for one in tables:
        console.print(one, markup=False) if isinstance(one, str) else console.print(one)
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
        say(f"written  {json_file}")
