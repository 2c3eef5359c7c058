"""What a type wants at a path, in words: the types of the interface and of events are its rules, told once."""

import re
from functools import lru_cache
from typing import Any, Final

from msgspec import inspect

_STEP: Final = re.compile(r"\[[^\]]*\]|[^.\[\]]+")
_TIME: Final = "a time with its offset, such as 2026-11-24T10:00:00Z"
_PLAIN: Final[dict[type[inspect.Type], str]] = {
    inspect.BoolType: "true or false",
    inspect.DateTimeType: _TIME,
    inspect.DecimalType: 'an amount, best as text, such as "9.50"',
    inspect.StructType: "an object",
}


def expected(kind: Any, path: str) -> str:
    """What `kind` wants at `path` (`items[2].price`), such as "a whole number from 1 to 100"; empty: nothing to say."""
    at: inspect.Type | None = _info(kind)
    for step in _STEP.findall(path):
        at = None if at is None else _inside(at, step)
    return "" if at is None else _words(at)


@lru_cache(maxsize=64)
def _info(kind: Any) -> inspect.Type:
    return inspect.type_info(kind)


def _inside(at: inspect.Type, step: str) -> inspect.Type | None:
    """The type one step further in; of several, the first that has the step."""
    match at:
        case inspect.Metadata(type=inner):
            return _inside(inner, step)
        case inspect.UnionType(types=types):
            return next((found for one in types if (found := _inside(one, step)) is not None), None)
        case inspect.StructType(fields=fields, array_like=True) if step[1:-1].isdecimal():
            return fields[place].type if (place := int(step[1:-1])) < len(fields) else None
        case inspect.StructType(fields=fields):
            return next((one.type for one in fields if one.encode_name == step), None)
        case inspect.DictType(value_type=value):
            return value
        case inspect.ListType(item_type=item) | inspect.VarTupleType(item_type=item) if step.startswith("["):
            return item
    return None


def _words(at: inspect.Type) -> str:
    match at:
        case inspect.Metadata(type=inner):
            return _words(inner)
        case inspect.UnionType(types=types):
            return " or ".join(words for one in types if (words := _words(one)))
        case inspect.LiteralType(values=values):
            return "one of " + ", ".join(map(str, values))
        case inspect.IntType(ge=least, le=most):
            return "a whole number" + _bounds(least, most)
        case inspect.FloatType(gt=above, ge=least, le=most):
            return "a number" + (_bounds(least, most) if above is None else _above(above, most))
        case inspect.StructType(fields=fields, array_like=True):
            return f"a list of {', '.join(one.encode_name for one in fields)}"
        case inspect.StrType(pattern=str(pattern)):
            return f"text of the form {pattern.removeprefix(chr(92) + 'A').removesuffix(chr(92) + 'Z')}"
        case inspect.StrType(min_length=least, max_length=most):
            return "text" + _length(least, most, "characters")
        case (
            inspect.ListType(min_length=least, max_length=most)
            | inspect.VarTupleType(min_length=least, max_length=most)
        ):
            return "a list" + _length(least, most, "entries")
        case inspect.DictType(min_length=least, max_length=most):
            return "an object" + _length(least, most, "fields")
    return _PLAIN.get(type(at), "")


def _bounds(least: float | None, most: float | None) -> str:
    if least is not None and most is not None:
        return f" from {_plainly(least)} to {_plainly(most)}"
    if least is not None:
        return f" of at least {_plainly(least)}"
    return f" of at most {_plainly(most)}" if most is not None else ""


def _above(least: float, most: float | None) -> str:
    return f" above {_plainly(least)}" + (f" and at most {_plainly(most)}" if most is not None else "")


def _plainly(number: float) -> str:
    return f"{int(number):,}" if number == int(number) else str(number)


def _length(least: int | None, most: int | None, of: str) -> str:
    if least and most is not None:
        return f" of {least:,} to {most:,} {of}"
    return f" of at most {most:,} {of}" if most is not None else f" of at least {least:,} {of}" if least else ""
