"""`daogou demo` itself: prepare the shop, tell the visit, measure, and stay up."""

import time
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.markup import escape

from infra.clock import clock_from
from infra.embedded.outside import Outside
from infra.settings import Settings
from streams.demo.figures import Figures, measure_changes, measure_page_views
from streams.demo.shop import PreparedShop, next_visit, prepared_shop, shift_file
from streams.demo.site import Site
from streams.demo.visit import StoryBroken, Visit, cast_of
from streams.one_shop import OneShop
from streams.stop_signals import StopSignals
from streams.supervisor import kept

_POLL_S: Final = 0.5
_GUEST: Final = "a-visitor-of-your-own"


def demo_command(
    settings: Settings, signals: StopSignals, held: OneShop, *, once: bool = False, json_file: Path | None = None
) -> None:
    """The whole demo.

    Args:
        settings: Kafka and Redis may be empty: embedded ones are started and ended.
        signals: of this process; the shop is told of those that come while it ends.
        held: the data folder, by this process.
        once: end after the story instead of staying up.
        json_file: where the figures are written.

    Raises:
        StoryBroken: a step of the visit did not turn out as it should; raised at the end, the shop stays up before.
    """
    console = Console(highlight=False, soft_wrap=True)
    figures = Figures()
    begin = time.monotonic()
    starting = False
    try:
        with Outside(settings) as outside:
            starting = True
            with prepared_shop(outside, figures, console, signals) as shop:
                held.opened(shop.url)
                broken = _tell(shop, figures, console)
                figures.seconds["all"] = round(time.monotonic() - begin, 1)
                _write(figures, json_file, console)
                if not once:
                    _stay(shop, console, broken)
                if broken is not None:
                    raise broken
    finally:
        for line in kept(settings) if starting else ():
            console.print(line)


def _write(figures: Figures, json_file: Path | None, console: Console) -> None:
    if json_file is not None:
        json_file.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=2) + b"\n")
        console.print(f"\nfigures in {json_file}")


def _tell(shop: PreparedShop, figures: Figures, console: Console) -> StoryBroken | None:
    """The visit and the latencies; what went wrong in the story."""
    settings = shop.settings
    site = Site(shop.host, shop.port, clock_from(settings.clock_shift_file))
    names = shop.shoppers
    cast = cast_of(next_visit(settings), names, settings.tenant, settings.partition_count)
    console.print("\n[bold]A visit[/bold]")
    visit = Visit(site, console, shift_file(settings), settings.cart_abandoned_s, log_file=shop.log_file)
    broken: StoryBroken | None = None
    with figures.stage("visit"):
        try:
            visit.tell(cast)
        except StoryBroken as error:
            broken = error
    with figures.stage("latencies"):
        figures.page_view = measure_page_views(site, list(names))
        figures.event_to_changed_list = measure_changes(site, site.visitors(len(names)), shop.items)
    for line in _latencies(figures):
        console.print(line)
    return broken


def _latencies(figures: Figures) -> list[str]:
    page, change = figures.page_view, figures.event_to_changed_list
    if page is None or change is None:
        return []
    lines = [
        f"\npage view p50 {page.p50_ms} ms, p99 {page.p99_ms} ms; "
        f"event to changed list p50 {change.p50_ms} ms, p99 {change.p99_ms} ms (one client, one call after the other)"
    ]
    if change.stale or change.unchanged:
        lines.append(
            f"of {change.calls} clicks {change.stale} were not in the list in time and {change.unchanged} did not "
            "change it: these are in no figure"
        )
    return lines


def _stay(shop: PreparedShop, console: Console, broken: StoryBroken | None, pause_s: float = _POLL_S) -> None:
    """Until Ctrl-C.

    Raises:
        StoryBroken: Ctrl-C has come, and the story had broken.
    """
    if broken is not None:
        console.print(f"\n[bold red]{escape(broken.message)}[/bold red]")
        console.print("The shop stays up all the same, so that you can look; the status will be 1.")
    _invite(shop, console)
    try:
        while True:
            time.sleep(pause_s)
            shop.check()
    except KeyboardInterrupt:
        if broken is not None:
            raise broken from None
        raise


def _invite(shop: PreparedShop, console: Console) -> None:
    """How to try it, by a visitor who is none of the story's."""
    url, item = shop.url, shop.items[0]
    post = f"curl -s {url}/v1/%s -H 'Content-Type: application/json' -d"
    event = (
        f'{{"event_id": "mine-\'$(date +%s%N)\'", "event_name": "view_item", "occurred_at": "\'$(date -u +%FT%TZ)\'", '
        f'"anonymous_id": "{_GUEST}", "items": [{{"item_id": "{item}"}}]}}'
    )
    asked = f'{{"anonymous_id": "{_GUEST}", "count": 5, "include_properties": ["name", "price"]}}'
    console.print(f"\n[bold]Try it[/bold]: {url}/ in a browser, or", markup=True)
    for line in (
        f"  {post % 'recommendations'} '{asked}'",
        f"  {post % 'events'} '{event}'",
        f"  curl -s {url}/v1/items/{item}/similar",
        f"  curl -s {url}/v1/triggers",
    ):
        console.print(line, markup=False)
    console.print("Ctrl-C ends everything.")
