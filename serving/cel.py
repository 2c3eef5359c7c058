"""Expressions in CEL (Common Expression Language) as Python functions: parsed by a CEL library, compiled to closures.

A list looks at hundreds of items, and an interpreter of CEL takes some 20 µs for each. What is known here is CEL's
strict part that filters and boosters need: no messages, no timestamps, no uint or bytes; macros are not nested. An
operation on wrong types is an error, as CEL has it, and so is a field that an item does not have.
"""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from infra.errors import BadInput
from serving import cel_steps as steps
from serving.cel_literals import text_of
from serving.cel_steps import Compute, Scope
from serving.cel_values import CONVERSIONS, MissingError, WrongError, whole

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
            return steps.unary(str(children[0].data), self.of(children[1]))
        if kind in ("conditionalor", "conditionaland") and len(children) == 2:
            return steps.either(self.of(children[0]), self.of(children[1]), decides=kind == "conditionalor")
        if kind == "expr" and len(children) == 3:
            return steps.choice(*map(self.of, children))
        if kind in ("relation", "addition", "multiplication") and len(children) == 2:
            return steps.binary(str(children[0].data), self.of(children[0].children[0]), self.of(children[1]))
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
                value = text_of(text)
            except ValueError as error:
                raise _wrong(f"{text[:40]} is no text of CEL: {error}.", self._path) from None
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
            return whole(number)
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
            return steps.field(owner, name)
        return steps.member(self.of(children[0]), name)

    def _check_field(self, owner: str, name: str) -> None:
        known = self._fields[owner]
        if name not in known:
            raise _wrong(f"There is no {owner}.{name[:40]}; there are {', '.join(known)}.", self._path)

    def _member_index(self, children: Sequence[Any]) -> Compute:
        return steps.index(self.of(children[0]), self.of(children[1]))

    def _list_lit(self, children: Sequence[Any]) -> Compute:
        parts = [self.of(one) for one in children[0].children] if children else []
        return lambda scope: [part(scope) for part in parts]

    def _ident_arg(self, children: Sequence[Any]) -> Compute:
        name, arguments = str(children[0]), children[1].children if len(children) > 1 else []
        if name == "has" and len(arguments) == 1:
            return self._has(arguments[0])
        if name == "size" and len(arguments) == 1:
            return steps.size(self.of(arguments[0]))
        if name in CONVERSIONS and len(arguments) == 1:
            return steps.converted(name, self.of(arguments[0]))
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
            return steps.size(owner)
        if name in _TESTS and len(arguments) == 1:
            return steps.text_test(name, owner, self.of(arguments[0]))
        if name == "matches" and len(arguments) == 1:
            return steps.matches(owner, self._pattern(arguments[0]))
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
        return steps.through(among, holds, any_of=name == "exists")

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
