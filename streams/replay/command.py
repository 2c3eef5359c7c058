"""`daogou replay run`: from the request to a finished namespace."""

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
from redis.asyncio import Redis

from features.archive import EventArchive
from features.archive_order import ArchiveOrder, Window
from features.events import Event, record_key_of
from infra.clock import Clock
from infra.errors import ArchiveAway, BadInput, KafkaAway, Refused
from infra.keys import partition_of
from infra.redis import address, connect
from infra.settings import Settings
from infra.shards import agree
from models.release import released
from streams.batch import Rules
from streams.derived import Scoring
from streams.holds import HOLD_MS
from streams.intake import Intake, Ready
from streams.load import LoadRequest, LoadSource, stored_items
from streams.mappings.table import PACKAGES
from streams.progress import Phases
from streams.replay.live import live_fences
from streams.replay.names import checked_name
from streams.replay.pace import Rate
from streams.replay.ranges import Found, Range, bound, in_archive, on_kafka, spoken
from streams.replay.records import DONE, Replay, Wanted, wanted_of
from streams.replay.running import Replayer
from streams.replay.sources import Size, Stretch, from_archive, from_events, from_kafka
from streams.spool import Spool
from streams.spool import Window as Span

KAFKA: Final = "kafka"
ARCHIVE: Final = "archive"
_REDIS_TIMEOUT_MS: Final = 30_000
_HELD_S: Final = HOLD_MS / 1000 + 5


@dataclass(frozen=True, slots=True)
class ReplayRequest:
    """What `daogou replay run` was asked for. `source` is `kafka`, `archive`, or a file read through `mapping`."""

    into: str
    source: str = ARCHIVE
    mapping: str = ""
    since: str = ""
    until: str = ""
    code_label: str = ""
    rate: int = 0
    score: bool = True


def replay(settings: Settings, request: ReplayRequest, phases: Phases, clock: Clock) -> Replay:
    """Run a replay, or go on with it, with servers that are there.

    Raises:
        DaogouError: the request is wrong, or something is away; the same replay again goes on.
    """
    return asyncio.run(replay_with(settings, request, phases, clock, wait_s=_HELD_S))


async def replay_with(
    settings: Settings,
    request: ReplayRequest,
    phases: Phases,
    clock: Clock,
    sleep: Callable[[float], Awaitable[object]] = asyncio.sleep,
    wait_s: float = 0.0,
) -> Replay:
    """The same in a loop that runs; `sleep` waits for the rate, `wait_s` is how long for who has the namespace."""
    name, of = checked_name(request.into), _range_of(request)
    with ExitStack() as stack:
        source = _source(settings, request, of, phases, clock, stack)
        rate = Rate(request.rate, phases.monotonic, sleep)
        return await _run(_Job(settings, request, name, source, phases, rate, wait_s), clock)


class _Kafka:
    def __init__(self, settings: Settings, of: Range) -> None:
        self._settings, self._of = settings, of
        self.name = KAFKA

    async def found(self, redis: Redis) -> Found:  # noqa: ARG002
        return await asyncio.to_thread(on_kafka, self._settings, self._of)

    def stretches(self, windows: list[Window], size: Size) -> list[Stretch]:
        return from_kafka(self._settings, windows, size)


class _Archive:
    def __init__(self, settings: Settings, of: Range) -> None:
        self._settings, self._of = settings, of
        self._archive = EventArchive(settings.archive_at)
        self.name = ARCHIVE

    async def found(self, redis: Redis) -> Found:
        order = ArchiveOrder(self._settings.archive_at)
        live = await live_fences(redis, self._settings)
        return await asyncio.to_thread(in_archive, self._archive, order, self._of, live)

    def stretches(self, windows: list[Window], size: Size) -> list[Stretch]:
        return from_archive(self._archive, windows, size)


class _File:
    """A file, read and put in order when the replay begins, and again when it goes on."""

    def __init__(self, settings: Settings, load: LoadRequest, phases: Phases, clock: Clock, spool: Spool) -> None:
        self._settings = settings
        self._source = LoadSource.of(load)
        self._load = load
        self._intake = Intake(spool)
        origin = self._source.origin(settings, load, clock)
        mapping = self._source.mapping
        assert mapping is not None, "a replay of a file names a mapping"
        with phases.phase("read", mapping.count(origin), "lines") as advance:
            self._intake.read_source(mapping, origin, advance)
        self._chosen = spool.choose(load.window)
        self.name = f"{mapping.name} {self._source.load_id}"
        self._ready: Ready | None = None
        self._found: Found | None = None

    async def found(self, redis: Redis) -> Found:
        if self._found is not None:
            return self._found
        stored = await stored_items(self._settings, redis, len(self._chosen))
        self._ready = Ready(self._intake, self._chosen, stored)
        counts: dict[int, int] = {}
        for event in self._ready:
            partition = partition_of(record_key_of(event), self._settings.partition_count)
            counts[partition] = counts.get(partition, 0) + 1
        windows = [Window(p, self._log, 0, count - 1) for p, count in sorted(counts.items())]
        refused = sum(each.count for each in self._intake.tally.refusals().values())
        said = f"in the order of time; {refused:,} lines were refused" if refused else ""
        self._found = Found(windows, said)
        return self._found

    def stretches(self, windows: list[Window], size: Size) -> list[Stretch]:  # noqa: ARG002
        return from_events(self._events, self._log, self._settings.partition_count, size)

    def _events(self) -> Iterator[Event]:
        assert self._ready is not None, "found() comes first"
        return iter(self._ready)

    @property
    def _log(self) -> str:
        return self._source.log(self._load, self._settings, 0)


