"""How near two texts are by the configured encoder, and what is near in this catalogue."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np

from infra.errors import BadInput, NotFound
from models.text import open_encoder
from models.text_encoder import Encoder, Progress, cosine, directions
from models.text_lexical import LEXICAL
from models.text_onnx import OnnxEncoder

_LOOKED_AT: Final = 400


@dataclass(frozen=True, slots=True)
class Scale:
    """Cosines of the pairs of `items` items: half, nine in ten and 99 in 100 are below these; the median of the
    nearest other item.
    """

    items: int
    half: float
    nine_in_ten: float
    most: float
    nearest: float


@dataclass(frozen=True, slots=True)
class Similarity:
    """Of two texts. `above` is the share of the catalogue's pairs that are less near; none without a catalogue."""

    encoder: str
    cosine: float
    scale: Scale | None
    above: float | None
    unknown: tuple[str, ...]


def encoder_for(
    setting: str, onnx: Path | None, texts: Sequence[str], folder: Path, say: Callable[[str], None]
) -> Encoder:
    """The exported encoder in `onnx`, or else the configured one. As `open_encoder`."""
    if onnx is not None:
        return OnnxEncoder.open(onnx)
    if not texts and setting in ("", LEXICAL):
        raise BadInput(
            "there is no catalogue to choose the text encoder by, or to fit it on: load items first (daogou load "
            "--items FILE), or set DAOGOU_TEXT_ENCODER to a model",
            code="no_catalogue",
        )
    return open_encoder(setting, texts, folder, say)


def texts_given(one: str, other: str, catalogue: Mapping[str, str] | None) -> tuple[str, str]:
    """The two texts; with a catalogue the two are ids of its items.

    Raises:
        NotFound: there is no such item.
        BadInput: a text is empty, or an item has none (`no_text`).
    """
    found = []
    for given in (one, other):
        if catalogue is not None and given not in catalogue:
            raise NotFound(f"there is no item {given!r} in the catalogue", path="item_id")
        text = given if catalogue is None else catalogue[given]
        if not text.strip():
            what = "a text is empty" if catalogue is None else f"item {given!r} has no text"
            raise BadInput(f"{what}: nothing to compare", path="text", code="no_text")
        found.append(text)
    return found[0], found[1]


def similarity(
    encoder: Encoder, one: str, other: str, catalogue: Sequence[str], progress: Progress = lambda _: None
) -> Similarity:
    """The cosine of two texts, and where it stands among the pairs of 400 of the catalogue's texts at most."""
    vectors = encoder.encode([one, other], progress)
    near = cosine(vectors[0], vectors[1])
    unknown = tuple(text for text, vector in zip((one, other), vectors, strict=True) if not vector.any())
    distinct = sorted({text for text in catalogue if text.strip()})
    sample = distinct[:: max(len(distinct) // _LOOKED_AT, 1)][:_LOOKED_AT]
    if len(sample) < 2:
        return Similarity(encoder.name, near, None, None, unknown)
    unit = directions(encoder.encode(sample, progress))
    cosines = unit @ unit.T
    pairs = cosines[np.triu_indices(len(sample), 1)]
    half, nine_in_ten, most = np.percentile(pairs, (50, 90, 99))
    np.fill_diagonal(cosines, -np.inf)
    nearest = np.median(cosines.max(1))
    scale = Scale(len(sample), float(half), float(nine_in_ten), float(most), float(nearest))
    return Similarity(encoder.name, near, scale, float((pairs < near).mean()), unknown)


def told(found: Similarity) -> list[str]:
    """What a person reads of it."""
    lines = [f"cosine {found.cosine:.3f} by {found.encoder}"]
    lines += [f"{found.encoder} knows no word of {text!r}" for text in found.unknown]
    scale = found.scale
    if scale is None or found.above is None:
        return [*lines, "there is no catalogue to tell by what is near: daogou load --items FILE"]
    return [
        *lines,
        f"nearer than {found.above:.1%} of the pairs of {scale.items} items of this catalogue",
        f"half of these are below {scale.half:.3f}, nine in ten below {scale.nine_in_ten:.3f}, 99 in 100 below "
        f"{scale.most:.3f}; the nearest other item is at {scale.nearest:.3f} (median)",
    ]
