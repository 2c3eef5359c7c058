"""Enriched items, kept in the data folder by a hash of what was read and by whom: one SQLite file for each tenant.

A row is written whole when its item is done, so a run that is killed has lost nothing, and the next one goes on. Two
items with the same texts share a row.
"""

import sqlite3
from collections.abc import Iterable
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Final, Self

import msgspec

from features.catalog import EnrichedItem
from infra.errors import Refused

_FORMAT: Final = 1
_SCHEMA: Final = """
create table if not exists enriched (
  key text primary key,       -- of all that was read, and of who read it
  content text not null,      -- of what the merchant says
  rank integer not null,      -- 1 by a model, 0 by rules
  made_ms integer not null,
  fallback text not null,     -- why rules made it though a model was to
  item blob not null
) without rowid;
create index if not exists by_content on enriched (content);
"""
_MANY: Final = 500
_WAIT_S: Final = 30.0

_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(EnrichedItem)


class EnrichmentStore:
    """The one writer and reader of that file.

    Raises:
        Refused: the file is none of ours, or another version's (`enrichment_broken`).
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = folder / "enriched.sqlite"
        self._db = sqlite3.connect(self._file, timeout=_WAIT_S, isolation_level=None)
        try:
            (found,) = self._db.execute("pragma user_version").fetchone()
            if found not in (0, _FORMAT):
                raise sqlite3.DatabaseError(f"format {found}")
            self._db.execute("pragma journal_mode = wal")
            self._db.executescript(_SCHEMA)
            self._db.execute(f"pragma user_version = {_FORMAT}")
        except sqlite3.DatabaseError as error:
            self._db.close()
            raise Refused(
                f"{self._file} cannot be read ({error}): move it away, and daogou enrich makes it anew",
                path="data_dir",
                code="enrichment_broken",
            ) from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._db.close()

    def put(self, key: str, content: str, item: EnrichedItem, *, rank: int, made_ms: int) -> None:
        """Keep one item, in the place of what was there under its key; it is safe when this returns."""
        row = (key, content, rank, made_ms, item.fallback, _encoder.encode(item))
        self._db.execute("insert or replace into enriched values (?, ?, ?, ?, ?, ?)", row)

    def kept(self, keys: Iterable[str]) -> dict[str, str]:
        """Those of the keys that are there, and why rules made them, if they did so in a model's place."""
        wanted = list(dict.fromkeys(keys))
        found: dict[str, str] = {}
        for at in range(0, len(wanted), _MANY):
            some = wanted[at : at + _MANY]
            query = f"select key, fallback from enriched where key in ({','.join('?' * len(some))})"
            with closing(self._db.execute(query, some)) as rows:
                found.update(rows)
        return found

    def of_contents(self, contents: Iterable[str]) -> dict[str, EnrichedItem]:
        """What is known of each content: a model's word before that of rules, then the newest."""
        wanted = list(dict.fromkeys(contents))
        found: dict[str, EnrichedItem] = {}
        for at in range(0, len(wanted), _MANY):
            some = wanted[at : at + _MANY]
            query = (
                f"select content, item from enriched where content in ({','.join('?' * len(some))}) "
                "order by rank, made_ms, key"
            )
            with closing(self._db.execute(query, some)) as rows:
                found.update((content, _decoder.decode(item)) for content, item in rows)
        return found


def stored(folder: Path) -> bool:
    """Whether anything was ever enriched there."""
    return (folder / "enriched.sqlite").exists()
