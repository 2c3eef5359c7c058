"""The vector of an item without a history, in numpy: what the items with the likest texts lend it; where there is none,
its category, brand, price and text, as the item tower sees them.

A worker makes it as soon as the item is in the catalogue; neither TorchRec nor a training is needed.
"""

import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from features.catalog import Item
from infra.errors import ArtifactBroken
from models.cold_neighbours import Lenders, Spoken
from models.interactions import Floats
from models.item_features import described
from models.text import Whitening

FILE: Final = "cold.npz"
_TOWER: Final = ("category", "brand", "price", "text_weight", "text_bias", "log_popularity")


class ColdItems:
    """Makes vectors of items that a model does not know."""

    def __init__(
        self,
        tower: Mapping[str, Any],
        whitening: Whitening,
        categories: tuple[str, ...],
        brands: tuple[str, ...],
        texts: Any = None,
    ) -> None:
        """`tower` as `models.two_tower.without_history` gives it; the names in the order of its tables; `texts`: the
        whitened ones of the model's items, None where an older version made it.
        """
        self._tower = tower
        self._whitening = whitening
        self._names = categories, brands
        self._texts = None if texts is None else np.asarray(texts, np.float16)

    def lenders(self, vectors: Any, candidates: Any, neighbours: Any, scores: Any) -> Lenders | None:
        """The items of the model, given its arrays, for `taken_up`; None: their texts are not known."""
        return None if self._texts is None else Lenders(self._texts, candidates, vectors, neighbours, scores)

    def taken_up(self, items: Sequence[Item], texts: Floats, lenders: Lenders | None) -> tuple[Floats, Spoken | None]:
        """Vectors of items, as `vectors` where no other lends, and who speaks for them."""
        alone = self.vectors(items, texts)
        if lenders is None:
            return alone, None
        found = lenders.lend(self._whitening.whitened(texts))
        return np.where(found.lent[:, None], found.vectors, alone), Spoken(found.speakers, found.shares)

    def vectors(self, items: Sequence[Item], texts: Floats) -> Floats:
        """Their vectors, of what they are alone: [items, width + 1].

        Args:
            items: of which only what they are counts.
            texts: [items, width of the encoder] as the encoder gives them.
        """
        of, tower = described(items, self._whitening.whitened(texts), *self._names), self._tower
        told = tower["category"][of.category] + tower["brand"][of.brand] + tower["price"][of.price]
        vectors = told + of.text @ tower["text_weight"].T + tower["text_bias"]
        popular = np.full((len(items), 1), tower["log_popularity"], np.float32)
        return np.concatenate([vectors, popular], 1).astype(np.float32)

    def save(self, file: Path) -> None:
        """Into one npz."""
        whitening = self._whitening
        np.savez(
            file,
            **{name: self._tower[name] for name in _TOWER},
            mean=whitening.mean,
            axes=whitening.axes,
            scale=whitening.scale,
            categories=_packed(self._names[0]),
            brands=_packed(self._names[1]),
            texts=np.zeros((0, 0), np.float16) if self._texts is None else self._texts,
        )

    @classmethod
    def open(cls, artifact: Path) -> Self:
        """That of an artifact.

        Raises:
            ArtifactBroken: an older version made it, and it says nothing of items without a history (`no_cold_items`);
                or the file cannot be read.
        """
        file = artifact / FILE
        try:
            with file.open("rb") as raw, np.load(raw, allow_pickle=False) as stored:
                tower = {name: stored[name] for name in _TOWER}
                whitening = Whitening(stored["mean"], stored["axes"], stored["scale"])
                texts = stored["texts"] if "texts" in stored.files and stored["texts"].size else None
                return cls(tower, whitening, _names(stored["categories"]), _names(stored["brands"]), texts)
        except FileNotFoundError:
            raise ArtifactBroken(
                f"the artifact {artifact.name} says nothing of items without a history: an older version made it. "
                "Train again, so that new items come into lists",
                code="no_cold_items",
            ) from None
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ArtifactBroken(f"{file} cannot be read ({error}); train again") from None


def _packed(names: Sequence[str]) -> Any:
    return np.frombuffer("\0".join(names).encode(), np.uint8)


def _names(packed: Any) -> tuple[str, ...]:
    text = packed.tobytes().decode()
    return tuple(text.split("\0")) if text else ()
