"""EASE (Steck 2019): every item's score as a weighted sum of the shopper's items, solved in closed form.

The memory is 4 · items² bytes, twice that for a moment, the time grows with items³; so it is fitted on at most
`MAX_ITEMS` items (3.2 GB).
"""

from typing import Any, Final

import numpy as np
import scipy.linalg.lapack
import scipy.sparse as sp

from infra.errors import BadInput
from models.baselines import RECENCY, Ranker, last_purchases
from models.interactions import Floats, Interactions, Ints

MAX_ITEMS: Final = 20_000
REGULARISATION: Final = 100.0
_BLOCK: Final = 1024


def recency_ease(
    bought: Interactions,
    recency: float = RECENCY,
    regularisation: float = REGULARISATION,
    max_items: int = MAX_ITEMS,
    fit_recency: float = RECENCY,
) -> Ranker:
    """EASE on the shoppers' last 50 purchases, the newer the heavier in the fit and in the score.

    Of more than `max_items` items that were bought, those bought most often take part; the others score 0, as an item
    does that was never bought with another, and the ranker's note says how many took part.

    Args:
        bought: the prefix.
        recency: what a purchase weighs of the next newer one, in the score.
        regularisation: λ of the paper, above 0.
        max_items: bound of the solved system.
        fit_recency: as `recency`, in the fit.

    Raises:
        BadInput: λ is not above 0 (`ease_unsolvable`).
    """
    if not regularisation > 0:
        raise BadInput("EASE needs a regularisation above 0", path="regularisation", code="ease_unsolvable")
    counts = np.bincount(bought.item, minlength=len(bought.items))
    sold = np.flatnonzero(counts)
    kept = np.sort(sold[np.argsort(-counts[sold], kind="stable")[:max_items]])
    weights = item_weights(last_purchases(bought, fit_recency).tocsc()[:, kept].tocsr(), regularisation)
    recent = last_purchases(bought, recency).tocsc()[:, kept].tocsr()

    def score(shoppers: Ints) -> Floats:
        scores = np.zeros((len(shoppers), len(bought.items)), np.float32)
        scores[:, kept] = recent[shoppers] @ weights
        return scores

    note = f"the {len(kept):,} items bought most often of {len(sold):,}" if len(kept) < len(sold) else ""
    return Ranker("recency EASE", score, note=note)


def item_weights(table: Any, regularisation: float) -> Floats:
    """[items, items], a zero diagonal: the weights B that come nearest to table = table · B.

    Args:
        table: CSR [shoppers, items] of non-negative weights.
        regularisation: λ.

    Raises:
        BadInput: the system cannot be solved in single precision (`ease_unsolvable`).
    """
    size = table.shape[1]
    if not size:
        return np.zeros((0, 0), np.float32)
    gram = np.asfortranarray((table.T @ table + regularisation * sp.identity(size)).toarray(), dtype=np.float32)
    factor, failed = scipy.linalg.lapack.spotrf(gram, overwrite_a=1)
    if not failed:
        inverse, failed = scipy.linalg.lapack.spotri(factor, overwrite_c=1)
    if failed:
        raise BadInput(
            "the EASE baseline cannot be solved in single precision: give a larger regularisation",
            path="regularisation",
            code="ease_unsolvable",
        )
    _mirror(inverse)
    diagonal = np.diagonal(inverse).copy()
    inverse /= -diagonal
    np.fill_diagonal(inverse, 0)
    weights: Floats = np.ascontiguousarray(inverse)
    return weights


def _mirror(upper: Any) -> None:
    """The lower half becomes the upper one's image, in place and by blocks."""
    for begin in range(0, len(upper), _BLOCK):
        end = begin + _BLOCK
        upper[end:, begin:end] = upper[begin:end, end:].T
        block = upper[begin:end, begin:end]
        block[:] = np.triu(block) + np.triu(block, 1).T
