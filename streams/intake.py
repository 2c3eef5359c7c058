"""The first half of a load: read a source through its mapping, put its events in order, gather its items."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Final

import msgspec

from features import catalog
from features.catalog import FacetRecord, Item
from features.events import MAX_AGE_MS, Event, to_ms
from features.refusals import UNREADABLE, located, refusal
from infra.errors import BadInput
from streams.items import read_items
from streams.load_report import Tally
from streams.mappings.origin import Origin
from streams.mappings.outcomes import Described, Outcome, Refused, Repeated, Taken, Undescribed
from streams.mappings.outcomes import Mapping as SourceMapping
from streams.spool import Chosen, Spool

_EVERY: Final = 1000
# The bounds of types alone; what else makes an event sound (money, times, items) is every mapping's own duty.
_decoder: Final = msgspec.json.Decoder(Event)

Advance = Callable[[int], None]


@dataclass(slots=True)
class Intake:
    """What was read: events in the spool, items by id, and the count of everything else."""

    spool: Spool
    tally: Tally = field(default_factory=Tally)
    items: dict[str, Described] = field(default_factory=dict)

    def read_source(self, mapping: SourceMapping, origin: Origin, advance: Advance) -> None:
        """Read the source to its end; `advance` hears of lines."""
        lines = 0
        for outcome in mapping.outcomes(origin):
            lines += self._take(outcome)
            if lines >= _EVERY:
                advance(lines)
                lines = 0
        advance(lines)

    def read_catalogue(self, path: Path, advance: Advance) -> None:
        """Read a catalogue file; a facet in it counts for more than what the source tells of the item."""
        for outcome in read_items(path):
            self._take(outcome)
            advance(1)

    def records(self, tenant: str) -> list[FacetRecord]:
        """The items as records of the catalogue's log; what breaks its rules is counted and left out."""
        records: list[FacetRecord] = []
        for described in self.items.values():
            try:
                for record in described.records(tenant):
                    catalog.decode_record(None, catalog.encode_record(record))
                    records.append(record)
            except BadInput as error:
                detail = f"item {described.item_id}: {error.path} {error.message}"
                self.tally.leave(Undescribed(error.reason, 0, detail))
        return records

    def _take(self, outcome: Outcome) -> int:
        """Put an outcome where it belongs; how many lines of the source it stands for."""
        match outcome:
            case Taken(event, lines):
                self.spool.put(event, lines)
                return lines
            case Refused():
                self.tally.refuse(outcome)
                return outcome.lines
            case Repeated(lines):
                self.tally.repeated += lines
                return lines
            case Described():
                self._describe(outcome)
            case Undescribed():
                self.tally.leave(outcome)
        return 0

    def _describe(self, told: Described) -> None:
        known = self.items.get(told.item_id)
        if known is not None:
            told = Described(
                told.item_id,
                told.content or known.content,
                told.price or known.price,
                told.stock or known.stock,
            )
        self.items[told.item_id] = told


@dataclass(slots=True)
class Ready:
    """The events of a load, one after the other, as they go on the log."""

    intake: Intake
    chosen: Chosen
    stored: Mapping[str, Item]
    events: int = 0
    lines: int = 0

    def __iter__(self) -> Iterator[Event]:
        """Each event checked, moved in time, completed from the catalogue; what is refused is counted."""
        self.events = self.lines = 0
        items = {item_id: _merged(told, self.stored.get(item_id)) for item_id, told in self.intake.items.items()}
        moved = timedelta(days=self.chosen.moved_days)

        def lookup(item_id: str) -> Item | None:
            return items.get(item_id) or self.stored.get(item_id)

        for raw, lines in self.intake.spool.read(self.chosen):
            try:
                event = _checked(raw, moved)
            except BadInput as error:
                self.intake.tally.refuse(Refused(error.reason, 0, lines, located(error)))
                continue
            self.events += 1
            self.lines += lines
            yield catalog.complete(event, lookup) if _lacks(event) else event


def _checked(raw: bytes, moved: timedelta) -> Event:
    try:
        event = _decoder.decode(raw)
    except UNREADABLE as error:
        raise refusal(error, Event) from None
    if moved:
        event = msgspec.structs.replace(event, occurred_at=event.occurred_at + moved)
    received = event.received_at
    if event.load_id is None and received and to_ms(event.occurred_at) < to_ms(received) - MAX_AGE_MS:
        raise BadInput(
            "a live event is at most 30 days old; load history without --live",
            path="occurred_at",
            code="too_old",
        )
    return event


def _merged(told: Described, stored: Item | None) -> Item:
    """The item as it will be when the load is done: a facet that is not told stays."""
    item = told.item()
    if stored is None:
        return item
    held = {facet: getattr(item, facet) for facet in catalog.facets_of(item)}
    return msgspec.structs.replace(stored, **held)


def _lacks(event: Event) -> bool:
    return any(not (line.category and line.brand and line.price is not None) for line in event.items)
