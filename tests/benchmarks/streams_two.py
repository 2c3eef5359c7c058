"""Two workers beside one, on 8 partitions: what a second process brings on this machine, and why."""

from contextlib import ExitStack
from itertools import islice

from tests.benchmarks.streams_figures import Found, Rates, rates
from tests.benchmarks.streams_folding import prepare, probed
from tests.benchmarks.streams_shop import Shoppers
from tests.benchmarks.streams_stage import PARTITIONS, Ground, Stage, stage, watched

_SPARE = 3.0  # three measurements, one of them with two workers


def two_workers(ground: Ground) -> Found:
    """One worker alone on its core, one on the core of the servers, then both: all events of different shoppers.

    On two cores the second worker has no core of its own. What it brings is bounded by what one brings that shares
    the core of broker and Redis, so that is measured, too.
    """
    seconds = 10.0 if ground.quick else 60.0
    alone, shared = ground.cores.measured, ground.cores.others
    with stage(ground, "two") as on:
        shoppers = Shoppers(ground.names(), ground.seed, PARTITIONS)
        missed, events = prepare(on, shoppers), shoppers.all_different()
        rate = probed(on, events, 20_000 if ground.quick else 100_000)
        on.fill(islice(events, int(rate * (seconds + 15) * _SPARE)))
        one = _measured(on, [alone], seconds, missed)
        beside = _measured(on, [shared], seconds, missed)
        both = _measured(on, [alone, shared], seconds, missed)
        if on.applied() >= on.total:
            missed.append("two: the log ran out")
    print(f"{'two':<10} one on its own core {one.mean:,.0f} events/s, one on the servers' core {beside.mean:,.0f}, ")
    print(f"{'':<10} both {both.mean:,.0f}: {both.mean / one.mean:.2f} times one, {both.windows} windows", flush=True)
    return Found(f"two workers {both.mean / one.mean:.2f} times one", missed)


def _measured(on: Stage, cores: list[frozenset[int]], seconds: float, missed: list[str]) -> Rates:
    with ExitStack() as stack:
        workers = [
            stack.enter_context(on.worker(f"worker-{number}" if number else "worker", core))
            for number, core in enumerate(cores)
        ]
        begin = on.fences()
        watched(on, workers, 8.0, on.total)  # a rebalance ends, both warm up
        samples = watched(on, workers, seconds, on.total)
        idle = [partition for partition, fence in on.fences().items() if fence == begin[partition]]
    if idle:
        missed.append(f"two: {len(cores)} on {[sorted(one) for one in cores]} applied nothing of the partitions {idle}")
    return rates(samples, 2.0)
