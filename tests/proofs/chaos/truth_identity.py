"""The truth about who is who: what a device's events come to, what is handed over to whom, and what users make of it.

Of the records in which the project hands histories over, the truth reads ids and places on the log alone, never what
they carry: that follows from the device's own records. It knows no unlinking; no more than a window of the lateness
passes between the first and the last event of whoever is linked.
"""

from collections import Counter
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple

from tests.proofs.chaos.truth_fold import DAY_MS, Admission, Happened
from tests.proofs.chaos.truth_statistics import Change, changes

_SHARED_FROM: Final = 3
_SHARED_WITHIN_MS: Final = 30 * DAY_MS


class Linked(NamedTuple):
    """By which login, of whom, from when on."""

    link_id: str
    user: str
    since: int


class Entry(NamedTuple):
    """One record of a shopper: an event of theirs, or one about who is who; `event_id` tells hand-overs apart."""

    offset: int
    name: str
    event_id: str
    event: Happened | None
    link: Linked | None


class HandedOver(NamedTuple):
    """What one record hands over: a history, or one event `alone`."""

    user: str
    link_id: str
    events: tuple[Happened, ...]
    alone: bool


@dataclass
class Tally:
    """What became of the records, and what they change of which item, by offset."""

    became: Counter[str] = field(default_factory=Counter)
    changes: list[tuple[int, Change]] = field(default_factory=list)

    def admit(self, row: Admission, entry: Entry, event: Happened) -> None:
        """An event of the shopper's own."""
        if row.verdict(event) == "applied":
            self.changes += [(entry.offset, one) for one in changes(row, event)]
            row.offsets = []
        row.offsets.append(entry.offset)
        self.became[row.meet(event)] += 1


def id_of(*words: str) -> str:
    """The id that follows from these words."""
    return blake2b("\x1f".join(words).encode(), digest_size=16).hexdigest()


@dataclass
class Device:
    """An anonymous id that somebody logged in on; `handed` is what goes to users, by the id of its record."""

    lateness_ms: int
    row: Admission
    spans: list[tuple[int, str, str | None]] = field(default_factory=list)
    logins: list[Linked] = field(default_factory=list)
    handed: dict[str, HandedOver] = field(default_factory=dict)

    def hear(self, entry: Entry, tally: Tally) -> None:
        """The next record of its partition."""
        if entry.link is not None:
            tally.became["links"] += 1
            self._login(entry, entry.link)
            return
        assert entry.event is not None, "an event, or a link"
        owner = self._owner(entry.event.at)
        if owner is None:
            tally.admit(self.row, entry, entry.event)
            return
        tally.became["handed_on"] += 1
        self.row.offsets.append(entry.offset)
        _, link_id, user = owner
        of = f"step:{id_of(entry.event.source, entry.event.event_id)}"
        self._hand_over(user or "", link_id, of, (entry.event,), alone=True)

    def _owner(self, at: int) -> tuple[int, str, str | None] | None:
        if not self.spans:
            return None
        before = [span for span in self.spans if span[0] <= at]
        span = before[-1] if before else self.spans[0]
        return None if span[2] is None else span

    def _login(self, entry: Entry, link: Linked) -> None:
        if any(one.link_id == link.link_id for one in self.logins):
            self.row.offsets.append(entry.offset)
            return
        self.row.offsets = [entry.offset]
        self.logins.append(link)
        shared = any(user is None for _, _, user in self.spans)
        users = {one.user for one in self.logins if link.since - _SHARED_WITHIN_MS < one.since <= link.since}
        before = [span for span in self.spans if span[0] <= link.since]
        if len(users) >= _SHARED_FROM:
            if not (before and before[-1][2] is None):
                self.spans = sorted([*self.spans, (link.since, link.link_id, None)])
                if not self.row.admitted:  # it begins anew
                    self.row = Admission(self.lateness_ms, told=True, offsets=[entry.offset])
        elif not (before and before[-1][2] == link.user):
            self.spans = sorted([*self.spans, (link.since, link.link_id, link.user)])
            if not shared:
                self._hand_over(link.user, link.link_id, link.link_id, tuple(self.row.admitted), alone=False)
                newest = max(self.row.newest, link.since)
                self.row = Admission(self.lateness_ms, newest=newest, told=True, offsets=[entry.offset])
        self.row.linked_to = self.spans[-1][2]

    def _hand_over(self, user: str, link_id: str, of: str, events: tuple[Happened, ...], *, alone: bool) -> None:
        self.handed[id_of("shopper_absorbed", link_id, of, "0")] = HandedOver(user, link_id, events, alone)


@dataclass
class User:
    """Somebody who takes histories over; `sources` is what came by each link, as if it were alone."""

    lateness_ms: int
    row: Admission
    sources: dict[str, Admission] = field(default_factory=dict)
    taken: set[str] = field(default_factory=set)

    def hear(self, entry: Entry, handed: dict[str, HandedOver], tally: Tally) -> None:
        """The next record of the user's partition."""
        if entry.name == "shopper_absorbed":
            tally.became["absorbed"] += 1
            if (come := handed.get(entry.event_id)) is not None:  # one that must not be is told elsewhere
                self._absorb(entry, come, tally)
            return
        assert entry.event is not None, "an event of the user's"
        if entry.link is None:
            tally.admit(self.row, entry, entry.event)
        else:
            tally.became[self._alone(entry, entry.link.link_id, entry.event, tally)] += 1

    def _absorb(self, entry: Entry, come: HandedOver, tally: Tally) -> None:
        self.row.told = True
        if come.alone:
            self._alone(entry, come.link_id, come.events[0], tally)
            return
        if entry.event_id in self.taken:
            self.row.offsets.append(entry.offset)
            return
        self.taken.add(entry.event_id)
        self.row.offsets = [entry.offset]
        for event in come.events:
            self._source(come.link_id).meet(event)
            self.row.meet(event)

    def _alone(self, entry: Entry, link_id: str, event: Happened, tally: Tally) -> str:
        verdict = self._source(link_id).meet(event)
        if verdict == "applied":
            tally.changes += [(entry.offset, one) for one in changes(self.row, event)]
            self.row.meet(event)
            self.row.offsets = []
        self.row.offsets.append(entry.offset)
        return verdict

    def _source(self, link_id: str) -> Admission:
        return self.sources.setdefault(link_id, Admission(self.lateness_ms))
