"""Expressions in CEL (Common Expression Language) as Python functions: parsed by a CEL library, compiled to closures.

A list looks at hundreds of items, and an interpreter of CEL takes some 20 µs for each. What is known here is CEL's
strict part that filters and boosters need: no messages, no timestamps, no uint or bytes; macros are not nested. An
operation on wrong types is an error, as CEL has it, and so is a field that an item does not have.
"""

import ast
import math
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from infra.errors import BadInput

MAX_DEPTH: Final = 24
MAX_NODES: Final = 400
MAX_COST: Final = 2000  # steps for one item: 0.1 µs each, or a little more
MAX_PATTERN: Final = 4000  # instructions that RE2 makes of a pattern
_PATTERN_BYTES: Final = 1 << 20  # of what RE2 keeps of a pattern
_PATTERN_COST: Final = 20  # and one for each so many instructions:
_PER_STEP: Final = 50
_PASSES: Final = 50  # how many elements a list of an item or a shopper is taken to have
_PER_LEVEL: Final = 12  # a parse tree has about so many levels for each that one wrote
_MACROS: Final = ("exists", "all")
_TESTS: Final = ("contains", "startsWith", "endsWith")
_INT_MOST: Final = 2**63 - 1


class WrongError(Exception):
    """An expression has no value for an item: a wrong type, a missing field, a division by zero."""


class MissingError(WrongError):
    """A field or key that is not there."""


class Scope(NamedTuple):
    """What an expression reads; `one` is what a macro goes through."""

    item: Mapping[str, Any]
    shopper: Mapping[str, Any]
    one: Any = None


Compute = Callable[[Scope], Any]
Fields = Mapping[str, Mapping[str, Any]]


class Compiled(NamedTuple):
    """An expression as a function, and how many steps it takes for an item, about."""

    compute: Compute
    cost: int


def compiled(text: str, fields: Fields, path: str) -> Compiled:
    """The expression as a function. `fields` holds, for `item` and `shopper`, an example value of each field.

    Raises:
        BadInput: it is no CEL, reads what it may not, is too large or takes too long; says where.
    """
    tree = _parsed(text, path)
    _check_size(tree, path)
    compiler = _Compiler(fields, path)
    compute = compiler.of(tree)
    if compiler.cost > MAX_COST:
        raise BadInput(
            f"The expression takes {compiler.cost} steps for an item, at most {MAX_COST} are allowed: what exists() "
            "and all() ask of each element counts for each of them.",
            path=path,
            code="expression_too_costly",
        )
    return Compiled(compute, compiler.cost)


@lru_cache(maxsize=1)
def _parser() -> Any:
    from celpy.celparser import CELParser  # half a second: only once a shop has an expression

    return CELParser()


def _parsed(text: str, path: str) -> Any:
    from celpy.celparser import CELParseError
    from lark.exceptions import LarkError

    try:
        return _parser().parse(text)
    except (CELParseError, LarkError) as error:
        line, column = getattr(error, "line", None), getattr(error, "column", None)
        where = f" at line {line}, column {column}" if line is not None else ""
        raise _wrong(f"This is no CEL expression{where}.", path) from None


def _check_size(tree: Any, path: str) -> None:
    """Without recursion: a tree may be deeper than Python's stack."""
    nodes, left = 0, [(tree, 0)]
    while left:
        node, depth = left.pop()
        # Chains of one child are how the grammar writes priorities: they are no nodes of their own.
        nodes += len(getattr(node, "children", ())) != 1
        if nodes > MAX_NODES or depth > MAX_DEPTH * _PER_LEVEL:
            raise BadInput(
                f"The expression is too large: at most {MAX_NODES} parts, nested {MAX_DEPTH} deep.",
                path=path,
                code="expression_too_large",
            )
        left.extend((child, depth + 1) for child in getattr(node, "children", ()) if child is not None)


