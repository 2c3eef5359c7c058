"""The encoder that needs no weights: TF-IDF over words and parts of words, made narrow by a truncated SVD.

It is fitted on the shop's own catalogue, and read back with numpy and jieba alone. A file holds
terms (UTF-8, one a line), idf [terms] and axes [terms, width].
"""

import hashlib
import zipfile
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from infra.errors import ArtifactBroken, BadInput
from models.interactions import Floats
from models.text_encoder import Progress, directions, finite
from models.text_terms import terms_of

LEXICAL: Final = "lexical"
FORMAT: Final = 1
WIDTH: Final = 256
_MOST_TERMS: Final = 60_000
# Of fewer texts every term is kept: what stands in one of them may be asked for.
_FEW: Final = 5_000


class LexicalEncoder:
    """Fitted on a catalogue; knows the terms of it and no others."""

    def __init__(self, terms: Sequence[str], idf: Floats, axes: Floats, fingerprint: str) -> None:
        self.terms, self.idf, self.axes = tuple(terms), idf, axes
        self.fingerprint = fingerprint
        self._at = {term: at for at, term in enumerate(self.terms)}

    @property
    def name(self) -> str:
        """What reports call it."""
        return LEXICAL

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.axes.shape[1])

    @classmethod
    def fit(cls, texts: Sequence[str], width: int = WIDTH) -> Self:
        """An encoder of the language of these texts; its vectors are narrower than `width` where texts are few.

        Raises:
            BadInput: none of the texts has a letter or digit (`no_text`).
        """
        counted = [Counter(terms_of(text)) for text in dict.fromkeys(texts)]
        counted = [one for one in counted if one]
        if not counted:
            raise BadInput("no item of the catalogue has a text: nothing to fit an encoder on", code="no_text")
        terms, idf = _known(counted)
        return cls(terms, idf, _axes(counted, terms, idf, width), fingerprint_of(texts))

    def encode(self, texts: Sequence[str], progress: Progress) -> Floats:
        """Vectors: [len(texts), width]."""
        out = np.zeros((len(texts), self.width), np.float32)
        for row, text in enumerate(texts):
            at, weights = self.weights_of(text)
            if len(at):
                out[row] = weights @ self.axes[at]
            progress(1)
        return finite(directions(out), self.name)

    def weights_of(self, text: str) -> tuple[Any, Floats]:
        """Which of its terms a text has, and their weights."""
        return _row(Counter(terms_of(text)), self._at, self.idf)

    def save(self, file: Path) -> None:
        """Into one npz, which is there whole or not at all."""
        file.parent.mkdir(parents=True, exist_ok=True)
        work = file.with_name(f".{file.stem}.new.npz")
        np.savez(
            work,
            format=np.array(FORMAT),
            fingerprint=np.array(self.fingerprint),
            terms=np.frombuffer("\n".join(self.terms).encode(), np.uint8),
            idf=self.idf,
            axes=self.axes,
        )
        work.replace(file)

    @classmethod
    def open(cls, file: Path) -> Self:
        """What was saved.

        Raises:
            ArtifactBroken: it is cut short, altered, or of another version.
        """
        try:
            with file.open("rb") as raw, np.load(raw, allow_pickle=False) as stored:
                return cls._of(stored)
        except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile) as error:
            raise ArtifactBroken(
                f"{file.name}: this is no text encoder that was fitted here ({error}); delete it, and it is fitted anew"
            ) from error

    @classmethod
    def _of(cls, stored: Any) -> Self:
        terms = stored["terms"].tobytes().decode().split("\n")
        idf, axes = stored["idf"], stored["axes"]
        if stored["format"] != FORMAT:
            raise ValueError(f"format {stored['format']}, not {FORMAT}")
        if idf.shape != (len(terms),) or axes.ndim != 2 or len(axes) != len(terms):
            raise ValueError(f"{len(terms)} terms do not go with idf {idf.shape} and axes {axes.shape}")
        if not (np.isfinite(idf).all() and np.isfinite(axes).all()):
            raise ValueError("NaN in idf or axes")
        return cls(terms, idf, axes, str(stored["fingerprint"]))


def fingerprint_of(texts: Sequence[str]) -> str:
    """Of what an encoder is fitted on: the set of its texts, in whatever order."""
    digest = hashlib.blake2b(f"{FORMAT}".encode(), digest_size=16)
    for text in sorted(set(texts)):
        digest.update(hashlib.blake2b(text.encode(errors="replace"), digest_size=16).digest())
    return digest.hexdigest()


def fitted(texts: Sequence[str], file: Path) -> LexicalEncoder:
    """The encoder of this catalogue: the kept one where it was fitted on the same texts, else a new one, kept.

    Raises:
        BadInput: as `LexicalEncoder.fit`.
        ArtifactBroken: the kept file is broken.
    """
    if file.exists():
        kept = LexicalEncoder.open(file)
        if kept.fingerprint == fingerprint_of(texts):
            return kept
    encoder = LexicalEncoder.fit(texts)
    encoder.save(file)
    return encoder


def _known(counted: Sequence[Mapping[str, int]]) -> tuple[list[str], Floats]:
    """The terms that are kept, the most common first, and the weight of each: the rarer, the heavier."""
    found = Counter[str]()
    for one in counted:
        found.update(one.keys())
    least = 1 if len(counted) <= _FEW else 2
    kept = sorted((term for term, times in found.items() if times >= least), key=lambda term: (-found[term], term))
    kept = kept[:_MOST_TERMS]
    times = np.array([found[term] for term in kept], np.float32)
    return kept, np.log((1 + len(counted)) / (1 + times)) + 1


def _row(counted: Mapping[str, int], known: Mapping[str, int], idf: Floats) -> tuple[Any, Floats]:
    """Which terms of a text are known, and their weights: of length 1, words and parts of words alike."""
    at = np.array([known[term] for term in counted if term in known], np.int64)
    times = np.array([number for term, number in counted.items() if term in known], np.float32)
    weights = (1 + np.log(times)) * idf[at]
    return at, weights / max(float(np.linalg.norm(weights)), 1e-9)


def _axes(counted: Sequence[Mapping[str, int]], terms: Sequence[str], idf: Floats, width: int) -> Floats:
    """The right singular vectors of the texts × terms matrix: [terms, up to `width`]."""
    from scipy.sparse import csr_matrix
    from scipy.sparse.linalg import svds

    known = {term: at for at, term in enumerate(terms)}
    rows = [_row(one, known, idf) for one in counted]
    ends = np.cumsum([0, *(len(at) for at, _ in rows)])
    shape = (len(rows), len(terms))
    matrix = csr_matrix((np.concatenate([w for _, w in rows]), np.concatenate([at for at, _ in rows]), ends), shape)
    if min(shape) <= width + 1:
        _, spread, axes = np.linalg.svd(matrix.toarray(), full_matrices=False)
    else:
        # From a start of ones: the same texts give the same axes.
        _, spread, axes = svds(matrix, k=width, v0=np.ones(min(shape), np.float32))
        spread, axes = spread[::-1], axes[::-1]
    axes = axes[: max(int((spread > 1e-5 * spread[0]).sum()), 1)][:width]
    # A singular vector has no sign of its own: its largest entry is positive.
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])
    return np.ascontiguousarray((axes * signs[:, None]).T, dtype=np.float32)
