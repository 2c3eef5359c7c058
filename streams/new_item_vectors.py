"""Vectors of new items as the artifact in service makes them, with the encoder that it was trained with.

What needs torch or an encoder comes in when it is needed. A light encoder (fitted here, or exported to ONNX) runs in a
thread, a transformers model in a process of its own.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, cast

from features.catalog import Item
from infra.errors import ArtifactBroken
from streams.derived import Scoring
from streams.text_process import TextProcess

if TYPE_CHECKING:
    from models.cold import ColdItems
    from models.interactions import Floats
    from models.scorer import Scorer
    from models.text_encoder import Encoder


class _Encoding(Protocol):
    async def encode(self, texts: Sequence[str]) -> "Floats": ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where artifacts, and what an LLM or rules said of items, are; the encoder that is set."""

    models_dir: Path
    enriched_dir: Path
    text_encoder: str
    inherited: Mapping[str, str]


class _InThread:
    def __init__(self, opened: Callable[[], "Encoder"]) -> None:
        self._opened = opened
        self._encoder: Encoder | None = None

    async def encode(self, texts: Sequence[str]) -> "Floats":
        return await asyncio.to_thread(self._encode, texts)

    def _encode(self, texts: Sequence[str]) -> "Floats":
        if self._encoder is None:
            self._encoder = self._opened()
        return self._encoder.encode(texts, lambda _: None)


class ArtifactVectors:
    """As `streams.new_items.Vectors`, for models of `models.scorer`."""

    def __init__(self, sources: Sources) -> None:
        self._sources = sources
        self._version: str | None = None
        self._cold: ColdItems | None = None
        self._encoding: _Encoding | None = None

    def knows(self, scorer: Scoring, item_id: str) -> bool:
        """Whether a model has a vector of the item."""
        return cast("Scorer", scorer).knows(item_id)

    async def taken_up(self, scorer: Scoring, items: Sequence[Item]) -> Scoring:
        """A model that has these, too.

        Raises:
            ArtifactBroken: an older version made the artifact, or another encoder is set than it was trained with.
            Unavailable: the encoder's process ended, or took too long.
        """
        if self._version != scorer.version:
            self.close()
            self._cold, self._encoding = await asyncio.to_thread(self._opened, scorer.version)
            self._version = scorer.version
        assert self._cold is not None, "opened above"
        assert self._encoding is not None, "opened above"
        texts = await asyncio.to_thread(_texts, items, self._sources.enriched_dir)
        vectors = await self._encoding.encode(texts)
        return await asyncio.to_thread(_wider, cast("Scorer", scorer), self._cold, items, vectors)

    def close(self) -> None:
        """End the encoder's process, if there is one."""
        if isinstance(self._encoding, TextProcess):
            self._encoding.forget()

    def _opened(self, version: str) -> tuple["ColdItems", _Encoding]:
        from models.artifact import Artifact
        from models.cold import ColdItems
        from models.text import encoder_name
        from models.text_lexical import LEXICAL, LexicalEncoder
        from models.text_onnx import CARD, OnnxEncoder

        artifact = Artifact.open(self._sources.models_dir / version, verify=False)
        cold = ColdItems.open(artifact.path)
        fitted = artifact.path / f"{LEXICAL}.npz"
        if fitted.is_file():
            return cold, _InThread(lambda: LexicalEncoder.open(fitted))
        setting, trained_with = self._sources.text_encoder, artifact.manifest.text_encoder
        if encoder_name(setting) != trained_with:
            raise ArtifactBroken(
                f"{version} was trained with the text encoder {trained_with}, and DAOGOU_TEXT_ENCODER names "
                f"{encoder_name(setting)}: new items need the same one. Set it back, or train again",
                code="other_encoder",
            )
        if (Path(setting) / CARD).is_file():
            return cold, _InThread(lambda: OnnxEncoder.open(Path(setting)))
        return cold, TextProcess(setting or trained_with, self._sources.inherited)


def _texts(items: Sequence[Item], enriched_dir: Path) -> list[str]:
    from models.enrichment_text import texts_of

    return texts_of(items, enriched_dir)


def _wider(scorer: "Scorer", cold: "ColdItems", items: Sequence[Item], texts: "Floats") -> Scoring:
    wider: Scoring = scorer.with_items([item.item_id for item in items], cold.vectors(items, texts))
    return wider
