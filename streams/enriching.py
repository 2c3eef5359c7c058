"""What `daogou enrich` does: items read, an estimate, the run, and what became of it."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec
from rich.table import Table

from features.archive import EventArchive
from features.catalog import Item
from features.reviews import reviews_of
from infra.clock import Clock
from infra.errors import BadInput
from infra.llm import Endpoint, LanguageModel, LlmClient
from infra.llm_limits import Budget, Prices, Rate
from infra.settings import Settings
from models.enrichment import Counts, Enricher, Plan
from models.enrichment_reading import Reading, reading_of
from models.enrichment_store import EnrichmentStore
from streams.items import read_items
from streams.mappings.outcomes import Described
from streams.progress import Phases

_TOLD_EVERY_S: Final = 10.0


@dataclass(frozen=True, slots=True)
class Wanted:
    """What was asked for on the command line."""

    items: Path | None = None
    limit: int | None = None
    budget: float | None = None
    budget_tokens: int | None = None
    again: bool = False
    out: Path | None = None


@dataclass(frozen=True, slots=True)
class Done:
    """What became of it."""

    counts: Counts
    budget: Budget


def budget_of(settings: Settings, wanted: Wanted) -> Budget:
    """What may be spent.

    Raises:
        BadInput: money is a bound, and nothing has a price.
    """
    prices = Prices(settings.llm_price_in, settings.llm_price_out)
    if wanted.budget is not None and not prices.known:
        raise BadInput(
            "--budget needs prices: set DAOGOU_LLM_PRICE_IN and DAOGOU_LLM_PRICE_OUT (for a million tokens), or give "
            "--budget-tokens",
            path="budget",
        )
    return Budget(wanted.budget_tokens, wanted.budget, prices)


def enrich(
    settings: Settings,
    wanted: Wanted,
    items: Iterable[Item],
    phases: Phases,
    clock: Clock,
    agreed: Callable[[list[str], bool], bool],
) -> Done | None:
    """Enrich items that are not enriched yet, and keep them in the data folder.

    Args:
        settings: which model, if any, and where things lie.
        wanted: how much of it.
        items: of the catalogue, or of a file.
        phases: who hears how far it is.
        clock: when items were made.
        agreed: hears the estimate, line by line, and whether it costs anything; False: nothing is done, and None comes
            back.

    Raises:
        LlmRefused: the model refuses key, model or quota; what was done is kept.
    """
    budget = budget_of(settings, wanted)
    readings = _readings(settings, items, phases)
    with EnrichmentStore(settings.enriched_dir) as store:
        model = _model(settings, budget)
        enricher = Enricher(store, model, clock, settings.llm_concurrency)
        plan = enricher.plan(readings, again=wanted.again, limit=wanted.limit)
        asks = model is not None and bool(plan.todo)
        if not agreed(_estimate(plan, model, budget, settings), asks):
            return None
        asyncio.run(_run(enricher, plan, model, budget, phases))
        if wanted.out is not None:
            _write(wanted.out, readings, store)
    return Done(enricher.counts, budget)


def items_in(file: Path, phases: Phases) -> list[Item]:
    """The items of a catalogue file; rows that are none are counted and named.

    Raises:
        BadInput: as `read_items`.
    """
    found: list[Item] = []
    refused = 0
    for one in read_items(file):
        if isinstance(one, Described):
            found.append(one.item())
        else:
            refused += 1
            if refused <= 5:
                phases.say(f"{file.name} line {one.line}: {one.detail or one.code}")
    if refused:
        phases.say(f"{refused:,} rows of {file.name} are no items and are left out")
    return found


def told(done: Done) -> Table:
    """What became of the items, and what it cost."""
    counts, shown = done.counts, Table(title="enriched", title_justify="left", title_style="", show_header=False)
    shown.add_column()
    shown.add_column(justify="right")
    lines: list[tuple[str, int]] = [
        ("kept from before", counts.kept),
        ("made by the model", counts.by_model),
        ("made by rules", counts.by_rules),
        *((f"  in the model's place: {why}", times) for why, times in sorted(counts.by_reason.items())),
        *((f"not believed: {why}", times) for why, times in sorted(counts.dropped.items())),
        ("texts that speak to a model, sentences left out", counts.steering),
    ]
    for what, number in lines:
        shown.add_row(what, f"{number:,}")
    if done.budget.questions:
        shown.add_row("spent", done.budget.told())
    return shown


def _readings(settings: Settings, items: Iterable[Item], phases: Phases) -> list[Reading]:
    known = {item.item_id: item for item in items if item.content is not None}
    if not known:
        raise BadInput("there are no items: load some (daogou load --items FILE), or give --items", code="no_catalogue")
    archive = EventArchive(settings.archive_at)
    with phases.phase("reviews looked for", 0, "records") as advance:
        reviews = reviews_of(archive, settings.tenant, known, advance)
    return [reading_of(known[item_id], reviews.get(item_id, ())) for item_id in sorted(known)]


def _model(settings: Settings, budget: Budget) -> LanguageModel | None:
    """Who is asked: behind the URL, else of this machine, else nobody."""
    if settings.llm_url:
        if not settings.llm_model:
            raise BadInput("DAOGOU_LLM_URL needs DAOGOU_LLM_MODEL: which model is to be asked there", path="llm_model")
        endpoint = Endpoint(
            settings.llm_url,
            settings.llm_model,
            settings.llm_key,
            timeout_s=settings.llm_timeout_s,
            concurrency=settings.llm_concurrency,
        )
        return LlmClient(endpoint, budget, Rate(settings.llm_requests_min, settings.llm_tokens_min))
    if settings.llm_model:
        from models.enrichment_local import LocalModel

        return LocalModel(settings.llm_model, budget)
    return None


def _estimate(plan: Plan, model: LanguageModel | None, budget: Budget, settings: Settings) -> list[str]:
    """What it will take: items, tokens, money, minutes where a rate bounds them."""
    lines = [f"{len(plan.todo):,} items to enrich, {plan.kept:,} kept from before"]
    if model is None:
        return [*lines, "by rules: no language model is set (DAOGOU_LLM_URL, DAOGOU_LLM_MODEL); free"]
    expected = plan.expected()
    lines.append(f"by {model.name}: about {expected.asked:,} tokens asked and {expected.answered:,} answered")
    if budget.prices.known:
        lines.append(f"  about {budget.prices.cost(expected):.2f} in money, by DAOGOU_LLM_PRICE_IN and _OUT")
    minutes = [
        needed / rate
        for needed, rate in ((len(plan.todo), settings.llm_requests_min), (expected.tokens, settings.llm_tokens_min))
        if rate
    ]
    return [*lines, f"  {max(minutes):,.0f} minutes at least, by the rate that is set"] if minutes else lines


async def _run(enricher: Enricher, plan: Plan, model: LanguageModel | None, budget: Budget, phases: Phases) -> None:
    since = time.monotonic()
    try:
        with phases.phase("items enriched", len(plan.todo), "items") as advance:

            def heard(more: int) -> None:
                nonlocal since
                advance(more)
                if budget.questions and time.monotonic() - since >= _TOLD_EVERY_S:
                    since = time.monotonic()
                    phases.say(f"spent so far: {budget.told()}")

            await enricher.run(plan, heard)
    finally:
        if isinstance(model, LlmClient):
            await model.aclose()


def _write(file: Path, readings: list[Reading], store: EnrichmentStore) -> None:
    """One JSON object a line: each item as it is enriched now."""
    known = store.of_contents(reading.content_key for reading in readings)
    with file.open("wb") as out:
        for reading in readings:
            if reading.content_key in known:
                item = msgspec.structs.replace(known[reading.content_key], item_id=reading.item_id)
                out.write(msgspec.json.encode(item) + b"\n")
