"""The proof that a killed worker loses nothing and doubles nothing.

    python -m tests.proofs.kill_worker [--source FILE --mapping NAME] [--events N] [--seed N] [--kills N]
                                       [--kafka HOST:PORT] [--quick]

With --source, `daogou load` puts a file through the log: once beside an undisturbed worker; once, into another
log and another Redis, beside a worker that is killed (SIGKILL) at random offsets while the load goes on, and
started again; then the same load a second time. Without it, made events (some twice, some late, some corrupt)
lie on the log instead.

Every shopper row, timer, feature row and item must be equal byte for byte, every corrupt record among the dead
letters, every record once in the archive; the lines of the file must add up, and the second load must change
no shopper. Prints one line at the end, whose status is 1 if anything differs.

A real Apache Kafka is started (needs Java 17 and Maven), unless --kafka names one whose topics may be deleted;
--quick does with the embedded broker and few events. Redis is the machine's redis-server, or the embedded one.
"""

import argparse
import random
import sys
import tempfile
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Final

from infra.embedded.redis_server import free_port
from infra.settings import Settings
from streams.terminal import sigterm_as_ctrl_c
from tests.proofs.feeds import Feed, FileLoad, MadeEvents
from tests.proofs.left import Left, differing, told
from tests.proofs.made_events import CORRUPT, records
from tests.proofs.outside import Broker, Embedded, Real, redis_server
from tests.proofs.runs import Run

PARTITIONS: Final = 8
# Between the first events and the last: a kill before or after a load would prove nothing.
EARLIEST, LATEST = 0.05, 0.85
# What a second load may not change.
OF_SHOPPERS: Final = ("row", "shelf", "timers", "features", "items")


@dataclass
class Outcome:
    """What the runs came to, and what was wrong with it."""

    said: dict[str, object] = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def expect(self, sound: bool, otherwise: str) -> None:
        """Note what is wrong unless it is sound."""
        if not sound:
            self.wrong.append(otherwise)


class Proof:
    """Both runs, each with a log and a Redis of its own."""

    def __init__(self, options: argparse.Namespace, folder: Path, broker: Broker, stack: ExitStack) -> None:
        self._options = options
        self._folder = folder
        self._broker = broker
        self._stack = stack
        self._feed = _feed(options, folder)
        self.outcome = Outcome()

    def run(self) -> None:
        """Apply undisturbed and with kills, compare; load again, compare."""
        with closing(self._begun("undisturbed")) as run:
            run.apply()
            whole, total = run.left(), sum(run.ends().values())
            seconds = [run.seconds]
        shares = _shares(self._options.kills, random.Random(self._options.seed))
        with closing(self._begun("killed")) as run:
            run.apply([int(share * total) for share in shares])
            killed = run.left()
            seconds.append(run.seconds)
            self._judge_kills(run, total)
            self._judge(whole, killed)
            if isinstance(self._feed, FileLoad):
                print(self._feed.said)
                run.apply()
                seconds.append(run.seconds)
                self._judge_loads(self._feed, killed, run.left())
        self.outcome.said["seconds"] = "/".join(f"{each:.1f}" for each in seconds)

    def _begun(self, name: str) -> Run:
        server = redis_server(self._folder / f"redis-{name}", self._stack)
        log = self._broker.fresh()
        self.outcome.said |= {"kafka": self._broker.name, "redis": server.name}
        settings = Settings(
            kafka=log.bootstrap,
            redis=server.url,
            embedded_log=log.embedded,
            data_dir=self._folder / name,
            partitions=PARTITIONS,
            group=f"proof-{name}-{self._folder.name}",
            cart_abandoned_s=7 * 86_400,  # the timers of the made events stay
            metrics_port=free_port(),
        )
        return Run(settings, self._feed, self._options.seed)

    def _judge_kills(self, run: Run, total: int) -> None:
        again, expect = sum(kill.again for kill in run.kills), self.outcome.expect
        self.outcome.said |= {"events": total, "kills": len(run.kills), "delivered_again": again}
        expect(not run.kills or again > 0, "no event was delivered again: the kills prove nothing")
        if self._options.source:
            over = sum(kill.on_log >= total for kill in run.kills)
            expect(not over, f"{over} kills came when the load had sent everything")

    def _judge(self, whole: Left, killed: Left) -> None:
        different, expect = differing(whole.values, killed.values), self.outcome.expect
        corrupt = sum(value.startswith(CORRUPT) for value in whole.letters)
        self.outcome.said |= {name: whole.count(name) for name in ("row", "timers", "features", "items")}
        self.outcome.said |= {"archived": len(killed.archive), "dead_letters": len(killed.letters)}
        self.outcome.said["differing"] = len(different)
        expect(whole.count("row") > 0, "there are no rows")
        expect(not different, f"entries differ: {told(different)}")
        expect(whole.archive == killed.archive, "the archives differ")
        expect(whole.letters.keys() == killed.letters.keys(), "the dead letters differ")
        expect(corrupt == len(whole.letters), "there are dead letters besides the corrupt records")

    def _judge_loads(self, feed: FileLoad, before: Left, after: Left) -> None:
        changed, expect = differing(before.values, after.values, OF_SHOPPERS), self.outcome.expect
        first = feed.reports[0]
        self.outcome.said["lines"] = (
            f"{first.lines_read}={first.lines_taken}+{first.lines_refused}+{first.lines_repeated}"
            f"+{first.lines_left_out}"
        )
        self.outcome.said["changed_by_second_load"] = len(changed)
        for report in feed.reports:
            expect(report.lines_read > 0 and report.lines_unaccounted == 0, "the lines do not add up")
            expect(report.events == first.events, "the loads gave different numbers of events")
        expect(not changed, f"the second load changed {told(changed)}")
        expect(len(after.archive) == 2 * len(before.archive), "the second load did not go through the log")


