"""What CEL's operators and conversions give for values: an error for wrong types, as CEL has it."""

import math
from collections.abc import Callable
from typing import Any, Final

_INT_MOST: Final = 2**63 - 1


class WrongError(Exception):
    """An expression has no value for an item: a wrong type, a missing field, a division by zero."""


class MissingError(WrongError):
    """A field or key that is not there."""


def truth(value: Any) -> bool:
    """A bool as it is.

    Raises:
        WrongError: it is none.
    """
    if value is True or value is False:
        return value
    raise WrongError("bool")


def whole(number: int) -> int:
    """A whole number of 64 bits.

    Raises:
        WrongError: it has more.
    """
    if -_INT_MOST - 1 <= number <= _INT_MOST:
        return number
    raise WrongError("int overflow")


def equal(left: Any, right: Any) -> bool:
    """As CEL has it: numbers are compared as numbers, values of different types are not equal."""
    if type(left) is list and type(right) is list:
        return len(left) == len(right) and all(map(equal, left, right))
    numbers = type(left) in (int, float) and type(right) in (int, float)
    return bool(left == right) if numbers or type(left) is type(right) else False


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def compared(left: Any, right: Any) -> bool:
        kinds = type(left), type(right)
        if kinds in _ORDERED:
            return compare(left, right)
        raise WrongError("comparison")

    return compared


_ORDERED: Final = frozenset(
    ((int, int), (float, float), (int, float), (float, int), (str, str), (bool, bool)),
)


def _among(left: Any, right: Any) -> bool:
    if type(right) is dict:
        return left in right if type(left) is str else False
    if type(right) is list:
        return left in right if type(left) is str else any(equal(left, one) for one in right)
    raise WrongError("in")


def _add(left: Any, right: Any) -> Any:
    if type(left) is type(right) and type(left) in (int, float, str, list):
        return whole(left + right) if type(left) is int else left + right
    raise WrongError("+")


def _sub(left: Any, right: Any) -> Any:
    _same_numbers(left, right, "-")
    return whole(left - right) if type(left) is int else left - right


def _mul(left: Any, right: Any) -> Any:
    _same_numbers(left, right, "*")
    return whole(left * right) if type(left) is int else left * right


def _div(left: Any, right: Any) -> Any:
    """Whole numbers are cut towards 0."""
    _same_numbers(left, right, "/")
    if type(left) is float:
        return left / right if right else math.copysign(math.inf, left) * math.copysign(1, right) if left else math.nan
    if right == 0:
        raise WrongError("division by zero")
    return whole(abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1))


def _mod(left: Any, right: Any) -> int:
    """The sign is the left one's."""
    if type(left) is not int or type(right) is not int or right == 0:
        raise WrongError("%")
    return left - right * int(_div(left, right))


def _same_numbers(left: Any, right: Any, what: str) -> None:
    if type(left) is not type(right) or type(left) not in (int, float):
        raise WrongError(f"{what} of two types: write 2.0 beside a double, 2 beside an int")


OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "relation_lt": _compared(lambda a, b: a < b),
    "relation_le": _compared(lambda a, b: a <= b),
    "relation_gt": _compared(lambda a, b: a > b),
    "relation_ge": _compared(lambda a, b: a >= b),
    "relation_eq": equal,
    "relation_ne": lambda a, b: not equal(a, b),
    "relation_in": _among,
    "addition_add": _add,
    "addition_sub": _sub,
    "multiplication_mul": _mul,
    "multiplication_div": _div,
    "multiplication_mod": _mod,
}
CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": lambda value: whole(int(value)),
    "double": float,
    "string": lambda value: str(value),
}
