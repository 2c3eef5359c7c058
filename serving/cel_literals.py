"""Texts as CEL writes them."""

import re
from typing import Final

_SHORT: Final = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    **{sign: sign for sign in "\\?\"'`"},
}
_ESCAPE: Final = re.compile(
    r"\\(?:[xX](?P<two>[0-9a-fA-F]{2})|u(?P<four>[0-9a-fA-F]{4})|U(?P<eight>[0-9a-fA-F]{8})|(?P<octal>[0-3][0-7]{2})"
    r"|(?P<short>.?))",
    re.DOTALL,
)


def text_of(literal: str) -> str:
    """What a text in quotes says; after an r nothing in it is an escape.

    Raises:
        ValueError: it has an escape that CEL does not know, or a line's end within single quotes; names it.
    """
    raw = literal[0] in "rR"
    quoted = literal[raw:]
    quotes = 3 if len(quoted) >= 6 and quoted[:3] == quoted[0] * 3 else 1
    body = quoted[quotes:-quotes].replace("\r\n", "\n").replace("\r", "\n")
    if quotes == 1 and "\n" in body:
        raise ValueError("a line ends in it")
    return body if raw else _ESCAPE.sub(_escaped, body)


def _escaped(found: re.Match[str]) -> str:
    code = found["two"] or found["four"] or found["eight"]
    if code is None and found["octal"] is None:
        short = _SHORT.get(found["short"])
        if short is None:
            raise ValueError(f"there is no escape {found[0]}, write two backslashes, or r before the quotes")
        return short
    number = int(code, 16) if code is not None else int(found["octal"], 8)
    if number > 0x10FFFF or 0xD800 <= number <= 0xDFFF:
        raise ValueError(f"{found[0]} is no character")
    return chr(number)
