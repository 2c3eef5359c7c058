"""Letters that hold the pieces of one effect are read as one, with all of its bytes."""

import hashlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from streams.letters.letter import Letter

_HELD_BYTES: Final = 64 << 20


class Joining:
    """Holds pieces back until all of an effect are there; what is whole passes at once.

    Pieces whose others do not come within so many bytes, or do not fit together, are given out as they are.
    """

    def __init__(self, held_bytes: int = _HELD_BYTES) -> None:
        self._most = held_bytes
        self._held = 0
        self._effects: dict[str, dict[int, Letter]] = {}

    def add(self, letter: Letter) -> Iterator[Letter]:
        """One letter, each once; what can be given out now."""
        if letter.piece is None:
            yield letter
            return
        number, many = letter.piece
        effect = f"{letter.id.rpartition('/')[0]} {letter.sha256} {many}"
        pieces = self._effects.setdefault(effect, {})
        pieces[number] = letter
        self._held += _size(letter)
        if len(pieces) == many:
            yield from _joined(self._taken(effect))
        while self._held > self._most:
            yield from self._taken(next(iter(self._effects)))

    def left(self) -> Iterator[Letter]:
        """At the end: pieces whose others never came."""
        for effect in list(self._effects):
            yield from self._taken(effect)

    def _taken(self, effect: str) -> list[Letter]:
        pieces = self._effects.pop(effect)
        self._held -= sum(map(_size, pieces.values()))
        return [letter for _, letter in sorted(pieces.items())]


def _joined(pieces: list[Letter]) -> list[Letter]:
    value = b"".join(piece.value or b"" for piece in pieces)
    if hashlib.sha256(value).hexdigest() != pieces[0].sha256:
        return pieces
    return [replace(pieces[0], value=value, cut_from=None, piece=None)]


def _size(letter: Letter) -> int:
    return len(letter.value or b"")
