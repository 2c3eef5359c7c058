"""The commands for texts. Imported by the command line; each imports what it needs itself."""

from pathlib import Path
from typing import Annotated

import typer

from infra.errors import BadInput
from streams.terminal import DataDir, say, settings_from

text_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)

Out = Annotated[Path, typer.Option("--out", help="A folder that is not there yet.")]
Seed = Annotated[int, typer.Option(min=0, help="Of everything that is drawn.")]
Anyway = Annotated[bool, typer.Option("--anyway", help="Write it even if it is no better.")]


@text_app.callback()
def text() -> None:
    """Text encoders and models for copy: tune, export."""


def similar(
    one: Annotated[str, typer.Argument(metavar="ONE", help="A text; with --items an item's id.")],
    other: Annotated[str, typer.Argument(metavar="OTHER", help="Another one.")],
    items: Annotated[bool, typer.Option("--items", help="The two are ids of items.")] = False,
    onnx: Annotated[
        Path | None, typer.Option("--onnx", help="Folder of an exported encoder, instead of the configured one.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Tell how near two texts are, by the configured encoder.

    Their cosine, and what is near in this catalogue.
    """
    from infra.embedded.outside import Outside
    from streams.model_commands import quiet_threads

    quiet_threads()
    from streams.progress import Phases
    from streams.similarity import told
    from streams.text_side import compared

    with Outside(settings_from(data_dir=data_dir)) as settings, Phases() as phases:
        for line in told(compared(settings, (one, other), phases, items=items, onnx=onnx)):
            say(line)


@text_app.command("tune", epilog="Example: daogou text tune --pairs queries --out encoders/ours")
def text_tune(
    pairs: Annotated[
        str,
        typer.Option(metavar="co-purchase|queries|FILE", help='Pairs of the shop, or JSON lines of "query", "text".'),
    ],
    out: Out,
    epochs: Annotated[int, typer.Option(min=1, max=100, help="Passes over the pairs.")] = 1,
    batch: Annotated[int, typer.Option(min=2, max=4096, help="Pairs that are told from each other.")] = 32,
    rate: Annotated[float, typer.Option(min=0, max=1, help="Of learning; 0: 2e-5, of lexical 0.003.")] = 0.0,
    seed: Seed = 1,
    anyway: Anyway = False,
    data_dir: DataDir = None,
) -> None:
    """Tune the text encoder on pairs of texts that belong together.

    A tenth of the pairs is held out and ranked before and after. DAOGOU_TEXT_ENCODER takes the folder.
    """
    from infra.embedded.outside import Outside
    from streams.model_commands import quiet_threads

    quiet_threads()
    from models.text_tuning import Options
    from streams.progress import Phases
    from streams.text_side import tuned, tuning_told

    options = Options(epochs=epochs, batch=batch, rate=rate, seed=seed)
    with Outside(settings_from(data_dir=data_dir)) as settings, Phases() as phases:
        report = tuned(settings, pairs, options, out, phases, anyway=anyway)
    for line in (*tuning_told(report), f"written to {out}: set DAOGOU_TEXT_ENCODER={out}"):
        say(line)


@text_app.command(
    "tune-copy", epilog="Example: daogou text tune-copy --data copy.jsonl --model models/base --out models/ours"
)
def text_tune_copy(
    data: Annotated[Path, typer.Option(help='JSON lines of "prompt", "text" and, where wanted, "facts".')],
    model: Annotated[str, typer.Option(help="A causal transformers model: name or folder.")],
    out: Out,
    epochs: Annotated[int, typer.Option(min=1, max=100, help="Passes over the examples.")] = 3,
    batch: Annotated[int, typer.Option(min=1, max=1024, help="Examples of a step.")] = 4,
    rate: Annotated[float, typer.Option(min=1e-9, max=1, help="Of learning.")] = 2e-4,
    rank: Annotated[int, typer.Option(min=1, max=512, help="Of the adapters.")] = 8,
    seed: Seed = 1,
    anyway: Anyway = False,
) -> None:
    """Tune a causal model on the shop's own copy or answers.

    By low-rank adapters (LoRA). A tenth of the examples is held out: perplexity, BLEU, and the share of outputs whose
    numbers are all among the facts, before and after. DAOGOU_LLM_MODEL takes the folder.
    """
    from streams.model_commands import quiet_threads

    quiet_threads()
    from models.copy_tuning import Options
    from streams.progress import Phases
    from streams.text_side import copy_tuned, tuning_told

    settings_from()
    options = Options(epochs=epochs, batch=batch, rate=rate, rank=rank, seed=seed)
    with Phases() as phases:
        report = copy_tuned(model, data, options, out, phases, anyway=anyway)
    for line in (*tuning_told(report), f"written to {out}"):
        say(line)


@text_app.command("export", epilog="Example: daogou text export --out encoders/small --int8")
def text_export(
    out: Out,
    int8: Annotated[bool, typer.Option("--int8", help="Weights of eight bits.")] = False,
    texts: Annotated[
        Path | None, typer.Option(help="Texts to measure on, one a line; without it those of the catalogue.")
    ] = None,
    data_dir: DataDir = None,
) -> None:
    """Write the text encoder as ONNX, and measure it.

    It is the configured one; what is written is read without torch, and measured beside the original.
    """
    from infra.embedded.outside import Outside
    from streams.model_commands import quiet_threads

    if out.exists():
        raise BadInput(f"--out {out} is there already: give a folder that is not", path="out")
    quiet_threads()
    from streams.progress import Phases
    from streams.text_side import export_told, exported

    with Outside(settings_from(data_dir=data_dir)) as settings, Phases() as phases:
        report = exported(settings, texts, out, phases, int8=int8)
    for line in (*export_told(report), f"written to {out}: daogou similar --onnx {out} reads it"):
        say(line)
