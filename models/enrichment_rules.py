"""Enrichment by rules: word lists, units, the place of words in a name. Needs no model, says only what it reads."""

import re
from collections import Counter
from collections.abc import Iterator
from typing import Final

from features.catalog import LANGUAGES, Attribute, AttributeName, EnrichedItem, Language, Wording
from models.chinese import words as chinese_words
from models.enrichment_matching import concepts, label, measures, pack_count
from models.enrichment_reading import Reading, language_of, sentences
from models.enrichment_words import STOP, WORDS

RULE: Final = "rule"
MERCHANT: Final = "merchant"
REVIEWS: Final = "reviews"
REVIEWS_NEEDED: Final = 2
"""One buyer's word is no property of the item."""

MAX_PHRASES: Final = 6
_MAX_DESCRIPTION: Final = 300
_MAX_PER_NAME: Final = 4
_MAX_TYPE_WORDS: Final = 3
_OF_REVIEWS: Final = frozenset({"material", "feature", "audience"})
_CUES: Final[dict[AttributeName, re.Pattern[str]]] = {
    "material": re.compile(
        r"\bmade (?:of|from|with)\b|\bmaterial|\bconstruct|\bfabric|%|材质|面料|采用|材料", re.IGNORECASE
    ),
    "audience": re.compile(r"\b(?:for|perfect for|ideal for) (?:your )?\w+|适合|适用", re.IGNORECASE),
}
_NO_TYPES: Final = "尺码 尺寸 规格 新款 夏季 冬季 春季 秋季 正品 包装 专用 大号 小号 颜色 浓香型 清香型 套装"
_NO_TYPE: Final = frozenset(_NO_TYPES.split())
_MERCHANT_NAMES: Final[dict[str, AttributeName]] = {
    "color": "colour", "colour": "colour", "颜色": "colour", "material": "material", "材质": "material",
    "pattern": "pattern", "图案": "pattern", "size": "size", "尺码": "size", "尺寸": "size", "weight": "weight",
    "重量": "weight", "volume": "volume", "capacity": "volume", "容量": "volume", "gender": "audience",
    "age_group": "audience", "适用人群": "audience", "style": "style", "风格": "style", "product_size": "size",
}  # fmt: skip
NOT_NEUTRAL: Final = re.compile(
    r"[$€£¥￥]\s*\d|\d\s*(?:usd|eur|元|块钱|折)|%\s*off|\bfree\b(?! ?-)|\bsale\b|\bdiscount|\bcheap|\bguarantee|"
    r"\bbest[ -]?sell|\bthe best\b|\bbest product|\b#1\b|\bmust[ -]have|\bbuy now|\border now|\bclick here|https?:|"
    r"www\.|\bprice|包邮|特价|促销|打折|优惠|免费|秒杀|爆款|价格|最好|最低|第一|必买|必备|点击|下单|正品保证",
    re.IGNORECASE,
)
"""Prices, promises and praise: none of a description's business."""

_BREAK: Final = re.compile(r"[,;(\[|–—]|\s-\s|\bwith\b|\bfor\b|\bfrom\b|\bin\b|[，；（【、]", re.IGNORECASE)
_CODE: Final = re.compile(r"\w*\d\w*|#|&|®|™")
_PARTS: Final = re.compile(r"\W+")
_SINGLE: Final = frozenset({"type", "pack_count"})


def by_rules(reading: Reading, fallback: str = "") -> EnrichedItem:
    """What rules make of an item; `fallback` is why no model did."""
    attributes = tuple(_attributes(reading))
    phrases = tuple(
        Wording(language, text, RULE) for language in LANGUAGES for text in _phrases(reading, attributes, language)
    )
    descriptions = tuple(
        Wording(language, text, RULE) for language in LANGUAGES if (text := _description(reading, attributes, language))
    )
    return EnrichedItem(
        item_id=reading.item_id, attributes=attributes, phrases=phrases, descriptions=descriptions, fallback=fallback
    )


def merged(attributes: Iterator[Attribute] | list[Attribute]) -> list[Attribute]:
    """Each thing once, said by the first who says it; four of a kind, and one type and one count, at most."""
    kept: dict[tuple[str, str], Attribute] = {}
    counts: Counter[str] = Counter()
    for one in attributes:
        key = one.name, str(one.value).lower()
        if key not in kept and counts[one.name] < (1 if one.name in _SINGLE else _MAX_PER_NAME):
            kept[key] = one
            counts[one.name] += 1
    return list(kept.values())


def type_of(reading: Reading) -> str | None:
    """What sort of thing it is: of its name, the last words before the first comma, “with” or “for”; in Chinese, the
    last word that is no property.
    """
    if reading.language == "zh":
        return _chinese_type(reading.name)
    head = next((part for part in _BREAK.split(reading.name) if len(_plain_words(part, reading.brand)) > 0), "")
    words = _plain_words(head, reading.brand)
    colours = {word for value in WORDS["colour"].values() for word in value[0].split("|")}
    kept = [word for word in words if word not in colours]
    return " ".join((kept or words)[-_MAX_TYPE_WORDS:]) or None


