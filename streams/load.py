"""`daogou load`: history and catalogues from files, through the log or directly, and the table of what became
of it.

Everything follows from the file: the ids of the events, the id of the load, the order. A load that was
interrupted is run again, and a load run twice changes nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Final
from uuid import uuid4

from redis.asyncio import Redis
from rich.console import Console

from features.catalog import Item
from features.catalog_store import CatalogStore
from infra.clock import Clock, clock_from
from infra.data_folder import make_usable
from infra.embedded.outside import Outside, running
from infra.errors import BadInput, Refused
from infra.kafka_admin import check_topics
from infra.keys import LIVE
from infra.redis import address, connect, told_as_away
from infra.settings import Settings
from infra.shards import agree
from streams.direct import DirectLoad
from streams.holds import Hold
from streams.intake import Intake, Ready
from streams.load_report import (
    DIRECT,
    ITEMS_ALONE,
    THROUGH_LOG,
    LoadReport,
    instant,
    print_report,
    refuse_nothing,
    write_report,
)
from streams.load_request import LoadRequest, LoadSource, checked, require_files
from streams.progress import Phases
from streams.spool import Spool, Window
from streams.through_log import ThroughLog

__all__ = ["LoadRequest", "LoadSource", "load", "load_command", "stored_items"]

_REDIS_TIMEOUT_MS: Final = 30_000


def load_command(
    settings: Settings,
    source: str | None = None,
    mapping: str | None = None,
    *,
    items: Path | None = None,
    direct: bool = False,
    live: bool = False,
    since: datetime | None = None,
    until: datetime | None = None,
    limit: int = 0,
    moved_to: date | None = None,
    json_file: Path | None = None,
    wait: bool = True,
    quiet: bool = False,
) -> LoadReport:
    """Load a source, a catalogue file, or both.

    Args:
        settings: with or without addresses; the embedded servers of the data folder are found.
        source: a file, or the name of a data package (`completejourney`); None: only the catalogue.
        mapping: one of `streams.mappings.table.MAPPINGS`; None where the source itself is such a name.
        items: a catalogue file (CSV, TSV, JSON lines, Google Merchant XML).
        direct: without Kafka, into archive and Redis; refused while a worker runs.
        live: not history: messages may come of it, and events are at most 30 days old. Through the log alone.
        since: the earliest event, inclusive (`--from`). An aware time.
        until: the end of the events, exclusive (`--to`). An aware time.
        limit: only the first so many events in the order of time; 0: all.
        moved_to: all times are moved by whole days, so that the newest event is on this day (UTC).
        json_file: where the report is written as JSON.
        wait: through the log: until the worker has applied everything.
        quiet: no table on stdout.

    Raises:
        BadInput: the request does not fit together; the file is not what the mapping reads.
        Refused: a worker runs (`--direct`), or no broker does (through the log).
        KafkaAway, RedisAway: says how far it came.
    """
    request = LoadRequest(source, mapping, items, direct, live, wait, Window(since, until, limit, moved_to))
    request = checked(request)
    require_files(request)
    if direct:
        make_usable(settings.data_dir)
    if json_file is not None and not json_file.absolute().parent.is_dir():
        raise BadInput(f"--json {json_file}: there is no folder {json_file.parent}", path="json")
    found = settings if settings.kafka or direct else running(settings)
    if found is None:
        raise Refused(
            f"no broker runs for {settings.data_dir}: start `daogou up` first, set DAOGOU_KAFKA, or load with --direct"
        )
    with Outside(found) as outside, Phases() as phases:
        try:
            report = load(outside, request, phases, clock_from(settings.clock_shift_file))
        except KeyboardInterrupt:
            phases.say("interrupted; nothing is half done: the same command completes it")
            raise
    if not quiet:
        print_report(report, Console())
    if json_file is not None:
        write_report(report, json_file)
    refuse_nothing(report)
    return report


def load(settings: Settings, request: LoadRequest, phases: Phases, clock: Clock) -> LoadReport:
    """Load with servers that are there.

    Raises:
        DaogouError: as `load_command`.
    """
    source = LoadSource.of(request)
    asyncio.run(_admitted(settings, request))
    with Spool() as spool:
        intake = Intake(spool)
        origin = source.origin(settings, request, clock)
        lines_read = 0
        if source.mapping is not None:
            lines_read = source.mapping.count(origin)
            with phases.phase("read", lines_read, "lines") as advance:
                intake.read_source(source.mapping, origin, advance)
        if request.items is not None:
            with phases.phase("catalogue read", 0, "rows") as advance:
                intake.read_catalogue(request.items, advance)
        return asyncio.run(_write(_Job(settings, request, phases, source, intake, lines_read, clock.now_ms())))


@dataclass(frozen=True, slots=True)
class _Job:
    """A load whose source has been read."""

    settings: Settings
    request: LoadRequest
    phases: Phases
    source: LoadSource
    intake: Intake
    lines_read: int
    now_ms: int


async def _admitted(settings: Settings, request: LoadRequest) -> None:
    """Before a file is read, for minutes perhaps: whether the load could be written.

    Raises:
        DaogouError: a server is away, the partitions differ, or a worker runs beside a direct load.
    """
    redis, where = await connect(settings.redis, _REDIS_TIMEOUT_MS), address(settings.redis)
    try:
        if not request.direct:
            await asyncio.to_thread(check_topics, settings.brokers, settings.partition_count)
        await agree(redis, settings.partition_count, where)
        if request.direct:
            hold = Hold(redis, LIVE, uuid4().hex, alone=True, where=where)
            await hold.take()
            await hold.release()
    finally:
        await redis.aclose()


async def _write(job: _Job) -> LoadReport:
    settings, request, phases, intake = job.settings, job.request, job.phases, job.intake
    chosen = intake.spool.choose(request.window)
    records = intake.records(settings.tenant)
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        ready = Ready(intake, chosen, await stored_items(settings, redis, len(chosen)))
        if request.direct:
            log = job.source.log(request, settings, chosen.moved_days)
            direct = DirectLoad(settings, redis, log, phases, job.now_ms)
            written = await direct.run(records, ready, len(chosen))
            applied, dead = written.counts(), written.applied.reasons
        else:
            dead = {}
            applied = await ThroughLog(settings, redis, phases).send(records, ready, len(chosen), wait=request.wait)
    finally:
        await redis.aclose()
    intake.tally.repeated += chosen.duplicate_lines
    return _report(job, ready, applied, dead)


async def stored_items(settings: Settings, redis: Redis, events: int) -> Mapping[str, Item]:
    """The catalogue that is there already: what the load does not bring of an item is known from it."""
    if not events:
        return {}
    with told_as_away(address(settings.redis)):
        items, _ = await CatalogStore(redis).load(settings.tenant, range(settings.partition_count))
    return items


def _report(job: _Job, ready: Ready, applied: dict[str, int], dead: dict[str, int]) -> LoadReport:
    chosen, tally, request = ready.chosen, job.intake.tally, job.request
    return LoadReport(
        source=request.source or str(request.items),
        mapping=job.source.mapping.name if job.source.mapping else ITEMS_ALONE,
        load_id=job.source.load_id,
        way=DIRECT if request.direct else THROUGH_LOG,
        lines_read=job.lines_read,
        lines_taken=ready.lines,
        lines_repeated=tally.repeated,
        lines_left_out=chosen.left_out_lines,
        refused=tally.refusals(),
        events=ready.events,
        items=len(job.intake.items),
        items_refused=tally.item_refusals(),
        moved_days=chosen.moved_days,
        first_event_at=instant(chosen.first_ms) if len(chosen) else None,
        last_event_at=instant(chosen.last_ms) if len(chosen) else None,
        applied=applied,
        dead_letters=dead,
        seconds=dict(job.phases.seconds),
    )
