"""After SIGKILL: seconds until a new worker reads, until the lag falls, until it is gone."""

import threading
import time
from typing import Final, NamedTuple

from tests.benchmarks.streams_figures import Found
from tests.benchmarks.streams_folding import prepare
from tests.benchmarks.streams_live import Timetable
from tests.benchmarks.streams_shop import Shoppers
from tests.benchmarks.streams_stage import PARTITIONS, Ground, Stage, stage

RATE: Final = 500
_LOOK_S: Final = 0.02
_BEFORE_S: Final = 4.0
_WITHIN_S: Final = 90.0
_LITTLE: Final = RATE // 5  # the lag that is none: what comes in 200 ms


class _Look(NamedTuple):
    at: float
    lag: int
    applied: int


class Recovered(NamedTuple):
    """Seconds from the kill."""

    ready: float
    falling: float
    caught_up: float
    most_lag: int


def recovery(ground: Ground) -> Found:
    """A worker under 500 events a second is killed, and another is started in the same moment."""
    rounds = 1 if ground.quick else 5
    with stage(ground, "recovery") as on:
        shoppers = Shoppers(ground.names(2_000), ground.seed, PARTITIONS)
        missed = prepare(on, shoppers)
        found = [_round(on, Timetable(on, shoppers, RATE, ground.seed + n)) for n in range(rounds)]
    for one in found:
        print(
            f"{'recovery':<10} after SIGKILL at {RATE:,} events/s: new worker ready {one.ready:.1f} s, lag falls ",
            end="",
        )
        print(f"{one.falling:.1f} s, gone {one.caught_up:.1f} s; at most {one.most_lag:,} records", flush=True)
    falls = sorted(one.falling for one in found)
    return Found(f"lag falls {falls[len(falls) // 2]:.1f} s after SIGKILL ({falls[0]:.1f} to {falls[-1]:.1f})", missed)


def _round(on: Stage, sending: Timetable) -> Recovered:
    begin, looks, stop = on.applied(), list[_Look](), threading.Event()

    def look() -> None:
        while not stop.is_set():
            applied = on.applied() - begin
            looks.append(_Look(time.monotonic(), sending.acknowledged - applied, applied))
            time.sleep(_LOOK_S)

    threads = [threading.Thread(target=sending.send_until, args=(stop,)), threading.Thread(target=look)]
    with on.worker() as first:
        for thread in threads:
            thread.start()
        try:
            time.sleep(_BEFORE_S)
            first.kill()
            killed = time.monotonic()
            with on.worker():
                ready = time.monotonic()
                caught_up = _caught_up(looks, killed)
        finally:
            stop.set()
            for thread in threads:
                thread.join()
    if caught_up is None:
        raise SystemExit(f"the lag is not gone {_WITHIN_S:g} s after the kill, but {looks[-1].lag:,} records")
    return Recovered(ready - killed, *_analysed([one for one in looks if one.at >= killed], killed, caught_up))


def _caught_up(looks: list[_Look], killed: float) -> float | None:
    while time.monotonic() < killed + _WITHIN_S:
        recent = looks[-1]
        if recent.at > killed + 1 and recent.lag < _LITTLE:
            return recent.at
        time.sleep(_LOOK_S)
    return None


def _analysed(looks: list[_Look], killed: float, caught_up: float) -> tuple[float, float, int]:
    until = [one for one in looks if one.at <= caught_up]
    highest = max(until, key=lambda one: one.lag)
    return highest.at - killed, caught_up - killed, highest.lag
