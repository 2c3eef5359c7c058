"""Numbers that are none are named before they are learned from: one of them would spoil every vector."""

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from infra.errors import BadInput
from models.interactions import Floats

FACTS: Final = ("log orders", "log views", "mean log price")
NOT_FINITE: Final = "feature_not_finite"


def check_items(values: Floats, item_ids: Sequence[str], feature: str) -> None:
    """Refuse a feature of items that is not finite.

    Args:
        values: [items, any width].
        item_ids: in the same order.
        feature: its name.

    Raises:
        BadInput: names the first item, and says how many there are.
    """
    odd = _odd(values)
    if len(odd):
        first = int(odd[0])
        value = next(one for one in np.ravel(values[first]).tolist() if not np.isfinite(one))
        raise BadInput(
            f"{feature} of item {item_ids[first]!r} holds {value}, which is no number ({len(odd):,} such items): "
            "nothing is learned from it. A text encoder that gives it is broken: name another in DAOGOU_TEXT_ENCODER",
            path=feature,
            code=NOT_FINITE,
        )


def check_facts(facts: Floats) -> None:
    """Refuse facts of shoppers that are not finite: [steps, FACTS].

    Raises:
        BadInput: names the feature, and says of how many steps; never whose.
    """
    for column, name in enumerate(FACTS):
        if odd := len(_odd(facts[:, column])):
            raise BadInput(
                f"{name} of the shopper is no number at {odd:,} of {len(facts):,} steps that are to be learned from: "
                "the offline features are damaged; make them anew from the archive (daogou train --features)",
                path=name,
                code=NOT_FINITE,
            )


def _odd(values: Floats) -> Any:
    """Rows with something that is not finite."""
    return np.flatnonzero(~np.isfinite(values.reshape(len(values), -1)).all(1)) if len(values) else np.zeros(0, int)
