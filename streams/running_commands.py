"""The commands for running workers: pause, resume, status. Each imports what it needs itself."""

from typing import Annotated

import typer

from streams.terminal import DataDir, say, settings_from, who

streams_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

By = Annotated[str, typer.Option("--by", help="Who asks, for the record; else the name of this system's user.")]


@streams_app.command("pause", epilog='Example: daogou streams pause --why "Redis moves to another machine"')
def streams_pause(
    by: By = "",
    why: Annotated[str, typer.Option("--why", help="The reason, for the record.")] = "",
    timeout: Annotated[int, typer.Option("--timeout", min=1, help="Seconds to wait for the workers.")] = 60,
    data_dir: DataDir = None,
) -> None:
    """Let all workers stand still.

    They keep their partitions and change no row, list, timer, statistic or namespace. It holds over restarts until
    `daogou streams resume`. What is decided already still leaves for Kafka, what is on the log is still archived, and
    `daogou replay` goes on in a namespace of its own.
    """
    from infra.clock import clock_from
    from infra.embedded.outside import Outside
    from streams.pause_asking import pause

    with Outside(settings_from(data_dir=data_dir)) as settings:
        pause(settings, who(by), why, timeout, clock_from(settings.clock_shift_file), say)


@streams_app.command("resume", epilog="Example: daogou streams resume")
def streams_resume(by: By = "", data_dir: DataDir = None) -> None:
    """Let them go on where they stood."""
    from infra.clock import clock_from
    from infra.embedded.outside import Outside
    from streams.pause_asking import resume

    with Outside(settings_from(data_dir=data_dir)) as settings:
        resume(settings, who(by), clock_from(settings.clock_shift_file), say)


@streams_app.command("status", epilog="Example: daogou streams status")
def streams_status(data_dir: DataDir = None) -> None:
    """Say whether the workers are paused, and how far behind.

    Since when and by whom, how many there are, and how many events and catalogue records wait for them.
    """
    from infra.embedded.outside import Outside
    from streams.pause_asking import status

    with Outside(settings_from(data_dir=data_dir)) as settings:
        status(settings, say)
