"""What is believed of a language model's answer: what the item's texts bear out. The rest is dropped, with the reason.

An attribute needs its words in the merchant's texts, or in those of two reviews, as they stand or by the word lists of
both languages. Phrases and descriptions are held against the texts in the texts' language; in the other language only
script, numbers, prices and praise are looked at, which a dictionary would be needed to do better.
"""

import re
from collections.abc import Iterator
from typing import Final

from features.catalog import LANGUAGES, Attribute, Dropped, EnrichedItem, Language, Wording
from infra.errors import AnswerUnusable
from models.enrichment_matching import concepts, digits, numbers, pack_count, telling, tokens
from models.enrichment_prompt import Answer, Said
from models.enrichment_reading import STEERING, Reading, cleaned, language_of
from models.enrichment_rules import MAX_PHRASES, NOT_NEUTRAL, REVIEWS, REVIEWS_NEEDED, by_rules, merged
from models.enrichment_words import ENGLISH, OTHER_LATIN

_WORDS_BORNE_OUT: Final = 0.5
_HAN_BORNE_OUT: Final = 0.6
_HAN: Final = re.compile(r"[\u3400-\u9fff]")
_MAX_TOLD: Final = 80


class _Text:
    """A text to hold statements against."""

    def __init__(self, text: str) -> None:
        self.words = set(tokens(text))
        self.han = set(_HAN.findall(text))
        self.concepts = set(concepts(text))
        self.numbers = numbers(text)
        self.count = pack_count(text)

    def bears_out(self, said: Said) -> bool:
        if said.name == "pack_count":
            return said.value in self.numbers
        if not digits(said.value) <= self.numbers:
            return False
        known = [concept for concept in concepts(said.value) if concept[0] == said.name]
        if known and set(known) <= self.concepts:
            return True
        words = telling(tokens(said.value))
        return bool(words) and all(word in self.words or set(word) <= self.han for word in words)

    def share(self, text: str, language: Language) -> float:
        """How much of a text in this text's own language is borne out by it."""
        if language == "zh":
            han = _HAN.findall(text)
            return sum(one in self.han for one in han) / len(han) if han else 0.0
        words = telling([word for word in tokens(text) if not _HAN.search(word)])
        return sum(word in self.words for word in words) / len(words) if words else 0.0


def believed(reading: Reading, answer: Answer, source: str) -> EnrichedItem:
    """The item by the model's answer, completed by what merchant and rules say.

    Raises:
        AnswerUnusable: the answer follows an instruction (`answer_steered`), is in another language
            (`answer_wrong_language`), or has nothing to do with the item (`answer_ungrounded`): none of it is believed.
    """
    written = [answer.description_zh, answer.description_en, *answer.phrases_zh, *answer.phrases_en]
    if any(STEERING.search(text) for text in [*written, *(one.value for one in answer.attributes)]):
        raise AnswerUnusable("the answer speaks as if to a language model", code="answer_steered")
    text = _Text(reading.catalogue_text)
    dropped: list[Dropped] = []
    attributes = list(_attributes(reading, text, answer, source, dropped))
    descriptions = list(_descriptions(reading, text, answer, source, dropped))
    phrases = list(_phrases(reading, text, answer, source, dropped))
    own = reading.language
    if any(one.reason == "wrong_language" and one.what == _named(own) for one in dropped):
        raise AnswerUnusable("the description is in another language", code="answer_wrong_language")
    if not attributes and not any(one.language == own for one in [*descriptions, *phrases]):
        raise AnswerUnusable("nothing in the answer is borne out by the item", code="answer_ungrounded")
    return _completed(by_rules(reading), attributes, phrases, descriptions, dropped)


