"""What is told of a setting that has a wrong value: why, and which values are allowed."""

import re
from collections.abc import Iterator
from typing import Final, get_args

from pydantic.fields import FieldInfo
from pydantic_core import ErrorDetails

from infra.errors import SettingWrong

_ONE_OF: Final = re.compile(r"\^\((?P<words>[A-Za-z|]+)\)\$")
_BOUNDS: Final = ("ge", "gt", "le")
_BETWEEN: Final = {
    frozenset(("ge", "le")): "{ge} to {le}",
    frozenset(("gt", "le")): "above {gt}, {le} at most",
    frozenset(("ge",)): "{ge} or more",
}
# What pydantic says of these in words of Python.
_WHY: Final = {
    "int_parsing": "no whole number",
    "float_parsing": "no number",
    "string_pattern_mismatch": "not allowed",
    "literal_error": "not allowed",
    "greater_than_equal": "too small",
    "greater_than": "too small",
    "less_than_equal": "too large",
}


def why_of(fault: ErrorDetails) -> str:
    """What is wrong with a value, in few words."""
    return _WHY.get(fault["type"]) or fault["msg"].removeprefix("Value error, ")


def wrong(name: str, field: FieldInfo, value: str, why: str) -> SettingWrong:
    """The error of the setting `name`, which `field` describes; `value` as it may be shown."""
    values = ", ".join(_values(field))
    allowed = f"{values} ({field.description})" if values else field.description
    return SettingWrong(f"DAOGOU_{name.upper()} = {value}: {why}. Allowed: {allowed}.", path=name)


def _values(field: FieldInfo) -> Iterator[str]:
    """The allowed values as far as types and bounds say them: bounds of a number, or one of a few words."""
    if field.annotation in (int, float):
        bounds = {name: getattr(one, name) for one in field.metadata for name in _BOUNDS if hasattr(one, name)}
        yield _BETWEEN[frozenset(bounds)].format(**bounds)
    for one in field.metadata:
        words = _ONE_OF.fullmatch(getattr(one, "pattern", None) or "")
        if words:
            yield from words["words"].split("|")
    if get_args(field.annotation) and all(isinstance(one, str) for one in get_args(field.annotation)):
        yield from (one or "(empty)" for one in get_args(field.annotation))
