"""The faults of one run, and when they come: all from the seed."""

import random
from dataclasses import dataclass
from typing import Final

FAULTS: Final = ("kill_worker", "kill_brokers", "cut_redis", "empty_redis", "join", "leave", "pause_worker")
WORKERS_AT_START: Final = 2
_MOST_WORKERS: Final = 3
_QUICK: Final = {"kill_worker": 2, "kill_brokers": 1, "cut_redis": 2, "join": 1, "leave": 1, "pause_worker": 1}
_FULL: Final = {"kill_worker": 4, "kill_brokers": 2, "cut_redis": 4, "join": 3, "leave": 3, "pause_worker": 2}
_TRIES: Final = 10_000


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault: it comes `after_s` seconds after the log has begun to grow towards `share` of its records.

    `alone`: the log does not begin to grow before the fault before it is quite over.
    """

    kind: str
    share: float
    after_s: float
    alone: bool = False


def schedule(seed: int, *, quick: bool) -> list[Fault]:
    """All kinds of faults in a random order that is possible.

    Redis comes back empty among the first three: what is made anew hides whatever was wrong before, so that a cut has
    to come later. The last cut comes alone: where partitions were just claimed, the epochs are cut back as well, and
    they would be noticed without any fence. Who pauses leaves somebody who takes over.
    """
    rng = random.Random(seed)
    kinds = [kind for kind, count in (_QUICK if quick else _FULL).items() for _ in range(count)]
    for _ in range(_TRIES):
        rng.shuffle(kinds)
        order = kinds.copy()
        order.insert(rng.randrange(3), "empty_redis")
        if _possible(order):
            break
    else:
        raise SystemExit("no possible order of the faults was found")
    shares = _shares(len(order), rng)
    last_cut = max(place for place, kind in enumerate(order) if kind == "cut_redis")
    return [
        Fault(kind, share, rng.uniform(1.6, 3.5), place == last_cut)
        for place, (kind, share) in enumerate(zip(order, shares, strict=True))
    ]


def _possible(order: list[str]) -> bool:
    workers = WORKERS_AT_START
    for kind in order:
        workers += (kind == "join") - (kind == "leave")
        if not 1 <= workers <= _MOST_WORKERS or (kind == "pause_worker" and workers < 2):
            return False
    return "cut_redis" in order[order.index("empty_redis") :]


def _shares(count: int, rng: random.Random) -> list[float]:
    """Where each fault's part of the log ends; what is left after the last is applied undisturbed."""
    widths = [rng.uniform(0.6, 1.4) for _ in range(count + 1)]
    whole, sums = sum(widths), 0.0
    return [sums := sums + width / whole for width in widths[:-1]]
