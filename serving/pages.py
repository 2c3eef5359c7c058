"""The pages that the process serves itself: one to try things out, one to read the interface."""

from pathlib import Path
from typing import Final

from serving import browser_script
from serving.operations import Call, Handler, Operation, Page

# Nothing from elsewhere: no scripts, styles, fonts or pictures but those in the page.
_HEADERS: Final = (
    (
        b"content-security-policy",
        b"default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'; connect-src 'self'; "
        b"img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    ),
    (b"x-content-type-options", b"nosniff"),
    (b"referrer-policy", b"no-referrer"),
)


def operations(openapi_document: bytes) -> list[Operation]:
    """The pages, the document that one of them reads, and the script for the shop's own pages."""
    pages = {"/": _page("page.html"), "/docs": _page("docs.html")}
    pages["/openapi.json"] = Page(openapi_document, "application/json")
    return [
        Operation("GET", path, "A page.", _always(page), "text/html", access="open", documented=False)
        for path, page in pages.items()
    ] + browser_script.operations()


def _page(name: str) -> Page:
    return Page(Path(__file__).with_name(name).read_bytes(), "text/html; charset=utf-8", _HEADERS)


def _always(page: Page) -> Handler:
    async def answer(_: Call) -> Page:
        return page

    return answer
