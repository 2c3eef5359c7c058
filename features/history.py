"""The past of every feature: the events of the archive folded once more, in the order of the log.

One row for each event that changed a shopper: what was known online right after it. Its event time is that of the
newest event it knows of, so a straggler's row does not pretend that the later events were known at its time; and it
came to be known when the event was received, or, for loaded history, when it happened.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from features.aggregates import shopper_values
from features.events import Event, event_time_ms, received, record_key_of, shopper_id, to_ms
from features.feature_log import FeatureLog
from features.identity import Entry, fold_entries
from features.item_changes import changes_of, review_changes, review_of
from features.item_statistics import ItemCounter
from features.links import Whose, entry_of
from features.shoppers import Row, empty
from infra.errors import BadInput

_PROGRESS_EVERY: Final = 2000


@dataclass(slots=True)
class Counts:
    """What became of the archive's events, each once in all but `shoppers` and `item_rows`, save that what one device
    handed over counts by its events. `of_catalogue` concerns no shopper, `undecodable` ones are among the dead letters.
    """

    events: int = 0
    rows: int = 0
    duplicates: int = 0
    late: int = 0
    undecodable: int = 0
    of_catalogue: int = 0
    unchanged: int = 0
    shoppers: int = 0
    item_rows: int = 0


class History:
    """Folds events into the behaviour log and the item counter. Every shopper's row stays in memory."""

    def __init__(self, behaviour: FeatureLog, items: ItemCounter, lateness_ms: int) -> None:
        self._behaviour = behaviour
        self._items = items
        self._lateness_ms = lateness_ms
        self._rows: dict[str, Row] = {}
        self._known_us: dict[str, int] = {}
        self.counts = Counts()

    def take(self, records: Iterable[tuple[bytes, int]], progress: Callable[[int], None]) -> None:
        """Fold the log's records (bytes, time of receipt), in its order; `progress` hears how many so far."""
        for raw, received_ms in records:
            self.counts.events += 1
            try:
                event = received(raw, received_ms)
                if not shopper_id(event):
                    self.counts.of_catalogue += 1
                    continue
                entry = entry_of(event)
            except BadInput:
                self.counts.undecodable += 1
                continue
            self._fold(event, entry)
            if self.counts.events % _PROGRESS_EVERY == 0:
                progress(self.counts.events)
        self.counts.shoppers = len(self._rows)

    def _fold(self, event: Event, entry: Entry) -> None:
        key = record_key_of(event)
        before = self._rows.get(key) or empty()
        whose = Whose(event.tenant, shopper_id(event))
        folded = fold_entries(before, whose, [entry], self._lateness_ms)
        self.counts.duplicates += folded.duplicates
        self.counts.late += folded.late
        if not folded.applied or folded.row is before:
            self.counts.unchanged += not (folded.duplicates or folded.late)
            return
        self._rows[key] = folded.row
        self.counts.rows += 1
        at_ms = event_time_ms(event)
        known_ms = at_ms if event.load_id is not None or event.received_at is None else to_ms(event.received_at)
        # Strictly rising, so that of rows with one event time the last on the log is the newest.
        known_us = max(known_ms * 1000, self._known_us.get(key, -1) + 1)
        self._known_us[key] = known_us
        state = folded.row.state
        self._behaviour.add(key, state.newest, known_us, shopper_values(state))
        review = review_of(event)
        if review is not None:
            changes = review_changes(review, at_ms)
        else:
            runs = [changes_of(onto, steps, self._lateness_ms) for onto, steps in folded.counted]
            changes = [change for run in runs for step in run for change in step]
        for change in changes:
            self._items.add(event.tenant, change, known_ms)
