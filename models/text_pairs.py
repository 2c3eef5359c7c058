"""Pairs of texts that belong together in this shop: a search and what was chosen, items bought together."""

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import numpy as np

from features.events import Event, event_time_ms, record_key_of
from infra.errors import BadInput, NotFound, Undecodable
from models.interactions import Interactions

_CHOSEN_WITHIN_MS: Final = 30 * 60_000
_MOST_OF_ORDER: Final = 20
MOST_PAIRS: Final = 200_000
_SCALE: Final = 1 << 32


_Struct = TypeVar("_Struct", bound=msgspec.Struct)


class _Line(msgspec.Struct, forbid_unknown_fields=True):
    query: str
    text: str


@dataclass(frozen=True, slots=True)
class Pairs:
    """`left[i]` belongs to `right[i]`. Alike: both sides are items, so each pair says the same both ways."""

    left: tuple[str, ...]
    right: tuple[str, ...]
    alike: bool = False

    def __len__(self) -> int:
        return len(self.left)

    def held_out(self, share: float, seed: int) -> tuple["Pairs", "Pairs"]:
        """What is learned from, and what is not. No query is on both sides, nor a pair of items in either order."""
        keys = ["\n".join(sorted(pair)) if self.alike else pair[0] for pair in zip(self.left, self.right, strict=True)]
        held = [_drawn(key, seed) < share for key in keys]
        return self._where([not one for one in held]), self._where(held)

    def _where(self, keep: Sequence[bool]) -> "Pairs":
        chosen = [at for at, one in enumerate(keep) if one]
        return Pairs(tuple(self.left[at] for at in chosen), tuple(self.right[at] for at in chosen), self.alike)


def bought_together(bought: Interactions, texts: Sequence[str]) -> Pairs:
    """Items of one order, each pair once, the most often bought first; texts are by the item's index.

    Of a longer order its first 20 items count; items with the same text are no pair.
    """
    place = np.argsort(bought.order, kind="stable")
    counted = Counter[tuple[int, int]]()
    for _, rows in groupby(place.tolist(), key=lambda row: int(bought.order[row])):
        items = sorted({int(bought.item[row]) for row in rows})[:_MOST_OF_ORDER]
        counted.update(combinations(items, 2))
    return of_items((pair for pair, _ in sorted(counted.items(), key=lambda one: (-one[1], one[0]))), texts)


def of_items(pairs: Iterable[tuple[int, int]], texts: Sequence[str]) -> Pairs:
    """Pairs of items by their index, as texts."""
    named = ((texts[one], texts[other]) for one, other in pairs)
    return _made(((one, other) for one, other in named if one != other), alike=True)


def asked_and_chosen(events: Iterable[Event], texts: Mapping[str, str]) -> Pairs:
    """What a shopper searched for, and what they chose within 30 minutes after it; texts are by item id.

    A search ends the one before it. Events are in the order of the log.
    """
    asked: dict[str, tuple[str, int]] = {}
    found: list[tuple[str, str]] = []
    for event in events:
        who, at = record_key_of(event), event_time_ms(event)
        if event.event_name == "search" and event.search_term is not None:
            asked[who] = (event.search_term.strip(), at)
        elif event.event_name == "select_item" and who in asked:
            term, since = asked[who]
            if 0 <= at - since <= _CHOSEN_WITHIN_MS:
                found.extend((term, texts[line.item_id]) for line in event.items if line.item_id in texts)
    return _made(found, alike=False)


def pairs_of(file: Path) -> Pairs:
    """The pairs of a file of JSON lines: `{"query": "红茶", "text": "正山小种 红茶 250g"}`.

    Raises:
        NotFound: there is no such file.
        Undecodable: a line is no such object; the message says which.
    """
    return _made(((line.query, line.text) for line in lines_of(file, _Line)), alike=False)


def lines_of(file: Path, kind: type[_Struct]) -> list[_Struct]:
    """A file of JSON lines; empty lines are passed over.

    Raises:
        NotFound: there is no such file.
        Undecodable: a line is no such object; the message says which.
    """
    if not file.is_file():
        raise NotFound(f"there is no file {file}", path=str(file))
    decoder = msgspec.json.Decoder(kind)
    out = []
    with file.open("rb") as raw:
        for number, line in enumerate(raw, 1):
            if not line.strip():
                continue
            try:
                out.append(decoder.decode(line))
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise Undecodable(
                    f"{file}, line {number}: {error}; each line is an object with "
                    + " and ".join(f'"{name}"' for name in kind.__struct_fields__),
                    path=f"line {number}",
                ) from None
    return out


def enough(pairs: Pairs, least: int, what: str) -> Pairs:
    """The pairs as they are.

    Raises:
        BadInput: there are too few to learn from (`too_few_pairs`).
    """
    if len(pairs) < least:
        raise BadInput(f"{len(pairs)} {what}: {least} are the least to learn from", code="too_few_pairs")
    return pairs


def _made(found: Iterable[tuple[str, str]], *, alike: bool) -> Pairs:
    """Each pair once, without those that have no text on one side; at most 200,000."""
    distinct = [pair for pair in dict.fromkeys((left.strip(), right.strip()) for left, right in found) if all(pair)][
        :MOST_PAIRS
    ]
    return Pairs(tuple(left for left, _ in distinct), tuple(right for _, right in distinct), alike)


def _drawn(key: str, seed: int) -> float:
    """0 to 1, the same for the same key and seed."""
    digest = hashlib.blake2b(key.encode(errors="replace"), digest_size=4, salt=seed.to_bytes(8, "little")).digest()
    return int.from_bytes(digest, "little") / _SCALE