def main() -> int:
    """Run the proof; 0 when nothing differs."""
    options = _options()
    sigterm_as_ctrl_c()
    try:
        outcome = _proved(options)
    except KeyboardInterrupt:
        return 130
    said = {"source": Path(options.source).name if options.source else "made", "seed": options.seed} | outcome.said
    words = " ".join(f"{name}={value}" for name, value in said.items())
    print(f"kill_worker: {words} {'FAILED: ' + '; '.join(outcome.wrong) if outcome.wrong else 'ok'}")
    return 1 if outcome.wrong else 0


def _proved(options: argparse.Namespace) -> Outcome:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-proof-")))
        real = options.kafka or not options.quick
        broker = Real(options.kafka, folder / "kafka", PARTITIONS, stack) if real else Embedded(PARTITIONS, stack)
        proof = Proof(options, folder, broker, stack)
        proof.run()
        return proof.outcome


def _feed(options: argparse.Namespace, folder: Path) -> Feed:
    if options.source:
        return FileLoad(Path(options.source), options.mapping, folder)
    return MadeEvents(partial(records, options.events, options.seed, datetime.now(UTC), PARTITIONS))


def _shares(count: int, rng: random.Random) -> list[float]:
    """Random shares of the events, none so near the one before that no event would lie between two kills."""
    apart = (LATEST - EARLIEST) / max(1, 2 * count)
    free = sorted(rng.uniform(EARLIEST, LATEST - apart * (count - 1)) for _ in range(count))
    return [share + apart * before for before, share in enumerate(free)]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", default="", help="a file that `daogou load` reads")
    parser.add_argument("--mapping", default="", help="how it is read, such as online-retail")
    parser.add_argument("--events", type=int, default=0, help="made events: 60,000; with --quick 8,000")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kills", type=int, default=3)
    parser.add_argument("--kafka", default="", help="bootstrap servers of a real Kafka without our topics")
    parser.add_argument("--quick", action="store_true", help="few events, and no real Kafka unless --kafka")
    options = parser.parse_args()
    if bool(options.source) != bool(options.mapping):
        parser.error("--source and --mapping go together")
    options.events = options.events or (8_000 if options.quick else 60_000)
    return options


if __name__ == "__main__":
    sys.exit(main())
