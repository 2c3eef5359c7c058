"""Implicit's alternating least squares, as a baseline."""

from typing import Any, Final

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from models.baselines import Ranker
from models.interactions import Floats, Interactions, Ints

FACTORS: Final = 128
REGULARISATION: Final = 0.01
CONFIDENCE: Final = 10.0
ITERATIONS: Final = 15


def als(
    bought: Interactions,
    seed: int,
    factors: int = FACTORS,
    regularisation: float = REGULARISATION,
    confidence: float = CONFIDENCE,
    threads: int = 1,
) -> Ranker:
    """Factors of shoppers and items for how often each bought each (Hu, Koren, Volinsky 2008).

    Args:
        bought: the prefix.
        seed: of the factors that it starts from.
        factors: their number.
        regularisation: of both sides.
        confidence: α of the paper; a purchase counts 1 + α.
        threads: of the fit.
    """
    from implicit.cpu.als import AlternatingLeastSquares

    shape = (len(bought.shoppers), len(bought.items))
    ones = np.ones(len(bought), np.float32)
    table: Any = sp.csr_matrix((ones, (bought.shopper, bought.item)), shape=shape)
    # It runs threads of its own and warns where those of BLAS would fight them.
    with threadpool_limits(1, "blas"):
        model = AlternatingLeastSquares(
            factors=factors,
            regularization=regularisation,
            alpha=confidence,
            iterations=ITERATIONS,
            random_state=seed,
            num_threads=threads,
        )
        if table.nnz:
            model.fit(table, show_progress=False)
    if not table.nnz:
        return Ranker("ALS", lambda shoppers: np.zeros((len(shoppers), shape[1]), np.float32), seed)
    of_shoppers, of_items = np.asarray(model.user_factors), np.asarray(model.item_factors).T.copy()

    def score(shoppers: Ints) -> Floats:
        return np.asarray(of_shoppers[shoppers] @ of_items, np.float32)

    return Ranker("ALS", score, seed)
