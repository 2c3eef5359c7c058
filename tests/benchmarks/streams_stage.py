"""What a part of the benchmark of the stream runs on: a fresh log, a Redis of its own, and workers on given cores."""

import contextlib
import time
import urllib.request
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from prometheus_client.parser import text_string_to_metric_families
from redis import Redis

from features.shoppers import State, decode_state
from infra.embedded.redis_server import free_port
from infra.kafka import Outgoing
from infra.kafka_admin import log_id
from infra.keys import ShardKeys, all_rows_pattern, shoppers_pattern
from infra.redis import connect_sync
from infra.settings import Settings
from infra.topics import EVENTS
from tests.benchmarks.machine import Cores, cpu_s, on_cores
from tests.bulk import BulkProducer
from tests.proofs.outside import Real, redis_server
from tests.streams.workers import Worker

PARTITIONS: Final = 8
LOOK_S: Final = 0.25
_STUCK_S: Final = 60.0
_REDIS_MS: Final = 30_000
_MIB: Final = 2**20


class BenchWorker(Worker):
    """A worker whose process is known, and whether it was killed on purpose."""

    killed = False

    def kill(self) -> None:
        self.killed = True
        super().kill()

    @property
    def pid(self) -> int:
        return self._process.pid

    @property
    def metrics_port(self) -> int:
        return self._settings.metrics_port

    @property
    def rss_mib(self) -> float:
        """Resident memory."""
        pages = int(Path(f"/proc/{self.pid}/statm").read_text().split()[1])
        return pages * 4096 / _MIB


@dataclass(frozen=True)
class Ground:
    """What all parts share: one Kafka, a folder, the cores, how much is done."""

    broker: Real
    folder: Path
    cores: Cores
    seed: int
    quick: bool
    batch_events: int
    source: Path | None
    most_shoppers: int = 20_000

    @property
    def shoppers(self) -> int:
        return 8_000 if self.quick else self.most_shoppers

    def names(self, many: int | None = None) -> list[str]:
        """Names of made shoppers."""
        return [f"s{number}" for number in range(many or self.shoppers)]


@dataclass
class Stage:
    """One log with one Redis: nothing is on the first and nothing in the second when it begins."""

    settings: Settings
    client: Redis
    log: str
    cores: Cores
    filled: dict[int, int] = field(default_factory=dict)  # the last offset, by partition

    def fill(self, records: Iterable[Outgoing]) -> int:
        """Put records on the log; how many lie there now."""
        producer = BulkProducer(self.settings.kafka, embedded=False)
        self.filled |= {partition: at for (_, partition), at in producer.send_all(records).items()}
        producer.close()
        return self.total

    @property
    def total(self) -> int:
        """Records on the log."""
        return sum(self.filled.values()) + len(self.filled)

    def fences(self) -> dict[int, int]:
        """The last offset applied, by partition; -1: none."""
        pipe = self.client.pipeline(transaction=False)
        for partition in range(PARTITIONS):
            pipe.hget(ShardKeys(partition).fence, self.log)
        return {p: -1 if raw is None else int(raw) for p, raw in enumerate(pipe.execute())}

    def applied(self) -> int:
        """Records applied, by the fences."""
        return sum(self.fences().values()) + PARTITIONS

    @contextlib.contextmanager
    def worker(self, name: str = "worker", on: frozenset[int] | None = None) -> Iterator[BenchWorker]:
        """A worker, alone on the measured core unless told otherwise."""
        update = {"data_dir": self.settings.data_dir.parent / name, "metrics_port": free_port()}
        if name == "worker":
            update["data_dir"] = self.settings.data_dir
        with on_cores(on or self.cores.measured):
            worker = BenchWorker(self.settings.model_copy(update=update))
        try:
            yield worker
            if not worker.runs and not worker.killed:
                raise SystemExit(f"the worker ended amid the measurement: {worker.last_words}")
        finally:
            worker.stop()

    def until_applied(self, worker: BenchWorker, records: int) -> None:
        """Wait until so many are applied; a minute without progress is an end."""
        before, since = -1, time.monotonic()
        while (done := self.applied()) < records:
            if done > before:
                before, since = done, time.monotonic()
            if not worker.runs or time.monotonic() - since > _STUCK_S:
                raise SystemExit(f"the worker stands at {done:,} of {records:,}: {worker.last_words}")
            time.sleep(LOOK_S)

    def until_listed(self, worker: BenchWorker, shoppers: int) -> None:
        """Wait until so many shoppers have a list: a worker that starts makes all of them anew, which is no load."""
        before, since, pattern = -1, time.monotonic(), shoppers_pattern("live", "shelf")
        while (made := sum(1 for _ in self.client.scan_iter(match=pattern, count=5000))) < shoppers:
            if made > before:
                before, since = made, time.monotonic()
            if not worker.runs or time.monotonic() - since > _STUCK_S:
                raise SystemExit(f"the worker stands at {made:,} of {shoppers:,} lists: {worker.last_words}")
            time.sleep(1.0)

    def states(self, most: int) -> list[State]:
        """The states of some shoppers, as they lie in Redis."""
        return [decode_state(raw) for raw in self.rows(most)]

    def rows(self, most: int) -> list[bytes]:
        """Packed rows of some shoppers."""
        found = self.client.scan_iter(match=all_rows_pattern("live"), count=1000)
        keys = [key for key, _ in zip(found, range(most), strict=False)]
        return [raw for raw in self.client.mget(keys) if raw is not None]


