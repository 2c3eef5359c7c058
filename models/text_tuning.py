"""An encoder tuned on pairs of texts of the shop, by the multiple-negatives loss: in a batch each text is to find its
own partner among those of all (Henderson et al. 2017). A transformers model learns all of its weights, the lexical
encoder its axes.
"""

import math
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec
import numpy as np

from infra.errors import BadInput, Conflict, Refused
from models.text import Kept
from models.text_encoder import Encoder, Progress
from models.text_lexical import LEXICAL, LexicalEncoder
from models.text_matching import Matching, matching
from models.text_pairs import Pairs, enough
from models.text_transformer import TransformerEncoder

LEAST_PAIRS: Final = 20
REPORT: Final = "tuning.json"
_SCALE: Final = 20.0
_WARM: Final = 0.1
RATES: Final = {True: 3e-3, False: 2e-5}
"""Of learning, for the lexical encoder (True) and for a transformers model."""


class Options(msgspec.Struct, frozen=True, kw_only=True):
    """How to tune; `rate` 0: as the kind of encoder asks."""

    epochs: int = 1
    batch: int = 32
    rate: float = 0.0
    held: float = 0.1
    seed: int = 1


class TuningReport(msgspec.Struct, frozen=True, kw_only=True):
    """What was learned from, and how held-out pairs are found before and after."""

    encoder: str
    learned: int
    options: Options
    before: Matching
    after: Matching


class _Learner(Protocol):
    """An encoder whose vectors have gradients."""

    def parameters(self) -> list[Any]: ...

    def vectors(self, texts: Sequence[str]) -> Any: ...

    def encoder(self) -> Encoder: ...

    def save(self, folder: Path) -> None: ...


def tune(
    encoder: Encoder, pairs: Pairs, options: Options, out: Path, progress: Progress, *, anyway: bool = False
) -> TuningReport:
    """Tune it, judge it by pairs that are held out, and write it into `out`, a folder that is not there yet.

    Args:
        encoder: of transformers or the lexical one; it is changed.
        pairs: of the shop.
        options: how.
        out: for DAOGOU_TEXT_ENCODER.
        progress: hears how many more pairs were learned from.
        anyway: write it even if it finds the pairs no better.

    Raises:
        BadInput: too few pairs, or an encoder that cannot be tuned.
        Conflict: `out` is there.
        Refused: it learned nothing, or went astray; nothing is written.
    """
    if out.exists():
        raise Conflict(f"{out} is there already: give --out a folder that is not", path="out")
    learned, held = enough(pairs, LEAST_PAIRS, "pairs").held_out(options.held, options.seed)
    before = matching(encoder, held, [learned])
    learner = _learner(encoder)
    _learn(learner, enough(learned, 2, "pairs to learn from"), options, progress)
    after = matching(learner.encoder(), held, [learned])
    report = TuningReport(encoder=encoder.name, learned=len(learned), options=options, before=before, after=after)
    if after.mrr <= before.mrr and not anyway:
        raise Refused(
            f"tuned, it finds held-out pairs no better (MRR {before.mrr:.4f} before, {after.mrr:.4f} after); "
            "nothing is written. More pairs, epochs or another rate may help; --anyway writes it all the same",
            code="not_better",
        )

    def save(folder: Path) -> None:
        learner.save(folder)
        (folder / REPORT).write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))

    written(out, save)
    return report


def written(out: Path, save: Callable[[Path], None]) -> None:
    """A folder with what `save` puts into it, there whole or not at all."""
    work = out.with_name(f".{out.name}.new")
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    try:
        save(work)
        work.replace(out)
    finally:
        shutil.rmtree(work, ignore_errors=True)


def loss(left: Any, right: Any, same: Any) -> Any:
    """The mean over both directions of how badly each finds its own: [batch, width] twice.

    Args:
        left: vectors.
        right: vectors of their partners.
        same: [batch, batch], where another's partner is no wrong answer; its diagonal is not looked at.
    """
    from torch import arange, eye
    from torch.nn.functional import cross_entropy, normalize

    scores = normalize(left, dim=-1) @ normalize(right, dim=-1).T * _SCALE
    hidden = same & ~eye(len(scores), dtype=same.dtype)
    scores = scores.masked_fill(hidden, -math.inf)
    own = arange(len(scores))
    return (cross_entropy(scores, own) + cross_entropy(scores.T, own)) / 2


