"""Item-to-item weights by regression: which of a shopper's other items tell best that an item is among them.

SLIM (Ning and Karypis, 2011) with EASE's square loss (Steck, 2019), solved for each item over those that it shares most
shoppers with alone. So it is as cheap for a large catalogue as for a small one, and what it leaves can be served.
"""

from typing import Any, Final

import numpy as np
import scipy.sparse as sp

from models.baselines import strongest
from models.interactions import Floats, Interactions

REGULARISATION: Final = 100.0
TOLD_BY: Final = 200
_AT_ONCE: Final = 128
_DENSE: Final = 10_000


def regressed(happened: Interactions, most: int, regularisation: float = REGULARISATION, told_by: int = TOLD_BY) -> Any:
    """CSR [items, items]: for each item the `most` others that it speaks for, with weights above 0.

    Args:
        happened: the prefix; each item of a shopper counts once.
        most: entries of a row.
        regularisation: what is added to the diagonal, above 0.
        told_by: how many items may tell of one.
    """
    size = len(happened.items)
    shape = (len(happened.shoppers), size)
    table: Any = sp.csr_matrix((np.ones(len(happened), np.float32), (happened.shopper, happened.item)), shape=shape)
    table.data[:] = 1
    table.sum_duplicates()
    table.data[:] = 1
    together = (table.T @ table).tocsr()
    counts = together.diagonal()
    together.setdiag(0)
    together.eliminate_zeros()
    near = strongest(together, told_by)
    if size < _DENSE and together.nnz > size**2 / 50:  # so many are found sooner in the open
        together = together.toarray()
    rows, columns, weights = [], [], []
    # Those with about as many neighbours are solved together.
    order = np.argsort(np.diff(near.indptr), kind="stable")
    for begin in range(0, size, _AT_ONCE):
        items = order[begin : begin + _AT_ONCE]
        told, found = _solved(near, together, counts, items, regularisation)
        some = found > 0
        rows.append(told[some])
        columns.append(np.broadcast_to(items[:, None], told.shape)[some])
        weights.append(found[some])
    entries = (np.concatenate(rows), np.concatenate(columns))
    return strongest(sp.csr_matrix((np.concatenate(weights), entries), shape=(size, size)), most)


def _solved(near: Any, together: Any, counts: Floats, items: Any, regularisation: float) -> tuple[Any, Floats]:
    """Who tells of each item, and with which weight: [items, neighbours] each, 0 where there are fewer."""
    many = np.diff(near.indptr)[items]
    widest = int(many.max(initial=0))
    told = np.zeros((len(items), widest), np.int64)
    aim = np.zeros((len(items), widest), np.float32)
    system = np.tile(np.eye(widest, dtype=np.float32), (len(items), 1, 1))
    for row, (item, count) in enumerate(zip(items.tolist(), many.tolist(), strict=True)):
        span = slice(near.indptr[item], near.indptr[item] + count)
        others = np.sort(near.indices[span])
        told[row, :count] = others
        block, line = _block(together, others, item)
        np.fill_diagonal(block, counts[others] + regularisation)
        system[row, :count, :count] = block
        aim[row, :count] = line
    return told, np.linalg.solve(system, aim[..., None])[..., 0] if widest else aim


def _block(together: Any, others: Any, item: int) -> tuple[Any, Any]:
    """How often others were met together, and each of them with the item."""
    if isinstance(together, np.ndarray):
        return together[np.ix_(others, others)], together[item, others]
    return together[others][:, others].toarray(), np.asarray(together[item, others].todense()).ravel()