@contextlib.contextmanager
def stage(ground: Ground, name: str) -> Iterator[Stage]:
    """A stage for one part; Redis ends with it."""
    with ExitStack() as stack:
        folder = ground.folder / name
        log, server = ground.broker.fresh(), redis_server(folder / "redis", stack)
        settings = Settings(
            kafka=log.bootstrap,
            redis=server.url,
            data_dir=folder / "data",
            partitions=PARTITIONS,
            batch_events=ground.batch_events,
            group=f"bench-{name}-{time.time_ns()}",
            log_level="WARNING",
        )
        client = stack.enter_context(connect_sync(server.url, _REDIS_MS))
        yield Stage(settings, client, log_id(log.bootstrap, EVENTS, ""), ground.cores)


@dataclass(frozen=True)
class Meters:
    """What a worker has counted since it started, and the CPU time that it has used."""

    applied: float
    refused: float
    batches: float
    stage_s: Mapping[str, float]
    cpu_s: float
    at: float


def meters(worker: BenchWorker) -> Meters:
    """Read them from its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{worker.metrics_port}", timeout=5) as answer:
        text = answer.read().decode()
    samples = [sample for family in text_string_to_metric_families(text) for sample in family.samples]

    def total(*names: str) -> float:
        return sum(sample.value for sample in samples if sample.name in names)

    stages = {s.labels["stage"]: s.value for s in samples if s.name == "daogou_batch_seconds_sum"}
    counts = {s.labels["stage"]: s.value for s in samples if s.name == "daogou_batch_seconds_count"}
    return Meters(
        applied=total("daogou_events_applied_total"),
        refused=total("daogou_events_duplicate_total", "daogou_events_late_total", "daogou_dead_letters_total"),
        batches=counts.get("all", 0),
        stage_s=stages,
        cpu_s=cpu_s(worker.pid),
        at=time.monotonic(),
    )


@dataclass(frozen=True)
class Sample:
    """One look: when (s), records applied until then, the workers' memory."""

    at: float
    applied: int
    rss_mib: float


def watched(stage: Stage, workers: Sequence[BenchWorker], seconds: float, until: int) -> list[Sample]:
    """Look at fences and memory for so many seconds, or until so many records are applied."""
    samples: list[Sample] = []
    end = time.monotonic() + seconds
    while time.monotonic() < end and (not samples or samples[-1].applied < until):
        samples.append(Sample(time.monotonic(), stage.applied(), sum(one.rss_mib for one in workers)))
        time.sleep(LOOK_S)
    return samples
