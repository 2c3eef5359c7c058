"""What the commands for texts do: compare, tune, export, with the shop's catalogue and events."""

import asyncio
from pathlib import Path
from typing import Final

from features.archive import EventArchive
from infra.errors import BadInput
from infra.settings import Settings
from models.copy_tuning import CopyReport, examples_of, tune_copy
from models.copy_tuning import Options as CopyOptions
from models.dataset import purchases
from models.enrichment_text import texts_of
from models.text import chosen, open_encoder
from models.text_export import ExportReport, Measured, export
from models.text_lexical import LEXICAL
from models.text_pairs import Pairs, asked_and_chosen, bought_together, pairs_of
from models.text_transformer import TransformerEncoder
from models.text_tuning import Options, TuningReport, tune
from streams.progress import Phases
from streams.similarity import Similarity, encoder_for, similarity, texts_given
from streams.trainer import catalogue_of, sources_of, text_dir

CO_PURCHASE: Final = "co-purchase"
QUERIES: Final = "queries"
_SAMPLE: Final = 300


def texts_by_item(settings: Settings) -> dict[str, str]:
    """The text of each item of the catalogue, by id; empty where there is no catalogue."""
    catalogue = asyncio.run(catalogue_of(settings))
    ids = sorted(catalogue)
    return dict(zip(ids, texts_of([catalogue[item_id] for item_id in ids], settings.enriched_dir), strict=True))


def compared(
    settings: Settings, pair: tuple[str, str], phases: Phases, *, items: bool, onnx: Path | None
) -> Similarity:
    """The cosine of two texts, or of the texts of two items."""
    catalogue = texts_by_item(settings)
    one, other = texts_given(*pair, catalogue if items else None)
    texts = list(catalogue.values())
    encoder = encoder_for(settings.text_encoder, onnx, texts, text_dir(settings), phases.say)
    return similarity(encoder, one, other, texts)


def tuned(
    settings: Settings, source: str, options: Options, out: Path, phases: Phases, *, anyway: bool
) -> TuningReport:
    """The configured encoder, tuned on pairs of the shop or of a file."""
    catalogue = texts_by_item(settings)
    pairs = _pairs(settings, source, catalogue, phases)
    texts = list(catalogue.values()) or [*pairs.left, *pairs.right]
    encoder = open_encoder(settings.text_encoder, texts, text_dir(settings), phases.say)
    with phases.phase("pairs learned from", 0, "pairs") as advance:
        return tune(encoder, pairs, options, out, advance, anyway=anyway)


def copy_tuned(model: str, data: Path, options: CopyOptions, out: Path, phases: Phases, *, anyway: bool) -> CopyReport:
    """A causal model, tuned on the examples of a file."""
    examples = examples_of(data)
    with phases.phase("examples learned from", 0, "examples") as advance:
        return tune_copy(model, examples, options, out, advance, anyway=anyway)


def exported(settings: Settings, texts_file: Path | None, out: Path, phases: Phases, *, int8: bool) -> ExportReport:
    """The configured encoder as ONNX, measured on texts of the catalogue or of a file.

    Raises:
        BadInput: it is none of transformers, or a file of texts is no UTF-8 text.
    """
    texts = list(texts_by_item(settings).values()) if texts_file is None else _lines(texts_file)
    texts = list(dict.fromkeys(text for text in texts if text.strip()))
    choice = chosen(settings.text_encoder, texts)
    for word in choice.words:
        phases.say(word)
    if choice.setting == LEXICAL:
        raise BadInput(
            f"the {LEXICAL} encoder needs no export: it is read without torch as it is. Set DAOGOU_TEXT_ENCODER to a "
            "transformers model to export that",
            path="text_encoder",
        )
    sample = texts[:: max(len(texts) // _SAMPLE, 1)][:_SAMPLE]
    return export(TransformerEncoder.open(choice.setting), sample, out, int8=int8)


def tuning_told(report: TuningReport | CopyReport) -> list[str]:
    """Before and after, for a person."""
    if isinstance(report, CopyReport):
        return [
            f"{report.model}: {report.trained_weights:,} weights learned from {report.learned:,} examples; "
            f"{report.judged} were held out",
            *(
                f"{when:<7} perplexity {one.perplexity:.2f}  BLEU {one.bleu:.1f}  numbers all facts {one.grounded:.0%}"
                for when, one in (("before", report.before), ("after", report.after))
            ),
        ]
    held = report.before
    return [
        f"{report.encoder}: learned from {report.learned:,} pairs; {held.pairs:,} were held out, each ranked among "
        f"{held.pool:,} texts",
        *(
            f"{when:<7} recall@1 {one.recall_1:.4f}  recall@10 {one.recall_10:.4f}  MRR {one.mrr:.4f}"
            for when, one in (("before", report.before), ("after", report.after))
        ),
    ]


def export_told(report: ExportReport) -> list[str]:
    """Size, speed and quality, for a person."""
    return [f"on {report.sample} texts", _measured(report.original), _measured(report.exported)]


def _measured(one: Measured) -> str:
    return (
        f"{one.name:<32} {one.bytes / 1e6:.1f} MB  {one.texts_per_cpu_s:.0f} texts per CPU second  cosine "
        f"{one.cosine_mean:.4f} (least {one.cosine_least:.4f})  nearest ten kept {one.nearest_kept:.1%}"
    )


def _pairs(settings: Settings, source: str, catalogue: dict[str, str], phases: Phases) -> Pairs:
    if source not in (CO_PURCHASE, QUERIES):
        return pairs_of(Path(source))
    if not catalogue:
        raise BadInput("there is no catalogue: load items first (daogou load --items FILE)", code="no_catalogue")
    if source == CO_PURCHASE:
        with phases.phase("purchases read", 0, "orders") as advance:
            bought = purchases(sources_of(settings), list(catalogue), advance)
        return bought_together(bought, list(catalogue.values()))
    events = EventArchive(settings.archive_at).events()
    return asked_and_chosen((event for event in events if event.tenant == settings.tenant), catalogue)


def _lines(file: Path) -> list[str]:
    if not file.is_file():
        raise BadInput(f"--texts {file}: there is no such file", path="texts")
    try:
        return file.read_text(encoding="utf-8").splitlines()
    except UnicodeDecodeError:
        raise BadInput(f"--texts {file}: this is no UTF-8 text, one text a line", path="texts") from None
