"""What a comparison of two namespaces found, and how it is told."""

from pathlib import Path
from typing import Final

import msgspec

_CHANGES_NAMED: Final = 15  # the most frequent
_PARTS_NAMED: Final = 6  # of one shopper


class Change(msgspec.Struct):
    """One part of a row, or one feature, that differs: in how many shoppers, and by how much where it is a number."""

    shoppers: int = 0
    numbers: int = 0
    max_difference: float = 0.0
    sum_difference: float = 0.0

    @property
    def mean_difference(self) -> float:
        """The mean absolute difference of the numbers that differ."""
        return self.sum_difference / self.numbers if self.numbers else 0.0

    def add(self, differences: list[float]) -> None:
        """One more shopper in whom it differs."""
        self.shoppers += 1
        self.numbers += len(differences)
        self.sum_difference += sum(differences)
        self.max_difference = max([self.max_difference, *differences])


class Example(msgspec.Struct, frozen=True):
    """One shopper that differs, and in what."""

    partition: int
    tenant: str
    shopper_id: str
    what: tuple[str, ...]


class Entries(msgspec.Struct):
    """Entries of both: links of anonymous ids, statistics of items."""

    equal: int = 0
    different: int = 0
    only_one: int = 0
    only_other: int = 0

    @property
    def unequal(self) -> int:
        """Those that are not alike on both sides."""
        return self.different + self.only_one + self.only_other


class Timers(msgspec.Struct):
    """Timers of both; `passed` ones are due and gone on the side that is or was live, which fired or dropped them."""

    equal: int = 0
    different: int = 0
    only_one: int = 0
    only_other: int = 0
    passed: int = 0


class Diff(msgspec.Struct, kw_only=True):
    """The comparison of two namespaces."""

    one: str
    other: str
    both: int = 0
    only_one: int = 0
    only_other: int = 0
    rows_equal: int = 0
    rows_settled_otherwise: int = 0  # they say the same, and keep less or more of it apart as recent
    rows_different: int = 0
    features_equal: int = 0
    features_different: int = 0
    timers: Timers = msgspec.field(default_factory=Timers)
    links: Entries = msgspec.field(default_factory=Entries)
    statistics: Entries = msgspec.field(default_factory=Entries)
    changes: dict[str, Change] = msgspec.field(default_factory=dict)
    examples: list[Example] = msgspec.field(default_factory=list)
    positions: dict[str, int] = msgspec.field(default_factory=dict)  # log -> offsets that `one` is ahead

    @property
    def equal(self) -> bool:
        """Whether nothing differs; when rows were settled makes no difference."""
        timers = self.timers
        return not (
            self.only_one + self.only_other + self.rows_different + self.features_different
            + timers.different + timers.only_one + timers.only_other
            + self.links.unequal + self.statistics.unequal
        )  # fmt: skip

    def change(self, name: str, differences: list[float]) -> None:
        """Note that a part differs in one more shopper."""
        self.changes.setdefault(name, Change()).add(differences)


def lines_of(found: Diff) -> list[str]:
    """The comparison as lines; shoppers are named only as the examples that were asked for."""
    one, other, timers = found.one, found.other, found.timers
    many = found.rows_settled_otherwise
    settled = f"{many:,} equal in what they say but settled otherwise (by another version), " if many else ""
    lines = [
        f"shoppers  {found.both:,} in both, {found.only_one:,} only in {one}, {found.only_other:,} only in {other}",
        f"rows      {found.rows_equal:,} equal byte for byte, {settled}{found.rows_different:,} different",
        f"features  {found.features_equal:,} equal byte for byte, {found.features_different:,} different",
        f"timers    {timers.equal:,} equal, {timers.different:,} different, {timers.only_one:,} only in {one}, "
        f"{timers.only_other:,} only in {other}, {timers.passed:,} due and gone on one side",
    ]
    for name, entries in (("links", found.links), ("statistics", found.statistics)):
        lines.append(
            f"{name:<9} {entries.equal:,} equal, {entries.different:,} different, {entries.only_one:,} only in {one}, "
            f"{entries.only_other:,} only in {other}"
        )
    changes = sorted(found.changes.items(), key=lambda item: (-item[1].shoppers, item[0]))
    for name, change in changes[:_CHANGES_NAMED]:
        much = ""
        if change.numbers:
            much = f", by {change.max_difference:g} at most, {change.mean_difference:g} in the mean"
        lines.append(f"          {name}: in {change.shoppers:,} shoppers{much}")
    if len(changes) > _CHANGES_NAMED:
        lines.append(f"          and {len(changes) - _CHANGES_NAMED} more that differ; --json names all")
    lines += [
        f"example   {each.shopper_id} (tenant {each.tenant}, partition {each.partition}): {_few(each.what)}"
        for each in found.examples
    ]
    for log, ahead in found.positions.items():
        who, behind = (one, other) if ahead > 0 else (other, one)
        lines.append(f"note      {who} is {abs(ahead):,} offsets ahead of {behind} in the log {log}")
    lines.append("equal" if found.equal else "different")
    return lines


def _few(what: tuple[str, ...]) -> str:
    more = len(what) - _PARTS_NAMED
    return ", ".join(what[:_PARTS_NAMED]) + (f" and {more} more" if more > 0 else "")


def write_report(found: Diff, file: Path) -> None:
    """The comparison as JSON."""
    told = msgspec.to_builtins(found) | {"equal": found.equal}
    for name, change in found.changes.items():
        told["changes"][name]["mean_difference"] = change.mean_difference
    file.write_bytes(msgspec.json.format(msgspec.json.encode(told), indent=2) + b"\n")
