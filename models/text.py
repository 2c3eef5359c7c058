"""Item texts to vectors by the encoder that DAOGOU_TEXT_ENCODER names or the catalogue's language asks for; whitening.

What a transformers model says of a text is kept by content hash. The lexical encoder is fitted on the catalogue, kept
whole, and asked each time.
"""

import hashlib
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from models.interactions import Floats
from models.text_encoder import Encoder, Progress
from models.text_language import ACCENTED, FOREIGN, scripts_of
from models.text_lexical import LEXICAL, LexicalEncoder, fitted
from models.text_onnx import CARD, OnnxEncoder
from models.text_transformer import ENGLISH, TransformerEncoder, english_folder, folder_of

WIDTH: Final = 64
_TINY: Final = 1e-3
_MOST_UNKNOWN: Final = 0.2
_LOOKED_AT: Final = 200


@dataclass(frozen=True, slots=True)
class Choice:
    """Which encoder, and what has to be said of the choice: each a sentence."""

    setting: str
    words: tuple[str, ...] = ()


def encoder_name(setting: str) -> str:
    """What reports call it: never a path of this machine."""
    return Path(setting).name if setting else ENGLISH


def chosen(setting: str, texts: Sequence[str]) -> Choice:
    """The encoder that is set; where none is, the one that the catalogue's scripts ask for."""
    if setting:
        return Choice(setting)
    scripts = scripts_of(texts)
    if scripts.foreign >= FOREIGN:
        what = f"{scripts.cjk:.0%} of the catalogue's letters are Chinese, Japanese or Korean, "
        what += f"{scripts.latin:.0%} Latin; {ENGLISH} reads English only, so texts are compared by their words "
        what += f"({LEXICAL}). A multilingual model knows more: name one in DAOGOU_TEXT_ENCODER"
        return Choice(LEXICAL, (what,))
    if english_folder() is None:
        what = f"{ENGLISH} is not installed (daogou[demo]): texts are compared by their words ({LEXICAL}). "
        return Choice(LEXICAL, (what + "DAOGOU_TEXT_ENCODER names another encoder",))
    if scripts.accented >= ACCENTED:
        what = f"{scripts.accented:.0%} of the catalogue's letters have accents, and {ENGLISH} reads English only: "
        return Choice(ENGLISH, (what + f"try DAOGOU_TEXT_ENCODER={LEXICAL}, or a multilingual model",))
    return Choice(ENGLISH)


