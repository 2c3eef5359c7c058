"""`daogou enrich`. Imports what it needs when it runs."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from infra.errors import BadInput
from streams.terminal import DataDir, say, settings_from


def enrich(
    items: Annotated[
        Path | None, typer.Option("--items", help="A catalogue file; without it the catalogue in Redis.")
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="So many items that are not enriched yet, at most.")] = None,
    budget: Annotated[
        float | None, typer.Option(min=0, help="Money, at most, by DAOGOU_LLM_PRICE_IN and DAOGOU_LLM_PRICE_OUT.")
    ] = None,
    budget_tokens: Annotated[int | None, typer.Option(min=0, help="Tokens, at most.")] = None,
    estimate: Annotated[bool, typer.Option("--estimate", help="Only tell what it would take.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask before a language model is.")] = False,
    again: Annotated[
        bool, typer.Option("--again", help="Ask also for items whose answer could not be used before.")
    ] = False,
    out: Annotated[Path | None, typer.Option("--out", help="Write the enriched items, as JSON lines.")] = None,
    data_dir: DataDir = None,
) -> None:
    """Make attributes, search phrases and descriptions of items.

    In Chinese and English; attributes are typed, descriptions neutral. By the language model that DAOGOU_LLM_URL and
    DAOGOU_LLM_MODEL name; without one, by rules. What is done is kept in the data folder by the items' texts:
    interrupted, the same command goes on. Training reads it.
    """
    import asyncio

    from rich.console import Console

    from infra.clock import clock_from
    from infra.data_folder import make_usable
    from infra.embedded.outside import Outside
    from streams.enriching import Wanted, budget_of, items_in, told
    from streams.enriching import enrich as run
    from streams.progress import Phases

    if out is not None and not out.absolute().parent.is_dir():
        raise BadInput(f"--out {out}: there is no folder {out.parent}", path="out")
    settings = settings_from(data_dir=data_dir)
    wanted = Wanted(items, limit, budget, budget_tokens, again, out)
    budget_of(settings, wanted)
    make_usable(settings.data_dir)

    def agreed(lines: list[str], costs: bool) -> bool:
        for line in lines:
            say(line)
        if estimate or yes or not costs:
            return not estimate
        if not sys.stdin.isatty():
            raise BadInput("nobody is here to be asked: give --yes, or --estimate", path="yes")
        return typer.confirm("Go on?")

    with Phases() as phases:
        if items is not None:
            found = items_in(items, phases)
        else:
            from streams.trainer import catalogue_of

            with Outside(settings) as outside:
                found = list(asyncio.run(catalogue_of(outside)).values())
        done = run(settings, wanted, found, phases, clock_from(settings.clock_shift_file), agreed)
    if done is not None:
        Console().print(told(done))
