"""The proof that a replay gives, byte for byte, what live has, and can take its place without anybody noticing.

    python -m tests.proofs.replay [--part NAME] [--source FILE --mapping NAME] [--events N] [--seed N] [--quick] …

With --source, `daogou load` puts a file through the log beside a worker; without it, made events (some twice, some
late, some corrupt) lie there. Then, by the commands that an operator types:

1. Two replays into two namespaces, one from Kafka and one from the archive, and a third that is killed (SIGKILL)
   again and again and goes on each time. `replay diff` must say that each is equal to each other and to live.
2. One byte of one row is altered: `replay diff` must find exactly that shopper.
3. Nothing may have left a namespace: live keys, outboxes, and the topics of messages and dead letters are as before.
4. While made events keep coming at 500 a second, the namespace from the archive is promoted, and later rolled back.
   After each, live must be equal to a replay of the whole log.

These are the part `equal`. The others have a log and a Redis of their own, and made events: `changed`
(`replay_changed`: a feature is defined anew) and `emptied` (`replay_emptied`: Redis comes back empty).

Prints one line for each part; ends with status 1 if anything is otherwise. A real Apache Kafka is started (needs Java
17 and Maven), unless --kafka names one whose topics may be deleted; --quick does with the embedded broker and few
events, and without `emptied`. Redis is the machine's redis-server, or the embedded one.
"""

import argparse
import random
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from pathlib import Path
from typing import Any, Final

import redis

from infra.kafka_admin import end_offsets
from infra.settings import Settings
from infra.topics import DEAD_LETTERS, EVENTS, TRIGGERS
from streams.terminal import sigterm_as_ctrl_c
from tests.proofs.feeds import Feed, FileLoad, MadeEvents
from tests.proofs.left import family_of
from tests.proofs.made_events import records
from tests.proofs.outcome import Outcome
from tests.proofs.outside import Broker, Embedded, Real, redis_server
from tests.proofs.replay_changed import Changed
from tests.proofs.replay_emptied import Emptied
from tests.proofs.runs import Run
from tests.proofs.steady import Steady
from tests.proofs.typed import Typed
from tests.streams.workers import Worker

PARTITIONS: Final = 8
KAFKA, ARCHIVE, KILLED, ALL, AFTER = "from-kafka", "from-archive", "killed", "all-of-it", "after-rollback"
_KILLS: Final = 3
_STEADY: Final = 500  # events a second while namespaces change
_PASSING: Final = ("replays", "owner", "shards")


