"""Which scripts a catalogue is written in, and which encoder goes with them."""

import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

_LETTER: Final = re.compile(r"[^\W\d_]")
_CJK: Final = re.compile(r"[\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uac00-\ud7af]")
_LATIN: Final = re.compile(r"[A-Za-z\u00c0-\u024f]")
_MOST_TEXTS: Final = 2_000
FOREIGN: Final = 0.05
"""Chinese says in two characters what English says in ten: of an item with both names a sixth of the letters is."""
ACCENTED: Final = 0.01


@dataclass(frozen=True, slots=True)
class Scripts:
    """Shares of the letters of a catalogue: 0 to 1; of no letter all are 0."""

    cjk: float
    latin: float
    accented: float
    foreign: float
    """What is not written in Latin letters."""


def scripts_of(texts: Sequence[str]) -> Scripts:
    """Looked at in at most 2,000 of the texts, spread evenly."""
    step = max(len(texts) // _MOST_TEXTS, 1)
    joined = unicodedata.normalize("NFKC", " ".join(text[:500] for text in texts[::step]))
    letters = len(_LETTER.findall(joined))
    if not letters:
        return Scripts(0.0, 0.0, 0.0, 0.0)
    latin = _LATIN.findall(joined)
    accented = sum(not letter.isascii() for letter in latin)
    cjk = len(_CJK.findall(joined))
    return Scripts(cjk / letters, len(latin) / letters, accented / letters, 1 - len(latin) / letters)
