"""A shopper's packed row against the truth, field by field. It reads the row as the project packs it."""

from dataclasses import asdict
from math import isclose
from typing import Any, Final

import msgspec

from features import shoppers
from tests.proofs.chaos.truth_fold import Admission, Bought, Line, Person, person

_TOLERANCE: Final = 1e-9


def differences(truth: Admission, raw: bytes | None) -> dict[str, tuple[Any, Any]]:
    """Fields in which the row differs: what they should be, and what they are."""
    if raw is None:
        return {"row": ("a row", None)}
    row = shoppers.decode(raw)
    _, recent = shoppers.unpacked(row)
    wanted: dict[str, Any] = _wanted(person(truth.admitted))
    wanted |= {"floor": truth.floor, "recent": truth.recent(), "newest": truth.newest}
    found: dict[str, Any] = _found(row.state)
    found |= {"floor": row.floor, "recent": [(step.at, step.source, step.event_id) for step in recent]}
    return {name: (value, found[name]) for name, value in wanted.items() if not same(value, found[name])}


def excess(differing: dict[str, tuple[Any, Any]]) -> int:
    """By how many events the row holds more (doubled) or fewer (lost) than it should, where that can be seen."""
    if "row" in differing:
        return -1
    over = 0
    for name in ("views", "orders"):
        if name in differing:
            over += differing[name][1] - differing[name][0]
    if not over and "recent" in differing:
        over = len(differing["recent"][1]) - len(differing["recent"][0])
    return over


def _wanted(who: Person) -> dict[str, Any]:
    fields: dict[str, Any] = {name: value for name, value in vars(who).items() if name != "cart_visit"}
    return fields | {
        "cart": {item: _line(line) for item, line in who.cart.items()},
        "purchased": {item: _bought(bought) for item, bought in who.purchased.items()},
        "session": None if who.session is None else (*who.session, who.cart_visit == who.session[:2]),
    }


def _found(state: shoppers.State) -> dict[str, Any]:
    return {name: _plain(getattr(state, name)) for name in state.__struct_fields__}


def _plain(value: Any) -> Any:
    if isinstance(value, msgspec.Struct):
        return tuple(msgspec.structs.astuple(value))
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return {key: _plain(one) for key, one in value.items()} if isinstance(value, dict) else value


def _line(line: Line) -> tuple[Any, ...]:
    return tuple(asdict(line).values())


def _bought(bought: Bought) -> tuple[Any, ...]:
    return tuple(asdict(bought).values())


def same(one: Any, other: Any) -> bool:
    """Equal, floats within the tolerance."""
    if isinstance(one, float) and isinstance(other, float):
        return isclose(one, other, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    if isinstance(one, list | tuple) and isinstance(other, list | tuple):
        return len(one) == len(other) and all(map(same, one, other))
    return bool(one == other)
