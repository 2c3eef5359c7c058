"""From samples to figures: rates over windows, the slope of the memory, the spread of latencies, what was missed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np

from tests.benchmarks.streams_stage import Meters, Sample


@dataclass(frozen=True)
class Bar:
    """What a figure must hold: at least, or with `most` at most, so much."""

    what: str
    bound: float
    most: bool = False

    def missed(self, value: float) -> str:
        """In words, by how much; empty when it holds."""
        if value <= self.bound if self.most else value >= self.bound:
            return ""
        return f"{self.what} {value:,.0f} {'above' if self.most else 'below'} {self.bound:,.0f}"


@dataclass
class Found:
    """What one part gave: a short line for the summary, and what fell short or went wrong."""

    summary: str
    missed: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class Rates:
    """Events a second between two instants, and its spread over windows."""

    mean: float
    p10: float
    median: float
    p90: float
    windows: int
    window_s: float

    def __str__(self) -> str:
        return (
            f"{self.mean:,.0f} events/s (p10 {self.p10:,.0f}, median {self.median:,.0f}, p90 {self.p90:,.0f} of "
            f"{self.windows} windows of {self.window_s:g} s)"
        )


def rates(samples: Sequence[Sample], window_s: float) -> Rates:
    """The rate from the first sample to the last, and that of each window between."""
    first, last = samples[0], samples[-1]
    edges = np.arange(first.at, last.at + 1e-9, window_s)
    at_edges = np.interp(edges, [one.at for one in samples], [one.applied for one in samples])
    of_windows = np.diff(at_edges) / window_s
    mean = (last.applied - first.applied) / max(1e-9, last.at - first.at)
    p10, median, p90 = np.percentile(of_windows, (10, 50, 90)) if len(of_windows) else (mean,) * 3
    return Rates(mean, float(p10), float(median), float(p90), len(of_windows), window_s)


def slope_mib_per_min(samples: Sequence[Sample]) -> float:
    """How the memory grows, by least squares."""
    minutes = np.array([one.at for one in samples]) / 60
    return float(np.polyfit(minutes - minutes[0], [one.rss_mib for one in samples], 1)[0])


def shares(before: Meters, after: Meters) -> str:
    """How the worker's time went, by its own stages: a batch's seconds over those that passed; the rest is reading
    the log and waiting for it, archiving, and everything else that the process does."""
    passed = after.at - before.at
    spent = {s: (after.stage_s[s] - before.stage_s.get(s, 0)) / passed for s in after.stage_s if s != "all"}
    rest = 1 - sum(spent.values())
    return ", ".join(f"{stage} {share:.0%}" for stage, share in (spent | {"outside of batches": rest}).items())


def worked(before: Meters, after: Meters) -> str:
    """CPU of the worker, what it did with it, and how large its batches were."""
    events, cpu_s = after.applied - before.applied, after.cpu_s - before.cpu_s
    batches = max(1.0, after.batches - before.batches)
    return (
        f"CPU {cpu_s / (after.at - before.at):.0%} of a core, {events / max(1e-9, cpu_s):,.0f} events per CPU second, "
        f"{events / batches:,.0f} events a batch"
    )


def spread_ms(values: Sequence[float]) -> Mapping[str, float]:
    """Percentiles of seconds, in ms."""
    if not values:
        return dict.fromkeys(("p50", "p95", "p99", "max"), float("inf"))
    p50, p95, p99 = np.percentile(values, (50, 95, 99)) * 1000
    return {"p50": float(p50), "p95": float(p95), "p99": float(p99), "max": max(values) * 1000}


def stood_still(samples: Sequence[Sample]) -> float:
    """The longest time between two looks that saw progress, s."""
    moved = [samples[0].at] + [b.at for a, b in pairwise(samples) if b.applied > a.applied]
    return max((b - a for a, b in pairwise([*moved, samples[-1].at])), default=0.0)
