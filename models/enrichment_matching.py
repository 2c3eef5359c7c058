"""Texts against the word lists: which words they have, what is in them of colours, sizes and the rest, in zh and en."""

import re
from collections.abc import Iterator
from functools import cache
from typing import Final

from features.catalog import AttributeName, Language
from models.chinese import words as chinese_words
from models.enrichment_words import STOP, UNITS, WORDS

_WORD: Final = re.compile(r"[a-z]+(?:'s)?|\d+(?:\.\d+)?|[\u00c0-\u024f]+")
_HAN_RUN: Final = re.compile(r"[\u3400-\u9fff]+")
_NUMBER_WORDS: Final = {
    "two": 2, "three": 3, "four": 4, "five": 5, "six": 6, "eight": 8, "ten": 10, "dozen": 12, "twelve": 12,
    "两": 2, "二": 2, "三": 3, "四": 4, "五": 5, "六": 6, "八": 8, "十": 10, "一打": 12,
}  # fmt: skip
_MEASURES: Final = "支|个|只|包|袋|盒|件|条|双|片|卷|张|瓶|本|枚|套|罐|根|块|粒|颗"
_SPELT: Final = "|".join(sorted(_NUMBER_WORDS, key=len, reverse=True))
_COUNTS: Final = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"\b(?:pack|box|set|case|lot|bundle) of (\d{{1,5}}|{_SPELT})\b",
        rf"(?<![\d.])(\d{{1,5}}|\b(?:{_SPELT}))[ /-]*(?:packs?|pk|count|ct|pieces?|pcs?|/pack|/box|/pk|/bx|per pack)\b",
        rf"(\d{{1,4}}|[两二三四五六八十])(?:{_MEASURES})装",
        rf"[*x×](\d{{1,4}})(?:{_MEASURES})",
        rf"(?<![\d.])(\d{{1,4}})(?:{_MEASURES})(?![\u4e00-\u9fff])",
        r"\b(dozen)\b|(一打)",
    )
)
_SIDES: Final = re.compile(
    r"(?<![\d.])(\d{1,4}(?:[.-]?\d{1,3})?(?:/\d{1,2})?)\s*(\"|''|”|inch(?:es)?|in\.?|cm|mm|厘米|毫米)?\s*[x×*]\s*"
    r"(\d{1,4}(?:[.-]?\d{1,3})?(?:/\d{1,2})?)\s*(\"|''|”|inch(?:es)?|in\b\.?|cm|mm|厘米|毫米|feet|ft|yards?)?",
    re.IGNORECASE,
)
_CLOTHING: Final = re.compile(r"(?:\bsize|尺码|码数)\s*[:：]?\s*(X{0,3}[SML]|[2-6]XL)\b", re.IGNORECASE)


def tokens(text: str) -> list[str]:
    """Words, numbers and Chinese words of a clean text, in small letters, plurals as singulars."""
    small = text.lower()
    found = [_singular(word) for word in _WORD.findall(small)]
    for run in _HAN_RUN.findall(small):
        found += chinese_words(run)
    return found


def concepts(text: str) -> list[tuple[AttributeName, str]]:
    """What the word lists know of in a text, each once, in its order."""
    small = text.lower()
    places: dict[tuple[AttributeName, str], int] = {}
    for match in _english().finditer(small):
        for concept in _concepts_by_english()[match[0]]:
            places.setdefault(concept, match.start())
    at = 0
    by_word = _concepts_by_chinese()
    for run in _HAN_RUN.finditer(small):
        at = run.start()
        for word in chinese_words(run[0]):
            for concept in by_word.get(word, ()):
                places.setdefault(concept, at)
            at += len(word)
    return sorted(places, key=lambda concept: places[concept])


def label(name: AttributeName, value: str, language: Language) -> str | None:
    """What people call a value of the word lists; None: they do not know it."""
    known = WORDS.get(name, {}).get(value)
    if known is None:
        return None
    return value if language == "en" else known[1].partition("|")[0]


def measures(text: str) -> Iterator[tuple[AttributeName, str]]:
    """Weights, volumes and sizes, as number and unit."""
    for found in _SIDES.finditer(text):
        unit = _unit("size", found[4] or found[2] or "")
        yield "size", f"{found[1]} x {found[3]}" + (f" {unit}" if unit else "")
    for name, pattern in _amounts().items():
        for found in pattern.finditer(_SIDES.sub(" ", text)):
            yield name, f"{found[1]} {_unit(name, found[2])}"
    for found in _CLOTHING.finditer(text):
        yield "size", found[1].upper()


def pack_count(text: str) -> int | None:
    """How many pieces there are, by the first words that say so; None: nothing does, or it is one."""
    for pattern in _COUNTS:
        found = pattern.search(text)
        if found:
            told = next(part for part in found.groups() if part).lower()
            count = _NUMBER_WORDS.get(told) or int(told)
            return count if count > 1 else None
    return None


def numbers(text: str) -> set[str]:
    """The numbers that a text bears out, spelt ones too, as they are written in digits."""
    small = text.lower()
    return digits(small) | {str(count) for word, count in _NUMBER_WORDS.items() if word in small}


def digits(text: str) -> set[str]:
    """The numbers of a text that are written in digits."""
    found = re.findall(r"\d+(?:\.\d+)?", text)
    return {number.rstrip("0").rstrip(".") if "." in number else number for number in found}


def telling(words: list[str]) -> list[str]:
    """The words that say something of an item."""
    return [word for word in words if word not in STOP]


def _singular(word: str) -> str:
    word = word.removesuffix("'s")
    if len(word) > 4 and word.endswith("ies"):
        return f"{word[:-3]}y"
    if len(word) > 3 and word.endswith(("xes", "ches", "shes", "sses")):
        return word[:-2]
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


@cache
def _english() -> re.Pattern[str]:
    known = sorted(_concepts_by_english(), key=len, reverse=True)
    return re.compile(rf"(?<![\w-])(?:{'|'.join(map(re.escape, known))})(?!\w)")


@cache
def _concepts_by_english() -> dict[str, list[tuple[AttributeName, str]]]:
    return _concepts(0)


@cache
def _concepts_by_chinese() -> dict[str, list[tuple[AttributeName, str]]]:
    return _concepts(1)


def _concepts(side: int) -> dict[str, list[tuple[AttributeName, str]]]:
    found: dict[str, list[tuple[AttributeName, str]]] = {}
    for name, values in WORDS.items():
        for value, sides in values.items():
            for word in sides[side].lower().split("|"):
                found.setdefault(word, []).append((name, value))
    return found


@cache
def _amounts() -> dict[AttributeName, re.Pattern[str]]:
    return {
        name: re.compile(
            rf"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)[ -]?({'|'.join(units.values())})(?![A-Za-z\d])", re.IGNORECASE
        )
        for name, units in UNITS.items()
    }


def _unit(name: AttributeName, word: str) -> str:
    return next((unit for unit, pattern in UNITS[name].items() if re.fullmatch(pattern, word, re.IGNORECASE)), word)
