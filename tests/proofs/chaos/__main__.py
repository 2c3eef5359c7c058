"""The proof that nothing is lost and nothing doubled, whatever happens to workers, brokers and Redis.

    python -m tests.proofs.chaos [--quick] [--seed N] [--events N] [--without-fence] [--keep FOLDER]

A made log of 300,000 records (--quick: 20,000) goes through a Kafka of three nodes while workers, brokers and Redis
are struck by a schedule of faults that follows from the seed. Then a truth that imports nothing of the project reads
the log, and every row, timer, message, hand-over of a login, item statistic, Feast row, dead letter and archived record
is compared with it. The last line says what came of it.

Status 0: nothing differs. 1: something does. With --without-fence the workers' commits do not compare the fence: then
events are expected to be lost or doubled, and status 0 says that they were.

Needs Java 17, Maven and redis-server 7; everything is started here and gone afterwards.
"""

import argparse
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Final

import redis
from pydantic import SecretStr

from infra.kafka_admin import create_topics, log_id
from infra.settings import Settings
from infra.topics import EVENTS
from streams import lua
from streams.terminal import sigterm_as_ctrl_c
from tests.kafka import Cluster
from tests.proofs.chaos.catalogue_made import put_on_log
from tests.proofs.chaos.compare import compare
from tests.proofs.chaos.compare_feast import items_differing
from tests.proofs.chaos.compare_statistics import Merged, merged_differing
from tests.proofs.chaos.conductor import Conductor, World
from tests.proofs.chaos.crew import Crew
from tests.proofs.chaos.feeder import Feeder
from tests.proofs.chaos.found import Found
from tests.proofs.chaos.made_log import Recipe, records
from tests.proofs.chaos.redis_node import RedisNode
from tests.proofs.chaos.schedule import WORKERS_AT_START, Fault, schedule
from tests.proofs.chaos.truth import read_log, truth_of
from tests.proofs.chaos.unfenced import without_fence

PARTITIONS: Final = 8
LATENESS_H: Final = 2
# Longer ago than the log begins: but for the carts that are made to come due, all timers outlast the run.
CART_ABANDONED_S: Final = 14 * 86_400
_DAY_MS: Final = 86_400_000
_HOUR_MS: Final = 3_600_000
# Feast's rows and the merged statistics of items, seconds between merges.
_STATISTICS_S: Final = 2
_MERGED_WITHIN_S: Final = 300.0  # a merge takes no more than a twentieth of the time
_LOG_BEGINS_DAYS_AGO: Final = 12
_REPLICATION: Final = 3
_FEED_S: Final = {True: 60, False: 150}


def main() -> int:
    """Run the proof; 0 when it comes out as it should."""
    options = _options()
    sigterm_as_ctrl_c()
    began_s = time.monotonic()
    faults = schedule(options.seed, quick=options.quick)
    print(f"seed {options.seed}: " + ", ".join(f"{f.kind} at {f.share:.2f} + {f.after_s:.1f} s" for f in faults))
    try:
        with ExitStack() as stack:
            folder = options.keep or Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-chaos-")))
            said, wrong = _proved(options, faults, folder.resolve(), stack)
    except KeyboardInterrupt:
        return 130
    except SystemExit as error:  # it did not come to its end
        said, wrong = {}, [str(error)]
    said = {"seed": options.seed, "fence": int(not options.without_fence), **said}
    words = " ".join(f"{name}={value}" for name, value in said.items())
    for line in wrong:
        print(f"wrong: {line}")
    damaged = bool(said.get("lost") or said.get("doubled"))
    verdict, status = _unfenced(damaged=damaged) if options.without_fence else _fenced(bool(wrong))
    print(f"chaos: {words} seconds={time.monotonic() - began_s:.0f} {verdict}")
    return status


