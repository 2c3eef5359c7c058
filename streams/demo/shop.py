"""The demo's shop: a year of purchases, the last weeks of them through Kafka and Faust, a trained model in service.

Each step is remembered in `demo.json` in the data folder, so that a second start goes straight to the visit.
"""

import asyncio
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console

from features.archive import EventArchive
from infra.clock import clock_from
from infra.errors import Unavailable
from infra.kafka import end_offsets, log_id
from infra.keys import partition_of, record_key
from infra.redis import address, connect
from infra.settings import Settings
from infra.topics import EVENTS
from models.artifact import Artifact
from models.fitting import Options
from models.release import released
from streams.commit import PartitionStore
from streams.demo.figures import Figures
from streams.demo.site import Site
from streams.load import load_command
from streams.load_report import LoadReport
from streams.offline_features import build_features
from streams.partition import RowRef
from streams.progress import Phases
from streams.releasing import release
from streams.stop_signals import StopSignals
from streams.supervisor import Shop, prepare
from streams.trainer import print_report, train

SOURCE: Final = "completejourney"
LIVE_DAYS: Final = 28
# Households with many baskets in the last weeks: each start of the demo follows another one.
SHOPPERS: Final = ("1453", "1510", "1795", "1228", "1901", "900", "1467", "1479", "1566", "2252")
WAIT_S: Final = 120.0
_POLL_S: Final = 0.2
_REDIS_TIMEOUT_MS: Final = 2000


class Counts(msgspec.Struct, frozen=True):
    """What the year's files gave, both parts together."""

    events_taken: int
    lines_read: int
    lines_refused: int


class Remembered(msgspec.Struct):
    """What `demo.json` holds: the day that the year ends on, whether all of it is loaded, what it gave, and how many
    visits.
    """

    year_ends: date
    loaded: bool = False
    visits: int = 0
    counts: Counts | None = None


@dataclass(frozen=True, slots=True)
class PreparedShop:
    """A shop that is up, with a model in service."""

    host: str
    port: int
    url: str
    settings: Settings
    shoppers: tuple[str, ...]
    items: list[str]
    log_file: Path  # the worker's
    check: Callable[[], None]  # starts again what has ended


@contextmanager
def prepared_shop(
    settings: Settings, figures: Figures, console: Console, signals: StopSignals
) -> Iterator[PreparedShop]:
    """Load, start, load the rest through Kafka, train, release: what is not done yet. Ends worker and API at the end.

    Args:
        settings: with the addresses of Kafka and Redis.
        figures: filled with seconds, counts and metrics.
        console: where it tells what it does.
        signals: of this process; the shop hears of those that come while it ends.
    """
    settings = settings.model_copy(update={"clock_shift_file": shift_file(settings)})
    memory = _remembered(settings)
    prepare(settings)
    memory.loaded = memory.loaded and asyncio.run(_knows(settings, SHOPPERS[0]))
    live_from = datetime.combine(memory.year_ends, datetime.min.time(), UTC) - timedelta(days=LIVE_DAYS)
    parts: list[LoadReport] = []
    if not memory.loaded:
        console.print(f"\n[bold]The year[/bold]: purchases before {live_from:%Y-%m-%d}, straight into the archive")
        with figures.stage("load directly"):
            parts.append(_load(settings, memory, until=live_from))
    console.print("\n[bold]The shop opens[/bold]: worker and API")
    logs = settings.data_dir / "logs"
    shop = Shop(settings, console.print, log_dir=logs)
    signals.hurry = shop.hurry
    try:
        with figures.stage("start"):
            shop.start()
        if not memory.loaded:
            console.print("\n[bold]The last weeks[/bold]: through Kafka and Faust")
            with figures.stage("load through Kafka"):
                parts.append(_load(settings, memory, since=live_from))
                _await_archive(settings)
            memory.loaded, memory.counts = True, counts_of(parts)
            remember(settings, memory)
        note_counts(figures, memory)
        _train(settings, figures, console)
        site = Site(shop.host, shop.port, clock_from(settings.clock_shift_file))
        with figures.stage("every list scored"):
            items = _await_lists(site)
        yield PreparedShop(shop.host, shop.port, shop.url, settings, SHOPPERS, items, logs / "worker.log", shop.check)
    finally:
        shop.stop()


def shift_file(settings: Settings) -> Path:
    """The file that the demo moves the clock by; it is kept, since time does not go back."""
    return settings.data_dir / "demo-clock"


def next_visit(settings: Settings) -> int:
    """The number of this visit, counted in the data folder."""
    memory = _remembered(settings)
    memory.visits += 1
    remember(settings, memory)
    return memory.visits


