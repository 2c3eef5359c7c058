"""The proof that a killed worker loses nothing and doubles nothing.

    python -m tests.proofs.kill_worker [--events N] [--seed N] [--kills N] [--kafka HOST:PORT] [--redis URL]
                                       [--quick]

Events (some twice, some late, some corrupt) are produced to Kafka. One worker applies them undisturbed into
an empty Redis; then, into another empty one, workers that are killed (SIGKILL) at random offsets and started
again. Every shopper row, timer and feature row must be equal byte for byte, every corrupt record among the
dead letters, every record once in the archive. Prints one line, and ends with 1 if anything differs.

Without --kafka a real Apache Kafka is started (needs Java 17 and Maven); --quick does with the embedded
broker and few events. Without --redis two embedded servers are started; with it the databases 14 and 15,
which must be empty.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import redis
from pydantic import SecretStr

from features.archive import EventArchive
from features.events import EVENT_NAMES, Event, EventItem, encode, record_key_of
from infra.embedded.kafka_broker import EmbeddedKafka
from infra.embedded.redis_server import EmbeddedRedis
from infra.kafka import BulkProducer, Follower, Outgoing
from infra.kafka_admin import create_topics, end_offsets, log_id, start_offsets
from infra.keys import ShardKeys, partition_of
from infra.settings import Settings
from infra.topics import DEAD_LETTERS, EVENTS
from tests.kafka import Cluster
from tests.streams.workers import Worker, free_port

PARTITIONS = 8
APPLIED_WITHIN_S = 300.0
POLL_S = 0.002
LOOKS = ("view_item", "view_item", "view_item", "page_view", "search")
SHOP = (*LOOKS, "add_to_cart", "remove_from_cart", "purchase")


@dataclass
class Run:
    """What one run left behind."""

    state: dict[bytes, bytes]
    archived: int
    again: int
    seconds: float


def records(count: int, seed: int, now: datetime) -> Iterator[Outgoing]:
    """Events of the last day: one in fifty comes twice, one in fifty late, one in five hundred is corrupt."""
    rng, shoppers = random.Random(seed), max(20, count // 60)
    for number in range(count):
        late = rng.random() < 0.02
        occurred = now - timedelta(hours=20 * (1 - number / count) + (3 * rng.random() if late else 0))
        one = _event(rng, number, (occurred, now), f"s{rng.randrange(shoppers)}")
        key = record_key_of(one)
        record = Outgoing(EVENTS, partition_of(key, PARTITIONS), key, encode(one))
        yield record
        if rng.random() < 0.02:
            yield record
        if rng.random() < 0.002:
            yield Outgoing(EVENTS, record.partition, record.key, b"\x00corrupt %d" % number)


def _event(rng: random.Random, number: int, at: tuple[datetime, datetime], user: str) -> Event:
    name = rng.choice(SHOP)
    assert name in EVENT_NAMES
    many = 0 if name in ("page_view", "search") else rng.randrange(1, 4)
    items = tuple(
        EventItem(item_id=f"i{rng.randrange(300)}", price=Decimal(rng.randrange(100, 9000)) / 100, category="c")
        for _ in range(many)
    )
    return Event(
        event_name=name,
        event_id=f"e{number}",
        occurred_at=at[0],
        received_at=at[1],
        user_id=user,
        items=items,
        currency="EUR" if items else None,
        transaction_id=f"o{number}" if name == "purchase" else None,
        search_term="tea" if name == "search" else None,
    )


class Proof:
    """One log, applied once undisturbed and once with kills."""

    def __init__(self, kafka: str, embedded_log: str, folder: Path) -> None:
        self._kafka = kafka
        self._embedded_log = embedded_log
        self._folder = folder
        self._log = log_id(kafka, EVENTS, embedded_log)

    def apply(self, name: str, url: str, kills: list[float]) -> Run:
        """Apply the log into the Redis at `url`, with a kill at each share of the records."""
        settings = self._settings(name, url)
        client = redis.Redis.from_url(url)
        ends = end_offsets(self._kafka, EVENTS)
        starts = start_offsets(self._kafka, EVENTS)
        total, again = sum(ends.values()) - sum(starts.values()), 0
        started = time.monotonic()
        worker = Worker(settings)
        for share in [*kills, 1.0]:
            while sum(self._fences(client).values()) - sum(starts.values()) < share * total:
                if time.monotonic() - started > APPLIED_WITHIN_S or not worker.runs:
                    raise SystemExit(f"{name}: not applied; the worker's last words: {worker.last_words}")
                time.sleep(POLL_S)
            if share < 1.0:
                read = worker.read_offsets()
                worker.kill()
                after = self._fences(client)
                again += sum(max(0, offset + 1 - after[partition]) for partition, offset in read.items())
                worker = Worker(settings)
        seconds = time.monotonic() - started
        self._until_outboxes_are_empty(client)
        if worker.stop() != 0:
            raise SystemExit(f"{name}: the worker did not end well: {worker.last_words}")
        return Run(_state(client), self._archived(settings), again, seconds)

    def letters(self) -> dict[bytes, int]:
        """How often each dead letter of this log was written, by id."""
        found: dict[bytes, int] = {}
        left = sum(end_offsets(self._kafka, DEAD_LETTERS).values()) - sum(
            start_offsets(self._kafka, DEAD_LETTERS).values()
        )
        follower = Follower(self._kafka, DEAD_LETTERS, "start", embedded=bool(self._embedded_log))
        while left > 0:
            for record in follower.read(1000, 5.0):
                left -= 1
                value = record.value or b""
                if value.startswith(b"\x00corrupt"):
                    found[value] = found.get(value, 0) + 1
        follower.close()
        return found

    def _settings(self, name: str, url: str) -> Settings:
        return Settings(
            kafka=self._kafka,
            redis=SecretStr(url),
            embedded_log=self._embedded_log,
            data_dir=self._folder / name,
            partitions=PARTITIONS,
            group=f"proof-{name}-{self._folder.name}",
            cart_abandoned_s=7 * 86_400,
            metrics_port=free_port(),
        )

    def _fences(self, client: "redis.Redis") -> dict[int, int]:
        """The next offset to apply of each partition."""
        starts = start_offsets(self._kafka, EVENTS) if not self._log else {}
        pipe = client.pipeline(transaction=False)
        for partition in range(PARTITIONS):
            pipe.hget(ShardKeys(partition).fence, self._log)
        return {
            partition: starts.get(partition, 0) if raw is None else int(raw) + 1
            for partition, raw in enumerate(pipe.execute())
        }

    def _until_outboxes_are_empty(self, client: "redis.Redis") -> None:
        while any(client.llen(ShardKeys(partition).outbox) for partition in range(PARTITIONS)):
            time.sleep(POLL_S)

    def _archived(self, settings: Settings) -> int:
        """Records in the archive.

        Raises:
            SystemExit: one is there twice.
        """
        seen: set[tuple[int, int]] = set()
        for file in sorted(settings.archive_dir.rglob("*.parquet")):
            for part in file.stem.split("@")[1:]:
                partition, _, span = part.partition(".")
                first, last = map(int, span.split("-"))
                offsets = {(int(partition), offset) for offset in range(first, last + 1)}
                if offsets & seen:
                    raise SystemExit(f"{file.name}: offsets that another file has too")
                seen |= offsets
        rows = sum(batch.num_rows for batch in EventArchive(settings.archive_dir).scan(columns=["offset"]))
        if rows != len(seen):
            raise SystemExit(f"the archive's names say {len(seen)} records, the files hold {rows}")
        return rows


def _state(client: "redis.Redis") -> dict[bytes, bytes]:
    """Every key but those that count assignments, holds and what was sent."""
    passing = (b":epoch", b":owner", b":outbox")
    keys = sorted(key for key in client.scan_iter(count=1000) if not key.endswith(passing))
    return {key: _value(client, key) for key in keys}


def _value(client: "redis.Redis", key: bytes) -> bytes:
    kind = client.type(key)
    if kind == b"string":
        return bytes(client.get(key) or b"")
    if kind == b"hash":
        return repr(sorted(client.hgetall(key).items())).encode()
    return repr(client.zrange(key, 0, -1, withscores=True)).encode()


def main() -> int:
    """Run the proof; 0 when nothing differs."""
    options = _options()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-proof-")))
        kafka, embedded_log = _kafka(options, stack)
        urls = _redis_urls(options, stack, folder)
        create_topics(kafka, PARTITIONS, 0)
        producer = BulkProducer(kafka, embedded=bool(embedded_log))
        producer.send_all(records(options.events, options.seed, datetime.now(UTC)))
        producer.close()
        proof = Proof(kafka, embedded_log, folder)
        kills = sorted(random.Random(options.seed).uniform(0.05, 0.9) for _ in range(options.kills))
        whole = proof.apply("undisturbed", urls[0], [])
        killed = proof.apply("killed", urls[1], kills)
        return _judge(options, whole, killed, proof.letters())


def _judge(options: argparse.Namespace, whole: Run, killed: Run, letters: dict[bytes, int]) -> int:
    differing = [k for k in whole.state.keys() | killed.state.keys() if whole.state.get(k) != killed.state.get(k)]
    rows = sum(b":row:" in key for key in whole.state)
    corrupt = sum(b"corrupt" in value for value in letters)
    wrong = []
    if differing:
        wrong.append(f"{len(differing)} keys differ, such as {sorted(differing)[:3]}")
    if options.kills and not killed.again:
        wrong.append("no event was delivered again: the kills prove nothing")
    if whole.archived != killed.archived:
        wrong.append(f"archived {whole.archived} and {killed.archived}")
    if any(count < 2 for count in letters.values()):
        wrong.append("a dead letter is missing in one of the runs")
    print(
        f"kill_worker: events={options.events} seed={options.seed} kills={options.kills} "
        f"delivered_again={killed.again} rows={rows} keys={len(whole.state)} differing={len(differing)} "
        f"dead_letters={corrupt} archived={killed.archived} seconds={whole.seconds:.1f}/{killed.seconds:.1f} "
        f"{'FAILED: ' + '; '.join(wrong) if wrong else 'ok'}"
    )
    return 1 if wrong else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=0, help="60,000; with --quick 8,000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--kafka", default="", help="bootstrap servers of a real Kafka")
    parser.add_argument("--redis", default="", help="URL of a Redis whose databases 14 and 15 are empty")
    parser.add_argument("--quick", action="store_true", help="few events, and no real Kafka unless --kafka")
    options = parser.parse_args()
    options.events = options.events or (8_000 if options.quick else 60_000)
    return options


def _kafka(options: argparse.Namespace, stack: ExitStack) -> tuple[str, str]:
    if options.kafka:
        return options.kafka, ""
    if options.quick:
        broker = EmbeddedKafka(PARTITIONS, log_id=f"embedded-proof-{time.time_ns()}")
        stack.callback(broker.stop)
        return broker.start(), broker.log_id
    cluster = Cluster()
    already = cluster.bootstrap
    bootstrap = cluster.start()
    if not already:
        stack.callback(cluster.stop)
    return bootstrap, ""


def _redis_urls(options: argparse.Namespace, stack: ExitStack, folder: Path) -> list[str]:
    if options.redis:
        base = options.redis.rstrip("/").rsplit("/", 1)[0] if options.redis.count("/") > 2 else options.redis
        urls = [f"{base}/14", f"{base}/15"]
        for url in urls:
            client = redis.Redis.from_url(url)
            if client.dbsize():
                raise SystemExit(f"database {url.rsplit('/', 1)[1]} of that Redis is not empty")
            stack.callback(client.flushdb)
        return urls
    servers = [EmbeddedRedis(folder / f"redis-{name}") for name in ("undisturbed", "killed")]
    for server in servers:
        stack.callback(server.stop)
    return [server.start() for server in servers]


if __name__ == "__main__":
    sys.exit(main())