class _Compiler:
    def __init__(self, fields: Fields, path: str) -> None:
        self._fields = fields
        self._path = path
        self._variable: str | None = None
        self._passes = 1  # how often what is compiled at this moment is computed for an item
        self.cost = 0

    def of(self, node: Any) -> Compute:
        """The function of a node."""
        children = [child for child in node.children if child is not None]
        kind = str(node.data)
        if kind == "literal" or len(children) != 1:
            self.cost += self._passes
        if kind == "literal":
            return self._literal(children[0])
        if kind == "unary" and len(children) == 2:
            return _unary(str(children[0].data), self.of(children[1]))
        if kind in ("conditionalor", "conditionaland") and len(children) == 2:
            return _either(self.of(children[0]), self.of(children[1]), decides=kind == "conditionalor")
        if kind == "expr" and len(children) == 3:
            return _choice(*map(self.of, children))
        if kind in ("relation", "addition", "multiplication") and len(children) == 2:
            return _binary(str(children[0].data), self.of(children[0].children[0]), self.of(children[1]))
        special = getattr(self, f"_{kind}", None)
        if special is not None:
            made: Compute = special(children)
            return made
        if len(children) == 1 and hasattr(children[0], "data"):
            return self.of(children[0])
        raise self._unknown(kind.replace("_", " "))

    def _literal(self, token: Any) -> Compute:
        kind, text = token.type, str(token)
        if kind in ("UINT_LIT", "BYTES_LIT"):
            raise self._unknown("uint" if kind == "UINT_LIT" else "bytes")
        value: Any
        if kind in ("STRING_LIT", "MLSTRING_LIT"):
            try:
                value = ast.literal_eval(text)
            except (ValueError, SyntaxError):
                raise _wrong(f"{text[:40]} is no text of CEL.", self._path) from None
        elif kind == "BOOL_LIT":
            value = text == "true"
        elif kind == "NULL_LIT":
            value = None
        elif kind == "FLOAT_LIT":
            value = float(text)
        else:
            value = self._whole(int(text, 0) if "x" in text else int(text))
        return lambda _: value

    def _whole(self, number: int) -> int:
        try:
            return _whole(number)
        except WrongError:
            raise _wrong("A whole number has at most 64 bits here.", self._path) from None

    def _ident(self, children: Sequence[Any]) -> Compute:
        name = str(children[0])
        if name == self._variable:
            return lambda scope: scope.one
        if name in self._fields:
            raise _wrong(f"{name} is no value of its own: name one of its fields.", self._path)
        raise _wrong(f"There is no {name[:40]!r} here; there are {' and '.join(self._fields)}.", self._path)

    def _member_dot(self, children: Sequence[Any]) -> Compute:
        name = str(children[1])
        owner = _root(children[0])
        if owner is not None and owner in self._fields and owner != self._variable:
            self._check_field(owner, name)
            return _field(owner, name)
        return _member(self.of(children[0]), name)

    def _check_field(self, owner: str, name: str) -> None:
        known = self._fields[owner]
        if name not in known:
            raise _wrong(f"There is no {owner}.{name[:40]}; there are {', '.join(known)}.", self._path)

    def _member_index(self, children: Sequence[Any]) -> Compute:
        return _index(self.of(children[0]), self.of(children[1]))

    def _list_lit(self, children: Sequence[Any]) -> Compute:
        parts = [self.of(one) for one in children[0].children] if children else []
        return lambda scope: [part(scope) for part in parts]

    def _ident_arg(self, children: Sequence[Any]) -> Compute:
        name, arguments = str(children[0]), children[1].children if len(children) > 1 else []
        if name == "has" and len(arguments) == 1:
            return self._has(arguments[0])
        if name == "size" and len(arguments) == 1:
            return _size(self.of(arguments[0]))
        if name in _CONVERSIONS and len(arguments) == 1:
            return _converted(name, self.of(arguments[0]))
        raise self._unknown(f"{name[:40]}() with {len(arguments)} arguments")

    def _has(self, argument: Any) -> Compute:
        node = _only(argument)
        if str(node.data) != "member_dot":
            raise _wrong("has() asks for a field: has(item.brand).", self._path)
        value = self.of(node)

        def present(scope: Scope) -> bool:
            try:
                value(scope)
            except MissingError:
                return False
            return True

        return present

    def _member_dot_arg(self, children: Sequence[Any]) -> Compute:
        name = str(children[1])
        arguments = children[2].children if len(children) > 2 else []
        if name in _MACROS and len(arguments) == 2:
            return self._macro(name, children[0], arguments)
        owner = self.of(children[0])
        if name == "size" and not arguments:
            return _size(owner)
        if name in _TESTS and len(arguments) == 1:
            return _text_test(name, owner, self.of(arguments[0]))
        if name == "matches" and len(arguments) == 1:
            return _matches(owner, self._pattern(arguments[0]))
        raise self._unknown(f".{name[:40]}() with {len(arguments)} arguments")

    def _macro(self, name: str, over: Any, arguments: Sequence[Any]) -> Compute:
        if self._variable is not None:
            raise self._unknown("a macro inside of a macro")
        among = self.of(over)
        variable = _only(arguments[0])
        if str(variable.data) != "ident":
            raise _wrong(f"{name}() takes a name and a condition: list.{name}(x, x == 1).", self._path)
        self._variable, self._passes = str(variable.children[0]), _passes_of(over)
        holds = self.of(arguments[1])
        self._variable, self._passes = None, 1
        return _through(among, holds, any_of=name == "exists")

    def _pattern(self, argument: Any) -> Any:
        import re2  # linear in the text, whatever the pattern

        node = _only(argument)
        if str(node.data) != "literal":
            raise _wrong("matches() takes a pattern that is written out.", self._path)
        options = re2.Options()
        options.log_errors = False  # it would write what callers send to stderr
        options.max_mem = _PATTERN_BYTES
        try:
            pattern = re2.compile(str(self._literal(node.children[0])(Scope({}, {}))), options)
        except re2.error:
            raise _wrong("The pattern of matches() is no RE2 expression, or too large.", self._path) from None
        size = max(pattern.programsize, pattern.reverseprogramsize)
        if size > MAX_PATTERN:
            raise _wrong("The pattern of matches() is too large: count less in it.", self._path)
        self.cost += (_PATTERN_COST + size // _PER_STEP) * self._passes
        return pattern

    def _unknown(self, what: str) -> BadInput:
        return _wrong(f"Filters and boosters do not know {what}.", self._path)


def _wrong(message: str, path: str) -> BadInput:
    return BadInput(message, path=path, code="expression_wrong")


def _only(node: Any) -> Any:
    """Down the chain of single children."""
    while True:
        children = [child for child in node.children if child is not None]
        if len(children) != 1 or not hasattr(children[0], "data"):
            return node
        node = children[0]


def _passes_of(over: Any) -> int:
    """How many elements a macro goes through: those that are written out, or as many as a list is taken to have."""
    node = _only(over)
    if str(node.data) != "list_lit":
        return _PASSES
    return sum(len(one.children) for one in node.children if one is not None) or 1


def _root(node: Any) -> str | None:
    found = _only(node)
    return str(found.children[0]) if str(found.data) == "ident" else None


def _field(owner: str, name: str) -> Compute:
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


def _member(owner: Compute, name: str) -> Compute:
    return _index(owner, lambda _: name)


def _index(owner: Compute, key: Compute) -> Compute:
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


def _unary(kind: str, value: Compute) -> Compute:
    if kind == "unary_not":

        def negated(scope: Scope) -> bool:
            return not _bool(value(scope))

        return negated

    def minus(scope: Scope) -> Any:
        number = value(scope)
        if type(number) is int:
            return _whole(-number)
        if type(number) is float:
            return -number
        raise WrongError("minus")

    return minus


def _either(left: Compute, right: Compute, *, decides: bool) -> Compute:
    """`||` where `decides`, else `&&`: a side that decides does so, whatever error the other one has."""

    def value(scope: Scope) -> bool:
        try:
            if _bool(left(scope)) is decides:
                return decides
        except WrongError:
            if _bool(right(scope)) is decides:
                return decides
            raise
        return _bool(right(scope))

    return value


def _choice(condition: Compute, then: Compute, otherwise: Compute) -> Compute:
    return lambda scope: then(scope) if _bool(condition(scope)) else otherwise(scope)


def _binary(kind: str, left: Compute, right: Compute) -> Compute:
    operate = _OPERATORS[kind]
    return lambda scope: operate(left(scope), right(scope))


def _size(value: Compute) -> Compute:
    def size(scope: Scope) -> int:
        found = value(scope)
        if type(found) in (str, list, dict):
            return len(found)
        raise WrongError("size")

    return size


def _converted(name: str, value: Compute) -> Compute:
    convert = _CONVERSIONS[name]

    def converted(scope: Scope) -> Any:
        found = value(scope)
        if type(found) not in (int, float, str) or (name == "string" and type(found) is float):
            raise WrongError(name)
        try:
            return convert(found)
        except (ValueError, OverflowError):
            raise WrongError(name) from None

    return converted


def _text_test(name: str, owner: Compute, argument: Compute) -> Compute:
    test = {"contains": str.__contains__, "startsWith": str.startswith, "endsWith": str.endswith}[name]

    def tested(scope: Scope) -> bool:
        text, part = owner(scope), argument(scope)
        if type(text) is str and type(part) is str:
            return test(text, part)
        raise WrongError(name)

    return tested


def _matches(owner: Compute, pattern: Any) -> Compute:
    def matches(scope: Scope) -> bool:
        text = owner(scope)
        if type(text) is str:
            return pattern.search(text) is not None
        raise WrongError("matches")

    return matches


def _through(among: Compute, holds: Compute, *, any_of: bool) -> Compute:
    """An element that decides does so, whatever error another one has."""

    def value(scope: Scope) -> bool:
        found, error = among(scope), None
        if type(found) not in (list, dict):
            raise WrongError("macro")
        for one in found:
            try:
                if _bool(holds(Scope(scope.item, scope.shopper, one))) is any_of:
                    return any_of
            except WrongError as of_one:
                error = of_one
        if error is not None:
            raise error
        return not any_of

    return value


def _bool(value: Any) -> bool:
    if value is True or value is False:
        return value
    raise WrongError("bool")


def _whole(number: int) -> int:
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
        return _whole(left + right) if type(left) is int else left + right
    raise WrongError("+")


def _sub(left: Any, right: Any) -> Any:
    _same_numbers(left, right, "-")
    return _whole(left - right) if type(left) is int else left - right


def _mul(left: Any, right: Any) -> Any:
    _same_numbers(left, right, "*")
    return _whole(left * right) if type(left) is int else left * right


def _div(left: Any, right: Any) -> Any:
    """Whole numbers are cut towards 0."""
    _same_numbers(left, right, "/")
    if type(left) is float:
        return left / right if right else math.copysign(math.inf, left) * math.copysign(1, right) if left else math.nan
    if right == 0:
        raise WrongError("division by zero")
    return _whole(abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1))


def _mod(left: Any, right: Any) -> int:
    """The sign is the left one's."""
    if type(left) is not int or type(right) is not int or right == 0:
        raise WrongError("%")
    return left - right * int(_div(left, right))


def _same_numbers(left: Any, right: Any, what: str) -> None:
    if type(left) is not type(right) or type(left) not in (int, float):
        raise WrongError(f"{what} of two types: write 2.0 beside a double, 2 beside an int")


_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
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
_CONVERSIONS: Final[dict[str, Callable[[Any], Any]]] = {
    "int": lambda value: _whole(int(value)),
    "double": float,
    "string": lambda value: str(value),
}
