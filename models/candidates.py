"""What a model answers for one shopper: candidates with the sources that spoke for each."""

from typing import Literal

import msgspec

Source = Literal["tower", "item_to_item", "repeat", "popular"]


class Candidate(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One item for one shopper.

    `score` is the fused score without own repeats (for lists of new items), `repeat_score` the one with them (for
    scenarios that allow repeats). `source` is the part that contributed most; `because` the item of the shopper's own
    interactions that spoke for it most among the item-to-item scores, None where none did.
    """

    item_id: str
    score: float
    repeat_score: float
    source: Source
    because: str | None = None
