"""What a model answers for one shopper: candidates with the sources that spoke for each."""

import struct
from collections.abc import Iterable, Iterator
from typing import Final, Literal, get_args

import msgspec

Source = Literal["tower", "item_to_item", "repeat", "popular"]
SOURCES: Final[tuple[Source, ...]] = get_args(Source)
_KNOWN: Final = bytes(range(len(SOURCES)))


class Candidate(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """One item for one shopper.

    `score` is the fused score without own repeats (for lists of new items), `repeat_score` the one with them (for
    scenarios that allow repeats). `source` is the part that contributed most; `because` the item of the shopper's own
    interactions that spoke for it most among the item-to-item scores, None where none did.
    """

    item_id: str
    score: float
    repeat_score: float
    source: Source
    because: str | None = None


class Candidates(msgspec.Struct, array_like=True, frozen=True):
    """Candidates best first, column by column, as they are stored; to iterate over them makes one after the other.

    `scores` and `repeat_scores` are float32, little-endian, `sources` one byte each, its place among `SOURCES`.
    """

    item_ids: list[str]
    scores: bytes
    repeat_scores: bytes
    sources: bytes
    because: list[str | None]

    def __post_init__(self) -> None:
        """Refuse columns that do not belong together: decoding says so with a `msgspec.DecodeError`."""
        many = len(self.item_ids)
        if not 4 * many == len(self.scores) == len(self.repeat_scores) or not many == len(self.sources) == len(
            self.because
        ):
            raise ValueError("columns of candidates are of unlike length")
        if self.sources.translate(None, _KNOWN):
            raise ValueError("a candidate has a source that is not known")

    @classmethod
    def of(cls, some: Iterable[Candidate]) -> "Candidates":
        """These; their scores are rounded to float32."""
        all_ = list(some)
        form = f"<{len(all_)}f"
        return cls(
            [one.item_id for one in all_],
            struct.pack(form, *(one.score for one in all_)),
            struct.pack(form, *(one.repeat_score for one in all_)),
            bytes(SOURCES.index(one.source) for one in all_),
            [one.because for one in all_],
        )

    def __len__(self) -> int:
        return len(self.item_ids)

    def __iter__(self) -> Iterator[Candidate]:
        form = f"<{len(self.item_ids)}f"
        return map(
            Candidate,
            self.item_ids,
            struct.unpack(form, self.scores),
            struct.unpack(form, self.repeat_scores),
            map(SOURCES.__getitem__, self.sources),
            self.because,
        )

    def part(self, begin: int, end: int) -> "Candidates":
        """Those from one place to before another."""
        return Candidates(
            self.item_ids[begin:end],
            self.scores[4 * begin : 4 * end],
            self.repeat_scores[4 * begin : 4 * end],
            self.sources[begin:end],
            self.because[begin:end],
        )