def remember(settings: Settings, memory: Remembered) -> None:
    """Write `demo.json`."""
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    new = settings.data_dir / "demo.json.new"
    new.write_bytes(msgspec.json.encode(memory))
    new.replace(settings.data_dir / "demo.json")


def _remembered(settings: Settings) -> Remembered:
    file = settings.data_dir / "demo.json"
    if file.exists():
        return msgspec.json.decode(file.read_bytes(), type=Remembered)
    now_ms = clock_from(None).now_ms()
    memory = Remembered(datetime.fromtimestamp(now_ms / 1000, UTC).date() - timedelta(days=1))
    remember(settings, memory)
    shift_file(settings).write_text("0")
    return memory


def _load(
    settings: Settings, memory: Remembered, *, since: datetime | None = None, until: datetime | None = None
) -> LoadReport:
    """One part of the year: directly where it ends before `until`, through the log from `since` on."""
    return load_command(settings, SOURCE, direct=until is not None, since=since, until=until, moved_to=memory.year_ends)


def counts_of(parts: Sequence[LoadReport]) -> Counts:
    """The events of all parts; each part reads the same lines."""
    return Counts(
        events_taken=sum(part.events for part in parts),
        lines_read=max(part.lines_read for part in parts),
        lines_refused=max(part.lines_refused for part in parts),
    )


def note_counts(figures: Figures, memory: Remembered) -> None:
    """What the data folder knows of the load, or why it knows nothing."""
    if memory.counts is None:
        why = "loaded by a version that did not keep the counts; remove the data folder to load anew"
        figures.unknown |= dict.fromkeys(Counts.__struct_fields__, why)
        return
    figures.events_taken = memory.counts.events_taken
    figures.lines_read = memory.counts.lines_read
    figures.lines_refused = memory.counts.lines_refused


def use_released(settings: Settings, figures: Figures) -> bool:
    """Whether a model is in service; its figures are those of its training."""
    in_service = released(settings.models_dir)
    if in_service is not None:
        figures.take(Artifact.open(in_service, verify=False).manifest)
    return in_service is not None


def _train(settings: Settings, figures: Figures, console: Console) -> None:
    if use_released(settings, figures):
        return
    console.print("\n[bold]The model[/bold]: two towers, beside the baselines")
    clock = clock_from(settings.clock_shift_file)
    made_at = datetime.fromtimestamp(clock.now_ms() / 1000, UTC)
    with figures.stage("features"), Phases() as phases:
        build_features(settings, phases)
    with figures.stage("train"), Phases() as phases:
        report = train(settings, Options(), phases, made_at)
        figures.take(report.manifest)
    print_report(report, console)
    with Phases() as phases:
        release(settings, report.manifest.version, phases, made_at, tested=report)


def _await_archive(settings: Settings) -> None:
    """Until everything on the log is in the archive, where training reads it."""
    log = log_id(settings.brokers, EVENTS, settings.embedded_log)
    ends = end_offsets(settings.brokers, EVENTS)

    def behind() -> int:
        through = EventArchive(settings.archive_at).through(log)
        return sum(max(0, end - 1 - through.get(partition, -1)) for partition, end in ends.items())

    _await(lambda: behind() == 0, "the archive does not catch up with the log")


def _await_lists(site: Site) -> list[str]:
    """Until the shoppers' lists come from the model; the items on them."""
    items: set[str] = set()
    for shopper in SHOPPERS:
        answer = site.list_for(shopper, count=50)

        def scored(shopper: str = shopper) -> bool:
            nonlocal answer
            answer = site.list_for(shopper, count=50)
            return not answer["fallback"]["used"]

        _await(scored, "the worker does not score the lists with the new model")
        items.update(item["item_id"] for item in answer["items"])
    return sorted(items)


def _await(done: Callable[[], bool], otherwise: str) -> None:
    end = time.monotonic() + WAIT_S
    while not done():
        if time.monotonic() > end:
            raise Unavailable(f"{otherwise} (waited {WAIT_S:.0f} s); see logs/worker.log in the data folder")
        time.sleep(_POLL_S)


async def _knows(settings: Settings, shopper: str) -> bool:
    """Whether Redis still has the row of a shopper whom the load brings."""
    shopper_id = f"u-{shopper}"
    partition = partition_of(record_key(settings.tenant, shopper_id), settings.partition_count)
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        store = PartitionStore(redis, where=address(settings.redis))
        await store.look([partition])
        [row] = await store.rows([RowRef(partition, settings.tenant, shopper_id)])
        return row is not None
    finally:
        await redis.aclose()
