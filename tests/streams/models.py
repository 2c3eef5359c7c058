"""A model whose answers follow by reasoning."""

from collections.abc import Sequence
from itertools import islice

from features.shoppers import State
from models.candidates import Candidate, Candidates


class Popular:
    """Recommends what the shopper met, in order, each item once."""

    def __init__(self, version: str) -> None:
        self.version = version

    def score(self, states: Sequence[State], k: int, at_ms: int) -> list[Candidates]:
        return [
            Candidates.of(
                Candidate(item_id, 1.0 / (place + 1), 0.0, "popular")
                for place, item_id in enumerate(islice(dict.fromkeys(x.item_id for x in state.interactions), k))
            )
            for state in states
        ]
