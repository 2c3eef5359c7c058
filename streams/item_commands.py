"""The commands for items. Imported by the command line; each imports what it needs itself."""

from typing import Annotated

import typer

from streams.terminal import DataDir, say, settings_from

items_app = typer.Typer(no_args_is_help=True, rich_markup_mode=None)


@items_app.callback()
def items() -> None:
    """Items of the catalogue, and who watches them."""


@items_app.command("watchers", epilog="Example: daogou items watchers 1082185 --shoppers 10")
def items_watchers(
    item_id: Annotated[str, typer.Argument(metavar="ITEM", help="The item's id.")],
    days: Annotated[int, typer.Option(min=1, max=3650, help="Who looked at it longer ago does not count.")] = 30,
    shoppers: Annotated[int, typer.Option(min=0, max=1000, help="Name so many of them, the newest first.")] = 0,
    data_dir: DataDir = None,
) -> None:
    """Tell how many shoppers watch an item, by partition.

    They have it in the cart or on the wish list, or looked at it lately. They are whom a change of its price or stock
    concerns.
    """
    from infra.clock import DAY_MS, clock_from
    from infra.embedded.outside import Outside
    from streams.item_watching import watchers_told

    with Outside(settings_from(data_dir=data_dir)) as settings:
        since_ms = clock_from(settings.clock_shift_file).now_ms() - days * DAY_MS
        for line in watchers_told(settings, item_id, since_ms, shoppers):
            say(line)