def open_encoder(setting: str, texts: Sequence[str], folder: Path, say: Callable[[str], None]) -> Encoder:
    """The encoder that is chosen for the catalogue `texts`; what is fitted on it is kept in `folder`.

    Args:
        setting: as DAOGOU_TEXT_ENCODER; empty: chosen by the texts.
        texts: of the whole catalogue.
        folder: of the tenant.
        say: hears where the choice is poor, one sentence each.

    Raises:
        BadInput: the catalogue has no text, and the encoder would have to be fitted on it.
        NotFound: there is no such encoder.
        ArtifactBroken: it is incomplete.
    """
    choice = chosen(setting, texts)
    for word in choice.words:
        say(word)
    if choice.setting == LEXICAL:
        return fitted(texts, folder / f"{LEXICAL}.npz")
    made_here = Path(choice.setting)
    if (made_here / f"{LEXICAL}.npz").is_file():
        return LexicalEncoder.open(made_here / f"{LEXICAL}.npz")
    if (made_here / CARD).is_file():
        return OnnxEncoder.open(made_here)
    encoder = TransformerEncoder.open(choice.setting)
    unknown = encoder.unknown(texts[:: max(len(texts) // _LOOKED_AT, 1)])
    if unknown > _MOST_UNKNOWN:
        say(
            f"{encoder.name} has no word for {unknown:.0%} of the catalogue's text: its vectors tell little. Set "
            f"DAOGOU_TEXT_ENCODER to a model of the catalogue's language, or to {LEXICAL}"
        )
    return Kept(encoder, choice.setting, folder)


def encode(
    texts: Sequence[str], setting: str, cache_dir: Path, progress: Progress, say: Callable[[str], None] = lambda _: None
) -> Floats:
    """Vectors of a catalogue's texts: [len(texts), width of the encoder]. As `open_encoder`."""
    return open_encoder(setting, texts, cache_dir, say).encode(texts, progress)


@dataclass(frozen=True, slots=True)
class Whitening:
    """What brings vectors of texts to the principal components of a catalogue's, each of variance 1.

    Args:
        mean: [width] of the distinct vectors.
        axes: [64 or fewer, width] the components.
        scale: of each.
    """

    mean: Floats
    axes: Floats
    scale: Floats

    @classmethod
    def of(cls, vectors: Floats) -> "Whitening":
        """That of a catalogue: [n, width]."""
        distinct = np.unique(vectors, axis=0)
        mean = distinct.mean(0)
        _, spread, axes = np.linalg.svd(distinct - mean, full_matrices=False)
        width = min(WIDTH, len(axes))
        return cls(mean, axes[:width], spread[:width] / np.sqrt(max(len(distinct), 1)) + _TINY)

    def whitened(self, vectors: Floats) -> Floats:
        """Of any vectors, also of texts that came later: [n, 64]; zeros where there are fewer components."""
        out = np.zeros((len(vectors), WIDTH), np.float32)
        out[:, : len(self.axes)] = (vectors - self.mean) @ self.axes.T / self.scale
        return out


def whitened(vectors: Floats) -> Floats:
    """The first 64 principal components, each of variance 1: [n, 64]; zeros where there are fewer."""
    return Whitening.of(vectors).whitened(vectors)


class Kept:
    """A slow encoder: each distinct text is encoded once, ever. `progress` hears of what was not kept yet."""

    def __init__(self, encoder: TransformerEncoder, setting: str, folder: Path) -> None:
        self.encoder = encoder
        self._file = folder / f"{_fingerprint(folder_of(setting))}.npz"

    @property
    def name(self) -> str:
        """What reports call it."""
        return self.encoder.name

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return self.encoder.width

    def encode(self, texts: Sequence[str], progress: Progress) -> Floats:
        """Vectors: [len(texts), width]."""
        keys = [hashlib.blake2b(text.encode(errors="replace"), digest_size=16).hexdigest() for text in texts]
        kept = _read(self._file)
        missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in kept}.items())
        if missing:
            fresh = self.encoder.encode([text for _, text in missing], progress)
            kept |= {key: vector for (key, _), vector in zip(missing, fresh, strict=True)}
            _write(self._file, kept)
        return np.stack([kept[key] for key in keys]) if keys else np.zeros((0, self.width), np.float32)


def _fingerprint(folder: str) -> str:
    """Of a model: its name; for a folder the state of its files too, so that a model tuned anew is a new one."""
    digest = hashlib.blake2b(folder.encode(), digest_size=8)
    path = Path(folder)
    for file in sorted(path.glob("*")) if path.is_dir() else ():
        state = file.stat()
        digest.update(f"{file.name} {state.st_size} {state.st_mtime_ns}".encode())
    return digest.hexdigest()


def _read(file: Path) -> dict[str, Floats]:
    """What is kept; nothing where the file is cut short: it is only a cache, and is written anew."""
    if not file.exists():
        return {}
    try:
        with file.open("rb") as raw, np.load(raw, allow_pickle=False) as stored:
            return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))
    except (OSError, EOFError, KeyError, ValueError, zipfile.BadZipFile):
        return {}


def _write(file: Path, kept: dict[str, Floats]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_name(f"{file.stem}.new.npz")
    np.savez(work, keys=np.array(list(kept)), vectors=np.stack(list(kept.values())))
    work.replace(file)