def _completed(
    rules: EnrichedItem,
    attributes: list[Attribute],
    phrases: list[Wording],
    descriptions: list[Wording],
    dropped: list[Dropped],
) -> EnrichedItem:
    """The merchant's word stands first, then the model's, then what rules find beyond."""
    merchant = [one for one in rules.attributes if one.source == "merchant"]
    said = {one.name for one in [*merchant, *attributes]}
    beyond = [one for one in rules.attributes if one.name not in said]
    worded = {one.language for one in descriptions}
    phrased = {one.language for one in phrases}
    return EnrichedItem(
        item_id=rules.item_id,
        attributes=tuple(merged([*merchant, *attributes, *beyond])),
        phrases=(*phrases, *(one for one in rules.phrases if one.language not in phrased)),
        descriptions=(*descriptions, *(one for one in rules.descriptions if one.language not in worded)),
        dropped=tuple(dropped),
    )


def _attributes(
    reading: Reading, text: _Text, answer: Answer, source: str, dropped: list[Dropped]
) -> Iterator[Attribute]:
    reviews = [_Text(review.text) for review in reading.reviews]
    for said in answer.attributes:
        value: str | int | None = _value(said)
        if value is None or NOT_NEUTRAL.search(said.value):
            dropped.append(_drop(f"{said.name}={said.value}", "no_number" if value is None else "not_neutral"))
        elif text.bears_out(said):
            yield Attribute(said.name, value, source)
        elif sum(review.bears_out(said) for review in reviews) >= REVIEWS_NEEDED:
            yield Attribute(said.name, value, REVIEWS)
        else:
            dropped.append(_drop(f"{said.name}={said.value}", "ungrounded"))


def _value(said: Said) -> str | int | None:
    """By the word lists' name, where they have one; a count as a number."""
    if said.name == "pack_count":
        return int(said.value) if said.value.isascii() and said.value.isdecimal() and int(said.value) > 0 else None
    known = [value for name, value in concepts(said.value) if name == said.name]
    words = telling(tokens(said.value))
    return known[0] if len(known) == 1 and len(words) == 1 else cleaned(said.value, len(said.value))[0]


def _descriptions(
    reading: Reading, text: _Text, answer: Answer, source: str, dropped: list[Dropped]
) -> Iterator[Wording]:
    for language, said in (("zh", answer.description_zh), ("en", answer.description_en)):
        assert language in LANGUAGES
        reason = _fault(reading, text, said, language, sentence=True) if said.strip() else "empty"
        if reason:
            dropped.append(Dropped(_named(language), reason))
        else:
            yield Wording(language, cleaned(said, len(said))[0], source)


def _phrases(reading: Reading, text: _Text, answer: Answer, source: str, dropped: list[Dropped]) -> Iterator[Wording]:
    sides: tuple[tuple[Language, list[str]], ...] = (("zh", answer.phrases_zh), ("en", answer.phrases_en))
    for language, phrases in sides:
        for said in list(dict.fromkeys(phrases))[:MAX_PHRASES]:
            reason = _fault(reading, text, said, language, sentence=False)
            if reason:
                dropped.append(_drop(f"phrase {language}: {said}", reason))
            else:
                yield Wording(language, cleaned(said, len(said))[0].lower(), source)


def _fault(reading: Reading, text: _Text, said: str, language: Language, *, sentence: bool) -> str:
    """Why a text is not believed; empty: it is."""
    if not _in(language, said, sentence=sentence):
        return "wrong_language"
    if NOT_NEUTRAL.search(said):
        return "not_neutral"
    if not digits(said) <= text.numbers:
        return "ungrounded"
    least = _HAN_BORNE_OUT if language == "zh" else _WORDS_BORNE_OUT
    return "ungrounded" if language == reading.language and text.share(said, language) < least else ""


def _in(language: Language, text: str, *, sentence: bool) -> bool:
    if language == "zh":
        return language_of(text) == "zh"
    words = text.lower().split()
    english, other = (sum(word in known for word in words) for known in (ENGLISH, OTHER_LATIN))
    return language_of(text) == "en" and other <= english + (0 if sentence else 1)


def _named(language: Language) -> str:
    return f"description {language}"


def _drop(what: str, reason: str) -> Dropped:
    return Dropped(what[:_MAX_TOLD], reason)
