"""The columns that models are fitted on: what is left of them where some rows are chosen."""

import numpy as np

from models.interactions import KINDS, Interactions
from tests.models.shops import bought


def mixed() -> Interactions:
    """One shopper: views, cart, purchase, refund."""
    place = {name: at for at, name in enumerate(KINDS)}
    kind = np.array([place[name] for name in ("view_item", "add_to_cart", "purchase", "refund")], np.int64)
    rows = np.arange(4, dtype=np.int64)
    return Interactions(("s0",), ("a", "b", "c", "d"), np.zeros(4, np.int64), rows, rows * 10, rows, kind)


def test_rows_without_a_kind_are_purchases() -> None:
    some = bought([(0, 0, 5), (0, 1, 7)], 1, 2)
    assert [KINDS[kind] for kind in some.kinds.tolist()] == ["purchase", "purchase"]
    assert len(some.of_kinds({"purchase"})) == 2
    assert len(some.of_kinds({"view_item"})) == 0


def test_rows_keep_their_kind_whichever_are_chosen() -> None:
    assert mixed().of_kinds({"purchase", "refund"}).item.tolist() == [2, 3]
    late = mixed().between(10, 30)
    assert [KINDS[kind] for kind in late.kinds.tolist()] == ["add_to_cart", "purchase"]
    assert mixed().before(10).kinds.tolist() == [KINDS.index("view_item")]