class Proof:
    """One shop, its replays, and what they came to."""

    def __init__(self, options: argparse.Namespace, folder: Path, broker: Broker, stack: ExitStack) -> None:
        self._options = options
        self._folder = folder
        server = redis_server(folder / "redis", stack)
        log = broker.fresh()
        self._settings = Settings(
            kafka=log.bootstrap,
            redis=server.url,
            embedded_log=log.embedded,
            data_dir=folder / "data",
            partitions=PARTITIONS,
            group=f"proof-replay-{folder.name}",
            cart_abandoned_s=7 * 86_400,  # the timers of the made events stay
        )
        self._typed = Typed(self._settings, folder)
        self._client = redis.Redis.from_url(server.url.get_secret_value())
        stack.callback(self._client.close)
        self._rng = random.Random(options.seed)
        self.outcome = Outcome({"kafka": broker.name, "redis": server.name})

    def run(self) -> None:
        """All of it."""
        with closing(Run(self._settings, _feed(self._options, self._folder), self._options.seed)) as run:
            run.apply()
            self.outcome.said["events"] = sum(run.ends().values())
        before = self._outside()
        self._replay(KAFKA, "kafka")
        self._replay(ARCHIVE, "archive")
        self._replay_killed()
        self.outcome.expect(self._outside() == before, "something outside of the namespaces changed")
        pairs = ((KAFKA, ARCHIVE), (KAFKA, "live"), (ARCHIVE, "live"), (KILLED, ARCHIVE))
        for one, other in pairs:
            self._judge_equal(one, other)
        self._judge_altered()
        if self._options.steady_s:
            self._judge_promotion()

    def _replay(self, name: str, source: str) -> None:
        done = self._typed.told("run", "--into", name, "--source", source, "--no-score")
        seconds = done["seconds"]["replayed"]
        rate = round(done["counted"] / seconds)
        self.outcome.said[f"{name}_per_s"] = rate
        print(f"{name}: {done['counted']:,} records in {seconds:.1f} s, {rate:,}/s", flush=True)
        self.outcome.expect(done["counted"] == done["total"], f"{name}: not every record is accounted for")

    def _replay_killed(self) -> None:
        """A replay that is killed in mid-work; each time the same command goes on."""
        words, marks = ("run", "--into", KILLED, "--source", "archive", "--no-score"), []
        total = int(str(self.outcome.said["events"]))
        for _ in range(_KILLS):
            process = self._typed.start(*words, "--rate", str(max(1000, total // 12)))
            begun, until = self._applied(KILLED), time.monotonic() + 60
            wait = begun + self._rng.randrange(total // 40, total // 10)
            while self._applied(KILLED) < wait and process.poll() is None and time.monotonic() < until:
                time.sleep(0.002)
            process.kill()
            process.wait()
            marks.append(self._applied(KILLED))
        self._typed.run(*words)
        self.outcome.said["killed_at"] = "/".join(map(str, marks))
        self.outcome.expect(0 < marks[0] < marks[-1] < total, "the kills were not in the midst of it")

    def _judge_equal(self, one: str, other: str) -> None:
        status, found = self._typed.diff(one, other)
        what = {name: found[name]["equal"] for name in ("timers", "statistics", "links")}
        self.outcome.said[f"{one}={other}"] = "/".join(
            f"{n}{name}" for name, n in {"rows": found["rows_equal"], **what}.items()
        )
        self.outcome.expect(
            status == 0 and found["equal"] and found["rows_equal"] == found["both"] > 0,
            f"{one} and {other} differ: {found}",
        )

    def _judge_altered(self) -> None:
        """One bit of one byte of one row."""
        pattern = f"daogou:{{p*}}:{ARCHIVE}:*:row:*"
        key = self._rng.choice(sorted(self._client.scan_iter(pattern, count=10_000)))
        raw = bytearray(self._client.get(key) or b"")
        place = self._rng.randrange(len(raw))
        was, raw[place] = raw[place], raw[place] ^ 1
        self._client.setrange(key, place, bytes(raw[place : place + 1]))
        status, found = self._typed.diff(ARCHIVE, "live", "--examples", "5")
        shoppers = [each["shopper_id"] for each in found["examples"]]
        self.outcome.said["altered"] = f"byte {place} of {len(raw)}: {found['rows_different']} row found"
        self.outcome.expect(
            status == 1 and found["rows_different"] == 1 and key.decode().endswith(f":{shoppers[0]}"),
            f"the altered byte was not found: {found}",
        )
        self._client.setrange(key, place, bytes([was]))
        self._judge_equal(ARCHIVE, "live")

    def _judge_promotion(self) -> None:
        """Another namespace is served, and the first again, while events keep coming."""
        worker = Worker(self._settings)
        try:
            with Steady(self._settings, _STEADY, self._options.seed, datetime.now(UTC)) as steady:
                for verb, words in (("promote", ("promote", ARCHIVE)), ("rollback", ("rollback",))):
                    steady.more(self._options.steady_s)
                    begun = time.monotonic()
                    self._typed.run(*words, "--timeout", "120")
                    self.outcome.said[f"{verb}_s"] = f"{time.monotonic() - begun:.1f}"
                    steady.more(self._options.steady_s)
                    if verb == "promote":
                        steady.pause()
                        self._until_applied(worker)
                        self._judge_whole(ALL)
                        steady.resume()
                sent = steady.end()
            self._until_applied(worker)
            self._judge_whole(AFTER)
        finally:
            status = worker.stop()
        self.outcome.said["while_changing"] = sent
        self.outcome.expect(status == 0, f"the worker did not end well: {worker.last_words}")

    def _judge_whole(self, name: str) -> None:
        self._typed.run("run", "--into", name, "--source", "kafka", "--no-score")
        self._judge_equal(name, "live")

    def _until_applied(self, worker: Worker) -> None:
        until = time.monotonic() + 120
        while any(end > self._fence(p) + 1 for p, end in self._ends().items()):
            if time.monotonic() > until or not worker.runs:
                raise SystemExit(f"not applied; the worker's last words: {worker.last_words}")
            time.sleep(0.05)

    def _ends(self) -> dict[int, int]:
        return {p: end for p, end in end_offsets(self._settings.brokers, EVENTS).items() if end}

    def _fence(self, partition: int) -> int:
        live: Any = self._client.get(f"daogou:{{p{partition}}}:_:_:live") or b"live"
        fences: Any = self._client.hvals(f"daogou:{{p{partition}}}:{live.decode()}:_:fence")
        return max((int(raw) for raw in fences), default=-1)

    def _applied(self, name: str) -> int:
        fences: Any = [self._client.hvals(f"daogou:{{p{p}}}:{name}:_:fence") for p in range(PARTITIONS)]
        return sum(int(raw) + 1 for of_it in fences for raw in of_it)

    def _outside(self) -> dict[bytes, bytes]:
        """A digest of every key that no replay may touch, and where the topics end that nothing may be added to."""
        found: dict[bytes, bytes] = {}
        for key in self._client.scan_iter(count=10_000):
            names = (KAFKA, ARCHIVE, KILLED)
            if key.startswith(b"daogou:"):
                mine = key.split(b":")[2].decode() in names or family_of((key, b"")) in _PASSING
            else:
                mine = not key.endswith(b"daogou_live")
            if not mine:
                raw: Any = self._client.dump(key)
                found[key] = blake2b(raw or b"", digest_size=16).digest()
        for topic in (TRIGGERS, DEAD_LETTERS):
            found[topic.encode()] = repr(sorted(end_offsets(self._settings.brokers, topic).items())).encode()
        return found


def main() -> int:
    """Run the proof; 0 when all is as it should be."""
    options = _options()
    sigterm_as_ctrl_c()
    try:
        asked = [name for name in PARTS if options.part == name or (not options.part and _can(name, options))]
        wrong = [name for name in asked if not _proved(name, PARTS[name], options)]
    except KeyboardInterrupt:
        return 130
    return 1 if wrong else 0


def _equal(options: argparse.Namespace, folder: Path, broker: Broker, stack: ExitStack) -> Outcome:
    proof = Proof(options, folder, broker, stack)
    source = {"source": Path(options.source).name if options.source else "made", "seed": options.seed}
    proof.outcome.said = source | proof.outcome.said
    proof.run()
    return proof.outcome


def _changed(options: argparse.Namespace, folder: Path, broker: Broker, stack: ExitStack) -> Outcome:
    proof = Changed(folder, broker, stack, PARTITIONS, options.seed)
    proof.run(options.few, options.steady_s)
    return proof.outcome


def _emptied(options: argparse.Namespace, folder: Path, broker: Broker, stack: ExitStack) -> Outcome:
    proof = Emptied(folder, broker, stack, PARTITIONS, options.seed)
    proof.run(options.few, options.steady_s)
    return proof.outcome


Part = Callable[[argparse.Namespace, Path, Broker, ExitStack], Outcome]
PARTS: Final[Mapping[str, Part]] = {"equal": _equal, "changed": _changed, "emptied": _emptied}


def _can(name: str, options: argparse.Namespace) -> bool:
    return name != "emptied" or bool(options.kafka) or not options.quick


def _proved(name: str, part: Part, options: argparse.Namespace) -> bool:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-proof-")))
        real = options.kafka or not options.quick
        broker = Real(options.kafka, folder / "kafka", PARTITIONS, stack) if real else Embedded(PARTITIONS, stack)
        outcome = part(options, folder, broker, stack)
        print(outcome.line(f"replay {name}"), flush=True)
        return not outcome.wrong


def _feed(options: argparse.Namespace, folder: Path) -> Feed:
    if options.source:
        return FileLoad(Path(options.source), options.mapping, folder)
    return MadeEvents(partial(records, options.events, options.seed, datetime.now(UTC), PARTITIONS))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--part", default="", choices=("", *PARTS), help="one part alone")
    parser.add_argument("--source", default="", help="a file that `daogou load` reads")
    parser.add_argument("--mapping", default="", help="how it is read, such as taobao")
    parser.add_argument("--events", type=int, default=0, help="made events: 60,000; with --quick 8,000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument(
        "--steady-s", type=int, default=-1, help="seconds of events before and after each change; 0: none"
    )
    parser.add_argument("--kafka", default="", help="bootstrap servers of a real Kafka without our topics")
    parser.add_argument("--quick", action="store_true", help="few events, and no real Kafka unless --kafka")
    options = parser.parse_args()
    if bool(options.source) != bool(options.mapping):
        parser.error("--source and --mapping go together")
    options.events = options.events or (8_000 if options.quick else 60_000)
    options.few = min(options.events, 20_000)
    if options.steady_s < 0:
        options.steady_s = 2 if options.quick else 10
    return options


if __name__ == "__main__":
    sys.exit(main())
