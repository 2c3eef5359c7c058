"""The steps of a compiled CEL expression: closures that read a scope."""

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

from serving.cel_values import CONVERSIONS, OPERATORS, MissingError, WrongError, truth, whole


class Scope(NamedTuple):
    """What an expression reads; `one` is what a macro goes through."""

    item: Mapping[str, Any]
    shopper: Mapping[str, Any]
    one: Any = None


Compute = Callable[[Scope], Any]


def field(owner: str, name: str) -> Compute:
    """A field of `item` or `shopper`."""
    if owner == "item":

        def of_item(scope: Scope) -> Any:
            try:
                return scope.item[name]
            except KeyError:
                raise MissingError(f"{owner}.{name}") from None

        return of_item

    def of_shopper(scope: Scope) -> Any:
        try:
            return scope.shopper[name]
        except KeyError:
            raise MissingError(f"{owner}.{name}") from None

    return of_shopper


def member(owner: Compute, name: str) -> Compute:
    """A key that is written out."""
    return index(owner, lambda _: name)


def index(owner: Compute, key: Compute) -> Compute:
    """An element of a list, or of a map."""

    def indexed(scope: Scope) -> Any:
        among, at = owner(scope), key(scope)
        if type(among) is dict and type(at) is str:
            if at not in among:
                raise MissingError(at)
            return among[at]
        if type(among) is list and type(at) is int and 0 <= at < len(among):
            return among[at]
        raise MissingError(str(at)) if type(among) is list and type(at) is int else WrongError("index")

    return indexed


def unary(kind: str, value: Compute) -> Compute:
    """`!` or `-`."""
    if kind == "unary_not":

        def negated(scope: Scope) -> bool:
            return not truth(value(scope))

        return negated

    def minus(scope: Scope) -> Any:
        number = value(scope)
        if type(number) is int:
            return whole(-number)
        if type(number) is float:
            return -number
        raise WrongError("minus")

    return minus


def either(left: Compute, right: Compute, *, decides: bool) -> Compute:
    """`||` where `decides`, else `&&`: a side that decides does so, whatever error the other one has."""

    def value(scope: Scope) -> bool:
        try:
            if truth(left(scope)) is decides:
                return decides
        except WrongError:
            if truth(right(scope)) is decides:
                return decides
            raise
        return truth(right(scope))

    return value


def choice(condition: Compute, then: Compute, otherwise: Compute) -> Compute:
    """`condition ? then : otherwise`."""
    return lambda scope: then(scope) if truth(condition(scope)) else otherwise(scope)


def binary(kind: str, left: Compute, right: Compute) -> Compute:
    """An operator of two sides."""
    operate = OPERATORS[kind]
    return lambda scope: operate(left(scope), right(scope))


def size(value: Compute) -> Compute:
    """Of a text, a list or a map."""

    def counted(scope: Scope) -> int:
        found = value(scope)
        if type(found) in (str, list, dict):
            return len(found)
        raise WrongError("size")

    return counted


def converted(name: str, value: Compute) -> Compute:
    """`int()`, `double()` or `string()`."""
    convert = CONVERSIONS[name]

    def value_of(scope: Scope) -> Any:
        found = value(scope)
        if type(found) not in (int, float, str) or (name == "string" and type(found) is float):
            raise WrongError(name)
        try:
            return convert(found)
        except (ValueError, OverflowError):
            raise WrongError(name) from None

    return value_of


def text_test(name: str, owner: Compute, argument: Compute) -> Compute:
    """`contains`, `startsWith` or `endsWith`."""
    test = {"contains": str.__contains__, "startsWith": str.startswith, "endsWith": str.endswith}[name]

    def tested(scope: Scope) -> bool:
        text, part = owner(scope), argument(scope)
        if type(text) is str and type(part) is str:
            return test(text, part)
        raise WrongError(name)

    return tested


def matches(owner: Compute, pattern: Any) -> Compute:
    """Whether a pattern is found in a text."""

    def found(scope: Scope) -> bool:
        text = owner(scope)
        if type(text) is str:
            return pattern.search(text) is not None
        raise WrongError("matches")

    return found


def through(among: Compute, holds: Compute, *, any_of: bool) -> Compute:
    """An element that decides does so, whatever error another one has."""

    def value(scope: Scope) -> bool:
        found, error = among(scope), None
        if type(found) not in (list, dict):
            raise WrongError("macro")
        for one in found:
            try:
                if truth(holds(Scope(scope.item, scope.shopper, one))) is any_of:
                    return any_of
            except WrongError as of_one:
                error = of_one
        if error is not None:
            raise error
        return not any_of

    return value
