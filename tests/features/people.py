"""Rows of a few shoppers and the records between them, in memory: a log for each shopper, applied in its order."""

from collections.abc import Sequence
from dataclasses import dataclass, field

from features.events import Event, EventItem, EventName, decode, encode, shopper_id
from features.identity import fold_entries, linked_of, unlinked
from features.links import Whose, entry_of, time_of
from features.shoppers import Row, empty
from features.shoppers import decode as unpack
from features.shoppers import encode as pack
from tests.features.steps import LATENESS, T

MINUTE = 60_000
DAY = 24 * 60  # minutes
PHONE, ANN, BOB, CAT = "phone", "ann", "bob", "cat"


def event(
    name: EventName,
    *items: str,
    minute: float = 0,
    anonymous_id: str | None = None,
    user_id: str | None = None,
    event_id: str | None = None,
) -> Event:
    """An event at a minute after T, received at once."""
    at = time_of(T + round(minute * MINUTE))
    return Event(
        event_name=name,
        event_id=event_id or f"{anonymous_id}-{user_id}-{name}-{'-'.join(items)}-{minute}",
        occurred_at=at,
        received_at=at,
        anonymous_id=anonymous_id,
        user_id=user_id,
        items=tuple(EventItem(item_id=item, category="tea") for item in items),
    )


def login(device: str, user: str, minute: float) -> Event:
    """A login on a device."""
    return event("identify", minute=minute, anonymous_id=device, user_id=user)


def seen(*items: str, minute: float, user: str | None = None, device: str | None = PHONE) -> Event:
    """Somebody looks at items on a device."""
    return event(
        "view_item", *items, minute=minute, anonymous_id=device, user_id=user, event_id=f"{items[0][:40]}-{minute}"
    )


def undo(device: str, user: str, minute: float) -> Event:
    """An operator undoes a link."""
    return unlinked("default", device, user, T + round(minute * MINUTE))


@dataclass
class People:
    """`repeats`: how often each effect reaches the log, as after crashes of whoever sends it."""

    repeats: int = 1
    logs: dict[str, list[Event]] = field(default_factory=dict)
    rows: dict[str, Row] = field(default_factory=dict)
    applied: dict[str, int] = field(default_factory=dict)
    counts: dict[str, list[int]] = field(default_factory=dict)
    counted: list[str] = field(default_factory=list)  # ids of the events that the statistics of items would count

    def tell(self, *events: Event) -> None:
        """Put events on the logs; a login also on that of the device, as the collector does. Nothing is applied."""
        for one in events:
            linked = linked_of(one)
            for each in (one, *([linked] if linked else [])):
                self.logs.setdefault(shopper_id(each), []).append(decode(encode(each)))

    def apply(self, whose: str, most: int | None = None) -> bool:
        """Apply what one shopper's log has, as one batch; whether there was something."""
        done = self.applied.get(whose, 0)
        batch = self.logs.get(whose, [])[done : None if most is None else done + most]
        if not batch:
            return False
        out = fold_entries(self.row(whose), Whose("default", whose), [entry_of(one) for one in batch], LATENESS)
        self.rows[whose] = unpack(pack(out.row))
        self.applied[whose] = done + len(batch)
        totals = self.counts.setdefault(whose, [0, 0, 0])
        self.counts[whose] = [a + b for a, b in zip(totals, out[1:4], strict=True)]
        self.counted += [step.event_id for _, steps in out.counted for step in steps]
        for _ in range(self.repeats):
            self.tell(*out.effects)
        return True

    def settle(self) -> "People":
        """Apply everything, until nothing more comes of it."""
        while sum(self.apply(whose) for whose in sorted(self.logs)):
            pass
        return self

    def said(self, *events: Event) -> "People":
        """Tell and settle."""
        self.tell(*events)
        return self.settle()

    def row(self, whose: str) -> Row:
        """A shopper's row."""
        return self.rows.get(whose, empty())

    def bytes_of(self, whose: str) -> bytes:
        """A row without what it knows of identities."""
        row = self.row(whose)
        return pack(Row(row.state, row.floor, row.recent, row.settled))

    def met(self, whose: str) -> list[str]:
        """The items that a shopper turned to."""
        return [one.item_id for one in self.row(whose).state.interactions]


def alone(whose: str, events: Sequence[Event]) -> bytes:
    """The row of somebody who did all this under one id and was never linked, in event-time order."""
    steps = sorted((entry_of(one) for one in events), key=lambda step: step.at)
    return pack(fold_entries(empty(), Whose("default", whose), steps, LATENESS).row)
