"""What the stream does a second, and what it costs: worker, Kafka and Redis as they are run.

    make bench-streams ARGS="--seed 1 --source FILE"      # everything, three quarters of an hour
    make bench-streams ARGS="--quick --part different"    # one part, shorter

The worker is alone on one core; Kafka (a real one, Java 17 and Maven needed), Redis (`redis-server` with its
append-only file) and what makes the events share the others. Events lie on the log before they are measured, rows
are full before (50 interactions, 30 purchases, 10 + 10 affinities). Rates count what the fences passed between two
instants.
Ends with one line, and with status 1 when a bar was missed or something went wrong; --quick is a trial, no figure.
"""

import argparse
import os
import sys
import tempfile
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from streams.terminal import sigterm_as_ctrl_c
from tests.benchmarks.machine import commit, cores, described, on_cores
from tests.benchmarks.streams_beside import beside
from tests.benchmarks.streams_figures import Found
from tests.benchmarks.streams_folding import all_different, taobao_pattern, ten_each
from tests.benchmarks.streams_memory import memory
from tests.benchmarks.streams_recovery import recovery
from tests.benchmarks.streams_replay import replayed
from tests.benchmarks.streams_scoring import scoring
from tests.benchmarks.streams_stage import PARTITIONS, Ground
from tests.benchmarks.streams_two import two_workers
from tests.proofs.outside import Real

PARTS: Final[dict[str, Callable[[Ground], Found]]] = {
    "different": all_different,
    "ten": ten_each,
    "taobao": taobao_pattern,
    "scoring": scoring,
    "replay": replayed,
    "two": two_workers,
    "recovery": recovery,
    "memory": memory,
    "beside": beside,
}


def main() -> int:
    """Run the parts one after the other."""
    options = _options()
    sigterm_as_ctrl_c()
    os.environ["OMP_NUM_THREADS"] = "1"  # the worker has one core
    divided, found = cores(), list[Found]()
    print(f"machine    {described()}")
    print(f"commit     {commit()}, seed {options.seed}, batches of at most {options.batch_events} events")
    print(f"cores      worker on {set(divided.measured)}, all else on {set(divided.others)}", flush=True)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="daogou-bench-")))
        stack.enter_context(on_cores(divided.others))
        broker = Real("", folder / "kafka", PARTITIONS, stack)
        print(f"servers    Kafka {broker.name}, {PARTITIONS} partitions", flush=True)
        ground = Ground(broker, folder, divided, options.seed, options.quick, options.batch_events, options.source)
        for name in options.part:
            if name == "taobao" and options.source is None:
                print("taobao     left out: --source names no file", flush=True)
                continue
            found.append(PARTS[name](ground))
    missed = [one for part in found for one in part.missed]
    print("streams: " + "; ".join(part.summary for part in found), end="; ")
    print("MISSED: " + ", ".join(missed) if missed else "ok")
    return 1 if missed else 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--quick", action="store_true", help="fewer shoppers, shorter measurements")
    parser.add_argument("--part", action="append", choices=tuple(PARTS), help="this one alone; may be given again")
    parser.add_argument("--source", type=Path, help="Taobao's two hours, CSV, for the part taobao")
    parser.add_argument("--batch-events", type=int, default=500, help="DAOGOU_BATCH_EVENTS of the worker")
    options = parser.parse_args()
    options.part = options.part or list(PARTS)
    return options


if __name__ == "__main__":
    sys.exit(main())