_Source = _Kafka | _Archive | _File


def _source(
    settings: Settings, request: ReplayRequest, of: Range, phases: Phases, clock: Clock, stack: ExitStack
) -> _Source:
    if request.source in (KAFKA, ARCHIVE):
        if request.mapping:
            raise BadInput(f"--mapping goes with a file, not with --source {request.source}", path="mapping")
        if request.source == ARCHIVE:
            return _Archive(settings, of)
        if not settings.kafka:
            raise Refused(f"no broker runs for {settings.data_dir}: set DAOGOU_KAFKA, or replay from the archive")
        return _Kafka(settings, of)
    if not request.mapping and request.source not in PACKAGES and not Path(request.source).is_file():
        raise BadInput(
            f"--source {request.source!r}: it is `archive`, `kafka`, or a file (with --mapping), and there is no such "
            "file",
            path="source",
            code="unknown_source",
        )
    if not request.mapping:
        raise BadInput("say how the file is read: --mapping NAME", path="mapping", code="no_mapping")
    if of.since.offset is not None or of.until.offset is not None or of.since.earliest:
        raise BadInput("a file has no offsets: give times to --from and --to", path="from", code="bound_wrong")
    window = Span(_instant(of.since.at_ms), _instant(of.until.at_ms))
    load = LoadRequest(request.source, request.mapping, direct=True, window=window)
    return _File(settings, load, phases, clock, stack.enter_context(Spool()))


@dataclass(frozen=True, slots=True)
class _Job:
    settings: Settings
    request: ReplayRequest
    name: str
    source: _Source
    phases: Phases
    rate: Rate
    wait_s: float


async def _run(job: _Job, clock: Clock) -> Replay:
    settings = job.settings
    redis = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        await agree(redis, settings.partition_count, address(settings.redis))
        replayer = Replayer(settings, redis, job.name, job.phases, clock)
        wanted = _wanted(replayer.pipeline.rules, job.request, job.source)
        await replayer.take(job.wait_s)
        try:
            replay = await replayer.begin(wanted, lambda: job.source.found(redis))
            try:
                await _carry_out(job, replayer, replay, redis)
            except asyncio.CancelledError:
                await replayer.stopped("interrupted")
                raise
            except (Refused, KafkaAway, ArchiveAway) as error:
                await replayer.stopped(error.message)
                raise
        finally:
            await replayer.end()
        return replay
    finally:
        await redis.aclose()


async def _carry_out(job: _Job, replayer: Replayer, replay: Replay, redis: Redis) -> None:
    say, source = job.phases.say, job.source
    if replay.state == DONE:
        say(f"the replay {replay.name!r} is complete already")
        return
    say(f"into {replay.name}: {spoken(replay.windows)}" + (f"; {replay.order}" if replay.order else ""))
    if isinstance(source, _File) and replay.windows != (await source.found(redis)).windows:
        raise Refused("the file gives other events than when the replay began: take another name", code="file_changed")
    size = Size(events=job.rate.batch(Size().events))
    await replayer.run(replay, source.stretches(replay.windows, size), job.rate)
    scorer = await asyncio.to_thread(_released, job.settings, job.phases) if job.request.score else None
    await replayer.finish(replay, scorer)


def _released(settings: Settings, phases: Phases) -> Scoring | None:
    """The model in service; none is said."""
    folder: Path | None = released(settings.models_dir)
    if folder is None:
        phases.say("no model is released: no lists were made; the worker makes them when one is")
        return None
    # torch takes seconds to import: a replay that scores nothing does without it.
    from models.artifact import Artifact
    from models.scorer import Scorer, opened

    scorer: Scoring = Scorer(opened(Artifact.open(folder)))
    return scorer


def _wanted(rules: Rules, request: ReplayRequest, source: _Source) -> Wanted:
    return wanted_of(
        source.name,
        rules,
        mapping=request.mapping,
        since=request.since,
        until=request.until,
        code_label=request.code_label,
    )


def _range_of(request: ReplayRequest) -> Range:
    of = Range(bound("--from", request.since), bound("--to", request.until))
    begin, end = of.since, of.until
    for first, last in ((begin.at_ms, end.at_ms), (begin.offset, end.offset)):
        if first is not None and last is not None and first >= last:
            raise BadInput("--from lies before --to", path="from", code="empty_range")
    if request.rate < 0:
        raise BadInput("--rate is events per second; 0: as fast as it goes", path="rate")
    return of


def _instant(at_ms: int | None) -> datetime | None:
    return None if at_ms is None else datetime.fromtimestamp(at_ms / 1000, UTC)


def told(replay: Replay) -> list[str]:
    """What became of it, as lines."""
    counts = {
        "applied": replay.applied,
        "duplicates": replay.duplicates,
        "late": replay.late,
        "dead letters, counted only": replay.dead,
    }
    lines = [f"{replay.total:,} records: " + ", ".join(f"{name} {n:,}" for name, n in counts.items() if n)]
    if replay.reasons:
        lines.append("reasons: " + ", ".join(f"{code} {number:,}" for code, number in sorted(replay.reasons.items())))
    if replay.took_s:
        lines.append(f"{replay.counted / replay.took_s:,.0f} events/s in {replay.took_s:.1f} s")
    lines.append(f"lists by model {replay.model}" if replay.model else "no lists")
    return lines


def write_report(replay: Replay, seconds: Mapping[str, float], file: Path) -> None:
    """What became of it, as JSON."""
    report = msgspec.to_builtins(replay) | {"total": replay.total, "seconds": dict(seconds)}
    del report["windows"]
    file.write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2) + b"\n")
