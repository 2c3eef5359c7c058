"""Redis comes back empty while events keep coming: what the log keeps, and a replay of the rest, give all back.

Two shops follow one log, each with a Redis of its own. The second stays unharmed, and says at the end what the first
must hold: rows, links, timers, statistics, Feast values, byte for byte. Both began with a direct load of history.

1. All keys of the first one's Redis go (FLUSHALL), and the first half of the log with them, as retention takes it. Its
   worker ends by itself; another one, started as whoever runs it would, goes on with what the log keeps, and says what
   it lacks.
2. A replay from Kafka is refused and names the archive. One from the archive is promoted, while events keep coming.
3. Everything again, but Redis is killed and comes back without its files, and the log keeps all: the worker gives back
   by itself what is on the log, a replay from the archive also what was loaded, in its place before the log.
4. The same on shops without a load, by a replay from Kafka.
"""

import shutil
import subprocess
from collections.abc import Callable
from contextlib import ExitStack
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import msgspec
import redis
from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient
from pydantic import SecretStr

from infra.children import end_child, start_child
from infra.embedded.redis_server import free_port
from infra.kafka_client import client_config
from infra.topics import EVENTS
from tests.bulk import BulkProducer
from tests.proofs.live_shop import LiveShop, differing, families
from tests.proofs.made_events import records
from tests.proofs.outcome import Outcome
from tests.proofs.outside import Broker, Log
from tests.proofs.steady import Steady
from tests.streams.workers import Worker

_STEADY: Final = 200
_MOST: Final = 240_000
_LOADED: Final = 3000
_CART_ABANDONED_S: Final = 7 * 86_400
_ENDS_WITHIN_S: Final = 30.0


