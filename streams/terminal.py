"""What every command of the command line begins with: its settings, its logs, its words.

Cheap to import: whatever takes longer comes in when it is used.
"""

import os
import signal
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from infra.errors import BadInput

if TYPE_CHECKING:
    from infra.settings import Settings

DataDir = Annotated[
    Path | None, typer.Option("--data-dir", help="Folder of everything that is kept [DAOGOU_DATA_DIR].")
]
Port = Annotated[int | None, typer.Option("--port", help="Port of the API; a used one: the next free [DAOGOU_PORT].")]


def settings_from(**given: object) -> "Settings":
    """The settings, with the logs of this process set up as they say.

    Raises:
        SettingWrong: names the setting, its value and what is allowed.
    """
    from infra.logs import configure
    from infra.settings import read_settings

    warn_of_misspelt()
    settings = read_settings(**given)
    configure(settings.log_level, settings.log_format)
    return settings


def warn_of_misspelt() -> None:
    """A line on stderr for each variable that looks like a setting and is none; a child leaves it to its parent."""
    from infra.ready import VARIABLE
    from infra.setting_names import unknown

    if os.environ.get(VARIABLE, "").startswith("@daogou-"):
        return
    for line in unknown(os.environ):
        print(f"daogou: {line} [unknown_setting]", file=sys.stderr)


def say(line: str) -> None:
    """One line for the person in front, at once."""
    print(line, flush=True)


def who(by: str | None) -> str:
    """Who asks, for the record: as given, or the account that this runs under, by its name or its number."""
    import getpass

    try:
        return by or getpass.getuser()
    except (KeyError, OSError):
        return f"uid {os.getuid()}"


def sigterm_as_ctrl_c() -> None:
    """Let both signals unwind this process in the same way."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def now_in(settings: "Settings") -> datetime:
    """The time that the shop's clock shows."""
    from infra.clock import clock_from

    return datetime.fromtimestamp(clock_from(settings.clock_shift_file).now_ms() / 1000, UTC)


def instant(option: str, text: str | None) -> datetime | None:
    """The time that an option gives.

    Raises:
        BadInput: it is none.
    """
    try:
        return None if text is None else datetime.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} {text!r} is not a time: 2017-12-01T00:00:00Z is one", path=option) from None


def day(option: str, text: str | None) -> date | None:
    """The day that an option gives.

    Raises:
        BadInput: it is none.
    """
    try:
        return None if text is None else date.fromisoformat(text)
    except ValueError:
        raise BadInput(f"{option} {text!r} is not a day: 2017-12-01 is one", path=option) from None