def _learn(learner: _Learner, pairs: Pairs, options: Options, progress: Progress) -> None:
    import torch

    draw = np.random.default_rng(options.seed)
    rate = options.rate or RATES[isinstance(learner, _Lexical)]
    steps = options.epochs * math.ceil(len(pairs) / options.batch)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(options.seed)
        optimizer = torch.optim.AdamW(learner.parameters(), lr=rate, weight_decay=0.01)
        slope = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: _share(step, steps))
        for _ in range(options.epochs):
            order = draw.permutation(len(pairs))
            for begin in range(0, len(order), options.batch):
                rows = order[begin : begin + options.batch].tolist()
                if len(rows) > 1:  # One alone has nothing to be told from.
                    _step(learner, optimizer, [pairs.left[at] for at in rows], [pairs.right[at] for at in rows])
                    slope.step()
                progress(len(rows))


def _step(learner: _Learner, optimizer: Any, left: Sequence[str], right: Sequence[str]) -> None:
    import torch

    one = loss(learner.vectors(left), learner.vectors(right), torch.from_numpy(_same(left) | _same(right)))
    if not torch.isfinite(one):
        raise Refused("tuning went astray: the loss is no number; give a lower --rate", code="diverged")
    optimizer.zero_grad()
    one.backward()
    torch.nn.utils.clip_grad_norm_(learner.parameters(), 1.0)
    optimizer.step()


def _same(texts: Sequence[str]) -> Any:
    found: dict[str, int] = {}
    column = np.array([found.setdefault(text, len(found)) for text in texts])
    return column[:, None] == column


def _share(step: int, steps: int) -> float:
    """Of the rate: up to 1 in the first tenth of the steps, then down to 0."""
    warm = max(round(steps * _WARM), 1)
    return (step + 1) / warm if step < warm else max((steps - step) / max(steps - warm, 1), 0.0)


def _learner(encoder: Encoder) -> _Learner:
    inner = encoder.encoder if isinstance(encoder, Kept) else encoder
    if isinstance(inner, TransformerEncoder):
        return _Transformer(inner)
    if isinstance(inner, LexicalEncoder):
        return _Lexical(inner)
    raise BadInput(f"{encoder.name} cannot be tuned: give a transformers model or {LEXICAL}", path="text_encoder")


class _Transformer:
    def __init__(self, encoder: TransformerEncoder) -> None:
        self._encoder = encoder

    def parameters(self) -> list[Any]:
        return list(self._encoder.model.parameters())

    def vectors(self, texts: Sequence[str]) -> Any:
        self._encoder.model.train()
        return self._encoder.pooled(texts)

    def encoder(self) -> TransformerEncoder:
        self._encoder.model.eval()
        return self._encoder

    def save(self, folder: Path) -> None:
        self._encoder.model.save_pretrained(folder)
        self._encoder.tokenizer.save_pretrained(folder)


class _Lexical:
    def __init__(self, encoder: LexicalEncoder) -> None:
        import torch

        self._encoder = encoder
        self._axes = torch.nn.Parameter(torch.from_numpy(encoder.axes.copy()))

    def parameters(self) -> list[Any]:
        return [self._axes]

    def vectors(self, texts: Sequence[str]) -> Any:
        import torch

        rows = [self._encoder.weights_of(text) for text in texts]
        ends = np.cumsum([0, *(len(at) for at, _ in rows)])[:-1]
        return torch.nn.functional.embedding_bag(
            torch.from_numpy(np.concatenate([at for at, _ in rows])),
            self._axes,
            torch.from_numpy(ends),
            mode="sum",
            per_sample_weights=torch.from_numpy(np.concatenate([weights for _, weights in rows])),
        )

    def encoder(self) -> LexicalEncoder:
        old, axes = self._encoder, self._axes.detach().numpy().copy()
        return LexicalEncoder(old.terms, old.idf, axes, old.fingerprint)

    def save(self, folder: Path) -> None:
        self.encoder().save(folder / f"{LEXICAL}.npz")
