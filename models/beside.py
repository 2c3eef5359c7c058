"""The baselines that stand beside the model in every table, all fitted on one prefix."""

from collections.abc import Callable, Sequence
from typing import Final

import msgspec

from models.als import CONFIDENCE, FACTORS, als
from models.als import REGULARISATION as ALS_REGULARISATION
from models.baselines import RECENCY, Ranker, decayed_popularity, own_repeats, popularity, recency_item_knn
from models.ease import MAX_ITEMS, REGULARISATION, recency_ease
from models.interactions import Interactions
from models.sessions import v_sknn

COUNT: Final = 7


class Tuning(msgspec.Struct, frozen=True, kw_only=True):
    """What a shop's own validation may choose; the defaults suit a year of purchases.

    Args:
        popular_half_life_days: of decayed popularity.
        repeat_half_life_days: of own repeats.
        knn_recency: what a purchase weighs of the next newer one, in item-kNN.
        ease_recency: the same, in EASE's score.
        ease_regularisation: λ.
        ease_items: at most so many take part in EASE, whose time grows with their third power.
        als_factors: of ALS.
        als_regularisation: of ALS.
        als_confidence: α.
        session_gap_ms: so long without a purchase ends a session of V-SKNN; None: a shopper's history is one.
    """

    popular_half_life_days: float = 7.0
    repeat_half_life_days: float = 90.0
    knn_recency: float = RECENCY
    ease_recency: float = RECENCY
    ease_regularisation: float = REGULARISATION
    ease_items: int = MAX_ITEMS
    als_factors: int = FACTORS
    als_regularisation: float = ALS_REGULARISATION
    als_confidence: float = CONFIDENCE
    session_gap_ms: int | None = None


def of_seeds(before: Interactions, seeds: Sequence[int], tuning: Tuning | None = None) -> list[Ranker]:
    """Those that draw in their fit, once for each seed."""
    chosen = tuning or Tuning()
    return [als(before, seed, chosen.als_factors, chosen.als_regularisation, chosen.als_confidence) for seed in seeds]


def quick(before: Interactions, at_ms: int) -> list[Ranker]:
    """Those that are fitted in a moment, whatever the size of the catalogue."""
    return [popularity(before), decayed_popularity(before, at_ms), own_repeats(before, at_ms), recency_item_knn(before)]


def baselines(
    before: Interactions,
    at_ms: int,
    seed: int,
    tuning: Tuning | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> list[Ranker]:
    """All `COUNT` of them, in the order of the table.

    Args:
        before: the prefix; nothing else is looked at.
        at_ms: the moment that ages are counted from, its end.
        seed: of those that draw (ALS).
        tuning: of the shop.
        progress: hears of each that is fitted.
    """
    chosen = tuning or Tuning()
    made: list[Callable[[], Ranker]] = [
        lambda: popularity(before),
        lambda: decayed_popularity(before, at_ms, chosen.popular_half_life_days),
        lambda: own_repeats(before, at_ms, chosen.repeat_half_life_days),
        lambda: recency_item_knn(before, chosen.knn_recency),
        lambda: recency_ease(before, chosen.ease_recency, chosen.ease_regularisation, chosen.ease_items),
        lambda: of_seeds(before, [seed], chosen)[0],
        lambda: v_sknn(before, chosen.session_gap_ms),
    ]
    fitted = []
    for make in made:
        fitted.append(make())
        progress(1)
    return fitted
