"""Replay from the archive into another namespace: how many events a second `daogou replay run` applies."""

import os
import sys
import time
from itertools import islice
from typing import Final

from infra.children import end_child, start_child
from infra.keys import ShardKeys
from infra.settings import environment
from tests.benchmarks.machine import cpu_s, on_cores
from tests.benchmarks.streams_figures import Bar, Found, rates
from tests.benchmarks.streams_folding import prepare
from tests.benchmarks.streams_shop import Shoppers
from tests.benchmarks.streams_stage import LOOK_S, PARTITIONS, Ground, Sample, Stage, stage

REPLAY: Final = Bar("replay, ten each: events/s", 30_000)
_INTO: Final = "bench-again"
_WITHIN_S: Final = 900.0


def replayed(ground: Ground) -> Found:
    """Ten events per shopper, one after the other; the events that fill the rows are replayed, too, in their place."""
    many = 80_000 if ground.quick else 2_000_000
    with stage(ground, "replay") as on:
        shoppers = Shoppers(ground.names(), ground.seed, PARTITIONS)
        missed = prepare(on, shoppers)
        total = on.fill(islice(shoppers.ten_each(), many))
        with on.worker() as worker:
            on.until_applied(worker, total)
        samples, cpu = _run(ground, on, total)
        found = rates(samples, 1.0 if ground.quick else 5.0)
        print(f"{'replay':<10} {found}, CPU {cpu:.0%} of a core; {total:,} events", flush=True)
        if samples[-1].applied != total:
            missed.append(f"replay: {samples[-1].applied:,} of {total:,} applied")
    return Found(f"replay {found.mean:,.0f} events/s", [one for one in (*missed, REPLAY.missed(found.mean)) if one])


def _run(ground: Ground, on: Stage, total: int) -> tuple[list[Sample], float]:
    """Run it on the measured core; samples from the first tenth on, and its CPU from then to its end."""
    command = [sys.executable, "-m", "streams.cli", "replay", "run", "--source", "archive", "--into", _INTO]
    env = {**os.environ, **environment(on.settings)}
    said, samples, used = ground.folder / "replay.log", list[Sample](), list[float]()
    with said.open("wb") as output, on_cores(ground.cores.measured):
        process = start_child([*command, "--no-score"], env=env, output=output)
    try:
        until = time.monotonic() + _WITHIN_S
        while process.poll() is None and time.monotonic() < until:
            applied = _applied(on)
            if applied >= total // 10 and (not samples or samples[-1].applied < total):
                samples.append(Sample(time.monotonic(), applied, 0.0))
                used.append(cpu_s(process.pid))
            time.sleep(LOOK_S)
    finally:
        status = end_child(process, 10.0)
    if status or len(samples) < 2:
        raise SystemExit(f"the replay ended with {status}: {said.read_text()[-2000:]}")
    return samples, (used[-1] - used[0]) / (samples[-1].at - samples[0].at)


def _applied(on: Stage) -> int:
    """Records applied in the namespace, by its fences."""
    pipe = on.client.pipeline(transaction=False)
    for partition in range(PARTITIONS):
        pipe.hget(ShardKeys(partition, _INTO).fence, on.log)
    return sum(0 if raw is None else int(raw) + 1 for raw in pipe.execute())
