"""Statistics of items against the truth: the sums of each partition, and what was merged from them."""

from collections.abc import Iterator
from math import exp2, isclose, sqrt
from typing import Any, Final

import msgspec

from features.item_snapshot import Snapshot, decode
from infra.keys import ShardKeys, merged, snapshot, split_record_key
from tests.proofs.chaos.found import Found
from tests.proofs.chaos.truth_statistics import (
    ERA_MS,
    HALF_LIFE_MS,
    MAX_NEIGHBOURS,
    TREND_HALF_LIFE_MS,
    Sums,
)

_TOLERANCE: Final = 1e-9
_TOLERANCE_32: Final = 1e-6  # of scores, which are of 32 bits
_PRIOR_RATINGS, _PRIOR_MEAN, _DAMPING, _BEST = 5.0, 3.5, 5.0, 20

Neighbours = dict[str, dict[str, float]]


def partials(found: Found) -> None:
    """Every item of every partition."""
    wanted = {(partition, item) for (partition, _), items in found.truth.statistics.items() for item in items}
    bad: dict[tuple[int, str], list[str]] = {}
    there = set()
    for partition in range(found.settings.partition_count):
        for key, raw in found.client.hgetall(ShardKeys(partition).partials).items():
            tenant, item = split_record_key(key.decode())
            there.add((partition, item))
            sums = found.truth.statistics.get((partition, tenant), {}).get(item)
            differing = ["unknown"] if sums is None else partial_differing(sums, msgspec.msgpack.decode(raw))
            if differing:
                bad[partition, item] = differing
    bad |= {place: ["missing"] for place in wanted - there}
    every = [sums for items in found.truth.statistics.values() for sums in items.values()]
    over = sum(sums.most > MAX_NEIGHBOURS for sums in every)
    found.said |= {"partials": len(wanted), "partials_over_bound": over, "partials_differing": len(bad)}
    if bad:
        found.wrong.append(f"statistics of {len(bad)} items in partitions differ, such as {list(bad.items())[:5]}")


def merged_statistics(found: Found) -> None:
    """What is published for everybody, once the last merge is through."""
    wanted = Merged([*found.truth.statistics.values()])
    bad = merged_differing(found, wanted)
    found.said |= {"merged_items": len(wanted.ids), "merged_differing": len(bad)}
    if bad:
        found.wrong.append(f"{len(bad)} merged statistics differ, such as {bad[:5]}")


def merged_differing(found: Found, wanted: "Merged") -> list[str]:
    """What differs in the newest snapshot."""
    version = found.client.hget(merged("default"), "version")
    raw = None if version is None else found.client.get(snapshot("default", version.decode()))
    told = None if raw is None else decode(raw)
    return ["there is no snapshot"] if told is None else [*_merged_differing(wanted, told)]


def partial_differing(sums: Sums, packed: list[Any]) -> list[str]:
    """The fields of a packed partial that are others: at, views, purchases, trend, buyers, stars, ratings, then both
    kinds of neighbours.
    """
    at, views, purchases, trend, buyers, stars, ratings, seen, bought = packed
    counts = (at, buyers, stars, ratings) == (sums.at, sums.buyers, sums.stars, sums.ratings)
    differing = [] if counts else [f"{(at, buyers, stars, ratings)} {sums}"]
    for name, one, other, gross in (
        ("views", views, sums.views, sums.gross),
        ("purchases", purchases, sums.purchases, sums.gross),
        ("trend", trend, sums.trend, sums.gross_trend),
    ):
        if not isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE * gross):
            differing.append(f"{name} {other} was {one}")
    for name, known, wanted in (("seen", seen, sums.seen), ("bought", bought, sums.bought)):
        if known.keys() != wanted.keys():
            differing.append(f"{name} with {known.keys() ^ wanted.keys()}")
        elif not all(isclose(known[item], wanted[item], rel_tol=_TOLERANCE) for item in known):
            differing.append(f"{name} weighs otherwise")
    return differing


class Merged:
    """The sum over partitions, as of the newest event."""

    def __init__(self, partitions: list[dict[str, Sums]]) -> None:
        every = [(item, sums) for items in partitions for item, sums in items.items()]
        self.at = max((sums.at for _, sums in every), default=0)
        self.values: dict[str, list[float]] = {}  # views, purchases, trend, stars, ratings
        self.gross: dict[str, float] = {}
        self.seen: Neighbours = {}
        self.bought: Neighbours = {}
        for item, sums in every:
            age = sums.at // ERA_MS * ERA_MS - self.at
            left, left_trend = exp2(age / HALF_LIFE_MS), exp2(age / TREND_HALF_LIFE_MS)
            now = (sums.views * left, sums.purchases * left, sums.trend * left_trend, sums.stars, sums.ratings)
            before = self.values.get(item, [0.0] * 5)
            self.values[item] = [one + other for one, other in zip(before, now, strict=True)]
            gross = sums.gross * left + sums.gross_trend * left_trend
            self.gross[item] = self.gross.get(item, 0.0) + gross
            for pairs, met in ((self.seen, sums.seen), (self.bought, sums.bought)):
                for other, weight in met.items():
                    for one, two in ((item, other), (other, item)):
                        near = pairs.setdefault(one, {})
                        near[two] = near.get(two, 0.0) + weight * left
        for item in {*self.seen, *self.bought} - self.values.keys():
            self.values[item], self.gross[item] = [0.0] * 5, 0.0
        self.ids = sorted(self.values)

    def scores(self, item: str, pairs: Neighbours, column: int) -> dict[str, float]:
        """Of an item's neighbours."""

        def single(one: str) -> float:
            return max(0.0, self.values[one][column]) + _DAMPING

        near = pairs.get(item, {})
        return {other: weight / sqrt(single(item) * single(other)) for other, weight in near.items()}


def _merged_differing(wanted: Merged, told: Snapshot) -> Iterator[str]:
    if (told.at, told.item_ids) != (wanted.at, wanted.ids):
        yield f"the snapshot is of {told.at} with {len(told.item_ids)} items, not {wanted.at} with {len(wanted.ids)}"
        return
    columns = [told.column(name).tolist() for name in ("views", "purchases", "trend", "rating_mean")]
    for number, item in enumerate(wanted.ids):
        views, purchases, trend, stars, ratings = wanted.values[item]
        mean = (_PRIOR_RATINGS * _PRIOR_MEAN + stars) / (_PRIOR_RATINGS + ratings)
        values = views, max(0.0, purchases), max(0.0, trend), mean
        near = _TOLERANCE * wanted.gross[item]
        for value, column in zip(values, columns, strict=True):
            if not isclose(value, column[number], rel_tol=_TOLERANCE, abs_tol=near):
                yield f"{item}: {value} was {column[number]}"
        kinds = ((told.seen, wanted.seen, 0), (told.bought, wanted.bought, 1))
        for known, pairs, single in kinds:
            scores = wanted.scores(item, pairs, single)
            best = [(told.item_ids[other], score) for other, score in known.of(number)]
            most = sorted(scores.values(), reverse=True)[:_BEST]
            alike = len(best) == len(most) and all(
                isclose(score, rank, rel_tol=_TOLERANCE_32)
                and isclose(score, scores.get(other, -1.0), rel_tol=_TOLERANCE_32)
                for (other, score), rank in zip(best, most, strict=True)
            )
            if not alike:
                yield f"{item}: its neighbours"
