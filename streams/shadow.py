"""A candidate beside the model in service: it makes lists of the same shoppers at the same moments, which nobody sees.

They are made in a thread, from a queue with a bound: what does not fit is passed over, and counted. Whatever the
candidate does, the lists that are served are finished before it is asked.
"""

import contextlib
import queue
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from itertools import islice
from typing import Final, NamedTuple

from features.shoppers import State, Step
from infra.logs import logger, said
from serving import shelf
from streams.batch import Visit
from streams.derived import Scoring
from streams.shadow_counts import ByModel, Counts

_log = logger(__name__)

FIRST: Final = 20  # items of a list are compared
JUDGED: Final = frozenset({"view_item", "add_to_cart", "purchase"})  # what a shopper does next
ROOM: Final = 1000
REMEMBERED: Final = 5000  # shoppers whose last lists wait for what they do next: some 2 KB each
_END_S: Final = 5.0


def takes_part(shopper: str, share: float) -> bool:
    """Whether a shopper is one of this share; always the same ones, whichever worker has them.

    Args:
        shopper: record key.
        share: 0 to 1; those of a smaller share are in a larger one, too.
    """
    digest = blake2b(b"shadow " + shopper.encode(), digest_size=8).digest()
    return int.from_bytes(digest) < share * 2**64


class _Made(NamedTuple):
    """A list that was just made for a shopper, and what they did before it and after the last one."""

    shopper: str
    state: State
    live_version: str
    shelf: bytes
    met: str | None  # the first item of what they did


class _Lists(NamedTuple):
    """The first items of both."""

    live_version: str
    live: frozenset[str]
    shadow: frozenset[str]


class Shadow:
    """Tries one candidate; `end` it."""

    def __init__(
        self,
        scorer: Scoring,
        share: float,
        *,
        room: int = ROOM,
        remembered: int = REMEMBERED,
        processor_s: Callable[[], float] = time.thread_time,
    ) -> None:
        """`processor_s`: the processor time of the thread that asks."""
        self.version = scorer.version
        self._scorer = scorer
        self._share = share
        self._remembered = remembered
        self._processor_s = processor_s
        self._queue: queue.Queue[_Made | None] = queue.Queue(room)
        self._last: OrderedDict[str, _Lists] = OrderedDict()
        self._counts, self._alone = ByModel(), threading.Lock()
        self._told = False
        self._ending = threading.Event()
        self._thread = threading.Thread(target=self._run, name="shadow", daemon=True)
        self._thread.start()

    def offer(self, version: str, visits: Sequence[Visit], shelves: Sequence[bytes | None]) -> None:
        """Lists of the model `version` that are made; never waits, never fails."""
        try:
            for visit, packed in zip(visits, shelves, strict=True):
                if packed is not None and takes_part(visit.key, self._share):
                    self._put(version, _Made(visit.key, visit.row.state, version, packed, _met(visit)))
        except Exception as error:  # a candidate is never worth a list that is served
            self._failed(version, error)

    def spent(self, version: str, lists: int, processor_s: float) -> None:
        """The model in service took this time for so many lists."""
        with self._alone:
            of_it = self._counts.beside(version)
            of_it.live_lists += lists
            of_it.live_cpu_s += processor_s

    def taken(self) -> dict[str, Counts]:
        """What was counted since this was last asked, by the version in service."""
        with self._alone:
            taken, self._counts = self._counts, ByModel()
        return taken.of

    def settle(self) -> None:
        """Wait until all that was offered is looked at."""
        self._queue.join()

    def end(self) -> None:
        """Make no more lists; what waits is dropped. Returns when the one that is being made is done, or in seconds."""
        self._ending.set()
        with contextlib.suppress(queue.Full):  # then the thread comes upon the event without being woken
            self._queue.put_nowait(None)
        self._thread.join(_END_S)

    def _put(self, version: str, made: _Made) -> None:
        try:
            self._queue.put_nowait(made)
        except queue.Full:
            with self._alone:
                self._counts.beside(version).passed_over += 1

    def _run(self) -> None:
        while not self._ending.is_set():
            made = self._queue.get()
            try:
                if made is not None:
                    self._look(made)
            finally:
                self._queue.task_done()

    def _look(self, made: _Made) -> None:
        version = made.live_version
        try:
            self._judge(made)
            begin = self._processor_s()
            [found] = self._scorer.score([made.state], FIRST, made.state.newest)
            spent = self._processor_s() - begin
            live = _first(one.item_id for one in shelf.opened(made.shelf))
            lists = _Lists(version, live, _first(found.item_ids))
        except Exception as error:  # whatever the candidate does: the next list may be better
            self._failed(version, error)
            return
        self._last[made.shopper] = lists
        self._last.move_to_end(made.shopper)
        if len(self._last) > self._remembered:
            self._last.popitem(last=False)
        with self._alone:
            of_it = self._counts.beside(version)
            of_it.lists += 1
            of_it.cpu_s += spent
            of_it.shared += len(lists.live & lists.shadow)
            of_it.places += max(len(lists.live), len(lists.shadow))

    def _judge(self, made: _Made) -> None:
        """Was what they did next among the first of their last lists?"""
        if made.met is None:
            return
        last = self._last.pop(made.shopper, None)
        if last is None:
            return
        live, shadow = made.met in last.live, made.met in last.shadow
        with self._alone:
            of_it = self._counts.beside(last.live_version)
            of_it.judged += 1
            of_it.both += live and shadow
            of_it.live_alone += live and not shadow
            of_it.shadow_alone += shadow and not live

    def _failed(self, version: str, error: Exception) -> None:
        if not self._told:  # once: it may be every list
            _log.error("the candidate that is tried fails", version=self.version, why=said(error))
            self._told = True
        with self._alone:
            self._counts.beside(version).failed += 1


def _first(items: Iterable[str]) -> frozenset[str]:
    return frozenset(islice(items, FIRST))


def _met(visit: Visit) -> str | None:
    """The first item of what a shopper did now, in the order of its time."""
    steps = [one for one in visit.entries if isinstance(one, Step) and one.live and one.name in JUDGED]
    steps.sort(key=lambda step: (step.at, step.source, step.event_id))
    return next((line[0] for step in steps for line in step.lines), None)
