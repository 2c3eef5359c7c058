"""The script that a shop's pages load from here: `<script src="…/daogou.js" data-key="pk_…"></script>`."""

from pathlib import Path
from typing import Final

from serving.operations import Call, Operation, Page

# An hour: a mended script is in every page within it, and browsers ask in the background for another day.
_HEADERS: Final = (
    (b"cache-control", b"public, max-age=3600, stale-while-revalidate=86400"),
    (b"cross-origin-resource-policy", b"cross-origin"),
    (b"x-content-type-options", b"nosniff"),
)


def operations() -> list[Operation]:
    """The script's row of the table."""
    content = Path(__file__).with_name("browser").joinpath("daogou.js").read_bytes()
    page = Page(content, "text/javascript; charset=utf-8", _HEADERS)

    async def answer(_: Call) -> Page:
        return page

    summary = "The script for a shop's pages."
    return [Operation("GET", "/daogou.js", summary, answer, "text/javascript", access="open", documented=False)]
