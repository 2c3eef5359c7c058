"""A transformers encoder as one ONNX graph from token ids to pooled vectors, and smaller with weights of eight bits;
what it costs in size, speed and quality is measured beside the original.
"""

import logging
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import msgspec
import numpy as np

from infra.errors import BadInput, Conflict, NotFound
from models.artifact import checksum
from models.interactions import Floats
from models.text_encoder import Encoder, directions
from models.text_onnx import CARD, FORMAT, GRAPH, WORDS, Card, OnnxEncoder
from models.text_transformer import MAX_TOKENS, TransformerEncoder, mean_pooled
from models.text_tuning import written

_OPSET: Final = 18
_NEAREST: Final = 10
LEAST_TEXTS: Final = 2


class Measured(msgspec.Struct, frozen=True, kw_only=True):
    """One encoder on the sample. Cosines and the share of the ten nearest texts kept are against the original."""

    name: str
    bytes: int
    texts_per_cpu_s: float
    cosine_mean: float
    cosine_least: float
    nearest_kept: float


class ExportReport(msgspec.Struct, frozen=True, kw_only=True):
    """The original and what was exported, on the same sample of texts."""

    sample: int
    original: Measured
    exported: Measured


def export(
    encoder: TransformerEncoder,
    sample: Sequence[str],
    out: Path,
    *,
    int8: bool,
    cpu_s: Callable[[], float] = time.process_time,
) -> ExportReport:
    """Write the encoder into `out`, a folder that is not there yet, and measure it on a sample.

    Args:
        encoder: of transformers, with a fast tokenizer.
        sample: distinct texts of the shop.
        out: for `OnnxEncoder.open`.
        int8: weights of eight bits instead of 32.
        cpu_s: seconds of processor time so far.

    Raises:
        BadInput: the sample is too small, or the tokenizer is none that `tokenizers` reads.
        Conflict: `out` is there.
        NotFound: onnx is not installed.
    """
    if out.exists():
        raise Conflict(f"{out} is there already: give --out a folder that is not", path="out")
    if len(sample) < LEAST_TEXTS:
        raise BadInput("there is no text to measure the export on: load a catalogue or give --texts", code="no_text")
    if getattr(encoder.tokenizer, "backend_tokenizer", None) is None:
        raise BadInput(f"{encoder.name} has no fast tokenizer (tokenizer.json): it cannot be exported", path="model")
    reports: list[ExportReport] = []

    def save(folder: Path) -> None:
        _write(encoder, folder, int8=int8)
        report = _compared(encoder, OnnxEncoder.open(folder), folder, sample, cpu_s)
        (folder / "export.json").write_bytes(msgspec.json.format(msgspec.json.encode(report), indent=2))
        reports.append(report)

    written(out, save)
    return reports[0]


def _write(encoder: TransformerEncoder, folder: Path, *, int8: bool) -> None:
    whole = folder / ("whole.onnx" if int8 else GRAPH)
    with _quiet():
        _graph(encoder, whole)
        if int8:
            _smaller(whole, folder / GRAPH)
            whole.unlink()
    encoder.tokenizer.backend_tokenizer.save(str(folder / WORDS))
    card = Card(
        format=FORMAT,
        name=encoder.name,
        width=encoder.width,
        max_tokens=MAX_TOKENS,
        pad_id=encoder.tokenizer.pad_token_id or 0,
        int8=int8,
        checksums={name: checksum(folder / name) for name in (GRAPH, WORDS)},
    )
    (folder / CARD).write_bytes(msgspec.json.format(msgspec.json.encode(card), indent=2))


def _graph(encoder: TransformerEncoder, file: Path) -> None:
    import torch

    try:
        import onnxscript  # noqa: F401
    except ImportError:
        raise NotFound("onnx is not installed: install daogou[tuning]", path="export") from None

    class Pooled(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = encoder.model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            hidden = self.model(input_ids=input_ids, attention_mask=attention_mask).last_hidden_state
            return mean_pooled(hidden, attention_mask)

    # Two tensors that are not one, and a mask that is not all ones: else both become constants of the graph.
    ids = torch.arange(6).reshape(2, 3) % encoder.model.config.vocab_size
    mask = torch.tensor([[1, 1, 1], [1, 1, 0]])
    any_size = {0: torch.export.Dim.DYNAMIC, 1: torch.export.Dim.DYNAMIC}
    torch.onnx.export(
        Pooled().eval(),
        (ids, mask),
        str(file),
        input_names=["input_ids", "attention_mask"],
        output_names=["vectors"],
        opset_version=_OPSET,
        dynamo=True,
        external_data=False,
        verbose=False,
        dynamic_shapes=(any_size, any_size),
    )


def _smaller(whole: Path, file: Path) -> None:
    from onnxruntime.quantization import QuantType, quantize_dynamic

    quantize_dynamic(whole, file, weight_type=QuantType.QInt8, per_channel=True)


def _compared(
    original: TransformerEncoder, exported: OnnxEncoder, folder: Path, sample: Sequence[str], cpu_s: Callable[[], float]
) -> ExportReport:
    size = sum(value.numel() * value.element_size() for value in original.model.state_dict().values())
    vectors, speed = _timed(original, sample, cpu_s)
    smaller, smaller_speed = _timed(exported, sample, cpu_s)
    alike = (directions(vectors) * directions(smaller)).sum(1)
    return ExportReport(
        sample=len(sample),
        original=Measured(
            name=original.name, bytes=size, texts_per_cpu_s=speed, cosine_mean=1, cosine_least=1, nearest_kept=1
        ),
        exported=Measured(
            name=exported.name,
            bytes=(folder / GRAPH).stat().st_size,
            texts_per_cpu_s=smaller_speed,
            cosine_mean=float(alike.mean()),
            cosine_least=float(alike.min()),
            nearest_kept=_kept(_nearest(vectors), _nearest(smaller)),
        ),
    )


def _timed(encoder: Encoder, sample: Sequence[str], cpu_s: Callable[[], float]) -> tuple[Floats, float]:
    encoder.encode(sample[:2], lambda _: None)  # What is made at the first call only.
    begin = cpu_s()
    vectors = encoder.encode(sample, lambda _: None)
    return vectors, len(sample) / max(cpu_s() - begin, 1e-9)


def _nearest(vectors: Floats) -> Any:
    unit = directions(vectors)
    scores = unit @ unit.T
    np.fill_diagonal(scores, -np.inf)
    return np.argsort(-scores, axis=1, kind="stable")[:, : min(_NEAREST, len(unit) - 1)]


def _kept(one: Any, other: Any) -> float:
    return float(np.mean([len(set(a) & set(b)) / len(a) for a, b in zip(one.tolist(), other.tolist(), strict=True)]))


@contextmanager
def _quiet() -> Any:
    """Exporter and quantizer talk of packages that are not here, and of steps that are not wanted."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