def _chinese_type(name: str) -> str | None:
    """The last word that the lists know as a type; else the last that is neither a property nor a trade word."""
    words = [word for word in chinese_words(_CODE.sub(" ", name)) if language_of(word) == "zh"]
    known = [word for word in words if any(kind == "type" for kind, _ in concepts(word))]
    telling = [word for word in words if len(word) > 1 and not concepts(word) and word not in _NO_TYPE]
    return next(reversed(known or telling), None)


def _plain_words(text: str, brand: str) -> list[str]:
    """Words of a name without its brand, codes and numbers."""
    of_brand = set(_PARTS.split(brand.lower()))
    words = (word.strip("\"'.:*!-") for word in text.lower().replace("/", " ").split())
    return [
        word
        for word in words
        if word and word not in STOP and not set(_PARTS.split(word)) <= of_brand and not _CODE.search(word)
    ]


def _attributes(reading: Reading) -> list[Attribute]:
    return merged(
        [
            *_of_merchant(reading),
            *_of_text(reading.name, RULE),
            *_of_description(reading),
            *_of_type(reading),
            *_of_reviews(reading),
        ]
    )


def _of_merchant(reading: Reading) -> Iterator[Attribute]:
    for key, value in reading.merchant:
        name = _MERCHANT_NAMES.get(key.lower().replace(" ", "_"))
        if name is not None and value:
            known = [concept for kind, concept in concepts(value) if kind == name]
            yield from (Attribute(name, each, MERCHANT) for each in known or [value])


def _of_text(text: str, source: str) -> Iterator[Attribute]:
    yield from (Attribute(name, value, source) for name, value in concepts(text) if name != "type")
    yield from (Attribute(name, value, source) for name, value in measures(text))
    count = pack_count(text)
    if count is not None:
        yield Attribute("pack_count", count, source)


def _of_description(reading: Reading) -> Iterator[Attribute]:
    """A description names much that the item is not: only features, and what it says to be made of or made for."""
    for sentence in sentences(reading.description):
        allowed = {"feature"} | {name for name, cue in _CUES.items() if cue.search(sentence)}
        yield from (Attribute(name, value, RULE) for name, value in concepts(sentence) if name in allowed)


def _of_type(reading: Reading) -> Iterator[Attribute]:
    """By the place in the name; else by the word lists."""
    told = type_of(reading)
    known = [value for name, value in concepts(told or reading.name) if name == "type"]
    if known:
        yield Attribute("type", known[-1], RULE)
    elif told:
        yield Attribute("type", told, RULE)


def _of_reviews(reading: Reading) -> Iterator[Attribute]:
    """What at least two buyers write of material, features and for whom it is."""
    said = Counter(concept for review in reading.reviews for concept in concepts(review.text))
    for (name, value), times in said.items():
        if times >= REVIEWS_NEEDED and name in _OF_REVIEWS:
            yield Attribute(name, value, REVIEWS)


def _phrases(reading: Reading, attributes: tuple[Attribute, ...], language: Language) -> list[str]:
    """What buyers could type: type with colour, material, audience, brand."""
    own = reading.language == language
    told = type_of(reading) if own else None
    kind = told or next((_said(one, language) for one in attributes if one.name == "type"), None)
    if not kind:
        return []
    of = {
        name: next((said for one in attributes if one.name == name and (said := _said(one, language))), None)
        for name in ("colour", "material", "audience", "style", "feature")
    }
    of = {name: said for name, said in of.items() if said and said.lower() not in kind.lower()}
    space = " " if language == "en" else ""
    lines: list[list[str | None]] = [
        [kind],
        [of.get("colour"), kind],
        [of.get("material"), kind],
        [of.get("colour"), of.get("material"), kind],
        [of.get("style"), kind],
        [of.get("feature"), kind],
        [kind, "for", of.get("audience")] if language == "en" else [of.get("audience"), kind],
        [reading.brand if own else None, kind],
    ]
    whole = (space.join(dict.fromkeys(part for part in line if part)) for line in lines if all(line))
    return list(dict.fromkeys(phrase.lower() for phrase in whole))[:MAX_PHRASES]


def _description(reading: Reading, attributes: tuple[Attribute, ...], language: Language) -> str:
    """In the item's own language its first neutral sentences; in the other what the word lists can say."""
    if reading.language != language:
        said = dict.fromkeys(filter(None, (_said(one, language) for one in attributes)))
        return ("、" if language == "zh" else ", ").join(said)
    text = reading.name
    for sentence in sentences(reading.description):
        if language_of(sentence) in (language, None) and not NOT_NEUTRAL.search(sentence):
            if len(text) + len(sentence) > _MAX_DESCRIPTION:
                break
            text = f"{text.rstrip('.。')}{'. ' if language == 'en' else '。'}{sentence}"
    return text


def _said(attribute: Attribute, language: Language) -> str | None:
    """A value in words of a language: of the word lists, or if it is a measure."""
    known = label(attribute.name, str(attribute.value), language)
    if known is not None:
        return known
    return str(attribute.value) if attribute.name in ("size", "weight", "volume") else None
