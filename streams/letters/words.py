"""Dead letters in words: what each reason asks for, and bytes that do no harm on a terminal."""

import re
from typing import Final

from streams.letters.letter import Letter

SHOWN: Final = 4000

_TO_DO: Final = {
    "unknown_version": "upgrade the workers to a version that reads it (docs/schemas), then requeue",
    "unknown_event": "upgrade the workers, if it is a newer version's event, then requeue; else fix its producer",
    "wrong_partition": "requeue: it goes to the right partition; its producer must choose them by the key's CRC-32",
    "not_json": "fix the producer, then discard: no version can read it, and requeued by name it fails again",
    "empty": "an event has a value: fix the producer, then discard",
    "too_large": "fix the producer: an event is at most 1 MiB; then discard",
    "effect_too_large": "raise max.message.bytes of its topic, then requeue",
    "wrong_shape": "upgrade the workers or fix the producer: it is not what its schema_version says",
    "row_unreadable": "the shopper's row in Redis cannot be read: replay it, then requeue",
    "not_foldable": "a defect of Daogou: report reason and message, requeue after the upgrade",
    "unreadable": "a defect of Daogou: report reason and message, requeue after the upgrade",
}
KNOWN: Final = frozenset(_TO_DO)
# Of records that fail whatever reads them.
HOPELESS: Final = frozenset(("not_json", "empty"))
_OTHERWISE: Final = (
    "fix the producer by docs/schemas; requeue only after an upgrade that takes such records, else discard"
)
# Control characters, and those that turn or hide text: C0, C1, marks of direction, zero width.
_HARMFUL: Final = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff]")


def to_do(letter: Letter) -> str:
    """What an operator can do about a letter."""
    if not letter.whole and letter.reason != "too_large":
        return "its bytes are not all here: send it again from where it was made, then discard"
    return _TO_DO.get(letter.reason, _OTHERWISE)


def readable(raw: bytes, most: int = SHOWN) -> str:
    """Bytes as text of one to many lines: what is no UTF-8, and what a terminal would obey, is escaped."""
    text = raw[:most].decode("utf-8", "backslashreplace")
    shown = _HARMFUL.sub(lambda found: _escaped(found[0]), text)
    return shown if len(raw) <= most else f"{shown}… ({len(raw):,} bytes, the first {most:,} shown)"


def one_line(text: str) -> str:
    """Text that others wrote, on one line."""
    return readable(text.encode(errors="backslashreplace")).replace("\n", "\\n").replace("\t", "\\t")


def _escaped(character: str) -> str:
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"
