"""What `daogou train` and `daogou evaluate` do: from the archive to an artifact, and a table beside the baselines."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
from rich.console import Console
from rich.table import Table

from features.catalog import Item
from features.catalog_store import CatalogStore
from features.offline import StoreAt
from infra.errors import BadInput, NotFound
from infra.redis import connect, told_as_away
from infra.settings import Settings
from models.artifact import FORMAT, Manifest, write
from models.card import NAME as CARD
from models.card import card_of
from models.checkpoint import CURVE
from models.cold import FILE as COLD
from models.cold import ColdItems
from models.comparison import compare
from models.dataset import Sources, day_of, happened, purchases
from models.enrichment_text import texts_of
from models.evaluation import TASKS, Evaluation, table
from models.fitting import Options
from models.fusion import SOURCES, Weights
from models.gate import MODEL
from models.interactions import Interactions
from models.item_features import ItemFeatures, features_of, odd_prices
from models.release import candidate, pointer
from models.rivals import usable
from models.sound import check_items
from models.splits import TEMPORAL
from models.text import Whitening, chosen, encoder_name, open_encoder
from models.text_encoder import Encoder
from models.text_lexical import LEXICAL, LexicalEncoder
from models.training import Data, Means, Trained, table_of
from models.training import train as train_model
from streams.progress import Phases

_REDIS_TIMEOUT_MS: Final = 30_000


@dataclass(frozen=True, slots=True)
class Report:
    """A model and how it did."""

    manifest: Manifest
    evaluations: Sequence[Evaluation]


class Again(NamedTuple):
    """A training once more: what happened from a moment on is left out, and the artifact goes into a folder."""

    until: datetime
    into: Path


def train(
    settings: Settings,
    options: Options,
    phases: Phases,
    made_at: datetime,
    means: Means | None = None,
    again: Again | None = None,
) -> Report:
    """Towers, table, artifact, from the offline features as they are; nothing is released.

    Args:
        settings: with an address of Redis, where the catalogue is.
        options: how to fit.
        phases: who hears how far it is.
        made_at: gives the version its name.
        means: where to keep how far it is, to go on from there, and the processes that fit.
        again: on what, and where to; None: on all that happened, beside the other models.

    Raises:
        BadInput: there is no catalogue, no purchase, or too little history.
    """
    catalogue = asyncio.run(catalogue_of(settings))
    if not catalogue:
        raise BadInput("there is no catalogue: load items first (daogou load --items FILE)", code="no_catalogue")
    items = [catalogue[item_id] for item_id in sorted(catalogue)]
    sources = sources_of(settings)
    with phases.phase("events read", 0, "events") as advance:
        steps = happened(
            sources, sorted(catalogue), advance, partial(_say_repeats, phases), strange=partial(_say_strange, phases)
        )
    if again is not None:
        steps = steps.before(ms_of(again.until))
    bought = steps.of_kinds({"purchase"})
    _say_odd_prices(phases, odd_prices(items))
    texts = texts_of(items, settings.enriched_dir)
    with phases.phase("texts encoded", 0, "texts") as advance:
        text_encoder = open_encoder(settings.text_encoder, texts, text_dir(settings), phases.say)
        vectors = text_encoder.encode(texts, advance)
    check_items(vectors, sorted(catalogue), "the text vector")
    whitening = Whitening.of(vectors)
    features = features_of(items, whitening.whitened(vectors))
    data = Data(sources, bought, features, steps)
    trained = train_model(data, options, phases, means)
    encoder = encoder_name(chosen(settings.text_encoder, texts).setting)
    manifest = _manifest(encoder, options, trained, made_at)
    files = _files_of_new_items(trained, whitening, features, text_encoder)
    folder = again.into if again else settings.models_dir
    written = _write(folder, trained, manifest, _texts(trained, manifest, bought, means), files)
    if means is not None and means.saved is not None:
        means.saved.begin_anew()
    return Report(msgspec.structs.replace(manifest, version=written.name), trained.evaluations)


def evaluate(settings: Settings, chosen: str | None, phases: Phases) -> Report:
    """An artifact, by default the released one, tested again on the weeks after those it was fitted on.

    Raises:
        NotFound: there is no such artifact, or none is released.
        ArtifactBroken: a file of it is missing or altered.
        BadInput: the archive holds no purchase of those weeks.
    """
    name = chosen or pointer(settings.models_dir).live
    if name is None:
        raise NotFound("no model is released: daogou train --release makes one", path="version")
    artifact = candidate(settings.models_dir, name)
    manifest = artifact.manifest
    weeks = (ms_of(manifest.fitted_before), ms_of(manifest.tested_until))
    fitted = usable(artifact)
    bought = bought_in(settings, artifact.item_ids, weeks, phases)
    return Report(manifest, table_of(sources_of(settings), fitted, bought, weeks, phases))


def print_report(report: Report, console: Console) -> None:
    """The table and the fusion weights."""
    manifest = report.manifest
    for task in TASKS:
        console.print(table(report.evaluations, task))
    console.print(_weights_table(manifest.weights))
    console.print(
        f"artifact {manifest.version}: fitted before {manifest.fitted_before:%Y-%m-%d}, "
        f"tested until {manifest.tested_until:%Y-%m-%d}"
    )


def write_report(report: Report) -> bytes:
    """The figures as JSON: metrics by model, fusion weights by task."""
    manifest = report.manifest
    figures = {
        "version": manifest.version,
        "fitted_before": manifest.fitted_before,
        "tested_until": manifest.tested_until,
        "seed": manifest.seed,
        "metrics": {one.name: one.means() for one in report.evaluations},
        "weights": manifest.weights,
    }
    return msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n"


def sources_of(settings: Settings) -> Sources:
    """Where training reads."""
    registry = settings.data_dir / "feast" / f"{settings.tenant}.db"
    return Sources(settings.archive_at, StoreAt(settings.offline_dir, registry), settings.tenant)


def text_dir(settings: Settings) -> Path:
    """Where text vectors and what is fitted on the tenant's texts are kept."""
    return settings.data_dir / "text" / settings.tenant


