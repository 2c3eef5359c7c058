"""Vectors of new items as the artifact in service makes them, with the encoder that it was trained with.

What needs torch or an encoder comes in behind the worker's back, as soon as a model is in service. A light encoder
(fitted here, or exported to ONNX) runs in a thread, a transformers model in a process of its own, which the next model
takes over if it is trained with the same.
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
    from models.artifact import Artifact
    from models.cold import ColdItems
    from models.cold_neighbours import Lenders
    from models.interactions import Floats
    from models.scorer import Scorer
    from models.text_encoder import Encoder


class _Encoding(Protocol):
    async def encode(self, texts: Sequence[str]) -> "Floats": ...


@dataclass(frozen=True, slots=True)
class Sources:
    """Where artifacts, and what an LLM or rules said of items, are; the encoder that is set, and how many seconds its
    process may be idle, 0: for ever.
    """

    models_dir: Path
    enriched_dir: Path
    text_encoder: str
    inherited: Mapping[str, str]
    idle_s: int = 0


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
        self._lenders: Lenders | None = None
        self._encoding: _Encoding | None = None
        self._opening = asyncio.Lock()

    def knows(self, scorer: Scoring, item_id: str) -> bool:
        """Whether a model has a vector of the item."""
        return cast("Scorer", scorer).knows(item_id)

    async def taken_up(self, scorer: Scoring, items: Sequence[Item]) -> Scoring:
        """A model that has these, too.

        Raises:
            ArtifactBroken: an older version made the artifact, or another encoder is set than it was trained with.
            Unavailable: the encoder's process ended, or took too long.
        """
        async with self._opening:
            await self._open(scorer.version)
        assert self._cold is not None, "opened above"
        assert self._encoding is not None, "opened above"
        texts = await asyncio.to_thread(_texts, items, self._sources.enriched_dir)
        vectors = await self._encoding.encode(texts)
        return await asyncio.to_thread(_wider, cast("Scorer", scorer), self._cold, self._lenders, items, vectors)

    async def prepare(self, scorer: Scoring) -> None:
        """Have ready what takes items up, so that the first one does not wait for it; not where the encoder's process
        may be idle for a while only.

        Raises:
            ArtifactBroken, Unavailable: as `taken_up`.
        """
        async with self._opening:
            await self._open(scorer.version)
            encoding = self._encoding
        if isinstance(encoding, TextProcess) and not encoding.idle_s:
            await encoding.warm_up()

    async def _open(self, version: str) -> None:
        if self._version == version:
            return
        before = self._encoding
        self._cold, self._lenders, self._encoding = await asyncio.to_thread(self._opened, version)
        if isinstance(before, TextProcess):
            if isinstance(self._encoding, TextProcess) and self._encoding.setting == before.setting:
                self._encoding = before
            else:
                before.forget()
        self._version = version

    def close(self) -> None:
        """End the encoder's process, if there is one."""
        if isinstance(self._encoding, TextProcess):
            self._encoding.forget()

    def _opened(self, version: str) -> tuple["ColdItems", "Lenders | None", _Encoding]:
        from models.artifact import Artifact
        from models.cold import ColdItems

        artifact = Artifact.open(self._sources.models_dir / version, verify=False)
        cold = ColdItems.open(artifact.path)
        arrays = artifact.vectors, artifact.candidates, artifact.neighbours, artifact.neighbour_scores
        return cold, cold.lenders(*arrays), self._encoding_of(artifact)

    def _encoding_of(self, artifact: "Artifact") -> _Encoding:
        from models.text import encoder_name
        from models.text_lexical import LEXICAL, LexicalEncoder
        from models.text_onnx import CARD, OnnxEncoder

        fitted = artifact.path / f"{LEXICAL}.npz"
        if fitted.is_file():
            return _InThread(lambda: LexicalEncoder.open(fitted))
        setting, trained_with = self._sources.text_encoder, artifact.manifest.text_encoder
        if encoder_name(setting) != trained_with:
            raise ArtifactBroken(
                f"{artifact.version} was trained with the text encoder {trained_with}, and DAOGOU_TEXT_ENCODER names "
                f"{encoder_name(setting)}: new items need the same one. Set it back, or train again",
                code="other_encoder",
            )
        if (Path(setting) / CARD).is_file():
            return _InThread(lambda: OnnxEncoder.open(Path(setting)))
        return TextProcess(setting or trained_with, self._sources.inherited, idle_s=self._sources.idle_s)


def _texts(items: Sequence[Item], enriched_dir: Path) -> list[str]:
    from models.enrichment_text import texts_of

    return texts_of(items, enriched_dir)


def _wider(
    scorer: "Scorer", cold: "ColdItems", lenders: "Lenders | None", items: Sequence[Item], texts: "Floats"
) -> Scoring:
    vectors, spoken = cold.taken_up(items, texts, lenders)
    wider: Scoring = scorer.with_items([item.item_id for item in items], vectors, spoken)
    return wider
