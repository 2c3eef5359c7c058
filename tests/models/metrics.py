"""The metrics as the textbook writes them, one shopper after the other."""

from collections.abc import Sequence
from math import log2


def by_the_book(places: Sequence[float], k: int) -> list[float]:
    """NDCG and recall at k, MRR of one shopper, from the 0-based places of all that was wanted."""
    ordered = sorted(places)
    hits = [place for place in ordered if place < k][:k]
    ideal = sum(1 / log2(place + 2) for place in range(min(k, len(places))))
    return [sum(1 / log2(place + 2) for place in hits) / ideal, len(hits) / len(places), 1 / (ordered[0] + 1)]
