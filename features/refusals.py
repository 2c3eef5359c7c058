"""What msgspec says about input that does not fit its type, as our error with a stable code and a path."""

import re
from typing import Any, Final

import msgspec

from features.expectations import expected
from infra.errors import BadInput, Undecodable

_AT: Final = re.compile(r" - at (?:`key` in )?`\$\.?(?P<path>[^`]*)`\Z")
_MISSING: Final = re.compile(r"missing required field `(?P<field>[^`]+)`")
# The first pattern that is found decides the code.
_CODES: Final = (
    (re.compile(r"missing required field"), "missing_field"),
    (re.compile(r"of length <="), "too_long"),
    (re.compile(r"of length >="), "empty"),
    (re.compile(r"matching regex"), "wrong_form"),
    (re.compile(r"[<>]=? ?-?\d|Integer value out of range"), "out_of_range"),
    (re.compile(r"with a timezone component"), "time_without_offset"),
    (re.compile(r"RFC3339|Invalid datetime"), "wrong_time"),
    (re.compile(r"Invalid (decimal|number)"), "wrong_number"),
    (re.compile(r"Invalid enum value"), "unknown_value"),
    (re.compile(r"Expected `.*, got"), "wrong_type"),
)

# All that decoding raises: RecursionError for brackets nested too deep, ValueError for UTF-8 and malformed
# text, ArithmeticError for decimals and dates.
UNREADABLE: Final = (ValueError, ArithmeticError, RecursionError)


def refusal(error: Exception, kind: Any = None) -> BadInput:
    """The error to raise for what msgspec (or Python, below it) raised while it decoded or converted.

    Malformed bytes become `Undecodable`; a value that does not fit its type becomes `BadInput` with a path
    like `items[2].price`. With the type that was decoded into, the message says what it wants there.
    """
    if not isinstance(error, msgspec.ValidationError):
        return Undecodable(f"This is not well-formed JSON in UTF-8: {error}.")
    text = str(error)
    at = _AT.search(text)
    path = at["path"] if at else ""
    message = text[: at.start()] if at else text
    missing = _MISSING.search(message)
    if missing:
        path = f"{path}.{missing['field']}" if path else missing["field"]
    code = next((code for pattern, code in _CODES if pattern.search(message)), "invalid")
    wanted = expected(kind, path) if kind is not None and code != "invalid" else ""
    if missing:
        message = f"{path} is missing" + (f": {wanted}" if wanted else "")
    elif wanted:
        message = f"{path or 'The body'} must be {wanted}"
    return BadInput(f"{message}.", path=path, code=code)


def located(error: BadInput) -> str:
    """The message with the field that it is about, which many a message names itself."""
    return error.message if not error.path or error.path in error.message else f"{error.path}: {error.message}"
