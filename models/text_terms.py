"""A text as terms that serve every language: jieba's words, and runs of characters inside of words."""

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

from infra.errors import NotFound
from models.chinese import words
from models.text_encoder import MOST_CHARS

_RUN: Final = re.compile(r"[^\W_]+")
# Scripts that are written without spaces between words.
_UNSPACED: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff]+")
_LONGEST: Final = 32
_SHORT, _LONG = (1, 2), (3, 4)


def terms_of(text: str) -> list[str]:
    """Every term of a text, repeats among them: `=word`, and parts of words as they are. Empty for no letter or digit.

    Raises:
        NotFound: jieba is not installed.
    """
    folded = unicodedata.normalize("NFKC", text[:MOST_CHARS]).lower()
    terms: list[str] = []
    for run in _RUN.findall(folded):
        at = 0
        for found in _UNSPACED.finditer(run):
            terms.extend(_spaced(run[at : found.start()]))
            terms.extend(_unspaced(found.group()))
            at = found.end()
        terms.extend(_spaced(run[at:]))
    return terms


def _spaced(word: str) -> Iterator[str]:
    """`shoes` has parts with `shoe`; the spaces around it mark where it begins and ends."""
    if not word:
        return
    word = word[:_LONGEST]
    yield f"={word}"
    padded = f" {word} "
    for size in _LONG:
        for begin in range(len(padded) - size + 1):
            yield padded[begin : begin + size]


def _unspaced(run: str) -> Iterator[str]:
    for word in _words(run):
        yield f"={word[:_LONGEST]}"
    for size in _SHORT:
        for begin in range(len(run) - size + 1):
            yield run[begin : begin + size]


def _words(run: str) -> list[str]:
    try:
        return words(run)
    except ImportError:
        raise NotFound(
            "the lexical text encoder needs jieba: install daogou[models], or set DAOGOU_TEXT_ENCODER to a model",
            path="text_encoder",
        ) from None
