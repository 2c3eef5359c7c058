"""Names that people can read, from the capitals and abbreviations of old systems."""

import re
from decimal import Decimal
from functools import lru_cache
from typing import Final

_SMALL: Final = frozenset({"a", "an", "and", "at", "by", "for", "from", "in", "of", "on", "or", "the", "to", "with"})
_KEPT: Final = frozenset({"BBQ", "CD", "DVD", "LED", "TV", "UK", "USA", "XL", "3D"})
_WORD: Final = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_SPACE: Final = re.compile(r"\s+")


@lru_cache(maxsize=100_000)
def title_case(text: str) -> str:
    """`FLUID  MILK WHITE ONLY` as `Fluid Milk White Only`; a bracket that was cut off is dropped."""
    text = _SPACE.sub(" ", text).strip(" ,.;:/-")
    opened = text.rfind("(")
    if opened > text.rfind(")"):
        text = text[:opened].rstrip(" ,.;:/-(") or text
    return _WORD.sub(_cased, text)


def _cased(match: re.Match[str]) -> str:
    word = match.group()
    if match.start() and word.lower() in _SMALL:
        return word.lower()
    if word in _KEPT or not (word.isupper() or word.islower()):
        return word
    return word[0].upper() + word[1:].lower()


@lru_cache(maxsize=100_000)
def cents(count: int) -> Decimal:
    """An amount of hundredths as a decimal; the same few amounts come again and again."""
    return Decimal(count).scaleb(-2)
