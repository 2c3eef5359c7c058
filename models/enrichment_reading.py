"""What is read of an item before it is enriched: its content and its reviews, cleaned and cut, as plain data.

Markup goes. A sentence that speaks to a language model instead of a buyer goes, too, and is counted: what is left is
still only data to whoever reads it on.
"""

import hashlib
import html
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from features.catalog import Item, Language
from features.reviews import MAX_REVIEWS, Review

READING_VERSION: Final = 1
MAX_NAME: Final = 300
MAX_DESCRIPTION: Final = 2000
MAX_REVIEW: Final = 300
_MAX_RAW: Final = 20_000  # no more of a text is looked at
_MAX_ATTRIBUTES: Final = 20
_MAX_VALUE: Final = 100

_MARKUP: Final = re.compile(r"<!--.*?(?:-->|\Z)|<(style|script)\b.*?(?:</\1\s*>|\Z)|<[^<>]{0,2000}>", re.DOTALL | re.I)
_SENTENCE: Final = re.compile(r"(?<=[.!?;])\s+|(?<=[!?;])(?=[\u3400-\u9fff])|(?<=[。！？；\n])\s*")
_HAN: Final = re.compile(r"[\u3400-\u9fff]")
_LATIN: Final = re.compile(r"[A-Za-z]{2,}")
_PERSONAL: Final = re.compile(r"\S+@\S+\.\S+|https?://\S+|\+?\d[\d ()-]{7,}\d")
STEERING: Final = re.compile(
    r"(?:ignore|disregard|forget|override)\b.{0,40}\b(?:instructions?|prompts?|rules|guidelines|(?:said|told|written) "
    r"(?:above|before))|system prompt|\byou are (?:now|an? (?:ai|assistant|language model))\b|\bas an ai\b|"
    r"\blanguage model\b|\b(?:assistant|system)\s*:|</?\|?(?:im_start|im_end|system|user|assistant)\b|"
    r"\bset (?:the |its )?(?:price|stock)\b|\b(?:respond|reply|answer|output) (?:only )?with\b|"
    r"(?:忽略|无视|忘记|忘掉).{0,12}(?:指令|指示|要求|规则|提示|内容)|系统提示|提示词|你现在是|你是一个?(?:AI|人工智能|助手|语言模型)|"
    r"(?:把|将)?价格(?:设|改|调)(?:为|成|置)|请?(?:只|仅)?(?:回答|输出|回复)[:：“\"]",
    re.IGNORECASE,
)
"""How texts speak to a language model. Not all of them do it so: what comes back is checked on its own."""


@dataclass(frozen=True, slots=True)
class Reading:
    """The texts of one item, clean. `steering`: how many sentences were taken out."""

    item_id: str
    name: str
    description: str
    brand: str
    categories: tuple[str, ...]
    merchant: tuple[tuple[str, str], ...]
    reviews: tuple[Review, ...]
    steering: int

    @property
    def catalogue_text(self) -> str:
        """All that the merchant says."""
        parts = [self.name, self.brand, *self.categories, self.description]
        return "\n".join(part for part in [*parts, *(f"{name}: {value}" for name, value in self.merchant)] if part)

    @property
    def language(self) -> Language:
        """Of the name; where it has none, of the description."""
        return language_of(self.name) or language_of(self.description) or "en"

    @property
    def content_key(self) -> str:
        """A hash of what the merchant says: equal content is enriched alike, whatever item it belongs to."""
        return _hash(self.content())

    def content(self) -> bytes:
        """The content as JSON, in one order."""
        return _encoder.encode(
            {
                "name": self.name,
                "brand": self.brand,
                "categories": self.categories,
                "description": self.description,
                "attributes": dict(self.merchant),
                "reading": READING_VERSION,
            }
        )

    def key(self, maker: str) -> str:
        """A hash of all that is read, and of who reads it."""
        return _hash(self.content(), _encoder.encode(self.reviews), maker.encode())


_encoder: Final = msgspec.json.Encoder(order="sorted")


def reading_of(item: Item, reviews: Sequence[Review] = ()) -> Reading:
    """What is read of an item."""
    content = item.content
    if content is None:
        return Reading(item.item_id, "", "", "", (), (), (), 0)
    name, steered = cleaned(content.name, MAX_NAME)
    description, more = cleaned(content.description, MAX_DESCRIPTION)
    steered += more
    merchant = []
    for key, value in sorted(content.attributes.items())[:_MAX_ATTRIBUTES]:
        text, more = cleaned(value, _MAX_VALUE)
        steered += more
        merchant.append((cleaned(key, _MAX_VALUE)[0], text))
    written = []
    for review in reviews[:MAX_REVIEWS]:
        text, more = cleaned(_PERSONAL.sub(" ", review.text[:_MAX_RAW]), MAX_REVIEW)
        steered += more
        if text:
            written.append(Review(text, review.rating))
    categories = tuple(cleaned(one, _MAX_VALUE)[0] for one in content.categories or filter(None, [content.category]))
    brand = cleaned(content.brand or "", _MAX_VALUE)[0]
    return Reading(item.item_id, name, description, brand, categories, tuple(merchant), tuple(written), steered)


def cleaned(text: str, most: int) -> tuple[str, int]:
    """A text without markup and without sentences that steer, and how many of those there were."""
    plain = _MARKUP.sub(" ", html.unescape(html.unescape(text[:_MAX_RAW])))
    plain = unicodedata.normalize("NFKC", plain)
    plain = "".join(" " if unicodedata.category(one)[0] == "C" and one != "\n" else one for one in plain)
    kept, steered = [], 0
    for sentence in _SENTENCE.split(plain):
        if STEERING.search(sentence):
            steered += 1
        elif sentence.strip():
            kept.append(sentence.strip())
    return re.sub(r"\s+", " ", " ".join(kept))[:most].strip(), steered


def language_of(text: str) -> Language | None:
    """Chinese if it has about as many Chinese characters as words of Latin letters; None: it has neither."""
    han, latin = len(_HAN.findall(text)), len(_LATIN.findall(text))
    if not han and not latin:
        return None
    return "zh" if han >= latin else "en"


def sentences(text: str) -> list[str]:
    """The sentences of a clean text."""
    return [one for one in _SENTENCE.split(text) if one]


def _hash(*parts: bytes) -> str:
    digest = hashlib.blake2b(digest_size=16)
    for part in parts:
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
