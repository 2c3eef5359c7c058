"""Google Merchant feeds in XML, RSS `item` or Atom `entry`, read as a stream.

A document type is refused before anything in it is looked at: no entity is ever declared, so none can unfold.
"""

from collections.abc import Iterator
from typing import IO, Final
from xml.parsers import expat

from infra.errors import BadInput

_ROWS: Final = frozenset({"item", "entry"})
_CHUNK: Final = 1 << 16
_MAX_TEXT: Final = 20_000
_MAX_FIELDS: Final = 200
_MAX_DEPTH: Final = 20

Row = tuple[int, dict[str, str]]


def feed_rows(raw: IO[bytes]) -> Iterator[Row]:
    """The entries of a feed: the line that each begins in, and its texts by element name.

    Raises:
        BadInput: it is no well-formed XML, or declares a document type.
    """
    feed = _Feed()
    end = False
    while not end:
        chunk = raw.read(_CHUNK)
        end = not chunk
        feed.take(chunk, end)
        yield from feed.rows
        feed.rows.clear()


class _Feed:
    """The state between two chunks."""

    def __init__(self) -> None:
        self.rows: list[Row] = []
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartDoctypeDeclHandler = self._doctype
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._row: dict[str, str] | None = None
        self._line = 0
        self._path: list[str] = []
        self._row_depth = 0
        self._text: list[str] = []
        self._length = 0

    def take(self, chunk: bytes, end: bool) -> None:
        try:
            self._parser.Parse(chunk, end)
        except expat.ExpatError as error:
            raise BadInput(f"the feed is no well-formed XML: {error}", code="not_xml") from None

    def _doctype(self, *_: object) -> None:
        raise BadInput("the feed declares a document type, which is not read; remove it", code="doctype")

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        name = name.rpartition(" ")[2]
        self._path.append(name)
        if len(self._path) > _MAX_DEPTH:
            raise BadInput("elements are nested too deep for a feed", code="not_a_feed")
        if self._row is None and name in _ROWS:
            self._row, self._row_depth = {}, len(self._path)
            self._line = self._parser.CurrentLineNumber
        elif self._row is not None and name == "link" and "href" in attributes:
            self._row.setdefault("link", attributes["href"])
        self._text, self._length = [], 0

    def _characters(self, text: str) -> None:
        self._length += len(text)
        if self._length <= _MAX_TEXT:
            self._text.append(text)

    def _end(self, _: str) -> None:
        depth, name = len(self._path), self._path.pop()
        if self._row is None:
            return
        if depth == self._row_depth:
            self.rows.append((self._line, self._row))
            self._row = None
        elif depth == self._row_depth + 1:
            self._field(name)
        self._text, self._length = [], 0

    def _field(self, name: str) -> None:
        """What stands twice (further images, several types) is taken the first time."""
        text = "".join(self._text).strip()
        if self._length > _MAX_TEXT:
            text = "x" * _MAX_TEXT  # over every bound: the row is refused by it
        if text and self._row is not None and len(self._row) < _MAX_FIELDS:
            self._row.setdefault(name.lower(), text)
