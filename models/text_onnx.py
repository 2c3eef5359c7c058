"""An encoder that was exported to ONNX, read without torch and transformers: what the API process may import.

encoder.json      name, width, tokens at most, whether int8, checksums
encoder.onnx      token ids and mask to pooled vectors
tokenizer.json    of the `tokenizers` library
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import msgspec
import numpy as np

from infra.errors import ArtifactBroken, NotFound
from models.artifact import checksum
from models.interactions import Floats
from models.text_encoder import MOST_CHARS, Progress, finite

FORMAT: Final = 1
CARD: Final = "encoder.json"
GRAPH: Final = "encoder.onnx"
WORDS: Final = "tokenizer.json"
_BATCH: Final = 64


class Card(msgspec.Struct, frozen=True, kw_only=True):
    """What the folder holds. Checksums are SHA-256 by file name."""

    format: int
    name: str
    width: int
    max_tokens: int
    pad_id: int
    int8: bool
    checksums: dict[str, str]


class OnnxEncoder:
    """Graph and tokenizer of one folder."""

    def __init__(self, card: Card, session: Any, tokenizer: Any) -> None:
        self._card, self._session, self._tokenizer = card, session, tokenizer

    @classmethod
    def open(cls, folder: Path, threads: int = 1) -> Self:
        """What `daogou text export` wrote.

        Args:
            folder: of it.
            threads: of one call; 1 leaves the other cores to other requests.

        Raises:
            NotFound: it is no such folder, or onnxruntime is not installed.
            ArtifactBroken: a file of it is missing or altered.
        """
        card = _card(folder)
        try:
            from onnxruntime import InferenceSession, SessionOptions
            from tokenizers import Tokenizer
        except ImportError as error:
            raise NotFound(f"{error.name} is not installed: install daogou[text]", path="onnx") from None
        options = SessionOptions()
        options.intra_op_num_threads = threads
        try:
            tokenizer = Tokenizer.from_file(str(folder / WORDS))
            session = InferenceSession(str(folder / GRAPH), options, providers=["CPUExecutionProvider"])
        except Exception as error:  # Both raise what has no common class but this.
            raise ArtifactBroken(f"{folder.name}: onnxruntime cannot read it ({error}); export it anew") from error
        tokenizer.enable_truncation(card.max_tokens)
        tokenizer.enable_padding(pad_id=card.pad_id)
        return cls(card, session, tokenizer)

    @property
    def name(self) -> str:
        """What reports call it."""
        return f"{self._card.name} ({'int8' if self._card.int8 else 'ONNX'})"

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self._card.width

    def encode(self, texts: Sequence[str], progress: Progress) -> Floats:
        """Vectors: [len(texts), width]."""
        out = np.zeros((len(texts), self.width), np.float32)
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        for begin in range(0, len(order), _BATCH):
            rows = order[begin : begin + _BATCH]
            found = self._tokenizer.encode_batch([texts[at][:MOST_CHARS] for at in rows])
            ids = np.array([one.ids for one in found], np.int64)
            mask = np.array([one.attention_mask for one in found], np.int64)
            if ids.shape[1]:  # Of empty texts a tokenizer without marks of its own makes nothing.
                out[rows] = self._session.run(None, {"input_ids": ids, "attention_mask": mask})[0]
            progress(len(rows))
        return finite(out, self.name)


def _card(folder: Path) -> Card:
    file = folder / CARD
    if not file.is_file():
        raise NotFound(f"{folder} holds no exported encoder ({CARD}): daogou text export --out makes one", path="onnx")
    try:
        card = msgspec.json.decode(file.read_bytes(), type=Card)
    except msgspec.DecodeError as error:
        raise ArtifactBroken(f"{folder.name}/{CARD} cannot be read ({error}); export it anew") from error
    if card.format != FORMAT:
        raise ArtifactBroken(f"{folder.name} has format {card.format}, this reads {FORMAT}; export it anew")
    for name in (GRAPH, WORDS):
        if not (folder / name).is_file() or checksum(folder / name) != card.checksums.get(name):
            raise ArtifactBroken(f"{folder.name}/{name} is missing or altered; export it anew")
    return card
