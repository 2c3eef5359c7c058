"""How good written copy is: near to what a person wrote, and true to the facts that it was given."""

import re
import unicodedata
from collections.abc import Sequence
from decimal import Decimal
from typing import Any, Final

from infra.errors import NotFound
from models.text_language import scripts_of

_NUMBER: Final = re.compile(r"\d+(?:,\d{3})*(?:\.\d+)?")
_HALF: Final = 0.5


def numbers_of(text: str) -> set[Decimal]:
    """Every number of a text by its value: 1,299.00 and 1299 are one, so are full-width digits."""
    plain = unicodedata.normalize("NFKC", text)
    return {Decimal(found.replace(",", "")).normalize() for found in _NUMBER.findall(plain)}


def grounded(output: str, facts: str) -> bool:
    """Whether each number of an output is one of the facts: a price that nobody asks is a lie."""
    return numbers_of(output) <= numbers_of(facts)


def grounded_share(outputs: Sequence[str], facts: Sequence[str]) -> float:
    """The share of outputs of which each number is one of their facts."""
    told = [grounded(output, of) for output, of in zip(outputs, facts, strict=True)]
    return sum(told) / len(told) if told else 0.0


def bleu(outputs: Sequence[str], wanted: Sequence[str]) -> float:
    """BLEU of the corpus, 0 to 100; Chinese is cut into characters, as sacrebleu's `zh`.

    Raises:
        NotFound: sacrebleu is not installed.
    """
    try:
        import sacrebleu
    except ImportError:
        raise NotFound("sacrebleu is not installed: install daogou[tuning]", path="bleu") from None
    tokenize: Any = "zh" if scripts_of(wanted).cjk >= _HALF else "13a"
    return float(sacrebleu.corpus_bleu(list(outputs), [list(wanted)], tokenize=tokenize).score)
