"""`daogou models shadow`: a candidate beside the model in service, on live traffic."""

import asyncio
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table

from infra.redis import address, connect
from models.shadow import Order, shadowed
from streams.shadow_counts import Counts, ShadowCounts

if TYPE_CHECKING:
    from infra.settings import Settings

_REDIS_TIMEOUT_MS = 5_000


def report(settings: "Settings", console: Console) -> None:
    """What became of the candidate that is tried, so far.

    Raises:
        ArtifactBroken: the order cannot be read.
        RedisAway.
    """
    order = shadowed(settings.models_dir)
    if order is None:
        console.print("no candidate is tried: daogou models shadow VERSION tries one")
        return
    by = f" by {order.by}" if order.by else ""
    console.print(f"{order.version} is tried on {order.share:.3g} of the shoppers since {order.at:%Y-%m-%d %H:%M}{by}")
    counts = asyncio.run(_counts(settings, order))
    if not counts:
        console.print("no list yet: workers take the order up within seconds, and tell figures every few seconds")
    for version, of_it in counts.items():
        console.print(_table(version, of_it))


async def _counts(settings: "Settings", order: Order) -> dict[str, Counts]:
    client = await connect(settings.redis, _REDIS_TIMEOUT_MS)
    try:
        return await ShadowCounts(client, address(settings.redis)).read(order.name)
    finally:
        await client.aclose()


def _table(version: str, counts: Counts) -> Table:
    shown = Table(title=f"beside {version}", title_justify="left", title_style="", show_header=False)
    low, high = counts.lead
    lines = {
        "lists": f"{counts.lists:,.0f} made, {counts.passed_over:,.0f} passed over, {counts.failed:,.0f} failed",
        "overlap@20": f"{counts.overlap:.3f}",
        "next items known": f"{counts.judged:,.0f}",
        "among the first 20": f"{counts.shadow_hits:.4f}, in service {counts.live_hits:.4f}",
        "lead, 95 %": f"{low:+.4f} to {high:+.4f}" if counts.judged else "unknown",
        "processor time a list": _ms(counts.cpu_s, counts.lists)
        + f", in service {_ms(counts.live_cpu_s, counts.live_lists)}",
    }
    for name, text in lines.items():
        shown.add_row(name, text)
    return shown


def _ms(seconds: float, lists: float) -> str:
    return f"{1000 * seconds / lists:.2f} ms" if lists else "unknown"
