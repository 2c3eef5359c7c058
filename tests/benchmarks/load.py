"""How long `daogou load` of a file takes, directly and through a real Kafka, and the same load again.

    python -m tests.benchmarks.load --source FILE --mapping NAME [--rounds 3] [--quick]

Each round begins with nothing: an empty folder and the embedded Redis for the direct load; new topics, an empty
Redis and one worker for the one through the log (Java 17 and Maven needed). --quick takes the embedded broker and
one round. Seconds are those of the command as a whole, its start included; events/s count those of the phase that
applies: `applied`, or `events sent` and `events applied`.
"""

import argparse
import statistics
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple

from infra.settings import Settings
from streams.load_report import LoadReport
from streams.terminal import sigterm_as_ctrl_c
from tests.benchmarks.machine import commit, described
from tests.proofs.feeds import FileLoad
from tests.proofs.outside import Broker, Embedded, Real, redis_server
from tests.streams.workers import Worker

PARTITIONS = 64
LOOK_S = 0.02
APPLYING = ("applied", "events sent", "events applied")


class Took(NamedTuple):
    """One load."""

    way: str
    which: str
    seconds: float
    report: LoadReport

    @property
    def events_per_s(self) -> float:
        """Events of the file by the seconds of the phases that apply them."""
        return self.report.events / max(0.01, sum(self.report.seconds.get(phase, 0.0) for phase in APPLYING))


def timed(way: str, which: str, load: FileLoad, settings: Settings) -> Took:
    """Run the command to its end."""
    begin = time.monotonic()
    load.begin(settings)
    while not load.done():
        time.sleep(LOOK_S)
    took = Took(way, which, time.monotonic() - begin, load.reports[-1])
    phases = ", ".join(f"{name} {seconds:.1f}" for name, seconds in took.report.seconds.items())
    print(f"{way:<8} {which:<6} {took.seconds:5.1f} s  {took.events_per_s:8,.0f} events/s  ({phases})", flush=True)
    return took


def one_round(options: argparse.Namespace, folder: Path, broker: Broker) -> list[Took]:
    """The direct load twice, then the one through the log twice."""
    with ExitStack() as stack:
        direct = FileLoad(options.source, options.mapping, folder, "--direct")
        alone = Settings(data_dir=folder / "direct")
        took = [timed("direct", which, direct, alone) for which in ("first", "again")]
        log, server = broker.fresh(), redis_server(folder / "redis", stack)
        through = Settings(
            kafka=log.bootstrap,
            redis=server.url,
            embedded_log=log.embedded,
            data_dir=folder / "log",
            partitions=PARTITIONS,
            group=f"bench-{folder.name}",
        )
        worker = Worker(through)
        stack.callback(worker.stop)
        load = FileLoad(options.source, options.mapping, folder)
        stack.callback(load.close)
        return took + [timed("log", which, load, through) for which in ("first", "again")]


def main() -> int:
    """Run the rounds; one line a load, then the medians with the least and the most."""
    options = _options()
    sigterm_as_ctrl_c()
    print(f"{described()}, commit {commit()}, {options.source.name}", flush=True)
    took: list[Took] = []
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-bench-")))
        quick = options.quick
        broker = Embedded(PARTITIONS, stack) if quick else Real("", folder / "kafka", PARTITIONS, stack)
        for number in range(1 if quick else options.rounds):
            (folder / str(number)).mkdir()
            took += one_round(options, folder / str(number), broker)
    for way in ("direct", "log"):
        for which in ("first", "again"):
            of_it = [one for one in took if (one.way, one.which) == (way, which)]
            print(f"load: {way} {which} {_spread([one.seconds for one in of_it], 's')}, ", end="")
            print(_spread([one.events_per_s for one in of_it], "events/s"))
    return 0


def _spread(values: list[float], unit: str) -> str:
    digits = 1 if max(values) < 1000 else 0
    least, middle, most = (f"{one:,.{digits}f}" for one in (min(values), statistics.median(values), max(values)))
    return f"{middle} {unit} ({least} to {most})"


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--source", type=Path, required=True, help="a file that `daogou load` reads")
    parser.add_argument("--mapping", required=True, help="how it is read, such as online-retail")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--quick", action="store_true", help="one round, and the embedded broker")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