def _manifest(encoder: str, options: Options, trained: Trained, made_at: datetime) -> Manifest:
    return Manifest(
        version=f"{made_at.astimezone(UTC):%Y%m%d-%H%M%S}",
        format=FORMAT,
        made_at=made_at,
        fitted_before=day_of(trained.fitted_before_ms),
        tested_until=day_of(trained.tested_until_ms),
        events=trained.orders,
        code=version("daogou"),
        seed=options.seed,
        text_encoder=encoder,
        weights=trained.fitted.weights,
        recency=trained.fitted.recency,
        metrics={one.name: one.means() for one in trained.evaluations},
        shape={"items": len(trained.fitted.item_ids), "width": options.width},
        options=asdict(options),
        checksums={},
    )


def bought_in(settings: Settings, items: Sequence[str], weeks: tuple[int, int], phases: Phases) -> Interactions:
    """Every purchase of the items, some of them in the weeks that a model is tested on."""
    with phases.phase("purchases read", 0, "orders") as advance:
        bought = purchases(sources_of(settings), items, advance, partial(_say_repeats, phases))
    if not len(bought.between(*weeks)):
        raise BadInput("the archive holds no purchase of the weeks that this artifact was tested on", code="no_events")
    return bought


def _texts(trained: Trained, manifest: Manifest, bought: Interactions, means: Means | None) -> dict[str, str]:
    """The card, and the loss of every step."""
    curve = {CURVE: means.saved.curve()} if means is not None and means.saved is not None else {}
    return {CARD: _card(trained, manifest, bought), **curve}


def _card(trained: Trained, manifest: Manifest, bought: Interactions) -> str:
    begin = trained.fitted_before_ms
    runs = {one.name: [one] for one in trained.evaluations}
    return card_of(manifest, compare(runs, bought.before(begin), begin, TEMPORAL, MODEL, seed=manifest.seed))


def _files_of_new_items(
    trained: Trained, whitening: Whitening, items: ItemFeatures, encoder: Encoder
) -> dict[str, Callable[[Path], None]]:
    """What a worker makes vectors of new items with; an encoder that was fitted on this catalogue goes with it."""
    files: dict[str, Callable[[Path], None]] = {}
    if trained.fitted.cold is not None:
        cold = ColdItems(trained.fitted.cold, whitening, items.category_names, items.brand_names, items.text)
        files[COLD] = cold.save
    if isinstance(encoder, LexicalEncoder):
        files[f"{LEXICAL}.npz"] = encoder.save
    return files


def _write(
    folder: Path,
    trained: Trained,
    manifest: Manifest,
    texts: Mapping[str, str],
    files: Mapping[str, Callable[[Path], None]],
) -> Path:
    fitted = trained.fitted
    arrays = {
        "vectors": fitted.vectors,
        "popularity": fitted.popularity,
        "neighbours": fitted.neighbours,
        "neighbour_scores": fitted.neighbour_scores,
        "candidates": fitted.candidates,
    }
    return write(folder, manifest, arrays, fitted.tower, fitted.item_ids, texts, files)


def _weights_table(weights: Mapping[str, Weights]) -> Table:
    shown = Table(title="fusion weights, learned on the weeks before the test", title_justify="left", title_style="")
    shown.add_column("task")
    for name in SOURCES:
        shown.add_column(name, justify="right")
    for task, line in weights.items():
        shown.add_row(task, *(f"{getattr(line, name):g}" for name in SOURCES))
    return shown


async def catalogue_of(settings: Settings) -> dict[str, Item]:
    """The items of the tenant, as Redis has them."""
    client = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        with told_as_away("Redis"):
            items, _ = await CatalogStore(client).load(settings.tenant, range(settings.partition_count))
    finally:
        await client.aclose()
    return items


def ms_of(at: datetime) -> int:
    """A time in ms since the epoch."""
    return round(at.timestamp() * 1000)


def _say_strange(phases: Phases, lines: int) -> None:
    if lines:
        phases.say(f"{lines:,} lines of events name items that the catalogue does not have, and are passed over")


def _say_odd_prices(phases: Phases, item_ids: Sequence[str]) -> None:
    if item_ids:
        phases.say(f"{len(item_ids):,} items have a price that is no number and count as without one: {item_ids[0]!r}")


def _say_repeats(phases: Phases, repeats: int) -> None:
    if repeats:
        phases.say(f"{repeats:,} records repeat an order of the archive and are passed over")
