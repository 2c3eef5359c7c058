"""What every text encoder is: texts to vectors. The same text always gives the same vector."""

from collections.abc import Callable, Sequence
from typing import Final, Protocol

import numpy as np

from infra.errors import ArtifactBroken
from models.interactions import Floats

MOST_CHARS: Final = 4_000
"""Of a text so much is read: what an item is stands at its beginning, and a text of 100 kB must cost no more."""

Progress = Callable[[int], None]


class Encoder(Protocol):
    """Texts to vectors."""

    @property
    def name(self) -> str:
        """What reports call it: never a path of this machine."""

    @property
    def width(self) -> int:
        """Numbers in a vector."""

    def encode(self, texts: Sequence[str], progress: Progress) -> Floats:
        """Vectors: [len(texts), width], finite; zeros for a text of which the encoder knows nothing.

        `progress` hears how many more are done.
        """


def directions(vectors: Floats) -> Floats:
    """The same vectors with length 1; zeros stay zeros."""
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    out: Floats = np.divide(vectors, length, out=np.zeros_like(vectors), where=length > 0)
    return out


def cosine(one: Floats, other: Floats) -> float:
    """Of two vectors: [width] each; 0 where one of them is zeros."""
    a, b = directions(np.stack([one, other]))
    return float(np.clip(a @ b, -1, 1))


def finite(vectors: Floats, name: str) -> Floats:
    """The vectors as they are.

    Raises:
        ArtifactBroken: one of them is no number: the encoder's weights are broken.
    """
    if not np.isfinite(vectors).all():
        raise ArtifactBroken(
            f"the text encoder {name} gives vectors that are no numbers (NaN): its weights are broken; fetch or tune "
            "it anew, or set DAOGOU_TEXT_ENCODER to another one",
            path="text_encoder",
        )
    return vectors