class Server:
    """A redis-server on a port of its own, which can be killed and come back without its files."""

    def __init__(self, folder: Path) -> None:
        self._folder, self._port = folder, free_port()
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> SecretStr:
        """Where it is."""
        return SecretStr(f"redis://127.0.0.1:{self._port}/0")

    def start(self) -> None:
        """Start it with what lies in its folder."""
        self._folder.mkdir(parents=True, exist_ok=True)
        executable = shutil.which("redis-server")
        if executable is None:
            raise SystemExit("this part needs redis-server (Debian: apt-get install redis-server)")
        words = {"port": self._port, "bind": "127.0.0.1", "dir": self._folder, "appendonly": "yes", "save": ""}
        argv = [executable, *(word for name, value in words.items() for word in (f"--{name}", str(value)))]
        self._process = start_child(argv, output=subprocess.DEVNULL)
        client = redis.Redis(port=self._port)
        while True:
            try:
                client.ping()
            except redis.RedisError:
                if self._process.poll() is not None:
                    raise SystemExit(f"no Redis on port {self._port}") from None
            else:
                break
        client.close()

    def lose(self) -> None:
        """Killed, and back without anything."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()
        shutil.rmtree(self._folder)
        self.start()

    def flush(self) -> None:
        """Every key goes."""
        client = redis.Redis(port=self._port)
        client.flushall()
        client.close()

    def stop(self) -> None:
        """End it."""
        if self._process is not None:
            end_child(self._process, within_s=10.0)


class Emptied:
    """Pairs of shops, one of which loses its Redis."""

    def __init__(self, folder: Path, broker: Broker, stack: ExitStack, partitions: int, seed: int) -> None:
        self._folder, self._broker, self._stack = folder, broker, stack
        self._partitions, self._seed = partitions, seed
        self.outcome = Outcome({"kafka": broker.name, "seed": seed})

    def run(self, events: int, steady_s: float) -> None:
        """All of it; `steady_s` before and after each change."""
        for name, loaded, half, how, source in (
            ("retention", True, True, Server.flush, "archive"),
            ("killed", True, False, Server.lose, "archive"),
            ("from_kafka", False, False, Server.lose, "kafka"),
        ):
            with ExitStack() as stack:
                pair = _Pair(self._folder / name, self._broker.fresh(), stack, self._partitions, self._seed)
                pair.begin(events, loaded=loaded)
                said = pair.empty(how, half=half, source=source, steady_s=steady_s)
                print(f"{name}: {said}", flush=True)
                self.outcome.said[name] = said
                self.outcome.wrong += [f"{name}: {why}" for why in pair.outcome.wrong]


class _Pair:
    """A shop that is harmed, and one that is not."""

    def __init__(self, folder: Path, log: Log, stack: ExitStack, partitions: int, seed: int) -> None:
        self._seed, self._partitions = seed, partitions
        self._servers = [Server(folder / f"redis-{which}") for which in ("harmed", "unharmed")]
        for server in self._servers:
            stack.callback(server.stop)
            server.start()
        self._harmed, self._unharmed = [
            LiveShop(folder / f"{folder.name}-{number}", log, server.url, partitions, _CART_ABANDONED_S)
            for number, server in enumerate(self._servers)
        ]
        self._history = folder / "history.jsonl"
        self.outcome = Outcome()

    def begin(self, events: int, *, loaded: bool) -> None:
        """History for both, if wanted; then made events, applied and archived by both."""
        now = datetime.now(UTC)
        shops = (self._harmed, self._unharmed)
        if loaded:
            self._history.write_text("".join(_history(now)))
            for shop in shops:
                shop.typed.daogou("load", str(self._history), "--mapping", "jsonlines", "--direct")
        bulk = BulkProducer(self._harmed.settings.kafka, embedded=self._harmed.settings.embedded_kafka)
        bulk.send_all(records(events, self._seed, now, self._partitions))
        bulk.close()
        for shop in shops:
            worker = shop.worker()
            shop.until_applied(worker)
            self.outcome.expect(worker.stop() == 0, f"a worker did not end well: {worker.last_words}")

    def empty(self, how: Callable[[Server], None], *, half: bool, source: str, steady_s: float) -> str:
        """Empty the first one's Redis in mid-work, and bring all of it back."""
        shop, expect = self._harmed, self.outcome.expect
        rows = len(shop.rows("live"))
        worker = shop.worker()
        with Steady(shop.settings, _STEADY, self._seed, datetime.now(UTC), most=_MOST) as steady:
            steady.more(steady_s)
            gone = self._retention() if half else 0
            how(self._servers[0])
            status = self._ended(worker)
            worker = shop.worker()
            steady.more(steady_s)
            if half:
                expect("records were lost" in worker.log.read_text(), "nobody said that the log begins later")
                status_k = shop.typed.run("run", "--into", "k", "--source", "kafka", allowed=(0, 1))
                named = "--source archive" in shop.typed.said
                expect(status_k == 1 and named, f"a replay of what Kafka has not: {shop.typed.said}")
            left = len(shop.rows("live"))
            shop.typed.run("run", "--into", "back", "--source", source, "--no-score")
            shop.typed.run("promote", "back", "--timeout", "120")
            steady.more(steady_s)
            sent = steady.end()
            expect(not steady.ran_out, "there were no more events to send before the end")
        shop.until_applied(worker)
        expect(worker.stop() == 0, f"the worker did not end well: {worker.last_words}")
        witness = self._unharmed.worker()
        self._unharmed.until_applied(witness)
        expect(witness.stop() == 0, f"the witness did not end well: {witness.last_words}")
        back, was = shop.held("back"), self._unharmed.held("live")
        expect(bool(was) and back == was, f"not all came back: {differing(back, was)} differ")
        return (
            f"{rows} rows, {gone} records gone, the worker ended with {status}, {left} rows by itself; after {source}: "
            f"{families(back)} equal, {sent} events meanwhile"
        )

    def _ended(self, worker: Worker) -> int:
        try:
            return worker.ended(_ENDS_WITHIN_S)
        except subprocess.TimeoutExpired:
            self.outcome.expect(False, "the worker did not see that Redis is empty")
            return worker.stop()

    def _retention(self) -> int:
        """Half of each partition goes, all of it applied and archived by both; how many records."""
        settings = self._harmed.settings
        halves = {p: self._unharmed.fence(p) // 2 for p in range(self._partitions)}
        admin = AdminClient(client_config(settings.brokers))
        wanted = [TopicPartition(EVENTS, p, offset) for p, offset in halves.items() if offset > 0]
        answers: dict[Any, Any] = admin.delete_records(wanted)
        for future in answers.values():
            future.result()
        return sum(offset for offset in halves.values() if offset > 0)


def _history(now: datetime) -> list[str]:
    """A month of history of shoppers whom the made events know, and of some who never come again."""
    lines = []
    for n in range(_LOADED):
        at = now - timedelta(days=30) + timedelta(days=27) * (n / _LOADED)
        event = {
            "event_id": f"h{n}",
            "event_name": ("view_item", "add_to_cart", "purchase")[n % 3],
            "occurred_at": f"{at:%Y-%m-%dT%H:%M:%SZ}",
            "user_id": f"s{n % 700}",
            "items": [{"item_id": f"i{n % 290}", "price": "4.20", "category": "c"}],
            "currency": "EUR",
        }
        if n % 3 == 2:
            event["transaction_id"] = f"h-o{n}"
        lines.append(msgspec.json.encode(event).decode() + "\n")
    return lines