def _proved(
    options: argparse.Namespace, faults: list[Fault], folder: Path, stack: ExitStack
) -> tuple[dict[str, object], list[str]]:
    cluster = Cluster(folder / "kafka")
    stack.callback(lambda: cluster.stop(wipe=not options.keep))
    bootstrap = cluster.start(3)
    create_topics(bootstrap, PARTITIONS, _REPLICATION)
    node = RedisNode(folder / "redis")
    stack.callback(node.stop)
    node.start()
    settings = _settings(folder, bootstrap, node.url)
    began_ms = int(time.time() * 1000)
    begin_ms = options.begin or began_ms // _HOUR_MS * _HOUR_MS - _LOG_BEGINS_DAYS_AGO * _DAY_MS
    due_ms = began_ms if not options.begin else options.begin + _LOG_BEGINS_DAYS_AGO * _DAY_MS
    recipe = Recipe(
        options.events, options.seed, begin_ms, LATENESS_H * _HOUR_MS, PARTITIONS, due_ms, CART_ABANDONED_S * 1000
    )
    print(f"the log begins at {begin_ms} (--begin makes the same one again); Kafka {bootstrap}", flush=True)
    put_on_log(bootstrap, PARTITIONS)
    feeder = Feeder(bootstrap, records(recipe), options.events // _FEED_S[options.quick])
    stack.callback(feeder.close)
    module = "tests.proofs.chaos.unfenced" if options.without_fence else "streams.cli"
    crew = Crew(settings, module, folder)
    stack.callback(crew.stop)
    for _ in range(WORKERS_AT_START):
        crew.join()
    commit = without_fence() if options.without_fence else lua.COMMIT
    world = World(cluster, node, crew, feeder, log_id(bootstrap, EVENTS, ""), commit, PARTITIONS)
    conductor = Conductor(world, options.seed)
    stack.callback(conductor.close)
    conductor.run(faults, options.events)
    print("made: " + " ".join(f"{kind}={count}" for kind, count in sorted(recipe.made.items())), flush=True)
    found = _found(settings, node, world, began_ms)
    stack.callback(found.client.close)
    sums = Merged([*found.truth.statistics.values()])
    if not options.without_fence:  # what is damaged never comes to be equal
        conductor.until(lambda: not merged_differing(found, sums) and not items_differing(found), _MERGED_WITHIN_S)
    statuses = crew.stop()
    compare(found)
    seen = conductor.seen
    ends = "/".join(f"{count}x{status}" for status, count in sorted(crew.ends.items()))
    said = {**found.said, "faults": len(faults), "ends": ends or "none", "cut_back": seen.cut_back}
    said |= {"stale_refused": seen.stale_tried - seen.stale_wrote, "stale_written": seen.stale_wrote}
    wrong = found.wrong + [f"workers ended with {statuses}"] * any(statuses)
    wrong += ["nothing was lost by the cuts: they prove nothing"] * (seen.cut_back == 0)
    wrong += [f"{seen.stale_wrote} writes by a paused worker"] * (seen.stale_wrote > 0)
    wrong += [f"{seen.slow_leaves} workers did not leave within ten seconds"] * (seen.slow_leaves > 0)
    return said, wrong


def _found(settings: Settings, node: RedisNode, world: World, began_ms: int) -> Found:
    truth = truth_of(read_log(settings.kafka, EVENTS), PARTITIONS, LATENESS_H * _HOUR_MS)
    client = redis.Redis.from_url(node.url)
    found = Found(truth, client, settings, world.log, began_ms, int(time.time() * 1000))
    found.said |= truth.counts()
    return found


def _settings(folder: Path, bootstrap: str, url: str) -> Settings:
    return Settings(
        kafka=bootstrap,
        redis=SecretStr(url),
        data_dir=folder / "data",
        partitions=PARTITIONS,
        replication=_REPLICATION,
        group="chaos",
        lateness_h=LATENESS_H,
        cart_abandoned_s=CART_ABANDONED_S,
        statistics_s=_STATISTICS_S,
    )


def _fenced(wrong: bool) -> tuple[str, int]:
    return ("FAILED", 1) if wrong else ("ok", 0)


def _unfenced(*, damaged: bool) -> tuple[str, int]:
    if damaged:
        return "DAMAGED, as is expected without the fence", 0
    return "nothing lost and nothing doubled without the fence: PROVES NOTHING", 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="20,000 records and ten faults")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--events", type=int, default=0, help="records on the log")
    parser.add_argument("--begin", type=int, default=0, help="event time of the first record, ms; 0: twelve days ago")
    parser.add_argument("--without-fence", action="store_true", help="workers whose commits do not compare the fence")
    parser.add_argument("--keep", type=Path, help="work in this folder and leave it there")
    options = parser.parse_args()
    options.events = options.events or (20_000 if options.quick else 300_000)
    return options


if __name__ == "__main__":
    sys.exit(main())
