"""What msgspec says about input that does not fit its type, as our error with a stable code and a path."""

import re
from typing import Final

import msgspec

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


def refusal(error: Exception) -> BadInput:
    """The error to raise for what msgspec (or Python, below it) raised while it decoded or converted.

    Malformed bytes become `Undecodable`; a value that does not fit its type becomes `BadInput` with a path
    like `items[2].price`.
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
    return BadInput(f"{message}.", path=path, code=code)
